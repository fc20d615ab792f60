-- KEYS: claims of the pod, held, epoch, marker of this claim
-- ARGV: number of the claim, epoch in which it was made, then the effects (effects.rs)
-- Returns {1, meta-alerts} where they took effect now, {0, 0} where the claim is not there.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
    -- A Redis that lost everything does not know the claim, and neither does anybody else: whoever
    -- still has its events in hand goes on, once.
    if redis.call('GET', KEYS[3]) == ARGV[2] then return {0, 0} end
    if not redis.call('SET', KEYS[4], '1', 'NX', 'EX', 3600) then return {0, 0} end
end
local at = 2
local function take()
    at = at + 1
    return ARGV[at]
end
local function push(key, wake)
    local count = tonumber(take())
    if count == 0 then return end
    local was = redis.call('LLEN', key)
    local first, last = at + 1, at + count
    while first <= last do
        local to = math.min(first + 3999, last)
        redis.call('LPUSH', key, unpack(ARGV, first, to))
        first = to + 1
    end
    at = last
    if wake and was == 0 then redis.call('PUBLISH', wake, key) end
end
local wake, alerts, dlq = take(), take(), take()
push(alerts, wake)
push(dlq)
-- Rule hits: spans of {key, ttl, n, n times {rule, count}}.
for _ = 1, tonumber(take()) do
    local key, ttl = take(), take()
    for _ = 1, tonumber(take()) do
        local rule = take()
        redis.call('HINCRBY', key, rule, take())
    end
    redis.call('EXPIRE', key, ttl)
end
local meta = 0
local rows = tonumber(take())
if rows > 0 then
--@unhandled
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
return {1, meta}
