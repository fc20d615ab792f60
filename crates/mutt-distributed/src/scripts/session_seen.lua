-- KEYS: session
-- ARGV: now in µs
-- What has ended does not come back.
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'seen_at', ARGV[1]) end
return 1
