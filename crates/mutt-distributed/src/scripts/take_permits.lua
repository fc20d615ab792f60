-- KEYS: limit, which run of Redis remembers grants
-- ARGV: most grants in a window, window (us), grants wanted
-- Returns {granted, us to wait}.
--
-- A limit is a hash: 'used' grants in the window, in entries 'first' to 'next' - 1, each
-- '<first grant> <last grant> <grants>' by number, oldest first. Grants closer together than a 1024th
-- of the window share an entry that stays for as long as the youngest of them: the limit is at most
-- this much stricter, never looser, and the hash stays small whatever the limit.
local limit, period, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function text(number) return string.format('%.0f', number) end
-- A Redis that was started anew, that another one stands in for, or that was emptied may have forgotten
-- grants: from when that is noticed on, a full window counts as used.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local known = redis.pcall('HMGET', KEYS[2], 'run', 'since')
if known.err then
    redis.call('DEL', KEYS[2])
    known = {}
end
local since = tonumber(known[2] or '')
if known[1] ~= run or not since or since > now then
    redis.call('HSET', KEYS[2], 'run', run, 'since', text(now))
    since = now
end
if now - since < period then return {0, period - (now - since)} end

local was = redis.pcall('HMGET', KEYS[1], 'used', 'first', 'next')
local used, first, next = 0, 1, 1
local function begin_with(grants)
    redis.call('DEL', KEYS[1])
    used, first, next = grants, 1, 1
    if grants > 0 then
        next = 2
        redis.call('HSET', KEYS[1], 'used', text(grants), 'first', '1', 'next', '2',
            '1', text(now) .. ' ' .. text(now) .. ' ' .. text(grants))
        redis.call('PEXPIRE', KEYS[1], math.ceil(period / 1000) + 1000)
    end
end
local function entry(number)
    local one = redis.call('HGET', KEYS[1], text(number))
    if not one then return nil end
    local from, to, grants = string.match(one, '^(%d+) (%d+) (%d+)$')
    return tonumber(from), tonumber(to), tonumber(grants)
end
if was.err then
    -- What MUTT 2.5 counted here, in another form.
    begin_with(limit)
elseif was[1] then
    used, first, next = tonumber(was[1]), tonumber(was[2]), tonumber(was[3])
    if not used or not first or not next then begin_with(limit) end
end
local youngest_from, youngest_to, youngest
if next > first then
    youngest_from, youngest_to, youngest = entry(next - 1)
    if not youngest or youngest_to > now then
        -- The clock was set back: nobody knows how long ago the grants were, so they are of now. Where
        -- they are not there, nobody knows how many.
        begin_with(youngest and math.max(used, 1) or limit)
        youngest_from, youngest_to, youngest = now, now, used
    end
end
local over = {}
local oldest
while first < next do
    local _, to, grants = entry(first)
    if not to then
        -- Not a hash of ours, or a broken one.
        begin_with(limit)
        youngest_from, youngest_to, youngest = now, now, used
        over, oldest = {}, now
        break
    end
    if now - to < period then
        oldest = to
        break
    end
    used = used - grants
    over[#over + 1] = text(first)
    first = first + 1
    if #over == 1000 then
        redis.call('HDEL', KEYS[1], unpack(over))
        over = {}
    end
end
if #over > 0 then redis.call('HDEL', KEYS[1], unpack(over)) end
if first == next then used, youngest = 0, nil end
local free = limit - used
if free <= 0 then
    redis.call('HSET', KEYS[1], 'used', text(used), 'first', text(first), 'next', text(next))
    return {0, math.max(period - (now - oldest), 1)}
end
local granted = math.min(free, wanted)
used = used + granted
if youngest and now - youngest_from < period / 1024 then
    youngest = text(youngest_from) .. ' ' .. text(now) .. ' ' .. text(youngest + granted)
else
    next = next + 1
    youngest = text(now) .. ' ' .. text(now) .. ' ' .. text(granted)
end
redis.call('HSET', KEYS[1], 'used', text(used), 'first', text(first), 'next', text(next),
    text(next - 1), youngest)
redis.call('PEXPIRE', KEYS[1], math.ceil(period / 1000) + 1000)
return {granted, 0}
