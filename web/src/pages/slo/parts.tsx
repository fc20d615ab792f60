// Words and marks of the objectives that more than one page uses.

import type { SloState } from "../../api/shapes";
import { Chip, Shape, type Tone } from "../../kit/marks";

export const COMPONENTS: Record<string, { name: string; promise: string; good: string; bad: string; pages: { href: string; name: string }[] }> = {
  ingestor: {
    name: "Taking events in",
    promise: "Events that senders hand over are taken.",
    good: "Taken",
    bad: "Not taken: the queue was full or the store was away. What is the sender’s fault (a wrong key, no JSON) counts neither way.",
    pages: [
      { href: "/status", name: "Status" },
      { href: "/dlq?queue=ingest", name: "Dead letters of ingest" },
    ],
  },
  forwarder: {
    name: "Delivering alerts",
    promise: "Attempts to deliver an alert to the sink succeed.",
    good: "Succeeded",
    bad: "Failed: the sink refused or did not answer. The alert itself is not lost; it is tried again.",
    pages: [
      { href: "/delivery", name: "Delivery" },
      { href: "/dlq?queue=moog", name: "Dead letters of delivery" },
    ],
  },
};

const STATES: Record<SloState, { tone: Tone; word: string; title: string }> = {
  ok: { tone: "ok", word: "OK", title: "Burn at most 1: within the objective" },
  warn: { tone: "warning", word: "Warning", title: "Burn between 1 and 2: the budget will not last for the window" },
  critical: { tone: "critical", word: "Critical", title: "Burn over 2: the budget is used up in less than half of the window" },
  no_data: { tone: "neutral", word: "No data", title: "No traffic: nothing succeeded and nothing failed. That is neither an outage nor 100 %." },
};

export function StateChip({ state }: { state: SloState }) {
  const { tone, word, title } = STATES[state] ?? { tone: "neutral" as Tone, word: state, title: "" };
  return (
    <Chip tone={tone} title={title}>
      {word}
    </Chip>
  );
}

export function burnTone(burn: number | null | undefined): Tone {
  if (burn == null) return "neutral";
  return burn > 2 ? "critical" : burn > 1 ? "warning" : "ok";
}

/** 0.1, 2.9, 14.9 */
export function burnText(burn: number | null | undefined): string {
  return burn == null ? "no data" : burn.toLocaleString("en", { maximumFractionDigits: burn < 10 ? 2 : 1 });
}

/** A burn as a table cell. */
export function Burn({ value }: { value: number | null | undefined }) {
  const tone = burnTone(value);
  const alarm = tone === "critical" || tone === "warning";
  return (
    <td className="num burn">
      <span className={alarm ? `tone-${tone}` : value == null ? "quiet" : undefined}>
        {alarm && <Shape tone={tone} />}
        {value == null ? "–" : burnText(value)}
        {value == null && <span className="sr"> no data</span>}
      </span>
    </td>
  );
}
