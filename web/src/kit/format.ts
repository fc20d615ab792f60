// How numbers, spans and times are written, everywhere the same way.

import { currentPrefs } from "../prefs";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** 1,204 */
export function count(n: number | null | undefined): string {
  return n == null ? "–" : whole.format(n);
}

/** 412, 9.8, 0.03: three digits are enough to read a rate. */
export function rate(n: number | null | undefined): string {
  if (n == null) return "–";
  if (n === 0) return "0";
  const digits = n >= 100 ? 0 : n >= 10 ? 1 : 2;
  return n.toLocaleString("en", { maximumFractionDigits: digits });
}

/** 99.97 % */
export function percent(share: number | null | undefined, digits = 2): string {
  return share == null ? "–" : `${(share * 100).toLocaleString("en", { maximumFractionDigits: digits })} %`;
}

/** 18 ms, 1.3 s, 5 m 2 s, 3 d 4 h: the two largest units. */
export function span(seconds: number | null | undefined): string {
  if (seconds == null || !Number.isFinite(seconds)) return "–";
  const s = Math.abs(seconds);
  if (s < 0.0005) return "0 s";
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toLocaleString("en", { maximumFractionDigits: 1 })} s`;
  if (s < 60) return `${Math.round(s)} s`;
  const units: [string, number][] = [
    ["d", 86_400],
    ["h", 3_600],
    ["m", 60],
    ["s", 1],
  ];
  const first = units.findIndex(([, size]) => s >= size);
  const [name, size] = units[first]!;
  const next = units[first + 1];
  const rest = next ? Math.floor((s % size) / next[1]) : 0;
  return `${Math.floor(s / size)} ${name}${next && rest ? ` ${rest} ${next[0]}` : ""}`;
}

/** Seconds between then and now. */
export function ago(at: string | number | Date, now = Date.now()): number {
  return (now - new Date(at).getTime()) / 1000;
}

function pad(n: number, digits = 2): string {
  return String(n).padStart(digits, "0");
}

type Precision = "minute" | "second" | "milli";

function written(date: Date, utc: boolean, precision: Precision): { day: string; clock: string } {
  const get = utc
    ? [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate(), date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()]
    : [date.getFullYear(), date.getMonth(), date.getDate(), date.getHours(), date.getMinutes(), date.getSeconds()];
  const [year, month, day, hour, minute, second] = get as [number, number, number, number, number, number];
  let clock = `${pad(hour)}:${pad(minute)}`;
  if (precision !== "minute") clock += `:${pad(second)}`;
  if (precision === "milli") clock += `.${pad(date.getUTCMilliseconds(), 3)}`;
  return { day: `${year}-${pad(month + 1)}-${pad(day)}`, clock };
}

/** The time of day as preferred; with the day when it is not today. */
export function clock(at: string | number | Date, precision: Precision = "second", zone = currentPrefs().zone): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "–";
  const utc = zone === "utc";
  const { day, clock } = written(date, utc, precision);
  return day === written(new Date(), utc, "minute").day ? clock : `${day} ${clock}`;
}

/** Local time with its offset and UTC, for a tooltip. */
export function exact(at: string | number | Date): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "";
  const local = written(date, false, "milli");
  const utc = written(date, true, "milli");
  const offset = -date.getTimezoneOffset();
  const sign = offset < 0 ? "-" : "+";
  const zone = `${sign}${pad(Math.floor(Math.abs(offset) / 60))}:${pad(Math.abs(offset) % 60)}`;
  return `${local.day} ${local.clock} ${zone}\n${utc.day} ${utc.clock} UTC`;
}

export const SEVERITIES = ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"] as const;

/** The word of a syslog severity (RFC 5424 section 6.2.1). */
export function severityWord(severity: number | null | undefined): string {
  return severity == null ? "none" : (SEVERITIES[severity] ?? String(severity));
}

/** "1 event", "2 events" */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** What a handling means, in words. */
export const HANDLINGS: Record<string, string> = {
  Page_and_ticket: "Page and ticket",
  Page_only: "Page",
  Ticket_only: "Ticket",
  Log_only: "Log",
  Ignore: "Ignore",
  Unhandled: "Unhandled",
};

export function handling(name: string | null | undefined): string {
  return name ? (HANDLINGS[name] ?? name.replaceAll("_", " ")) : "–";
}
