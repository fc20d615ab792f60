// Dynamic settings as the server defines them, in groups by what they steer.

import { api, ok, type Schemas } from "../../api/client";
import type { Status } from "../../api/live";
import { count, span } from "../../kit/format";

export interface Setting {
  name: string;
  alias?: string;
  variable?: string;
  type: "integer" | "number" | "choice" | "text";
  min?: number;
  max?: number;
  default: string;
  unit: string;
  description: string;
  /** The value in force. */
  value: string;
  /** `dynamic` where it is stored; `static` where environment, file or default say it. */
  origin: "dynamic" | "static";
  /** What is allowed, in words; of a choice also as a list. */
  allowed: string | string[];
  choices?: string[];
}

export type Change = Schemas["HistoryRow"];

export async function settings(): Promise<Setting[]> {
  const { keys } = await ok(api.GET("/api/v2/config"));
  return (keys ?? []) as unknown as Setting[];
}

export async function setting(key: string): Promise<Setting> {
  const one = await ok(api.GET("/api/v2/config/{key}", { params: { path: { key } } }));
  return one.setting as unknown as Setting;
}

export const store = (key: string, value: string, reason: string) =>
  ok(api.PUT("/api/v2/config/{key}", { params: { path: { key } }, body: { value, reason } as unknown as Schemas["SettingWrite"] }));
export const unset = (key: string, reason: string) => ok(api.DELETE("/api/v2/config/{key}", { params: { path: { key } }, body: { reason } }));
export const history = (key: string) => ok(api.GET("/api/v2/config/history", { params: { query: { key, limit: 200 } } }));

/** The words of a choice. */
export function choices(setting: Setting): string[] {
  if (setting.choices) return setting.choices;
  return Array.isArray(setting.allowed) ? setting.allowed : setting.allowed.split(" or ");
}

export function allowedWords(setting: Setting): string {
  const { min, max } = setting;
  if (setting.type === "choice") return choices(setting).join(" or ");
  if (min !== undefined && max !== undefined) return `${setting.type === "integer" ? "a whole number" : "a number"} from ${grouped(min)} to ${grouped(max)}`;
  return Array.isArray(setting.allowed) ? setting.allowed.join(" or ") : setting.allowed;
}

const grouped = (value: number) => value.toLocaleString("en", { maximumFractionDigits: 6 });

/** "2,000 alerts", "300 s (5 m)", "defer" */
export function valueWords(setting: Pick<Setting, "type" | "unit">, value: string | null | undefined): string {
  if (value == null) return "not stored";
  if (setting.type === "choice" || setting.type === "text" || value.trim() === "" || Number.isNaN(Number(value))) return value;
  const number = Number(value);
  const long = setting.unit === "s" && number >= 120 ? ` (${span(number)})` : "";
  return `${grouped(number)}${setting.unit ? ` ${setting.unit}` : ""}${long}`;
}

/** What is wrong with a value, in words; the server has the last say. */
export function wrong(setting: Setting, value: string): string | undefined {
  if (setting.type !== "integer" && setting.type !== "number") return undefined;
  const number = Number(value);
  const fits = value.trim() !== "" && Number.isFinite(number) && (setting.type === "number" || Number.isInteger(number)) && number >= (setting.min ?? -Infinity) && number <= (setting.max ?? Infinity);
  return fits ? undefined : `Allowed is ${allowedWords(setting)}.`;
}

interface Group {
  title: string;
  /** Which roles read these settings. */
  roles: string;
  names: RegExp;
}

const GROUPS: Group[] = [
  { title: "Ingest", roles: "ingestor", names: /^(max_ingest_|ingest_)/ },
  { title: "Decisions and alert queue", roles: "alerter", names: /^(alerter_|cache_reload_|audit_scope)/ },
  { title: "Unhandled events", roles: "alerter", names: /^unhandled_/ },
  { title: "Delivery", roles: "forwarder", names: /^(moog_|circuit_breaker_)/ },
  { title: "Dead letters", roles: "remediation", names: /^remediation_/ },
  { title: "Service level objectives", roles: "webui", names: /^slo_/ },
  { title: "Retention", roles: "", names: /^retention_/ },
  { title: "Logging", roles: "every role", names: /^log_/ },
];
const OTHER: Group = { title: "Other", roles: "", names: /^/ };

export function groupOf(name: string): Group {
  return GROUPS.find((group) => group.names.test(name)) ?? OTHER;
}

export function inGroups(all: Setting[]): { group: Group; settings: Setting[] }[] {
  return [...GROUPS, OTHER].map((group) => ({ group, settings: all.filter((each) => groupOf(each.name) === group) })).filter((each) => each.settings.length > 0);
}

/** What the new value means now, where the page knows. */
export function effect(setting: Setting, value: string, status: Status | undefined): string | undefined {
  const depth = (name: string) => status?.queues?.find((queue) => queue.name === name)?.depth;
  const number = Number(value);
  const alerts = depth("mutt:alert_queue");
  const events = depth("mutt:ingest_queue");
  if (setting.name === "alerter_queue_shed_threshold" && alerts !== undefined) {
    return `The alert queue holds ${count(alerts)} now${alerts >= number ? ": the alerter sheds at once" : ""}.`;
  }
  if (setting.name === "alerter_queue_warn_threshold" && alerts !== undefined) return `The alert queue holds ${count(alerts)} now.`;
  if (setting.name === "max_ingest_queue_size" && events !== undefined) {
    return `The ingest queue holds ${count(events)} now${events >= number ? ": senders are told to wait at once" : ""}.`;
  }
  return undefined;
}
