// A rule as somebody types it, what of it is sent, and how it outlives leaving the page.

import { stateFields, stateOf, type Rule, type RuleState, type RuleWrite } from "../rules/model";

export interface Draft {
  match_type: Rule["match_type"];
  match_string: string;
  trap_oid: string;
  /** "" is any. */
  syslog_severity: string;
  priority: string;
  prod_handling: Rule["prod_handling"];
  dev_handling: Rule["dev_handling"];
  team_assignment: string;
  state: RuleState;
  description: string;
}

export const EMPTY: Draft = {
  match_type: "contains",
  match_string: "",
  trap_oid: "",
  syslog_severity: "",
  priority: "100",
  prod_handling: "Ticket_only",
  dev_handling: "Log_only",
  team_assignment: "",
  state: "active",
  description: "",
};

/** The fields of a rule, of whatever version; what is missing is empty. */
export function draftOf(rule: Partial<Rule>): Draft {
  return {
    match_type: rule.match_type ?? EMPTY.match_type,
    match_string: rule.match_string ?? "",
    trap_oid: rule.trap_oid ?? "",
    syslog_severity: rule.syslog_severity == null ? "" : String(rule.syslog_severity),
    priority: String(rule.priority ?? EMPTY.priority),
    prod_handling: rule.prod_handling ?? EMPTY.prod_handling,
    dev_handling: rule.dev_handling ?? EMPTY.dev_handling,
    team_assignment: rule.team_assignment ?? "",
    state: rule.is_active === undefined ? "active" : stateOf(rule),
    description: rule.description ?? "",
  };
}

export type Written = Required<Omit<RuleWrite, "reason" | "mode">> & { mode?: RuleWrite["mode"] };

/** The draft as the server takes it. A priority that is no number stays out. */
export function written(draft: Draft): Written {
  const priority = Number(draft.priority);
  return {
    match_type: draft.match_type,
    match_string: draft.match_type === "oid_prefix" ? null : draft.match_string || null,
    trap_oid: draft.trap_oid.trim() || null,
    syslog_severity: draft.syslog_severity === "" ? null : Number(draft.syslog_severity),
    priority: priorityError(draft.priority) ? 100 : priority,
    prod_handling: draft.prod_handling,
    dev_handling: draft.dev_handling,
    team_assignment: draft.team_assignment.trim(),
    description: draft.description.trim() || null,
    is_active: true,
    ...stateFields(draft.state),
  };
}

export function priorityError(text: string): string | undefined {
  const value = Number(text);
  if (text.trim() !== "" && Number.isInteger(value) && Math.abs(value) < 2 ** 31) return undefined;
  return "must be a whole number; lower wins";
}

/** The fields in which `now` differs from `before`. */
export function changed(before: Written, now: Written): RuleWrite {
  const entries = Object.entries(now).filter(([name, value]) => value !== before[name as keyof Written]);
  return Object.fromEntries(entries) as RuleWrite;
}

export function isEmpty(draft: Draft): boolean {
  const { match_string, trap_oid } = written(draft);
  return !match_string && !trap_oid;
}

/** A draft with what it began with and the lines that it is tried on. */
export interface Kept {
  draft: Draft;
  base?: Rule;
  lines: string;
}

const keyOf = (name: string) => `mutt.draft.${name}`;

export function keep(name: string, kept: Kept | undefined) {
  try {
    if (kept) sessionStorage.setItem(keyOf(name), JSON.stringify(kept));
    else sessionStorage.removeItem(keyOf(name));
  } catch {
    // A browser that keeps nothing forgets the draft with the page.
  }
}

export function kept(name: string): Kept | undefined {
  try {
    const text = sessionStorage.getItem(keyOf(name));
    return text ? (JSON.parse(text) as Kept) : undefined;
  } catch {
    return undefined;
  }
}

/** The draft as the fragment of an address: it is never sent to the server. */
export function fragment(draft: Draft, lines = ""): string {
  return `#draft=${encodeURIComponent(JSON.stringify({ ...draft, lines: lines || undefined }))}`;
}

export function fromFragment(hash: string): { draft: Draft; lines: string } | undefined {
  if (!hash.startsWith("#draft=")) return undefined;
  try {
    const given = JSON.parse(decodeURIComponent(hash.slice(7))) as Record<string, unknown>;
    const known = Object.fromEntries(Object.keys(EMPTY).map((name) => [name, typeof given[name] === "string" ? given[name] : EMPTY[name as keyof Draft]]));
    return { draft: known as unknown as Draft, lines: typeof given.lines === "string" ? given.lines : "" };
  } catch {
    return undefined;
  }
}
