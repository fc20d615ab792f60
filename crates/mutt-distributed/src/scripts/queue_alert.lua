-- KEYS: queue
-- ARGV: wake channel, element
-- Returns how many wait.
local waiting = redis.call('LPUSH', KEYS[1], ARGV[2])
if waiting == 1 then redis.call('PUBLISH', ARGV[1], KEYS[1]) end
return waiting
