// The search of the audit trail: what the address says of it, and what the API is asked.

import { keepPreviousData, useInfiniteQuery, useQueries, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { useSearch } from "wouter";
import { api, ok } from "../../api/client";
import { handling, severityWord } from "../../kit/format";
import { useUrlState } from "../../kit/url";
import { usePaused } from "../../pause";
import { oneLine } from "../event/text";
import { isRelative, moment } from "./when";

export const NO_FILTER = {
  text: "",
  hostname: "",
  severity: "",
  source: "",
  handling: "",
  environment: "",
  rule_id: "",
  team: "",
  correlation_id: "",
  event_id: "",
};
export type Filters = typeof NO_FILTER;
export type FilterName = keyof Filters;
export const NAMES = Object.keys(NO_FILTER) as FilterName[];

export interface Search extends Filters {
  start: string;
  end: string;
}

/** Rows of one page: few at first, so that they are there at once. */
const FIRST = 200;
const FURTHER = 500;
/** How often it is looked for newer rows, and how many of them are counted. */
const NEWER_EVERY = 10_000;
const NEWER_MOST = 100;

export function useEventsState() {
  const search = useSearch();
  // An event, a correlation or an end are meant whenever that was.
  const given = new URLSearchParams(search);
  const whenever = given.has("event_id") || given.has("correlation_id") || given.has("end");
  return useUrlState({ ...NO_FILTER, start: whenever ? "" : "-24h", end: "", event: "", tab: "" });
}

/** The parameters of the API. Relative times are those of now. */
export function parameters(search: Search): Record<string, string> {
  const all: Record<string, string> = {};
  for (const name of NAMES) if (search[name]) all[name] = search[name];
  const start = moment(search.start);
  const end = moment(search.end);
  if (start) all.start_date = start;
  if (end) all.end_date = end;
  return all;
}

// What somebody typed into the address is the server's to refuse: its answer says what is wrong.
const ask = (search: Search, more: { limit: number; cursor?: string }) =>
  ok(api.GET("/api/v2/audit-logs", { params: { query: { ...parameters(search), ...more } as never } }));

function justSearch(state: Search): Search {
  const { start, end } = state;
  return { ...(Object.fromEntries(NAMES.map((name) => [name, state[name]])) as Filters), start, end };
}

export function useEvents(state: Search) {
  const search = justSearch(state);
  const key = JSON.stringify(search);
  const paused = usePaused();
  const query = useInfiniteQuery({
    queryKey: ["events", "search", key],
    queryFn: ({ pageParam }) => ask(search, pageParam ? { limit: FURTHER, cursor: pageParam } : { limit: FIRST }),
    initialPageParam: "",
    getNextPageParam: (page) => page.next ?? undefined,
    placeholderData: keepPreviousData,
    // What is newer is offered and not pushed under the reader's eyes.
    staleTime: Infinity,
    gcTime: 60_000,
    refetchOnWindowFocus: false,
  });
  const rows = useMemo(() => query.data?.pages.flatMap((page) => page.logs) ?? [], [query.data]);
  const newest = rows[0]?.id ?? 0;
  const newer = useQuery({
    queryKey: ["events", "newer", key],
    queryFn: () => ask(search, { limit: NEWER_MOST }),
    enabled: query.isSuccess && !query.isPlaceholderData && !paused && (state.end === "" || isRelative(state.end)),
    refetchInterval: NEWER_EVERY,
    staleTime: NEWER_EVERY,
    gcTime: 0,
  });
  const fresh = newer.data?.logs.filter((row) => row.id > newest).length ?? 0;
  return { query, rows, newer: fresh, newerMore: fresh >= NEWER_MOST };
}

/** For each filter that is set: whether anything would be found without it. */
export function useWithout(state: Search, active: boolean) {
  const search = justSearch(state);
  const set: (FilterName | "time")[] = [...NAMES.filter((name) => search[name]), ...(search.start || search.end ? (["time"] as const) : [])];
  const queries = useQueries({
    queries: set.map((name) => {
      const rest = name === "time" ? { ...search, start: "", end: "" } : { ...search, [name]: "" };
      return {
        queryKey: ["events", "without", name, JSON.stringify(search)],
        queryFn: async () => (await ask(rest, { limit: 1 })).logs.length > 0,
        enabled: active,
        staleTime: 60_000,
        retry: false,
      };
    }),
  });
  return set.map((name, index) => ({ name, finds: queries[index]?.data }));
}

/** A set filter in words. */
export function filterInWords(name: FilterName, value: string): string {
  const short = oneLine(value, 40);
  switch (name) {
    case "text":
      return `contains “${short}”`;
    case "hostname":
      return `host ${short}`;
    case "severity":
      return `severity ${severityWord(Number(value))}`;
    case "handling":
      return handling(value);
    case "rule_id":
      return `rule ${short}`;
    case "team":
      return `team ${short}`;
    case "correlation_id":
      return `correlation ${short}`;
    case "event_id":
      return `event ${short}`;
    default:
      return short;
  }
}
