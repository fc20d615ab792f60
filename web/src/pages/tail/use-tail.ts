// The live tail as a hook: what comes is kept at once and brought into the page four times a second
// at most; while it is held, the page stands still and the new ones are counted.

import { useEffect, useRef, useState } from "react";
import { useConnection, useLiveEvents } from "../../api/live";
import { span } from "../../kit/format";
import { Ring, type Rates, type TailRow } from "./ring";

const EVERY = 250;
const SAY_EVERY = 10_000;

export interface Tail {
  rows: readonly TailRow[];
  /** Events that came since it is held. */
  waiting: number;
  rates: Rates;
  /** What screen readers hear, every ten seconds at most. */
  said: string;
  /** Whether anything was heard yet. */
  heard: boolean;
  /** Why the server shows nothing for this filter. */
  refused?: string;
}

const QUIET: Rates = { shown: 0, matched: 0, total: 0, about: false };
const NOTHING: Tail = { rows: [], waiting: 0, rates: QUIET, said: "", heard: false };

export function useTail(filter: string, held: boolean): Tail {
  const [tail, setTail] = useState<Tail>(NOTHING);
  const ring = useRef<Ring | undefined>(undefined);
  const heard = useRef(false);
  const holding = useRef(held);
  useEffect(() => {
    holding.current = held;
  }, [held]);

  const [refused, setRefused] = useState<{ filter: string; error: string }>();
  useLiveEvents(filter, true, (batch) => {
    heard.current = true;
    if (batch.error) setRefused({ filter, error: batch.error });
    ring.current?.add(batch, Date.now());
  });

  // A gap in the stream is told where it was.
  const connection = useConnection();
  const lostAt = useRef<number | undefined>(undefined);
  useEffect(() => {
    if (!connection.connected) {
      if (heard.current) lostAt.current ??= connection.since;
    } else if (lostAt.current !== undefined) {
      const away = (Date.now() - lostAt.current) / 1000;
      lostAt.current = undefined;
      ring.current?.note(`The stream was interrupted for ${span(away)}; what was decided meanwhile is not shown.`);
    }
  }, [connection]);

  useEffect(() => {
    const mine = new Ring(Date.now());
    ring.current = mine;
    heard.current = false;
    lostAt.current = undefined;
    setTail(NOTHING);
    let shownUpTo = 0;
    let last = NOTHING;
    let said = { at: Date.now(), arrived: 0, severe: 0, text: "" };
    const timer = setInterval(() => {
      const now = Date.now();
      mine.tell(now);
      const rates = mine.rates(now);
      if (now - said.at >= SAY_EVERY && !holding.current) {
        const came = mine.arrived - said.arrived;
        const severe = mine.severe - said.severe;
        const text = came === 0 ? "" : `In the last ${span(Math.round((now - said.at) / 1000))}: ${came} new, ${severe} of them error or worse.`;
        said = { at: now, arrived: mine.arrived, severe: mine.severe, text };
      }
      if (holding.current) {
        last = { ...last, waiting: mine.after(shownUpTo), rates };
      } else {
        const changed = mine.newest !== shownUpTo;
        shownUpTo = mine.newest;
        last = { rows: changed ? mine.snapshot() : last.rows, waiting: 0, rates, said: said.text, heard: heard.current };
      }
      setTail((before) => (same(before, last) ? before : last));
    }, EVERY);
    return () => {
      clearInterval(timer);
      ring.current = undefined;
    };
  }, [filter]);
  return refused?.filter === filter ? { ...tail, refused: refused.error } : tail;
}

/** Whether both look the same on the page. */
function same(a: Tail, b: Tail): boolean {
  return (
    a.rows === b.rows &&
    a.waiting === b.waiting &&
    a.said === b.said &&
    a.heard === b.heard &&
    a.rates.about === b.rates.about &&
    (["shown", "matched", "total"] as const).every((which) => Math.round(a.rates[which] * 10) === Math.round(b.rates[which] * 10))
  );
}
