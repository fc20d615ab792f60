// Dead letters, jobs and delivery: the calls of these pages and the shapes of their answers.

import { api, ok } from "./client";

export interface Group {
  reason: string;
  status?: number | null;
  count: number;
  oldest?: string | null;
  newest?: string | null;
  detail: string;
}

export interface Queue {
  queue: string;
  key: string;
  depth: number;
  /** Whether all entries are grouped; else the oldest ones. */
  complete: boolean;
  groups: Group[];
}

export interface Entry {
  id: string;
  queue: string;
  origin: string;
  reason: string;
  status?: number | null;
  detail: string;
  first_failed_at: string;
  last_failed_at: string;
  attempts: number;
  replays: number;
  next_replay?: { what: "replay" | "poison" | "none"; at: string | null; why: string };
  event_id?: string | null;
  correlation_id?: string | null;
  hostname?: string | null;
  summary?: string | null;
  rule_id?: number | null;
  team?: string | null;
  handling?: string | null;
  environment?: string | null;
  can_redecide?: boolean;
  message: string;
  /** Of one entry only; null where the message is no JSON. */
  payload?: unknown;
}

export interface Entries {
  entries: Entry[];
  depth: number;
  next_cursor?: string | null;
}

export interface Filter {
  reason?: string;
  /** `none`: the last failure names none. */
  status?: number | "none";
  hostname?: string;
  rule_id?: number;
  text?: string;
  since?: string;
  until?: string;
}

export type Selection = { ids: string[] } | { filter: Filter } | { all: true };
export type Mode = "delivery" | "redecide";

export interface Job {
  id: string;
  action: "replay" | "discard";
  mode?: Mode | null;
  queue: string;
  state: "running" | "done" | "aborted" | "failed" | "interrupted";
  total: number;
  processed: number;
  moved: number;
  left?: number;
  rate?: number | null;
  selection?: { all: true } | { ids?: number; filter?: Filter };
  by: string;
  reason?: string | null;
  correlation_id?: string | null;
  began_at: string;
  ended_at?: string | null;
  error?: string | null;
  pod?: string | null;
}

export interface Window {
  minutes: number;
  attempts: number;
  delivered: number;
  success: number | null;
  p50_ms: number | null;
  p95_ms: number | null;
  complete: boolean;
}

export interface Sink {
  sink: string;
  circuit: { state: "closed" | "open" | "half_open"; failures: number; opened_at: string | null; next_probe_at: string | null; why: string | null };
  rate: { limit: number; period_s: number; used: number } | null;
  waiting: number;
  retrying: number;
  windows: Window[];
  errors: { status: number | null; error: string; count: number; last_at: string; event_id: string | null }[];
  retries: { due: string; attempts: number; event_id: string | null; hostname: string | null; summary: string | null; team: string | null; rule_id: number | null }[];
}

type Query = Record<string, string | number | boolean | undefined>;
interface Loose {
  GET: (path: string, init?: object) => Promise<{ data?: unknown }>;
  POST: (path: string, init?: object) => Promise<{ data?: unknown }>;
}
const loose = api as unknown as Loose;
const get = <T>(path: string, segments: Record<string, string> = {}, query: Query = {}) => ok(loose.GET(path, { params: { path: segments, query } }) as Promise<{ data?: T }>);
const post = <T>(path: string, segments: Record<string, string>, body?: object) => ok(loose.POST(path, { params: { path: segments }, body }) as Promise<{ data?: T }>);

export const queues = () => get<{ queues: Queue[] }>("/api/v2/dlq");
export const entries = (queue: string, filter: Filter, cursor?: string) => get<Entries>("/api/v2/dlq/{queue}", { queue }, { ...filter, limit: 100, cursor });
export const entry = (queue: string, id: string) => get<Entry>("/api/v2/dlq/{queue}/{id}", { queue, id });
export const replay = async (queue: string, order: Selection & { mode?: Mode; reason?: string; rate?: number; expected?: number }) =>
  (await post<{ job: Job }>("/api/v2/dlq/{queue}/replay", { queue }, order)).job;
export const discard = async (queue: string, order: Selection & { reason: string; rate?: number; expected?: number }) => (await post<{ job: Job }>("/api/v2/dlq/{queue}/discard", { queue }, order)).job;

export const jobs = () => get<{ jobs: Job[] }>("/api/v2/jobs");
export const job = (id: string) => get<Job>("/api/v2/jobs/{id}", { id });
export const abort = (id: string) => post<Job>("/api/v2/jobs/{id}/abort", { id });

export const delivery = () => get<{ sinks: Sink[] }>("/api/v2/delivery");
export const testDelivery = (reason?: string) => post<{ event_id: string; correlation_id: string }>("/api/v2/delivery/test", {}, reason ? { reason } : {});
