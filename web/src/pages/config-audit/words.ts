// What the audit of changes calls things, and where each record is shown.

import type { Schemas } from "../../api/client";
import type { Tone } from "../../kit/marks";
import { link } from "../../kit/url";

export type Change = Schemas["ChangeRow"];
type Values = Record<string, unknown>;

export const TABLES: Record<string, string> = {
  alert_rules: "rule",
  development_hosts: "development host",
  device_teams: "team of a device",
  dynamic_config: "setting",
  api_keys: "API key",
  dlq: "dead letters",
};

export function tableWords(name: string): string {
  return TABLES[name] ?? name;
}

export const OPERATIONS: Record<string, { word: string; tone: Tone }> = {
  CREATE: { word: "created", tone: "ok" },
  UPDATE: { word: "changed", tone: "info" },
  DELETE: { word: "deleted", tone: "warning" },
};

export const recordOf = (change: Change): string => (change.record_id != null ? String(change.record_id) : (change.record_key ?? ""));

/** Where the record is shown, when there is such a page. */
export function pageOf(change: Change): string | undefined {
  const record = recordOf(change);
  // What is deleted has no page; a setting goes on with its static value.
  if (change.operation === "DELETE" && ["alert_rules", "development_hosts", "device_teams"].includes(change.table_name)) return undefined;
  switch (change.table_name) {
    case "alert_rules":
      return `/rules/${encodeURIComponent(record)}`;
    case "development_hosts":
      return link("/hosts", { text: record });
    case "device_teams":
      return link("/hosts", { tab: "teams", text: record });
    case "dynamic_config":
      return link("/config", { history: record });
    case "api_keys":
      return "/keys";
    case "dlq":
      return link("/dlq", { queue: record });
    default:
      return undefined;
  }
}

// They change with every change.
const ALWAYS = new Set(["updated_at", "version"]);

const short = (value: unknown): string => (typeof value === "string" ? value : (JSON.stringify(value) ?? ""));

/** The change in one line. */
export function summary(change: Change): string {
  const before = (change.old_values ?? null) as Values | null;
  const after = (change.new_values ?? null) as Values | null;
  if (before && after) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((name) => !ALWAYS.has(name) && JSON.stringify(before[name]) !== JSON.stringify(after[name]));
    if (names.length === 0) return "no field differs";
    return names.map((name) => `${name}: ${short(before[name])} → ${short(after[name])}`).join("; ");
  }
  const values = after ?? before ?? {};
  for (const name of ["match_string", "team_assignment", "value", "role", "hostname"]) if (values[name] !== undefined) return `${name}: ${short(values[name])}`;
  return Object.entries(values)
    .slice(0, 4)
    .map(([name, value]) => `${name}: ${short(value)}`)
    .join("; ");
}
