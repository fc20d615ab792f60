// What the test bench asks and answers.

import type { RuleWrite, Shadow } from "../rules/model";

export interface TestRequest {
  rule: RuleWrite;
  rule_id?: number;
  lines?: string[];
  sample?: boolean;
  since_minutes?: number;
  unhandled?: boolean;
}

/** A number of events with how exact it is. */
export interface Figure {
  value: number;
  low: number;
  high?: number | null;
  exactness: "exact" | "estimate" | "lower_bound" | "too_few";
}

export interface Taken {
  rule_id?: number | null;
  events: Figure;
}

export interface Example {
  event_id: string;
  received_at: string;
  hostname: string;
  environment: string;
  message: string;
  cut: boolean;
  wins: boolean;
  winner_today?: number | null;
  matched?: { utf16: number[] } | null;
}

export interface Findings {
  from: string;
  to: string;
  events: Figure;
  looked_at: number;
  cut: number;
  about: string;
  would_match: Figure;
  would_win: Figure;
  takes_from: Taken[];
  loses_to: Taken[];
  leaves_to: Taken[];
  alerts: Figure;
  peak?: { at: string; alerts: Figure; per_hour: Figure } | null;
  histogram: { at: string; seconds: number; events: number; alerts: Figure }[];
  hosts: { production: Figure; development: Figure };
  examples: Example[];
}

/** What the test says of unhandled signatures. */
export interface Tally {
  looked_at: number;
  matched: number;
  would_win: number;
  exactness: string;
  about: string;
  examples: string[];
}

export interface LineVerdict {
  rule_id: number | "draft";
  verdict: "won" | "would_match" | "observed" | "message_differs" | "severity_differs" | "oid_differs" | "not_a_trap";
  sentence: string;
  matched?: { text?: { span: { start: number; end: number }; text: string; place?: { utf16: number[] } } } | null;
}

export interface LineResult {
  line: string;
  event?: Record<string, unknown> | null;
  error?: string | null;
  matched: boolean;
  winner?: number | "draft" | null;
  winner_today?: number | null;
  verdicts: LineVerdict[];
}

export interface TestResult {
  lines: LineResult[];
  sample?: Findings | null;
  history?: Findings | null;
  unhandled?: Tally | null;
  shadowed_by?: Shadow | null;
  shadows?: { rule_id: number; certainty: "proved" | "observed"; why: string }[];
  skipped?: { rule_id: number; reason: string }[];
}
