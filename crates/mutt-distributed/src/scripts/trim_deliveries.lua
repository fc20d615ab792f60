-- KEYS: delivery log
-- ARGV: how many rows were written, the oldest of them, the newest of them
-- Returns whether they were taken off: not where somebody else took them off first.
local n = tonumber(ARGV[1])
if redis.call('LINDEX', KEYS[1], -1) ~= ARGV[2] then return 0 end
if redis.call('LINDEX', KEYS[1], -n) ~= ARGV[3] then return 0 end
redis.call('LTRIM', KEYS[1], 0, -(n + 1))
return 1
