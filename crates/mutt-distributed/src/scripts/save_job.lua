-- KEYS: jobs
-- ARGV: id, what the job says, 1 where it has ended, ended jobs that are remembered, after how long any
--       is forgotten (us)
-- Returns 1 where somebody asked it to stop.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local was = redis.call('HGET', KEYS[1], ARGV[1])
local stopping = was and string.match(was, '^%d+ %d (%d)') or '0'
redis.call('HSET', KEYS[1], ARGV[1],
    string.format('%.0f', now) .. ' ' .. ARGV[3] .. ' ' .. stopping .. ' ' .. ARGV[2])
if ARGV[3] == '1' and redis.call('HLEN', KEYS[1]) > tonumber(ARGV[4]) then
    local all, ended = redis.call('HGETALL', KEYS[1]), {}
    for i = 1, #all, 2 do
        local saved, over = string.match(all[i + 1], '^(%d+) (%d)')
        if not saved or now - tonumber(saved) > tonumber(ARGV[5]) then
            redis.call('HDEL', KEYS[1], all[i])
        elseif over == '1' then
            ended[#ended + 1] = all[i]
        end
    end
    table.sort(ended)
    for i = 1, #ended - tonumber(ARGV[4]) do redis.call('HDEL', KEYS[1], ended[i]) end
end
return tonumber(stopping)
