-- KEYS: claims of the pod, held, queue
-- ARGV: number of the claim, wake channel
-- Returns how many elements went back; -1 where the claim is not there, -2 where what it held is lost.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return -1 end
local items = redis.call('LRANGE', KEYS[2], 0, -1)
if #items == 0 then
    redis.call('HDEL', KEYS[1], ARGV[1])
    return -2
end
local from = 1
while from <= #items do
    local to = math.min(from + 3999, #items)
    redis.call('RPUSH', KEYS[3], unpack(items, from, to))
    from = to + 1
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', ARGV[2], KEYS[3])
return #items
