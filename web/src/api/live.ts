// What happens now, as hooks: the status once a second, and decided events by a filter that runs
// in the server.

import { useEffect, useRef, useSyncExternalStore } from "react";
import type { LiveEvent, Status } from "./shapes";
import { recheck } from "./session";
import { REPEAT, Stream, type News, type Wish } from "./stream";
import workerUrl from "./stream.worker.ts?sharedworker&url";

export type { LiveEvent, Status };

/** Events of the last moment that a filter chose. */
export interface LiveBatch {
  filter: string;
  events: LiveEvent[];
  /** Events that the filter chose; more than are shown where the server left some out. */
  matched: number;
  /** Decided events in all. */
  total: number;
  /** Why there will be nothing for this filter. */
  error?: string;
}

export interface Connection {
  connected: boolean;
  /** When that began, in milliseconds of the browser's clock. */
  since: number;
}

let say: (wish: Wish) => void = () => {};
let started = false;
let statusUsers = 0;
let status: { value: Status; at: number } | undefined;
let connection: Connection = { connected: false, since: Date.now() };
const statusListeners = new Set<() => void>();
const connectionListeners = new Set<() => void>();
const watchers = new Map<string, Set<(batch: LiveBatch) => void>>();

/** Whether this is a status of the kind that this UI was made for. */
export function isStatus(data: unknown): data is Status {
  return typeof data === "object" && data !== null && "road" in data && "attention" in data && "pods" in data;
}

function hear(news: News) {
  if (news.kind === "status") {
    // While a release is rolled out, a pod of the one before may be what answers.
    if (!isStatus(news.data)) return;
    status = { value: news.data, at: Date.now() };
    for (const listener of statusListeners) listener();
  } else if (news.kind === "events") {
    for (const watcher of watchers.get(news.filter) ?? []) watcher(news.data as LiveBatch);
  } else {
    connection = { connected: news.connected, since: news.since };
    // An EventSource does not tell why it was refused.
    if (!news.connected) void recheck();
    for (const listener of connectionListeners) listener();
  }
}

/** The one place that makes a script address for the browser (Trusted Types). */
function scriptUrl(url: string): string {
  const trusted = (globalThis as { trustedTypes?: { createPolicy: (name: string, rules: object) => { createScriptURL: (url: string) => string } } })
    .trustedTypes;
  if (!trusted) return url;
  return trusted.createPolicy("mutt", { createScriptURL: (text: string) => text }).createScriptURL(url);
}

function inThisTab() {
  const stream = new Stream();
  const listener = stream.add(hear);
  say = (wish) => ("bye" in wish ? stream.remove(listener) : stream.want(listener, wish.want.status, wish.want.filters));
  // A hidden tab does not hold one of the six connections.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) say({ bye: true });
    else wish();
  });
}

function start() {
  if (started) return;
  started = true;
  if (typeof SharedWorker === "undefined") {
    inThisTab();
    return;
  }
  const worker = new SharedWorker(scriptUrl(workerUrl), { type: "module", name: "mutt" });
  worker.port.addEventListener("message", ({ data }: MessageEvent<News>) => hear(data));
  worker.port.start();
  worker.addEventListener(
    "error",
    () => {
      inThisTab();
      wish();
    },
    { once: true },
  );
  say = (wish) => worker.port.postMessage(wish);
  setInterval(wish, REPEAT);
  addEventListener("pagehide", () => say({ bye: true }));
  addEventListener("pageshow", wish);
}

function wish() {
  start();
  say({ want: { status: statusUsers > 0, filters: [...watchers.keys()] } });
}

/** The newest status and when it came; `undefined` until the first. */
export function useStatus(): { value: Status; at: number } | undefined {
  useEffect(() => {
    statusUsers++;
    if (statusUsers === 1) wish();
    return () => {
      statusUsers--;
      if (statusUsers === 0) wish();
    };
  }, []);
  return useSyncExternalStore(
    (listener) => {
      statusListeners.add(listener);
      return () => statusListeners.delete(listener);
    },
    () => status,
  );
}

export function useConnection(): Connection {
  return useSyncExternalStore(
    (listener) => {
      connectionListeners.add(listener);
      return () => connectionListeners.delete(listener);
    },
    () => connection,
  );
}

/** Hears decided events; `filter` has the parameters of `/events/stream` as a query string. */
export function useLiveEvents(filter: string, hearing: boolean, onBatch: (batch: LiveBatch) => void) {
  const latest = useRef(onBatch);
  useEffect(() => {
    latest.current = onBatch;
  });
  useEffect(() => {
    if (!hearing) return undefined;
    const watcher = (batch: LiveBatch) => latest.current(batch);
    const set = watchers.get(filter) ?? new Set();
    set.add(watcher);
    watchers.set(filter, set);
    wish();
    return () => {
      set.delete(watcher);
      if (set.size === 0) watchers.delete(filter);
      wish();
    };
  }, [filter, hearing]);
}
