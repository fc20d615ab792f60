-- KEYS: pods, heartbeat, claims of the pod
-- ARGV: pod, sign of life, how long it lives in ms
-- Returns the numbers of the pod's claims.
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return redis.call('HKEYS', KEYS[3])
