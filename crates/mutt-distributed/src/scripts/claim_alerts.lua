-- KEYS: queue, retries, claims of the pod, pods, order, epoch
-- ARGV: pod, most alerts, most bytes, prefix of held keys, number of the first claim, an epoch where
--       there is none
-- Returns {epoch, elements}, in the order of their claims, which are numbered one after the other.
local most, room = tonumber(ARGV[2]), tonumber(ARGV[3])
local number = tonumber(ARGV[5])
local time = redis.call('TIME')
local now = string.format('%.6f', time[1] + time[2] / 1e6)
local taken, epoch = {}, ''
-- Whether there was room for it.
local function hold(item)
    if #taken > 0 and #item > room then return false end
    if #taken == 0 then
        epoch = redis.call('GET', KEYS[6])
        if not epoch then
            epoch = ARGV[6]
            redis.call('SET', KEYS[6], epoch)
        end
        redis.call('SADD', KEYS[4], ARGV[1])
    end
    local claim = string.format('%.0f', number + #taken)
    redis.call('RPUSH', ARGV[4] .. claim, item)
    redis.call('HSET', KEYS[3], claim, redis.call('INCR', KEYS[5]))
    taken[#taken + 1] = item
    room = room - #item
    return true
end
-- Both are read a few at a time, because elements may be large.
local step = 16
while #taken < most do
    local wanted = math.min(step, most - #taken)
    local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, wanted)
    for _, item in ipairs(due) do
        if not hold(item) then return {epoch, taken} end
        redis.call('ZREM', KEYS[2], item)
    end
    if #due < wanted then break end
end
while #taken < most do
    local wanted = math.min(step, most - #taken)
    local items = redis.call('LRANGE', KEYS[1], -wanted, -1)
    local held = 0
    for i = #items, 1, -1 do
        if not hold(items[i]) then break end
        held = held + 1
    end
    if held > 0 then redis.call('LTRIM', KEYS[1], 0, -(held + 1)) end
    if held < wanted then break end
end
return {epoch, taken}
