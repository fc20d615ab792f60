// Shapes of the API that its description does not have yet.

export interface Attention {
  severity: "critical" | "warning" | "info";
  /** Stable; see `/status` in docs/api.md. */
  code: string;
  title: string;
  detail: string;
  since: string | null;
  /** Where to look, a path of this UI. */
  page: string;
}

export type Role = "ingestor" | "alerter" | "forwarder" | "remediation" | "webui";

export interface Queue {
  /** Its name in the store, such as `mutt:ingest_queue`. */
  name: string;
  depth: number;
  /** Taken by a worker that has not finished with them. */
  claimed: number;
  oldest: string | null;
  oldest_age_seconds: number | null;
}

/** One process; it may have several roles. */
export interface Pod {
  pod: string;
  roles: Role[];
  version: string;
  pid: number;
  started_at: string;
  seen_at: string;
  heartbeat_age_seconds: number;
  clock_offset_seconds: number | null;
  held: number;
  cpu_percent: number | null;
  memory_bytes: number | null;
  /** What its main role does. */
  per_second: number;
  /** Accepted while the store was away, and kept on this pod's disk until it is back. */
  spooled_events: number;
  problems: { code: string; text: string }[];
}

export interface Store {
  name: string;
  up: boolean;
  since: string | null;
  latency_seconds: number | null;
  error: string | null;
}

export interface Circuit {
  state: "closed" | "open" | "half_open";
  failures: number;
  opened_at: string | null;
  why: string | null;
  next_probe_at: string | null;
  sink_configured: boolean;
  last_delivery_at: string | null;
}

export type SloState = "ok" | "warn" | "critical" | "no_data";

export interface Status {
  version: string;
  engine: string;
  at: string;
  /** Whether the queue's store answered; if not, the rest is the last that was known. */
  complete: boolean;
  error: string | null;
  attention: Attention[];
  /** Events per second of all processes together. */
  road: {
    received: { per_second: number; by_source: Record<string, number> };
    decided: { per_second: number; handled: number; unhandled: number; failed: number };
    delivered: { per_second: number; failed: number };
    dropped: { per_second: number; by_reason: Record<string, number> };
    window_seconds: number;
  };
  queues: Queue[];
  pods: Pod[];
  roles: { role: Role; pods: number }[];
  stores: Store[];
  circuit: Circuit | null;
  rate_limit: { used: number; limit: number; period_seconds: number } | null;
  shed: { mode: string; threshold: number; warn_threshold: number; ingest_limit: number } | null;
  /** Events per minute. */
  rates: { current_rate_1m: number; avg_rate_15m: number; avg_rate_1h: number };
  /** Since the processes that live now started. */
  totals: { received: number; decided: number; unhandled: number; delivered: number; failed: number };
  slo: { component: string; target: number; state: SloState; availability: number | null; burn_1h: number | null; burn_6h: number | null; burn_24h: number | null }[];
  busy_rules: { id: number; looks_for: string; hits_1h: number }[];
  busy_hosts: { hostname: string; events_1h: number }[];
  problems: string[];
}

type Points = (number | null)[];

/** Counts per step; depths are the highest within it. */
export interface History {
  span: "hour" | "day" | "week";
  start: string;
  step_seconds: number;
  points: number;
  series: {
    received: Points;
    handled: Points;
    unhandled: Points;
    delivered: Points;
    failed: Points;
    dropped: Points;
    depth_ingest: Points;
    depth_alert: Points;
    depth_retry: Points;
    depth_dlq: Points;
  };
  depths_since: string | null;
  counted_since: string | null;
  marks: { at: string; what: string; title: string; who: string; id: number; page: string }[];
}

export interface SloWindow {
  window_hours: number;
  availability: number | null;
  error_budget_remaining: number | null;
  burn_rate: number | null;
  state: SloState;
  good?: number | null;
  bad?: number | null;
}

export interface SloAlert {
  severity: "page" | "ticket";
  burn_rate_over: number;
  long_window_minutes: number;
  short_window_minutes: number;
  long_burn_rate: number | null;
  short_burn_rate: number | null;
  firing: boolean;
}

export interface SloComponent extends SloWindow {
  target: number;
  budget_minutes?: number | null;
  budget_minutes_left?: number | null;
  windows: SloWindow[];
  alerts?: SloAlert[];
  history?: { start: string; step_seconds: number; burn_rate: Points; good: Points; bad: Points };
}

export interface Slo {
  window_hours: number;
  source?: string | null;
  note?: string | null;
  components: Record<string, SloComponent>;
}

export interface LiveEvent {
  event_id: string;
  received_at: string;
  hostname: string;
  message: string;
  severity?: number;
  source?: string;
  environment: string;
  rule_id?: number;
  handling: string;
  team?: string;
}
