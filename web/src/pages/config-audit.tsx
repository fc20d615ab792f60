// Config audit: who changed what, when and why, in a chain of hashes that shows tampering.

import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { Link } from "wouter";
import { address, api, ok } from "../api/client";
import { ApiCall } from "../kit/code";
import { Filter } from "../kit/field";
import { plural } from "../kit/format";
import { Chip } from "../kit/marks";
import { Empty, Loading, Notice, Page, Problem } from "../kit/page";
import { Table } from "../kit/table";
import { Time } from "../kit/time";
import { useUrlState } from "../kit/url";
import { ChangeDrawer } from "./config-audit/row";
import { OPERATIONS, TABLES, recordOf, summary, tableWords, type Change } from "./config-audit/words";
import "../styles/config-audit.css";

const FILTERS = { changed_by: "", operation: "", table_name: "", record_id: "", start_date: "", end_date: "", correlation_id: "" };
type Values = typeof FILTERS;
const NAMES = Object.keys(FILTERS) as (keyof Values)[];

export default function ConfigAudit() {
  const [url, set] = useUrlState({ ...FILTERS, id: "" });
  const filter = useMemo(() => Object.fromEntries(NAMES.filter((name) => url[name]).map((name) => [name, url[name]])) as Partial<Values>, [url]);
  const query = useInfiniteQuery({
    queryKey: ["config-audit", filter],
    queryFn: ({ pageParam }) => ok(api.GET("/api/v2/config-audit", { params: { query: { ...filter, page: pageParam, page_size: 100 } } })),
    initialPageParam: 1,
    getNextPageParam: (last) => (last.page < last.total_pages ? last.page + 1 : undefined),
  });
  // What is written while one pages moves rows to the next page: they come twice.
  const rows = useMemo(() => [...new Map((query.data?.pages ?? []).flatMap((page) => page.changes).map((change) => [change.id, change])).values()], [query.data]);
  const total = query.data?.pages.at(-1)?.total;
  const filtered = Object.keys(filter).length > 0;
  const open = (row: Change) => set({ id: String(row.id) }, { push: true });
  return (
    <Page title="Config audit" about="Every change of rules, hosts, teams, settings and keys, and every order on dead letters. Each row holds the hash of the one before.">
      <Verify />
      <Filters key={JSON.stringify(filter)} values={url} set={(some) => set({ ...some, id: "" })} filtered={filtered} />
      {query.error && !query.data && <Problem error={query.error} retry={() => void query.refetch()} />}
      {query.isPending && <Loading />}
      {query.error && query.data && <Notice tone="warning">The newest answer failed: {query.error.message}</Notice>}
      {query.data && (
        <div className="audit-table">
          <Table
            label="Changes"
            rows={rows}
            rowKey={(row) => String(row.id)}
            onOpen={open}
            total={total}
            height="max(260px, calc(100vh - 360px))"
            onEnd={() => {
              if (query.hasNextPage && !query.isFetchingNextPage) void query.fetchNextPage();
            }}
            foot={<span>newest first{query.hasNextPage ? "; scroll for more" : ""}</span>}
            columns={[
              {
                key: "when",
                label: "When",
                width: "150px",
                cell: (row) => (
                  <button type="button" className="audit-open" onClick={() => open(row)}>
                    <Time at={row.changed_at} />
                  </button>
                ),
              },
              { key: "who", label: "Who", width: "130px", cell: (row) => <bdi title={row.changed_by}>{row.changed_by}</bdi> },
              {
                key: "what",
                label: "Operation",
                width: "105px",
                cell: (row) => <Chip tone={OPERATIONS[row.operation]?.tone ?? "neutral"}>{OPERATIONS[row.operation]?.word ?? row.operation}</Chip>,
              },
              {
                key: "record",
                label: "Record",
                width: "20%",
                cell: (row) => (
                  <bdi title={recordOf(row)}>
                    {tableWords(row.table_name)} {recordOf(row)}
                  </bdi>
                ),
              },
              { key: "change", label: "Change", cell: (row) => <bdi title={summary(row).slice(0, 2000)}>{summary(row).slice(0, 500)}</bdi> },
              { key: "reason", label: "Reason", width: "20%", cell: (row) => <bdi title={row.reason ?? undefined}>{row.reason ?? "–"}</bdi> },
            ]}
            empty={
              filtered ? (
                <Empty title="No change matches this filter">
                  <p>
                    <Link href="/config-audit">Drop the filter</Link>
                  </p>
                </Empty>
              ) : (
                <Empty title="Nothing was changed yet" good>
                  <p>Rules, hosts, teams, settings and keys are as they were when MUTT was set up. Each change is written here in the same step that makes it.</p>
                </Empty>
              )
            }
          />
        </div>
      )}
      {url.id && /^\d+$/.test(url.id) && <ChangeDrawer key={url.id} id={Number(url.id)} loaded={rows.find((row) => String(row.id) === url.id)} onClose={() => set({ id: "" })} />}
      <ApiCall path={address("/config-audit", { ...filter, page_size: 100 })} />
    </Page>
  );
}

