// The address is the state: every filter, tab and selection is in the query string, so that back
// works and a link shows what its sender saw.

import { useCallback, useMemo } from "react";
import { useLocation, useSearch } from "wouter";

/** The parameters with their defaults, and a way to change some of them. Defaults stay out of the address. */
export function useUrlState<T extends Record<string, string>>(defaults: T): [T, (some: Partial<T>, how?: { push?: boolean }) => void] {
  const search = useSearch();
  const [path, navigate] = useLocation();
  const key = JSON.stringify(defaults);
  const state = useMemo(() => {
    const query = new URLSearchParams(search);
    const known = JSON.parse(key) as T;
    return Object.fromEntries(Object.entries(known).map(([name, value]) => [name, query.get(name) ?? value])) as T;
  }, [search, key]);
  const set = useCallback(
    (some: Partial<T>, how?: { push?: boolean }) => {
      const query = new URLSearchParams(location.search);
      const known = JSON.parse(key) as T;
      for (const [name, value] of Object.entries(some)) {
        if (value === undefined || value === known[name]) query.delete(name);
        else query.set(name, value as string);
      }
      const text = query.toString();
      navigate(text ? `${path}?${text}` : path, { replace: !how?.push });
    },
    [key, navigate, path],
  );
  return [state, set];
}

/** A path with these parameters; empty ones are left out. */
export function link(path: string, parameters: Record<string, string | number | undefined | null> = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}
