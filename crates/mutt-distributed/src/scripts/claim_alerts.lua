-- KEYS: queue, retries, claims of the pod, pods, order
-- ARGV: pod, most alerts, most bytes, now (s), prefix of held keys, number of the first claim
-- Returns elements in the order of their claims, which are numbered one after the other.
local most, room = tonumber(ARGV[2]), tonumber(ARGV[3])
local number = tonumber(ARGV[6])
local taken = {}
local function hold(item)
    local claim = string.format('%.0f', number + #taken)
    redis.call('RPUSH', ARGV[5] .. claim, item)
    redis.call('HSET', KEYS[3], claim, redis.call('INCR', KEYS[5]))
    taken[#taken + 1] = item
    room = room - #item
end
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[4], 'LIMIT', 0, most)
if #due > 0 then redis.call('SADD', KEYS[4], ARGV[1]) end
for _, item in ipairs(due) do
    if #taken > 0 and #item > room then return taken end
    hold(item)
    redis.call('ZREM', KEYS[2], item)
end
if #taken < most then
    local items = redis.call('LRANGE', KEYS[1], -(most - #taken), -1)
    if #items > 0 then redis.call('SADD', KEYS[4], ARGV[1]) end
    local from_queue = 0
    for i = #items, 1, -1 do
        if #taken > 0 and #items[i] > room then break end
        hold(items[i])
        from_queue = from_queue + 1
    end
    if from_queue > 0 then redis.call('LTRIM', KEYS[1], 0, -(from_queue + 1)) end
end
return taken
