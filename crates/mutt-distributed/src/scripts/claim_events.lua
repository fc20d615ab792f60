-- KEYS: queue, held, claims of the pod, pods, order, epoch
-- ARGV: number of the claim, pod, most events, most bytes, an epoch where there is none
-- Returns {epoch, elements}, the oldest first; fewer where they are large, but at least one.
local most, room = tonumber(ARGV[3]), tonumber(ARGV[4])
local items, step, full = {}, 8, false
while #items < most and not full do
    step = math.min(step, most - #items)
    local some = redis.call('LRANGE', KEYS[1], -(#items + step), -(#items + 1))
    full = #some < step
    for i = #some, 1, -1 do
        room = room - #some[i]
        if room < 0 and #items > 0 then
            full = true
            break
        end
        items[#items + 1] = some[i]
    end
    -- Large elements are looked at a few at a time.
    if room > tonumber(ARGV[4]) / 2 then step = math.min(2 * step, 256) end
end
local total = #items
if total == 0 then return {'', items} end
local epoch = redis.call('GET', KEYS[6])
if not epoch then
    epoch = ARGV[5]
    redis.call('SET', KEYS[6], epoch)
end
-- Copies first, then their registration, the queue's end last: what is cut off on the disk in between
-- leaves the events in the queue.
local order = redis.call('INCR', KEYS[5])
local from = 1
while from <= total do
    local to = math.min(from + 3999, total)
    redis.call('LPUSH', KEYS[2], unpack(items, from, to))
    from = to + 1
end
redis.call('SADD', KEYS[4], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[1], order)
redis.call('LTRIM', KEYS[1], 0, -(total + 1))
return {epoch, items}
