-- KEYS: dlq
-- ARGV: entries, the oldest first
for from = 1, #ARGV, 4000 do
    redis.call('LPUSH', KEYS[1], unpack(ARGV, from, math.min(from + 3999, #ARGV)))
end
return #ARGV
