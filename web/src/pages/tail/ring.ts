// The last rows of the live tail, bounded; knows nothing of the page that shows them.

import type { LiveBatch, LiveEvent } from "../../api/live";

export const CAPACITY = 5_000;
/** How often a row says how many events were left out, at most, in milliseconds. */
const MISSED_EVERY = 2_000;
/** Rates are those of so many milliseconds. */
const WINDOW = 5_000;

export type TailRow =
  | { kind: "event"; key: number; event: LiveEvent }
  | { kind: "missed"; key: number; count: number; about: boolean }
  | { kind: "note"; key: number; text: string };

export interface Rates {
  shown: number;
  /** Chosen by the filter, shown or not; estimated where not every event was looked at. */
  matched: number;
  total: number;
  about: boolean;
}

/** A batch of the one stream says how many events were looked at, one of the single stream does not. */
type Batch = LiveBatch & { sampled?: number };

export class Ring {
  private rows: TailRow[] = [];
  private next = 1;
  private missed = 0;
  private about = false;
  private missedSince = 0;
  private batches: { at: number; shown: number; matched: number; total: number; about: boolean }[] = [];
  private readonly began: number;
  /** Events that came, shown or not. */
  arrived = 0;
  severe = 0;

  constructor(now: number) {
    this.began = now;
  }

  add(batch: Batch, now: number) {
    const looked = batch.sampled ?? batch.total;
    const matched = batch.matched ?? batch.events.length;
    // Where only a sample was looked at, the rest is like it.
    const about = looked < batch.total && matched < looked;
    const all = looked > 0 && looked < batch.total ? Math.round((matched * batch.total) / looked) : matched;
    this.batches.push({ at: now, shown: batch.events.length, matched: all, total: batch.total, about });
    for (const event of batch.events) {
      this.rows.push({ kind: "event", key: this.next++, event });
      if (event.severity != null && event.severity <= 3) this.severe++;
    }
    this.arrived += batch.events.length;
    const left = all - batch.events.length;
    if (left > 0) {
      if (this.missed === 0) this.missedSince = now;
      this.missed += left;
      this.about ||= about;
    }
    this.tell(now);
    this.bound();
  }

  /** A row that counts what was left out, once that has gone on for a moment or has ended. */
  tell(now: number) {
    if (this.missed === 0 || now - this.missedSince < MISSED_EVERY) return;
    this.rows.push({ kind: "missed", key: this.next++, count: this.missed, about: this.about });
    this.missed = 0;
    this.about = false;
  }

  note(text: string) {
    this.rows.push({ kind: "note", key: this.next++, text });
    this.bound();
  }

  /** The rows as they are now; what is added later does not change them. */
  snapshot(): readonly TailRow[] {
    return this.rows.slice();
  }

  /** The key of the newest row. */
  get newest(): number {
    return this.next - 1;
  }

  /** Events that came after the row with this key. */
  after(key: number): number {
    let n = 0;
    for (let index = this.rows.length - 1; index >= 0 && this.rows[index]!.key > key; index--) {
      if (this.rows[index]!.kind === "event") n++;
    }
    return n;
  }

  /** Per second, over the last seconds. */
  rates(now: number): Rates {
    while (this.batches[0] && this.batches[0].at < now - WINDOW) this.batches.shift();
    const seconds = Math.max(1, Math.min(WINDOW, now - this.began) / 1000);
    const rates = { shown: 0, matched: 0, total: 0, about: false };
    for (const batch of this.batches) {
      rates.shown += batch.shown / seconds;
      rates.matched += batch.matched / seconds;
      rates.total += batch.total / seconds;
      rates.about ||= batch.about;
    }
    return rates;
  }

  private bound() {
    if (this.rows.length > CAPACITY) this.rows = this.rows.slice(-CAPACITY);
  }
}