/** Checks the chain on demand: the server reads all of it. */
function Verify() {
  const check = useMutation({ mutationFn: () => ok(api.GET("/api/v2/config-audit/verify")) });
  const found = check.data;
  return (
    <div className="audit-verify">
      <button type="button" className="button" disabled={check.isPending} onClick={() => check.mutate()}>
        {check.isPending ? "Verifying…" : "Verify the chain"}
      </button>
      <div role="status" className="audit-found">
        {!found && !check.error && <span className="quiet">Reads every row and checks that none was changed or is missing.</span>}
        {found?.intact && (
          <Notice tone="ok">
            <b>The chain is intact.</b> {plural(found.rows ?? 0, "row is", "rows are")} as written and none is missing. Checked at <Time at={found.checked_at} />.
          </Notice>
        )}
        {found && !found.intact && (
          <Notice tone="critical" assertive>
            <b>The chain is broken{found.first_bad == null ? "" : ` at row ${found.first_bad}`}.</b> This row was changed after it was written, or a row before it is missing. Rows before it are as written. Checked at{" "}
            <Time at={found.checked_at} />. {found.first_bad != null && <Link href={`/config-audit?id=${found.first_bad}`}>Show the row</Link>}
          </Notice>
        )}
        {check.error && <Problem error={check.error} />}
      </div>
    </div>
  );
}

/** Typed filters take effect on Enter or by the button; chosen ones at once. */
function Filters({ values, set, filtered }: { values: Values; set: (some: Partial<Values>) => void; filtered: boolean }) {
  const [draft, setDraft] = useState<Values>(() => Object.fromEntries(NAMES.map((name) => [name, values[name]])) as Values);
  const input = (name: keyof Values, label: string, width: number, type = "text") => (
    <Filter label={label}>
      <input type={type} style={{ width }} value={draft[name]} onChange={(event) => setDraft({ ...draft, [name]: event.target.value })} />
    </Filter>
  );
  return (
    <form
      className="filters"
      aria-label="Filter of the changes"
      onSubmit={(event) => {
        event.preventDefault();
        set(draft);
      }}
    >
      {input("changed_by", "Who", 140)}
      <Filter label="Operation">
        <select value={draft.operation.toUpperCase()} onChange={(event) => set({ ...draft, operation: event.target.value })}>
          <option value="">any</option>
          {Object.entries(OPERATIONS).map(([name, { word }]) => (
            <option key={name} value={name}>
              {word}
            </option>
          ))}
        </select>
      </Filter>
      <Filter label="Table">
        <select value={draft.table_name} onChange={(event) => set({ ...draft, table_name: event.target.value })}>
          <option value="">any</option>
          {[...new Set([...Object.keys(TABLES), ...(draft.table_name ? [draft.table_name] : [])])].map((name) => (
            <option key={name} value={name}>
              {tableWords(name)}
            </option>
          ))}
        </select>
      </Filter>
      {input("record_id", "Record", 150)}
      {input("start_date", "From day (UTC)", 145, "date")}
      {input("end_date", "To day (UTC)", 145, "date")}
      {input("correlation_id", "Correlation ID", 180)}
      <button type="submit" className="button">
        Filter
      </button>
      {filtered && (
        <button type="button" className="button plain" onClick={() => set(FILTERS)}>
          Drop the filter
        </button>
      )}
    </form>
  );
}
