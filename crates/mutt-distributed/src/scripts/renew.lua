-- KEYS: lock
-- ARGV: who holds it, for how many ms from now
-- Returns whether it is still held.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
