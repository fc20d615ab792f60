// What a page shows while it asks, when it fails, and when an answer is old.

import type { ReactNode } from "react";
import type { UseQueryResult } from "@tanstack/react-query";
import { Loading, Notice, Problem } from "./page";
import { Ago } from "./time";

export function Answer<T>({ query, children }: { query: UseQueryResult<T, Error>; children: (data: T) => ReactNode }) {
  if (query.data === undefined) {
    return query.error ? <Problem error={query.error} retry={() => void query.refetch()} /> : <Loading />;
  }
  return (
    <>
      {query.error && (
        <Notice tone="warning">
          This is as of <Ago at={query.dataUpdatedAt} />: {query.error.message}
        </Notice>
      )}
      {children(query.data)}
    </>
  );
}
