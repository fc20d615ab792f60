-- Functions, triggers and views of version 1. Those of MUTT 2 were dropped before: they had other
-- bodies, and may have had other results.

-- Makes the partition of the month that a day is in, and moves what the default partition holds of
-- it. Does nothing where it is there. The application may call it, with the owner's rights.
CREATE FUNCTION public.create_monthly_partition(start_date date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    month date := date_trunc('month', start_date::timestamp)::date;
    name text := 'event_audit_log_' || to_char(month, 'YYYY_MM');
    first timestamptz := month;
    past timestamptz := (month + interval '1 month')::date;
    parent regclass := 'public.event_audit_log';
    there oid;
    columns text;
    may record;
BEGIN
    IF start_date IS NULL OR month < date '1970-01-01' OR month > now()::date + interval '10 years' THEN
        RAISE EXCEPTION 'no partition for %: months from 1970 to ten years ahead have one', start_date
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- One at a time, for many pods make the same months.
    PERFORM pg_advisory_xact_lock(5570201);
    -- Tables, not to_regclass(): that may not know yet what was made while this waited.
    SELECT pg_class.oid INTO there FROM pg_class
        WHERE relname = name AND relnamespace = 'public'::regnamespace;
    IF FOUND THEN
        IF EXISTS (SELECT FROM pg_inherits WHERE inhparent = parent AND inhrelid = there) THEN
            RETURN;
        END IF;
        RAISE EXCEPTION 'public.% is there, but is no partition of event_audit_log', name
            USING ERRCODE = 'duplicate_table', HINT = 'Rename it, or attach it.';
    END IF;
    -- Made aside and attached: that stops nobody who writes to other months.
    EXECUTE format('CREATE TABLE public.%I (LIKE public.event_audit_log INCLUDING DEFAULTS
        INCLUDING CONSTRAINTS INCLUDING STORAGE)', name);
    EXECUTE format('ALTER TABLE public.%I SET (autovacuum_vacuum_insert_scale_factor = 0.05,
        autovacuum_analyze_scale_factor = 0.02)', name);
    -- The rights of the parent, whatever default privileges say.
    FOR may IN SELECT DISTINCT acl.grantee FROM pg_class, aclexplode(relacl) AS acl
               WHERE oid = to_regclass('public.' || name) AND acl.grantee <> relowner LOOP
        EXECUTE format('REVOKE ALL ON public.%I FROM %s', name,
            CASE may.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(may.grantee)) END);
    END LOOP;
    FOR may IN SELECT acl.grantee FROM pg_class, aclexplode(relacl) AS acl
               WHERE oid = parent AND acl.grantee <> relowner AND acl.privilege_type = 'SELECT' LOOP
        EXECUTE format('GRANT SELECT ON public.%I TO %s', name,
            CASE may.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(may.grantee)) END);
    END LOOP;
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns
        FROM pg_attribute WHERE attrelid = parent AND attnum > 0 AND NOT attisdropped;
    IF to_regclass('public.event_audit_log_default') IS NOT NULL THEN
        LOCK TABLE public.event_audit_log_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('WITH moved AS (
                DELETE FROM public.event_audit_log_default
                WHERE event_timestamp >= %L AND event_timestamp < %L RETURNING %s)
            INSERT INTO public.%I (%s) SELECT %s FROM moved',
            first, past, columns, name, columns, columns);
    END IF;
    EXECUTE format('ALTER TABLE public.event_audit_log ATTACH PARTITION public.%I
        FOR VALUES FROM (%L) TO (%L)', name, first, past);
END
$$;
REVOKE ALL ON FUNCTION public.create_monthly_partition(date) FROM PUBLIC;

-- Drops the months that began so many months before this one, or earlier. For the owner alone:
-- audit rows go with it.
CREATE FUNCTION public.drop_old_partitions(retention_months integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    old text;
    gone bigint;
BEGIN
    IF retention_months IS NULL OR retention_months < 1 THEN
        RAISE EXCEPTION 'retention_months must be at least 1'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(5570201);
    FOR old IN SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
               WHERE inhparent = 'public.event_audit_log'::regclass
                   AND relname ~ '^event_audit_log_\d{4}_(0[1-9]|1[0-2])$'
                   AND to_date(right(relname, 7), 'YYYY_MM')
                       < date_trunc('month', now()) - make_interval(months => retention_months)
               ORDER BY relname LOOP
        EXECUTE format('LOCK TABLE public.%I IN SHARE MODE', old);
        EXECUTE format('SELECT count(*) FROM public.%I', old) INTO gone;
        EXECUTE format('DROP TABLE public.%I', old);
        UPDATE public.audit_total SET rows = rows - gone;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION public.drop_old_partitions(integer) FROM PUBLIC;

-- The number of audit rows follows deletions.
CREATE OR REPLACE FUNCTION public.event_audit_log_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.audit_total SET rows = rows - (SELECT count(*) FROM gone);
    RETURN NULL;
END
$$;
DROP TRIGGER IF EXISTS event_audit_log_deleted ON public.event_audit_log;
CREATE TRIGGER event_audit_log_deleted AFTER DELETE ON public.event_audit_log
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION public.event_audit_log_deleted();

CREATE OR REPLACE FUNCTION public.config_audit_log_is_append_only() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'config_audit_log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
DROP TRIGGER IF EXISTS config_audit_log_append_only ON public.config_audit_log;
CREATE TRIGGER config_audit_log_append_only BEFORE UPDATE OR DELETE ON public.config_audit_log
    FOR EACH ROW EXECUTE FUNCTION public.config_audit_log_is_append_only();
DROP TRIGGER IF EXISTS config_audit_log_no_truncate ON public.config_audit_log;
CREATE TRIGGER config_audit_log_no_truncate BEFORE TRUNCATE ON public.config_audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION public.config_audit_log_is_append_only();

CREATE VIEW public.partition_health_summary AS
    SELECT part.relname::text AS partition_name,
        pg_get_expr(part.relpartbound, part.oid) AS partition_range,
        pg_size_pretty(pg_total_relation_size(part.oid)) AS partition_size,
        greatest(part.reltuples, 0)::bigint AS row_count_estimate
    FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid
    WHERE inhparent = 'public.event_audit_log'::regclass
    ORDER BY part.relname;
