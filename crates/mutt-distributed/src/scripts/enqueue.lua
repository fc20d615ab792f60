-- KEYS: queue, last call of this ingestor, dlq, metrics 1m, 1h, 24h
-- ARGV: limit, first number of what is pushed, last number, ttl of that in s, wake channel, how many
--       events, events..., how many rejects, rejects...
-- Returns {1, depth} where it is done, {0, depth} where the queue is full, {2, number} where what goes
-- up to this number was pushed before; then nothing is done.
local depth = redis.call('LLEN', KEYS[1])
local seen = tonumber(redis.call('GET', KEYS[2]) or 0)
if seen >= tonumber(ARGV[2]) then
    -- A write, so that who waits for replicas waits until they have what was pushed then.
    redis.call('EXPIRE', KEYS[2], ARGV[4])
    return {2, seen}
end
local n = tonumber(ARGV[6])
if n > 0 and depth + n > tonumber(ARGV[1]) then return {0, depth} end
local function push(key, first, count)
    local last = first + count - 1
    while first <= last do
        local to = math.min(first + 3999, last)
        redis.call('LPUSH', key, unpack(ARGV, first, to))
        first = to + 1
    end
end
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
push(KEYS[1], 7, n)
local rejects = tonumber(ARGV[7 + n])
push(KEYS[3], 8 + n, rejects)
if n > 0 then
    local ttl = {7200, 172800, 2592000}
    for i = 1, 3 do
        if redis.call('INCRBY', KEYS[3 + i], n) == n then
            redis.call('EXPIRE', KEYS[3 + i], ttl[i])
        end
    end
end
if n > 0 and depth == 0 then redis.call('PUBLISH', ARGV[5], KEYS[1]) end
return {1, depth + n}
