// States are told by shape and word as well as by colour.

import type { ReactNode } from "react";
import { severityWord } from "./format";

export type Tone = "critical" | "warning" | "ok" | "info" | "neutral" | "accent";

/** ▲ critical, ◆ warning, ● ok, ■ info, ○ neutral. */
export function Shape({ tone }: { tone: Tone }) {
  return (
    <svg viewBox="0 0 10 10" aria-hidden="true" fill="currentColor">
      {tone === "critical" && <path d="M5 .5 9.8 9.500H.2z" />}
      {tone === "warning" && <path d="M5 0 10 5 5 10 0 5z" />}
      {(tone === "ok" || tone === "accent") && <circle cx="5" cy="5" r="4.500" />}
      {tone === "info" && <rect x="1" y="1" width="8" height="8" rx="1" />}
      {tone === "neutral" && <circle cx="5" cy="5" r="3.700" fill="none" stroke="currentColor" strokeWidth="1.600" />}
    </svg>
  );
}

/** A word with its state. */
export function Chip({ tone = "neutral", shape = true, title, children }: { tone?: Tone; shape?: boolean; title?: string; children: ReactNode }) {
  return (
    <span className={`chip tone-${tone}`} title={title}>
      {shape && <Shape tone={tone} />}
      {children}
    </span>
  );
}

export function severityTone(severity: number | null | undefined): Tone {
  if (severity == null) return "neutral";
  if (severity <= 3) return "critical";
  if (severity === 4) return "warning";
  return severity <= 6 ? "info" : "neutral";
}

/** A syslog severity as word, shape and colour. */
export function Severity({ value }: { value: number | null | undefined }) {
  const tone = severityTone(value);
  return (
    <span className={`severity tone-${tone}`} title={value == null ? undefined : `severity ${value} (RFC 5424)`}>
      <Shape tone={tone} />
      {severityWord(value)}
    </span>
  );
}

/** What was decided of an event. */
export function handlingTone(handling: string | null | undefined): Tone {
  switch (handling) {
    case "Page_and_ticket":
    case "Page_only":
      return "critical";
    case "Ticket_only":
      return "warning";
    case "Unhandled":
      return "info";
    default:
      return "neutral";
  }
}

/** How often per hour: 24 small blocks, the newest to the right. */
export function Strip({ values, label }: { values: number[]; label: string }) {
  const most = Math.max(1, ...values);
  return (
    <span className="strip" role="img" aria-label={label} title={label}>
      {values.map((value, index) => (
        <i key={index} data-none={value === 0 ? "" : undefined} style={{ height: `${Math.max(1, Math.round((value / most) * 18))}px` }} />
      ))}
    </span>
  );
}

/** A share of a whole as a bar. */
export function Meter({ share, label }: { share: number; label: string }) {
  const percent = Math.max(0, Math.min(100, share * 100));
  return (
    <div className="meter" role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(percent)}>
      <i style={{ width: `${percent}%` }} />
    </div>
  );
}
