-- KEYS: dlq
-- ARGV: wake channel, what stands for an entry that is gone, how many, then for each its place from the
--       tail (0 is the oldest), the entry, where it goes ('' nowhere), as what; by place
-- Returns how many; -1 where one is not at its place any more: then nothing was done.
local key, n = KEYS[1], tonumber(ARGV[3])
local function what(i, part) return ARGV[4 * i + part] end
-- Nearly always they are the oldest of all.
local all = tonumber(what(n, 0)) == n - 1
local items = all and redis.call('LRANGE', key, -n, -1)
for i = 1, n do
    local place = tonumber(what(i, 0))
    local item
    if all then item = items[n - place] else item = redis.call('LINDEX', key, -(place + 1)) end
    if item ~= what(i, 1) then return -1 end
end
local targets, moved = {}, {}
for i = 1, n do
    local target = what(i, 2)
    if target ~= '' then
        if not moved[target] then
            moved[target] = {}
            targets[#targets + 1] = target
        end
        local to = moved[target]
        to[#to + 1] = what(i, 3)
    end
end
-- Copies first: what is cut off on the disk in between leaves an entry twice rather than nowhere.
for _, target in ipairs(targets) do
    local to = moved[target]
    local was = redis.call('LLEN', target)
    for from = 1, #to, 4000 do
        redis.call('LPUSH', target, unpack(to, from, math.min(from + 3999, #to)))
    end
    if was == 0 then redis.call('PUBLISH', ARGV[1], target) end
end
if all then
    redis.call('LTRIM', key, 0, -(n + 1))
else
    for i = 1, n do redis.call('LSET', key, -(tonumber(what(i, 0)) + 1), ARGV[2]) end
    redis.call('LREM', key, -n, ARGV[2])
end
return n
