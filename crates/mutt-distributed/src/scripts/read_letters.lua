-- KEYS: dlq
-- ARGV: entries to leave out at the tail, most entries, most bytes
-- Returns entries from there on, the oldest first; fewer where they are large, but at least one.
local skip, most, room = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local read, step = {}, 8
while #read < most do
    step = math.min(step, most - #read)
    local items = redis.call('LRANGE', KEYS[1], -(skip + #read + step), -(skip + #read + 1))
    for i = #items, 1, -1 do
        room = room - #items[i]
        if room < 0 and #read > 0 then return read end
        read[#read + 1] = items[i]
    end
    if #items < step then return read end
    -- Large entries are looked at a few at a time.
    if room > tonumber(ARGV[3]) / 2 then step = math.min(2 * step, 256) end
end
return read
