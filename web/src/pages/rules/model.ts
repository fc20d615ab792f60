// Rules as the pages know them: their words, their state, changing them.

import { useQuery, type QueryClient } from "@tanstack/react-query";
import { api, ApiError, ok, type Schemas } from "../../api/client";
import { usePaused } from "../../pause";

export type Rule = Schemas["RuleView"];
export type RuleWrite = Schemas["RuleWrite"];

export type Shadow = Schemas["Shadow"];
/** What is known of one rule; what matching it costs is not in every description of the API yet. */
export type Insight = Schemas["Insight"] & { cost?: { nanoseconds: number; times_median: number; slow: boolean } | null };

/** What a rule does at present, in one word. */
export type RuleState = "active" | "observing" | "off";

export const STATES: Record<RuleState, { word: string; tone: "ok" | "info" | "neutral"; about: string }> = {
  active: { word: "Active", tone: "ok", about: "Decides what it matches" },
  observing: { word: "Observing", tone: "info", about: "Counted on all traffic, decides nothing" },
  off: { word: "Off", tone: "neutral", about: "Takes no part" },
};

export function stateOf(rule: { is_active?: boolean | null; mode?: string | null }): RuleState {
  if (!rule.is_active) return "off";
  return rule.mode === "observe" ? "observing" : "active";
}

/** The fields that make it so. A rule that is switched off keeps its mode. */
export function stateFields(state: RuleState): Pick<RuleWrite, "is_active" | "mode"> {
  if (state === "off") return { is_active: false };
  return { is_active: true, mode: state === "observing" ? "observe" : "enforce" };
}

/** What it looks for, short enough for a link. */
export function looksFor(rule: Pick<Rule, "match_string" | "trap_oid">): string {
  return [rule.match_string, rule.trap_oid].filter(Boolean).join(" · ") || "anything";
}

export const MATCH_WORDS: Record<string, string> = { contains: "contains", regex: "regex", oid_prefix: "OID" };

const RULES = ["rules"];
const INSIGHTS = ["rules", "insights"];

/** Every rule, in the order in which they win. */
export function useRules() {
  const paused = usePaused();
  return useQuery({
    queryKey: RULES,
    queryFn: async ({ signal }) => (await ok(api.GET("/api/v2/rules", { params: { query: { limit: 10_000 } }, signal }))).rules,
    // Ten thousand rules are megabytes.
    refetchInterval: (query) => (paused ? false : (query.state.data?.length ?? 0) > 1000 ? 60_000 : 10_000),
  });
}

export function useInsights() {
  const paused = usePaused();
  return useQuery({
    queryKey: INSIGHTS,
    queryFn: async ({ signal }) => {
      const { rules } = await ok(api.GET("/api/v2/rules/insights", { signal }));
      return new Map(rules.map((insight) => [insight.rule_id, insight]));
    },
    refetchInterval: (query) => (paused ? false : (query.state.data?.size ?? 0) > 1000 ? 60_000 : 10_000),
  });
}

/** What follows from a changed rule is asked for anew. */
export function forgetRules(client: QueryClient) {
  return client.invalidateQueries({ queryKey: RULES });
}

/** Changes some fields of a rule, where it is still at this version; its new version. */
export async function changeRule(id: number, fields: RuleWrite, version: number, reason?: string): Promise<number> {
  const { response } = await api.PUT("/api/v2/rules/{id}", {
    params: { path: { id }, header: { "If-Match": `"${version}"` } },
    body: reason ? { ...fields, reason } : fields,
  });
  return versionOf(response);
}

export async function deleteRule(id: number, version: number, reason: string) {
  await api.DELETE("/api/v2/rules/{id}", {
    params: { path: { id }, header: { "If-Match": `"${version}"` } },
    body: { reason },
  });
}

/** The version in the entity tag. */
export function versionOf(response: Response): number {
  return Number(/\d+/.exec(response.headers.get("etag") ?? "")?.[0] ?? 0);
}

export function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.status === 412;
}
