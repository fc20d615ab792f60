// One stream from the server, shared by whoever wants something from it. Runs in the SharedWorker,
// so that a browser has one connection however many tabs are open (over HTTP/1.1 it has six in
// all); without SharedWorker, in the tab itself.

/** What a tab says to the stream. */
export type Wish = { want: { status: boolean; filters: string[] } } | { bye: true };

/** What the stream says to a tab. */
export type News =
  | { kind: "status"; data: unknown }
  | { kind: "events"; filter: string; data: unknown }
  | { kind: "state"; connected: boolean; since: number };

interface Listener {
  status: boolean;
  filters: string[];
  tell: (news: News) => void;
  /** When it last said what it wants. */
  heard: number;
}

const RETRY_MIN = 500;
const RETRY_MAX = 10_000;
/** Tabs say what they want at least this often, so that one that crashed is noticed. */
export const REPEAT = 30_000;
/** Whoever says nothing for so long is gone; a hidden tab's clock may run once a minute only. */
const GONE = 5 * REPEAT;
/** Several tabs that change what they want at once make one new stream. */
const TOGETHER = 20;

/** Keeps one EventSource that carries what all listeners together want. */
export class Stream {
  private listeners = new Set<Listener>();
  private source: EventSource | undefined;
  private address = "";
  private retry = RETRY_MIN;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private soon: ReturnType<typeof setTimeout> | undefined;
  private state: News = { kind: "state", connected: false, since: Date.now() };
  private lastStatus: News | undefined;

  add(tell: (news: News) => void): Listener {
    const listener = { status: false, filters: [], tell, heard: Date.now() };
    this.listeners.add(listener);
    tell(this.state);
    return listener;
  }

  want(listener: Listener, status: boolean, filters: string[]) {
    const fresh = (status && !listener.status) || !this.listeners.has(listener);
    // Whoever said goodbye, as a hidden tab does, may come back.
    this.listeners.add(listener);
    listener.status = status;
    listener.filters = filters;
    listener.heard = Date.now();
    if (fresh && status && this.lastStatus) listener.tell(this.lastStatus);
    for (const other of this.listeners) if (listener.heard - other.heard > GONE) this.listeners.delete(other);
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.connect(), TOGETHER);
  }

  remove(listener: Listener) {
    this.listeners.delete(listener);
    this.connect();
  }

  private connect() {
    const filters = new Set<string>();
    let status = false;
    for (const listener of this.listeners) {
      status ||= listener.status;
      for (const filter of listener.filters) filters.add(filter);
    }
    const query = new URLSearchParams();
    if (status) query.set("status", "true");
    for (const filter of [...filters].toSorted()) query.append("events", filter);
    const address = status || filters.size > 0 ? `/api/v2/stream?${query}` : "";
    if (address === this.address && (this.source || this.timer || !address)) return;
    this.retry = RETRY_MIN;
    this.address = address;
    this.open();
  }

  private open() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.source?.close();
    this.source = undefined;
    if (!this.address) {
      this.lastStatus = undefined;
      return;
    }
    const source = new EventSource(this.address);
    this.source = source;
    source.addEventListener("open", () => {
      this.retry = RETRY_MIN;
      this.connected(true);
    });
    source.addEventListener("status", (message) => {
      this.lastStatus = { kind: "status", data: JSON.parse(message.data) };
      for (const listener of this.listeners) if (listener.status) listener.tell(this.lastStatus);
    });
    source.addEventListener("events", (message) => {
      const data = JSON.parse(message.data) as { filter: string };
      for (const listener of this.listeners) {
        if (listener.filters.includes(data.filter)) listener.tell({ kind: "events", filter: data.filter, data });
      }
    });
    source.addEventListener("error", () => {
      // The browser's own retry gives up on some errors; this one never does.
      source.close();
      if (this.source !== source) return;
      this.source = undefined;
      this.connected(false);
      const wait = this.retry * (0.75 + Math.random() / 2);
      this.retry = Math.min(this.retry * 2, RETRY_MAX);
      this.timer = setTimeout(() => this.open(), wait);
    });
  }

  /** Every failed attempt is told: its reason may be that the session has ended, which only a tab can ask. */
  private connected(connected: boolean) {
    const same = this.state.kind === "state" && this.state.connected === connected;
    if (!same) this.state = { kind: "state", connected, since: Date.now() };
    for (const listener of this.listeners) listener.tell(this.state);
  }
}
