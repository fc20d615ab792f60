-- KEYS: signatures by count, signatures by end
-- Takes signatures off whose window is over. Returns how many; more may be left where it is 1000.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000)
if #over > 0 then
    redis.call('ZREM', KEYS[2], unpack(over))
    redis.call('ZREM', KEYS[1], unpack(over))
end
return #over
