-- KEYS: heartbeat, claims of the pod, pods
-- ARGV: pod, whether to end the heartbeat (1) or only to clear a pod away that has none (0)
if ARGV[2] == '1' then redis.call('DEL', KEYS[1]) end
if redis.call('EXISTS', KEYS[1]) == 0 and redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('SREM', KEYS[3], ARGV[1])
end
return 1
