// The status that a page shows: from the stream, or asked for while the stream is away; held still
// while paused. Also how fast each queue grows, which one answer alone cannot say.

import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { useQuery } from "@tanstack/react-query";
import { api, ok } from "../../api/client";
import { isStatus, useStatus } from "../../api/live";
import type { History, Slo, Status } from "../../api/shapes";
import { useNow } from "../../kit/time";
import { usePaused } from "../../pause";

/** Older than this, numbers are no longer called live. */
const STALE_SECONDS = 5;
/** Over how long a queue's growth is measured. */
const TREND_SECONDS = 20;

export interface Now {
  value: Status;
  /** When it came, in milliseconds of this browser's clock. */
  at: number;
  stale: boolean;
  /** The server's clock less this browser's, in milliseconds. */
  offset: number;
}

// A release that is rolled out has pods of two versions: the answer may come from the older one.
async function askStatus(): Promise<Status> {
  const status: unknown = await ok(api.GET("/api/v2/status"));
  if (!isStatus(status)) throw new Error("The MUTT that answered is older than this page. Reload when the update is complete.");
  return status;
}

/** The newest status; `error` says why there is none, or no newer one. */
export function useNowStatus(): { now?: Now; error: Error | null; retry: () => void } {
  const live = useStatus();
  const clock = useNow();
  const paused = usePaused();
  const held = useRef<Now>(undefined);
  const away = !live || (clock - live.at) / 1000 > STALE_SECONDS;
  const asked = useQuery({
    queryKey: ["status"],
    queryFn: askStatus,
    enabled: away,
    refetchInterval: paused || !away ? false : STALE_SECONDS * 1000,
    retry: false,
  });
  const { data, dataUpdatedAt } = asked;
  const newest = useMemo(() => (!data || (live && live.at >= dataUpdatedAt) ? live : { value: data, at: dataUpdatedAt }), [live, data, dataUpdatedAt]);
  useEffect(() => {
    if (newest) remember(newest);
  }, [newest]);
  if (newest && !(paused && held.current)) {
    held.current = {
      ...newest,
      stale: (clock - newest.at) / 1000 > 2 * STALE_SECONDS,
      offset: new Date(newest.value.at).getTime() - newest.at,
    };
  }
  return { now: held.current, error: away ? asked.error : null, retry: () => void asked.refetch() };
}

const samples: { at: number; depths: Map<string, number> }[] = [];
const listeners = new Set<() => void>();
let trends: ReadonlyMap<string, number> = new Map();

function remember({ value, at }: { value: Status; at: number }) {
  if (!value.complete || (samples.at(-1)?.at ?? 0) >= at) return;
  samples.push({ at, depths: new Map(value.queues.map((queue) => [queue.name, queue.depth])) });
  while (samples.length > 2 && at - samples[0]!.at > TREND_SECONDS * 1000) samples.shift();
  const first = samples[0]!;
  const seconds = (at - first.at) / 1000;
  trends =
    seconds < TREND_SECONDS / 2
      ? new Map()
      : new Map(value.queues.map((queue) => [queue.name, (queue.depth - (first.depths.get(queue.name) ?? queue.depth)) / seconds]));
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Growth of each queue in entries per second over the last 20 s; empty until 10 s are known. */
export function useTrends(): ReadonlyMap<string, number> {
  return useSyncExternalStore(subscribe, () => trends);
}

export type Span = History["span"];

/** Counts and depths over the last hour, day or week. */
export function useHistory(span: Span) {
  const paused = usePaused();
  return useQuery({
    queryKey: ["status", "history", span],
    queryFn: async () => (await ok(api.GET("/api/v2/status/history" as never, { params: { query: { span } } } as never))) as unknown as History,
    refetchInterval: paused ? false : span === "hour" ? 15_000 : 30_000,
    placeholderData: (before) => (before?.span === span ? before : undefined),
  });
}

export function useSlo() {
  const paused = usePaused();
  return useQuery({
    queryKey: ["slo"],
    queryFn: async () => (await ok(api.GET("/api/v2/slo"))) as unknown as Slo,
    refetchInterval: paused ? false : 15_000,
  });
}
