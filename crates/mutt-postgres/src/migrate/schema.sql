-- Version 1: everything. A database that MUTT 2 made was brought to these columns before (adopt.sql);
-- what it has already is left as it is.
--
-- Text of event_audit_log is of collation "C": indexes over it cost half, and lower() and ILIKE fold
-- ASCII letters and nothing else, as the embedded engine does.

CREATE TABLE IF NOT EXISTS public.alert_rules (
    id bigserial PRIMARY KEY,
    match_string text CHECK (length(match_string) <= 255),
    trap_oid text CHECK (length(trap_oid) <= 255),
    syslog_severity integer CONSTRAINT chk_syslog_severity
        CHECK (syslog_severity IS NULL OR syslog_severity BETWEEN 0 AND 7),
    match_type text NOT NULL DEFAULT 'contains'
        CHECK (match_type IN ('contains', 'regex', 'oid_prefix')),
    priority integer NOT NULL DEFAULT 100,
    prod_handling text NOT NULL,
    dev_handling text NOT NULL,
    team_assignment text NOT NULL CHECK (length(team_assignment) <= 100),
    is_active boolean NOT NULL DEFAULT true,
    mode text NOT NULL DEFAULT 'enforce' CHECK (mode IN ('enforce', 'observe')),
    description text,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT chk_match_criteria CHECK (match_string IS NOT NULL OR trap_oid IS NOT NULL)
);
CREATE INDEX IF NOT EXISTS idx_alert_rules_match_type ON public.alert_rules (match_type);
CREATE INDEX IF NOT EXISTS idx_alert_rules_is_active ON public.alert_rules (is_active);

CREATE TABLE IF NOT EXISTS public.development_hosts (
    hostname text PRIMARY KEY CHECK (length(hostname) <= 255)
);
CREATE TABLE IF NOT EXISTS public.device_teams (
    hostname text PRIMARY KEY CHECK (length(hostname) <= 255),
    team_assignment text NOT NULL CHECK (length(team_assignment) <= 100)
);

-- Every column that MUTT 2 does not write has a default, so that it can go on writing beside this
-- version. matched_rule_id is no foreign key: rules are deleted softly, and the check costs a
-- quarter of the speed.
CREATE TABLE IF NOT EXISTS public.event_audit_log (
    id bigserial NOT NULL,
    event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    event_timestamp timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    hostname text COLLATE "C" NOT NULL,
    source text COLLATE "C",
    syslog_severity smallint,
    trap_oid text COLLATE "C",
    environment text COLLATE "C" NOT NULL DEFAULT 'production',
    matched_rule_id bigint,
    rule_version bigint,
    handling_decision text COLLATE "C" NOT NULL,
    team_assignment text COLLATE "C",
    forwarded_to_moog boolean NOT NULL DEFAULT false,
    correlation_id text COLLATE "C" NOT NULL DEFAULT '',
    raw_message text COLLATE "C",
    PRIMARY KEY (id, event_timestamp)
) PARTITION BY RANGE (event_timestamp);
-- Takes what no month covers: devices whose clock is wrong.
CREATE TABLE IF NOT EXISTS public.event_audit_log_default
    PARTITION OF public.event_audit_log DEFAULT;
-- Pages come by id: it stands behind what a filter names, and the time behind it is looked at in
-- the index.
CREATE UNIQUE INDEX IF NOT EXISTS event_audit_log_event
    ON public.event_audit_log (event_id, event_timestamp);
CREATE INDEX IF NOT EXISTS event_audit_log_time ON public.event_audit_log (event_timestamp, id);
CREATE INDEX IF NOT EXISTS event_audit_log_host_time
    ON public.event_audit_log (lower(hostname), id, event_timestamp);
CREATE INDEX IF NOT EXISTS event_audit_log_rule_time
    ON public.event_audit_log (matched_rule_id, id, event_timestamp)
    WHERE matched_rule_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_audit_log_correlation
    ON public.event_audit_log (correlation_id, id) WHERE correlation_id <> '';

