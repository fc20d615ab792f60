// Times of a search. In the address they are either relative ("-24h": so long before now, whenever
// the link is opened) or exact.

export const RANGES: [start: string, label: string][] = [
  ["-15m", "last 15 minutes"],
  ["-1h", "last hour"],
  ["-24h", "last 24 hours"],
  ["-7d", "last 7 days"],
  ["-30d", "last 30 days"],
  ["", "any time"],
];

const UNITS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The moment that is meant, as the API takes it; whatever is not relative stays as it is. */
export function moment(text: string, now = Date.now()): string | undefined {
  if (!text) return undefined;
  const relative = /^-(\d{1,6})([mhd])$/.exec(text);
  if (!relative) return text;
  return new Date(now - Number(relative[1]) * UNITS[relative[2]!]!).toISOString();
}

export function isRelative(text: string): boolean {
  return /^-\d{1,6}[mhd]$/.test(text);
}

const pad = (n: number) => String(n).padStart(2, "0");

/** An exact moment as an `<input type="datetime-local">` takes it, in local time or UTC. */
export function toInput(text: string, utc: boolean): string {
  const date = new Date(text);
  if (!text || Number.isNaN(date.getTime())) return "";
  if (utc) return date.toISOString().slice(0, 19);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}T${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

export function fromInput(value: string, utc: boolean): string {
  if (!value) return "";
  const date = new Date(utc ? `${value}Z` : value);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}

/** "in the last 24 hours", "between … and …" */
export function whenInWords(start: string, end: string): string {
  const range = RANGES.find(([each]) => each === start && each !== "");
  if (range && !end) return `in the ${range[1]}`;
  if (start && end) return "in that time";
  if (start) return isRelative(start) ? `since ${start.slice(1)} ago` : "since then";
  return end ? "until then" : "at any time";
}
