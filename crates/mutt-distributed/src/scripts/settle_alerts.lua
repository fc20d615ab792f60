-- KEYS: queue, retries, dlq, delivery log, epoch
-- ARGV: wake channel, then for each: claims of the pod, number of the claim, held, marker of this claim,
--       epoch in which it was made, delivery row (or ''), what: 'd' delivered | 'r' delay (s) element | 'x' entry | 'h' element
-- Returns how many took effect: those whose claim is still there.
local done, at, epoch = 0, 1, redis.call('GET', KEYS[5])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local function take()
    at = at + 1
    return ARGV[at]
end
while at < #ARGV do
    local claims, claim, held, marker, made, row, what =
        take(), take(), take(), take(), take(), take(), take()
    local delay, element
    if what == 'r' then delay = tonumber(take()) end
    if what ~= 'd' then element = take() end
    -- A Redis that lost everything: as in apply.lua.
    if redis.call('HEXISTS', claims, claim) == 1
        or (epoch ~= made and redis.call('SET', marker, '1', 'NX', 'EX', 3600)) then
        if what == 'r' then redis.call('ZADD', KEYS[2], string.format('%.6f', now + delay), element)
        elseif what == 'x' then redis.call('LPUSH', KEYS[3], element)
        elseif what == 'h' then
            redis.call('RPUSH', KEYS[1], element)
            redis.call('PUBLISH', ARGV[1], KEYS[1])
        end
        if row ~= '' then redis.call('LPUSH', KEYS[4], row) end
        redis.call('HDEL', claims, claim)
        redis.call('DEL', held)
        done = done + 1
    end
end
return done