-- `uid` is the attempt's own number: a batch that comes again changes nothing.
CREATE TABLE IF NOT EXISTS public.delivery_log (
    id bigserial PRIMARY KEY,
    uid uuid NOT NULL UNIQUE,
    event_id uuid NOT NULL,
    sink text NOT NULL,
    attempt bigint NOT NULL,
    at timestamptz NOT NULL,
    status integer,
    latency_ms double precision NOT NULL,
    error text
);
CREATE INDEX IF NOT EXISTS delivery_log_event ON public.delivery_log (event_id);
CREATE INDEX IF NOT EXISTS delivery_log_time ON public.delivery_log (at);

CREATE TABLE IF NOT EXISTS public.config_audit_log (
    id bigserial PRIMARY KEY,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL,
    operation text NOT NULL CHECK (operation IN ('CREATE', 'UPDATE', 'DELETE')),
    table_name text NOT NULL,
    record_id bigint,
    record_key text,
    old_values jsonb,
    new_values jsonb,
    reason text,
    correlation_id text,
    row_hash text NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS idx_config_audit_log_table_record
    ON public.config_audit_log (table_name, record_id);
CREATE INDEX IF NOT EXISTS idx_config_audit_log_table_key
    ON public.config_audit_log (table_name, record_key, id);
CREATE INDEX IF NOT EXISTS idx_config_audit_log_changed_at
    ON public.config_audit_log (changed_at DESC);
CREATE INDEX IF NOT EXISTS idx_config_audit_log_changed_by
    ON public.config_audit_log (changed_by);
CREATE INDEX IF NOT EXISTS idx_config_audit_log_correlation_id
    ON public.config_audit_log (correlation_id) WHERE correlation_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_config_audit_log_old_values_gin
    ON public.config_audit_log USING gin (old_values);
CREATE INDEX IF NOT EXISTS idx_config_audit_log_new_values_gin
    ON public.config_audit_log USING gin (new_values);

-- The end of the chain of config_audit_log: one row, which every change locks.
CREATE TABLE IF NOT EXISTS public.config_audit_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id bigint NOT NULL,
    row_hash text NOT NULL
);
INSERT INTO public.config_audit_head (id, row_hash) VALUES (0, '') ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS public.dynamic_config (
    key text PRIMARY KEY,
    value text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS public.api_keys (
    name text PRIMARY KEY,
    hash text NOT NULL,
    role text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    revoked_at timestamptz
);

CREATE TABLE IF NOT EXISTS public.archive_manifest (
    id bigserial PRIMARY KEY,
    table_name text NOT NULL,
    month date NOT NULL,
    location text NOT NULL,
    row_count bigint NOT NULL,
    checksum text NOT NULL,
    archived_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

-- Which claims took effect. `rows` are the claim's rows of event_audit_log; when the row goes they
-- are added to audit_total, so that both together are the exact number.
CREATE TABLE IF NOT EXISTS public.applied_claims (
    claim bigint PRIMARY KEY,
    pod text NOT NULL,
    state text NOT NULL CHECK (state IN ('applied', 'revoked')),
    effects bytea,
    rows integer NOT NULL DEFAULT 0,
    at timestamptz NOT NULL DEFAULT now()
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000
);
-- They are compressed already.
ALTER TABLE public.applied_claims ALTER COLUMN effects SET STORAGE EXTERNAL;

CREATE TABLE IF NOT EXISTS public.audit_total (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    rows bigint NOT NULL
);
INSERT INTO public.audit_total (rows) SELECT count(*) FROM public.event_audit_log
    ON CONFLICT DO NOTHING;

-- A block is 2^24 numbers of claims; all of them fit into 63 bits.
CREATE SEQUENCE IF NOT EXISTS public.claim_block_seq AS bigint
    MINVALUE 1 MAXVALUE 549755813887 NO CYCLE;
