-- Partitions of MUTT 2 that are not a month in UTC (made for the day of the call, or at another
-- time zone's midnight): their rows move into months, and they go. Those that are a month under
-- another name are renamed.
DO $$
DECLARE
    parent regclass := 'public.event_audit_log';
    odd record;
    wanted text;
    start date;
    columns text;
    moved bigint;
    there bigint;
BEGIN
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns
        FROM pg_attribute WHERE attrelid = parent AND attnum > 0 AND NOT attisdropped;
    CREATE TEMPORARY TABLE odd_partitions ON COMMIT DROP AS
        SELECT part.oid::regclass AS name, part.relname::text, bounds[1] AS first, bounds[2] AS past
        FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid,
            regexp_match(pg_get_expr(part.relpartbound, part.oid),
                'FROM \((?:''([^'']+)''|MINVALUE)\) TO \((?:''([^'']+)''|MAXVALUE)\)') AS bounds
        WHERE inhparent = parent AND pg_get_expr(part.relpartbound, part.oid) <> 'DEFAULT';
    -- Whole months are fine, and get the usual name.
    FOR odd IN SELECT * FROM odd_partitions
                WHERE first::timestamptz = date_trunc('month', first::timestamptz)
                    AND past::timestamptz = first::timestamptz + interval '1 month' LOOP
        DELETE FROM odd_partitions WHERE name = odd.name;
        wanted := 'event_audit_log_' || to_char(odd.first::timestamptz, 'YYYY_MM');
        IF odd.relname <> wanted AND to_regclass('public.' || wanted) IS NULL THEN
            EXECUTE format('ALTER TABLE %s RENAME TO %I', odd.name, wanted);
        END IF;
    END LOOP;
    FOR odd IN SELECT * FROM odd_partitions LOOP
        EXECUTE format('ALTER TABLE public.event_audit_log DETACH PARTITION %s', odd.name);
        EXECUTE format('ALTER TABLE %s RENAME TO %I', odd.name,
            'event_audit_log_odd_' || odd.name::oid);
    END LOOP;
    FOR odd IN SELECT * FROM odd_partitions LOOP
        -- What lies beyond the months that have a partition goes into the default one.
        FOR start IN EXECUTE format('SELECT DISTINCT date_trunc(''month'', event_timestamp)::date
                FROM %s WHERE event_timestamp BETWEEN ''1970-01-01'' AND now() + interval ''9 years''
                ORDER BY 1', odd.name) LOOP
            PERFORM public.create_monthly_partition(start);
        END LOOP;
        EXECUTE format('SELECT count(*) FROM %s', odd.name) INTO there;
        EXECUTE format('INSERT INTO public.event_audit_log (%s) SELECT %s FROM %s',
            columns, columns, odd.name);
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved <> there THEN
            RAISE EXCEPTION 'of % rows of partition % only % could be moved',
                there, odd.relname, moved;
        END IF;
        EXECUTE format('DROP TABLE %s', odd.name);
    END LOOP;
END
$$;
