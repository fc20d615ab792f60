-- KEYS: session
-- ARGV: prefix of a key's sessions, token hash
local name = redis.call('HGET', KEYS[1], 'key_name')
if name then redis.call('ZREM', ARGV[1] .. name, ARGV[2]) end
return redis.call('DEL', KEYS[1])
