// What is odd about a process: late, another version, a clock that is wrong.

import type { Pod, Store } from "../../api/shapes";
import { span } from "../../kit/format";

/** Heartbeats go out every few seconds; after this many without one it is late. */
export const LATE_SECONDS = 15;
/** A clock that is off by more makes times of events wrong; the server warns from there on. */
export const DRIFT_SECONDS = 5;

/** The versions that run, the most frequent first. */
export function versions(pods: Pod[]): { version: string; pods: number }[] {
  const counts = new Map<string, number>();
  for (const pod of pods) counts.set(pod.version, (counts.get(pod.version) ?? 0) + 1);
  return [...counts].map(([version, pods]) => ({ version, pods })).toSorted((a, b) => b.pods - a.pods);
}

export const late = (pod: Pod) => pod.heartbeat_age_seconds > LATE_SECONDS;
export const drifts = (pod: Pod) => Math.abs(pod.clock_offset_seconds ?? 0) > DRIFT_SECONDS;
export const odd = (pod: Pod, common: string | undefined) => pod.version !== common;

/** 46 MB */
export function megabytes(bytes: number | null | undefined): string {
  if (bytes == null) return "–";
  return bytes >= 1e9 ? `${(bytes / 1e9).toLocaleString("en", { maximumFractionDigits: 1 })} GB` : `${Math.round(bytes / 1e6)} MB`;
}

/** "now", 12 s ago */
export function seen(pod: Pod): string {
  return pod.heartbeat_age_seconds < 1 ? "now" : `${span(Math.round(pod.heartbeat_age_seconds))} ago`;
}

/** Under 1 ms, 4 ms: how long a store takes to answer. */
export function latency(store: Store): string {
  if (store.latency_seconds == null) return "–";
  return store.latency_seconds < 0.001 ? "under 1 ms" : span(store.latency_seconds);
}
