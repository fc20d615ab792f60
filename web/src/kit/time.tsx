// Times: relative with the exact one at hand, or exact with the day where it is not today.

import { useSyncExternalStore } from "react";
import { usePrefs } from "../prefs";
import { ago, clock, exact, span } from "./format";

let now = Date.now();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

// One function for all: a new one each time would stop and start the clock with every render.
function subscribe(listener: () => void) {
  listeners.add(listener);
  if (timer === undefined) {
    now = Date.now();
    timer = setInterval(() => {
      now = Date.now();
      for (const each of listeners) each();
    }, 1000);
  }
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** The present, once a second; one clock for the whole page. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}

type At = string | number | Date | null | undefined;

/** "2 m ago", with local time and UTC as its title. */
export function Ago({ at }: { at: At }) {
  const now = useNow();
  if (at == null) return <span className="quiet">never</span>;
  const seconds = ago(at, now);
  const text = Math.abs(seconds) < 1 ? "now" : seconds < 0 ? `in ${span(-seconds)}` : `${span(Math.floor(seconds))} ago`;
  return (
    <time dateTime={new Date(at).toISOString()} title={exact(at)}>
      {text}
    </time>
  );
}

/** 10:41:07 or 2026-11-20 10:41:07, local or UTC as preferred; both in its title. */
export function Time({ at, precision = "second" }: { at: At; precision?: "minute" | "second" | "milli" }) {
  const { zone } = usePrefs();
  if (at == null) return <span className="quiet">–</span>;
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return <span className="quiet">–</span>;
  return (
    <time dateTime={date.toISOString()} title={exact(at)} className="num-time">
      {clock(at, precision, zone)}
    </time>
  );
}
