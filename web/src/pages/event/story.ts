// What became of an event, told: first in one sentence, then step by step with the times between.

import { count, handling, plural, span } from "../../kit/format";
import type { Tone } from "../../kit/marks";
import type { Attempt, AuditRow, DeadLetter, Road } from "./shapes";

export interface Sentence {
  tone: Tone;
  text: string;
}

const seconds = (from: string, to: string | number) => (new Date(to).getTime() - new Date(from).getTime()) / 1000;

/** The first moment on record: its receipt, or its first step where the receipt is not known. */
export function began(road: Road): string | undefined {
  return road.audit[0]?.received_at ?? road.timeline[0]?.at;
}

/** The attempt that delivered it, if one did. */
export function delivered(road: Road): Attempt | undefined {
  return road.deliveries.find((attempt) => attempt.error === null);
}

/** Whether more may happen to it by itself. */
export function unsettled(road: Road): boolean {
  const last = road.audit.at(-1);
  return last?.forwarded_to_moog === true && road.dead_letters.length === 0 && !delivered(road);
}

const times = (n: number) => (n === 1 ? "1 attempt" : `${count(n)} attempts`);

/** The sentence that whoever is woken reads first. */
export function inWords(road: Road, now: number): Sentence {
  const row = road.audit.at(-1);
  const start = road.audit[0]?.received_at;
  const success = delivered(road);
  const dead = road.dead_letters.at(-1);
  const after = (at: string | number) => (start ? `, ${span(Math.max(0, seconds(start, at)))} after it was received` : "");
  if (dead) {
    const why = dead.detail.replace(/[.\s]+$/, "") || dead.reason.replaceAll("_", " ");
    return {
      tone: "critical",
      text: success
        ? `Delivered once, then put into the dead letter queue ${dead.queue}: ${why}.`
        : `Not delivered: it lies in the dead letter queue ${dead.queue}${dead.attempts > 0 ? ` after ${times(dead.attempts)}` : ""}. ${why}.`,
    };
  }
  if (success) {
    const tries = road.deliveries.indexOf(success) + 1;
    const how = tries === 1 ? "at the first attempt" : `after ${times(tries)}`;
    const again = road.audit.length > 1 ? ` It was decided ${count(road.audit.length)} times.` : "";
    return { tone: "ok", text: `Delivered ${how}${after(success.at)}.${again}` };
  }
  const failed = road.deliveries.at(-1);
  if (failed) {
    const ago = span(Math.max(0, (now - new Date(failed.at).getTime()) / 1000));
    return { tone: "warning", text: `Not delivered yet: ${times(road.deliveries.length)} failed, the last ${ago} ago (${answer(failed)}). MUTT tries again by itself.` };
  }
  if (!row) return { tone: "info", text: "No decision is on record for it." };
  if (row.forwarded_to_moog) {
    const waits = start ? (now - new Date(start).getTime()) / 1000 : 0;
    return { tone: waits > 30 ? "warning" : "info", text: `Decided, and its alert waits: no delivery was tried yet, ${span(Math.max(0, Math.floor(waits)))} after it was received.` };
  }
  const rule = row.matched_rule_id == null ? "" : ` by rule ${row.matched_rule_id}`;
  switch (row.handling_decision) {
    case "Unhandled":
      return { tone: "info", text: "No rule matched it, so nothing was sent." };
    case "Ignore":
      return { tone: "neutral", text: `Ignored${rule}: nothing was sent.` };
    case "Log_only":
      return { tone: "neutral", text: `Logged only${rule}: nothing was sent.` };
    default:
      return { tone: "info", text: `Decided as ${handling(row.handling_decision)}${rule}; no alert was queued.` };
  }
}

/** HTTP 503, or no answer. */
export function answer(attempt: Attempt): string {
  return attempt.status === null ? "no answer" : `HTTP ${attempt.status}`;
}

/** The words of an error without the status that stands beside them. */
export function errorText(attempt: Attempt): string {
  const text = attempt.error ?? "";
  const head = attempt.status === null ? "" : `HTTP ${attempt.status}: `;
  return head && text.startsWith(head) ? text.slice(head.length) : text;
}

export type Entry =
  | { kind: "received"; at: string; row: AuditRow; offset: number | null }
  | { kind: "decided"; at: string; row: AuditRow; offset: number | null }
  | { kind: "attempt"; at: string; attempt: Attempt; offset: number | null }
  | { kind: "dead"; at: string; letter: DeadLetter; offset: number | null }
  | { kind: "other"; at: string; what: string; detail: string; offset: number | null }
  | { kind: "gap"; seconds: number; why: string };

/** From here on a gap is worth a row of its own, in seconds. */
const GAP = 1;

/** The steps in the order of time, with a row for each wait between them. */
export function entries(road: Road): Entry[] {
  const start = began(road);
  const rows = [...road.audit];
  const attempts = [...road.deliveries];
  const letters = [...road.dead_letters];
  const all: Entry[] = [];
  let before: { at: string; failed: boolean } | undefined;
  for (const step of road.timeline) {
    const past = start ? seconds(start, step.at) : null;
    let entry: Entry;
    const attempt = step.what === "delivered" || step.what === "delivery_failed" ? attempts.shift() : undefined;
    const row = step.what === "received" ? rows[0] : step.what === "decided" ? rows.shift() : undefined;
    const letter = step.what === "dead_letter" ? letters.shift() : undefined;
    if (attempt) entry = { kind: "attempt", at: step.at, attempt, offset: past };
    else if (row && step.what === "received") entry = { kind: "received", at: step.at, row, offset: 0 };
    // The moment of the decision is not recorded; the API gives that of the receipt in its place.
    else if (row) entry = { kind: "decided", at: step.at, row, offset: step.at === row.received_at ? null : past };
    else if (letter) entry = { kind: "dead", at: step.at, letter, offset: past };
    else entry = { kind: "other", at: step.at, what: step.what, detail: step.detail, offset: past };
    if (before) {
      const wait = seconds(before.at, step.at) - (attempt ? attempt.latency_ms / 1000 : 0);
      if (wait >= GAP) {
        let why = `${span(wait)} passed`;
        if (letter) why = `${span(wait)} passed until it was given up`;
        else if (before.failed) why = `waited ${span(wait)} before it was tried again: retry delay, or the circuit was open`;
        else if (attempt) why = `waited ${span(wait)} in the alert queue`;
        all.push({ kind: "gap", seconds: wait, why });
      }
    }
    before = { at: step.at, failed: step.what === "delivery_failed" };
    all.push(entry);
  }
  return all;
}

/** +9 ms */
export function offsetText(offset: number | null): string {
  if (offset === null) return "";
  if (offset === 0) return "+0";
  return offset < 0 ? `−${span(-offset)}` : `+${span(offset)}`;
}

/** What a device's clock is off by, in words; empty where that is less than a minute. */
export function clockIsOff(row: AuditRow): string {
  const off = seconds(row.event_timestamp, row.received_at);
  if (Math.abs(off) < 60) return "";
  return `The device’s time is ${span(Math.abs(off))} ${off > 0 ? "before" : "after"} the receipt.`;
}

/** "2 earlier rules did not match" */
export function others(n: number, which: string): string {
  return n === 1 ? `1 ${which} rule did not match` : `${plural(n, `${which} rule`)} did not match`;
}
