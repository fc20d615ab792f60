-- KEYS: the list, dlq
-- ARGV: most entries
-- Moves entries, the newest first, behind the oldest of the queue. Returns how many.
local items = redis.pcall('LRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)
if items.err or #items == 0 then return 0 end
redis.call('RPUSH', KEYS[2], unpack(items))
redis.call('LTRIM', KEYS[1], #items, -1)
return #items
