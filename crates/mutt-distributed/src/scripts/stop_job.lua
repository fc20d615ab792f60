-- KEYS: jobs
-- ARGV: id
-- Returns 1 where there is such a job.
local was = redis.call('HGET', KEYS[1], ARGV[1])
if not was then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], (string.gsub(was, '^(%d+ %d) %d', '%1 1', 1)))
return 1
