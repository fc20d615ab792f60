    -- Unmatched events, in the form in which unhandled.rs lists them. A count and what belongs to it
    -- live for a window from when they are new, a marker for a window from its meta-alert. What seems to
    -- live for longer was set when the window was longer, or never got an end: it is over.
    local by_signature = take() == 'signature'
    local threshold, window, most = tonumber(take()), tonumber(take()), tonumber(take())
    local template, head, parts = take(), take(), {take(), take(), take()}
    local hosts, signatures, listed, samples = {}, {}, {}, {}
    for i = 1, tonumber(take()) do
        hosts[i] = {key = take(), name = take(), team = take(), environment = take(), id = take(),
            count = 0, rows = {}}
    end
    for i = 1, tonumber(take()) do
        local one = {hash = take(), masked = take(), sample = take(), count = 0}
        signatures[i] = one
        samples[one.hash] = one.sample
    end
    for i = 1, rows do
        local host, one = hosts[tonumber(take())], signatures[tonumber(take())]
        local row = {host = host, signature = one, count = tonumber(take())}
        if by_signature then row.id = take() end
        host.count, one.count = host.count + row.count, one.count + row.count
        host.rows[#host.rows + 1], listed[i] = row, row
    end
    -- A key that holds something else begins anew: a decision must not fail because of a count.
    local function safely(...)
        local answer = redis.pcall(...)
        if type(answer) == 'table' and answer.err then
            redis.call('DEL', (select(2, ...)))
            answer = redis.call(...)
        end
        return answer
    end
    local function lives(key)
        local left = redis.call('PTTL', key)
        return left >= 0 and left <= window + 60000
    end

    -- Signatures over all hosts: what is listed. Beyond the most, events count for their host alone.
    local index, ends = 'mutt:unhandled:signatures', 'mutt:unhandled:signatures_end'
    local now, room
    local scores, ending = {}, {}
    for _, one in ipairs(signatures) do
        one.key = 'mutt:unhandled:signature:' .. one.hash
        local count = safely('HINCRBY', one.key, 'n', one.count)
        one.counts = true
        if count == one.count then
            if not now then
                local time = redis.call('TIME')
                now = time[1] * 1000 + math.floor(time[2] / 1000)
                local over = safely('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 1000)
                if #over > 0 then
                    redis.call('ZREM', ends, unpack(over))
                    safely('ZREM', index, unpack(over))
                end
                room = most - safely('ZCARD', index)
            end
            room = room - 1
            if room < 0 then
                redis.call('DEL', one.key)
                one.counts = false
            else
                redis.call('HSET', one.key, 'masked', one.masked, 'sample', one.sample)
                redis.call('PEXPIRE', one.key, window)
                ending[#ending + 1], ending[#ending + 2] = now + window + 1000, one.hash
            end
        end
        if one.counts then scores[#scores + 1], scores[#scores + 2] = count, one.hash end
    end
    local function add_all(key, members)
        for from = 1, #members, 4000 do
            safely('ZADD', key, unpack(members, from, math.min(from + 3999, #members)))
        end
    end
    add_all(index, scores)
    add_all(ends, ending)
    if #ending > 0 then
        redis.call('EXPIRE', index, 2592000)
        redis.call('EXPIRE', ends, 2592000)
    end

    -- Signatures of each host: what a meta-alert names, and which hosts a signature is listed with.
    local function with_new_pairs(host, key, new)
        local room = 1000 - redis.call('HLEN', key)
        if room < 0 then
            -- One that is there already and stands above what there is room for.
            redis.call('HDEL', key, new[1].signature.hash)
            return
        end
        if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, window) end
        for _, row in ipairs(new) do
            if redis.call('HLEN', row.signature.key) < 103 then
                redis.call('HSET', row.signature.key, 'h:' .. host.key, host.name)
            end
        end
    end
    local function count_pairs(host)
        local key = 'mutt:unhandled:signatures_of:' .. host.key
        local counted = {}
        for _, row in ipairs(host.rows) do
            if row.signature.counts then counted[#counted + 1] = row end
        end
        if #counted == 1 then
            local row = counted[1]
            local count = safely('HINCRBY', key, row.signature.hash, row.count)
            if count == row.count then with_new_pairs(host, key, counted) end
            return
        end
        local from = 1
        while from <= #counted do
            local to = math.min(from + 999, #counted)
            local names, values, new = {}, {}, {}
            for i = from, to do names[#names + 1] = counted[i].signature.hash end
            local room
            for i, before in ipairs(safely('HMGET', key, unpack(names))) do
                local row = counted[from + i - 1]
                local count = tonumber(before or '')
                if not count then
                    room = room or 1000 - redis.call('HLEN', key)
                    room = room - 1
                    if room >= 0 then
                        count = 0
                        new[#new + 1] = row
                    end
                end
                if count then
                    values[#values + 1] = row.signature.hash
                    values[#values + 1] = count + row.count
                end
            end
            if #values > 0 then redis.call('HSET', key, unpack(values)) end
            if #new > 0 then with_new_pairs(host, key, new) end
            from = to + 1
        end
    end
    for _, host in ipairs(hosts) do count_pairs(host) end

    -- The counts that trigger. The count where it does now, else nil.
    local function triggers(subject, events)
        local counter = 'mutt:unhandled:' .. subject
        local count = safely('INCRBY', counter, events)
        if count == events then redis.call('PEXPIRE', counter, window) end
        if count < threshold then return nil end
        local marker = 'mutt:unhandled:triggered:' .. subject
        if lives(marker) then return nil end
        if not lives(counter) then
            redis.call('SET', counter, events, 'PX', window)
            count = events
            if count < threshold then return nil end
        end
        redis.call('SET', marker, 1, 'PX', window)
        return count
    end
    local function top_of(host)
        local counts = safely('HGETALL', 'mutt:unhandled:signatures_of:' .. host.key)
        local top = {}
        for i = 1, #counts, 2 do
            local one = {hash = counts[i], count = tonumber(counts[i + 1]) or 0}
            local at = #top + 1
            while at > 1 and top[at - 1].count < one.count do at = at - 1 end
            if at <= 3 then
                table.insert(top, at, one)
                top[4] = nil
            end
        end
        for _, one in ipairs(top) do
            one.sample = samples[one.hash]
                or safely('HGET', 'mutt:unhandled:signature:' .. one.hash, 'sample') or ''
        end
        return top
    end
    local found = {}
    local function filled(text, pattern, values) return (string.gsub(text, pattern, values)) end
    local function alert(host, id, hash, count, top)
        local text = filled(head, '@(%a)@', {c = string.format('%.0f', count), h = host.name})
        for i, one in ipairs(top) do
            text = text .. filled(parts[i], '@(%a)@',
                {n = string.format('%.0f', one.count), s = one.sample})
        end
        found[#found + 1] = filled(template, '"@(%a)@"', {
            h = cjson.encode(host.name), t = cjson.encode(host.team), x = cjson.encode(text),
            e = cjson.encode(host.environment), s = cjson.encode(hash), i = cjson.encode(id)})
    end
    if by_signature then
        for _, row in ipairs(listed) do
            local one = row.signature
            local count = triggers(row.host.key .. ':' .. one.hash, row.count)
            if count then
                alert(row.host, row.id, one.hash, count, {{count = count, sample = one.sample}})
            end
        end
    else
        for _, host in ipairs(hosts) do
            local count = triggers(host.key, host.count)
            if count then alert(host, host.id, '', count, top_of(host)) end
        end
    end
    meta = #found
    if meta > 0 then
        local was = redis.call('LLEN', alerts)
        for from = 1, meta, 4000 do
            redis.call('LPUSH', alerts, unpack(found, from, math.min(from + 3999, meta)))
        end
        if was == 0 then redis.call('PUBLISH', wake, alerts) end
    end
