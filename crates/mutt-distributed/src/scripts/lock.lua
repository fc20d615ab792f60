-- KEYS: lock
-- ARGV: who wants it, for how long in ms
-- Returns whether it is ours.
return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
