-- Brings a database that MUTT 2.3 or 2.5 made to the columns of version 1. Every row stays; the
-- tables keep their names and gain columns. Large tables are rewritten once.

-- Broken or to be replaced; what they did is part of MUTT now.
DO $$
DECLARE
    old record;
BEGIN
    FOR old IN SELECT oid::regprocedure AS function FROM pg_proc
               WHERE pronamespace = 'public'::regnamespace
                   AND proname IN ('create_monthly_partition', 'drop_old_partitions') LOOP
        EXECUTE format('DROP FUNCTION %s', old.function);
    END LOOP;
END
$$;
DROP VIEW IF EXISTS public.partition_health_summary;

-- What MUTT owns belongs to whoever migrates, so that the application cannot change it.
DO $$
DECLARE
    old regclass;
BEGIN
    FOR old IN SELECT pg_class.oid FROM pg_class
               WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
                   AND relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
                   AND (relname IN ('alert_rules', 'development_hosts', 'device_teams',
                                    'event_audit_log', 'config_audit_log', 'event_audit_log_archive')
                        OR pg_class.oid IN (SELECT inhrelid FROM pg_inherits
                            WHERE inhparent = to_regclass('public.event_audit_log'))) LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO CURRENT_USER', old);
    END LOOP;
END
$$;

-- Whatever refers to alert_rules: a rule is deleted softly now, so nothing can point nowhere.
DO $$
DECLARE
    old record;
BEGIN
    FOR old IN SELECT conname, conrelid::regclass AS on_table FROM pg_constraint
               WHERE contype = 'f' AND conparentid = 0
                   AND confrelid = to_regclass('public.alert_rules') LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', old.on_table, old.conname);
    END LOOP;
END
$$;

ALTER TABLE IF EXISTS public.alert_rules
    ALTER COLUMN id TYPE bigint,
    ADD COLUMN IF NOT EXISTS mode text NOT NULL DEFAULT 'enforce'
        CHECK (mode IN ('enforce', 'observe')),
    ADD COLUMN IF NOT EXISTS description text,
    ADD COLUMN IF NOT EXISTS version bigint NOT NULL DEFAULT 1,
    ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS updated_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS deleted_at timestamptz;

-- SERIAL made a sequence that ends at 2^31.
DO $$
DECLARE
    old text := CASE WHEN to_regclass('public.alert_rules') IS NOT NULL
        THEN pg_get_serial_sequence('public.alert_rules', 'id') END;
BEGIN
    IF old IS NOT NULL THEN
        EXECUTE format('ALTER SEQUENCE %s AS bigint', old);
    END IF;
END
$$;

-- event_audit_log: the columns first, then one pass over all rows that widens types and fills the
-- new columns. A row's event_id is made of its time and number, so that it is the same however
-- often a database is adopted.
DO $$
DECLARE
    parent regclass := to_regclass('public.event_audit_log');
    part record;
BEGIN
    IF parent IS NULL THEN
        RETURN;
    END IF;
    IF (SELECT relkind FROM pg_class WHERE oid = parent) <> 'p' THEN
        RAISE EXCEPTION 'public.event_audit_log is not partitioned: MUTT 2 did not make it'
            USING HINT = 'Rename it, run `mutt db migrate`, and insert its rows into the new table.';
    END IF;
    DROP INDEX IF EXISTS public.idx_audit_log_timestamp;
    DROP INDEX IF EXISTS public.idx_audit_log_hostname;
    DROP INDEX IF EXISTS public.idx_audit_log_rule_id;
    ALTER TABLE public.event_audit_log
        ADD COLUMN IF NOT EXISTS event_id uuid,
        ADD COLUMN IF NOT EXISTS received_at timestamptz,
        ADD COLUMN IF NOT EXISTS source text COLLATE "C",
        ADD COLUMN IF NOT EXISTS syslog_severity smallint,
        ADD COLUMN IF NOT EXISTS trap_oid text COLLATE "C",
        ADD COLUMN IF NOT EXISTS environment text COLLATE "C",
        ADD COLUMN IF NOT EXISTS rule_version bigint,
        ADD COLUMN IF NOT EXISTS team_assignment text COLLATE "C",
        ADD COLUMN IF NOT EXISTS correlation_id text COLLATE "C";
    ALTER TABLE public.event_audit_log
        ALTER COLUMN id TYPE bigint,
        ALTER COLUMN event_id TYPE uuid USING coalesce(event_id, (
            lpad(to_hex(greatest(floor(extract(epoch FROM event_timestamp) * 1000)::bigint, 0)
                & 281474976710655), 12, '0')
            || '7' || substr(md5(id::text), 1, 3) || '8' || substr(md5(id::text), 4, 3)
            || lpad(to_hex(id::bigint & 281474976710655), 12, '0'))::uuid),
        ALTER COLUMN received_at TYPE timestamptz USING coalesce(received_at, event_timestamp),
        ALTER COLUMN hostname TYPE text COLLATE "C",
        ALTER COLUMN environment TYPE text COLLATE "C" USING coalesce(environment, 'production'),
        ALTER COLUMN matched_rule_id TYPE bigint,
        ALTER COLUMN handling_decision TYPE text COLLATE "C",
        ALTER COLUMN correlation_id TYPE text COLLATE "C" USING coalesce(correlation_id,
            substring(raw_message FROM '"_correlation_id"\s*:\s*"([^"\\]{1,255})"'), ''),
        ALTER COLUMN raw_message TYPE text COLLATE "C";
    ALTER TABLE public.event_audit_log
        ALTER COLUMN event_id SET NOT NULL, ALTER COLUMN event_id SET DEFAULT gen_random_uuid(),
        ALTER COLUMN received_at SET NOT NULL, ALTER COLUMN received_at SET DEFAULT now(),
        ALTER COLUMN environment SET NOT NULL, ALTER COLUMN environment SET DEFAULT 'production',
        ALTER COLUMN matched_rule_id DROP NOT NULL,
        ALTER COLUMN correlation_id SET NOT NULL, ALTER COLUMN correlation_id SET DEFAULT '';

    -- A default partition by another name.
    FOR part IN SELECT inhrelid::regclass AS name, relname FROM pg_inherits
                JOIN pg_class ON pg_class.oid = inhrelid
                WHERE inhparent = parent AND pg_get_expr(relpartbound, inhrelid) = 'DEFAULT'
                    AND relname <> 'event_audit_log_default' LOOP
        EXECUTE format('ALTER TABLE %s RENAME TO event_audit_log_default', part.name);
    END LOOP;
END
$$;

ALTER TABLE IF EXISTS public.config_audit_log
    ALTER COLUMN changed_by TYPE text,
    ALTER COLUMN table_name TYPE text,
    ALTER COLUMN record_id TYPE bigint, ALTER COLUMN record_id DROP NOT NULL,
    ALTER COLUMN correlation_id TYPE text,
    ADD COLUMN IF NOT EXISTS record_key text,
    ADD COLUMN IF NOT EXISTS row_hash text NOT NULL DEFAULT '';
