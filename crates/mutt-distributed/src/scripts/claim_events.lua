-- KEYS: queue, held, claims of the pod, pods, order
-- ARGV: number of the claim, pod, most events, most bytes
-- Returns the elements as they stand in the queue, the newest first.
local items = redis.call('LRANGE', KEYS[1], -tonumber(ARGV[3]), -1)
local total = #items
if total == 0 then return items end
local most, bytes, first = tonumber(ARGV[4]), 0, total + 1
while first > 1 do
    bytes = bytes + #items[first - 1]
    if bytes > most and first <= total then break end
    first = first - 1
end
if first > 1 then
    local some = {}
    for i = first, total do some[#some + 1] = items[i] end
    items = some
    total = #items
end
-- Copies first, then their registration, the queue's end last: what is cut off on the disk in between
-- leaves the events in the queue.
local order = redis.call('INCR', KEYS[5])
local from = 1
while from <= total do
    local to = math.min(from + 3999, total)
    redis.call('RPUSH', KEYS[2], unpack(items, from, to))
    from = to + 1
end
redis.call('SADD', KEYS[4], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[1], order)
redis.call('LTRIM', KEYS[1], 0, -(total + 1))
return items
