-- KEYS: state, failures, open time, probe time
-- ARGV: 'admit' timeout | 'success' | 'failure' threshold | 'open'; the time-out in us
-- Returns the word of the state: what the caller may do ('admit'), what it was ('success'), what it is.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function read(key)
    local value = redis.pcall('GET', key)
    if type(value) == 'table' then
        redis.call('DEL', key)
        return nil
    end
    return value or nil
end
-- Seconds with a fraction, as MUTT 2.5 wrote them.
local function write_now(key)
    redis.call('SET', key, string.format('%.0f.%06d', time[1], time[2]))
end
-- A time that nobody knows, and one that a clock that was set back has not reached, are over.
local function is_over(key, timeout)
    local since = tonumber(read(key) or '')
    local passed = since and now - since * 1000000
    return not passed or passed < -1 or passed >= timeout
end
local state = string.lower(read(KEYS[1]) or 'closed')
if state ~= 'open' and state ~= 'half_open' then state = 'closed' end
local function open()
    redis.call('SET', KEYS[1], 'open')
    write_now(KEYS[3])
    redis.call('DEL', KEYS[4])
    return 'open'
end
local what = ARGV[1]
if what == 'admit' then
    if state == 'closed' then return state end
    local since = state == 'open' and KEYS[3] or KEYS[4]
    if not is_over(since, tonumber(ARGV[2])) then return 'open' end
    redis.call('SET', KEYS[1], 'half_open')
    write_now(KEYS[4])
    return 'half_open'
elseif what == 'success' then
    if state ~= 'closed' or redis.call('EXISTS', KEYS[2], KEYS[3], KEYS[4]) > 0 then
        redis.call('SET', KEYS[1], 'closed')
        redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
    end
    return state
elseif what == 'failure' then
    local failures = math.max(tonumber(read(KEYS[2]) or '') or 0, 0) + 1
    redis.call('SET', KEYS[2], string.format('%.0f', failures))
    if state == 'half_open' or (state == 'closed' and failures >= tonumber(ARGV[2])) then
        return open()
    end
    return state
end
return open()
