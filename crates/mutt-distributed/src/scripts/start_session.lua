-- KEYS: session, its key's sessions
-- ARGV: prefix of sessions, token hash, key name, key hash, start in µs, end in µs, lifetime in ms,
--       the most sessions of a key
redis.call('HSET', KEYS[1], 'key_name', ARGV[3], 'key_hash', ARGV[4],
    'started_at', ARGV[5], 'seen_at', ARGV[5], 'expires_at', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('ZADD', KEYS[2], ARGV[5], ARGV[2])
local over = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[8])
if over > 0 then
    -- Those whose time is over are the oldest too.
    for _, token in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do
        redis.call('DEL', ARGV[1] .. token)
    end
    redis.call('ZREMRANGEBYRANK', KEYS[2], 0, over - 1)
end
-- As long as the longest of them lives.
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[7]) then
    redis.call('PEXPIRE', KEYS[2], ARGV[7])
end
return 1
