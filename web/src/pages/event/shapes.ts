// The road of an event as the API gives it; parts that its description leaves open are typed here.

import { useQuery } from "@tanstack/react-query";
import { api, ok, type Schemas } from "../../api/client";

export type AuditRow = Schemas["AuditRowView"];

export interface Attempt {
  sink: string;
  attempt: number;
  /** When it ended. */
  at: string;
  status: number | null;
  latency_ms: number;
  error: string | null;
}

export interface DeadLetter {
  id: string;
  queue: string;
  reason: string;
  detail: string;
  first_failed_at: string;
  last_failed_at: string;
  attempts: number;
  replays: number;
  message: string;
}

export interface Verdict {
  rule_id: number;
  verdict: string;
  sentence: string;
  matched?: { text?: { text: string; span: { start: number; end: number } }; trap_oid?: string };
}

export interface Explanation {
  winner: number | null;
  verdicts: Verdict[];
}

export type Road = Omit<Schemas["Timeline"], "deliveries" | "dead_letters" | "explanation"> & {
  deliveries: Attempt[];
  dead_letters: DeadLetter[];
  explanation?: Explanation | null;
};

export async function fetchRoad(id: string): Promise<Road> {
  return (await ok(api.GET("/api/v2/events/{event_id}", { params: { path: { event_id: id } } }))) as unknown as Road;
}

/** Whether unhandled events are kept; `undefined` until that is known. */
export function useAuditScope(): string | undefined {
  const query = useQuery({
    queryKey: ["events", "audit_scope"],
    queryFn: () => ok(api.GET("/api/v2/config")),
    staleTime: 60_000,
  });
  return (query.data?.config as Record<string, string> | undefined)?.audit_scope;
}
