// The entries of one queue by a filter, with selection and the orders about them.

import { useInfiniteQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { Link } from "wouter";
import { address } from "../../api/client";
import { entries as fetchEntries, type Entry, type Filter as Wanted, type Job, type Queue } from "../../api/delivery";
import { useRefusal } from "../../api/session";
import { ApiCall } from "../../kit/code";
import { ActButton, Filter } from "../../kit/field";
import { count, plural } from "../../kit/format";
import { Empty, Loading, Notice, Problem } from "../../kit/page";
import { Table } from "../../kit/table";
import { Ago } from "../../kit/time";
import { link } from "../../kit/url";
import { EntryDrawer, NextReplay } from "./entry";
import { DiscardOrder, ReplayOrder, type Meant } from "./order";
import { QUEUES, REASON_NAMES, filterWords, reasonWords } from "./words";

export interface DlqUrl {
  [name: string]: string;
  queue: string;
  reason: string;
  status: string;
  hostname: string;
  rule_id: string;
  text: string;
  since: string;
  until: string;
  entry: string;
  job: string;
}

const FILTERS = ["reason", "status", "hostname", "rule_id", "text", "since", "until"] as const;

function filterOf(url: DlqUrl): Wanted {
  const filter: Wanted = {};
  if (url.reason) filter.reason = url.reason;
  if (url.status === "none") filter.status = "none";
  else if (/^\d+$/.test(url.status)) filter.status = Number(url.status);
  if (url.hostname) filter.hostname = url.hostname;
  if (/^\d+$/.test(url.rule_id)) filter.rule_id = Number(url.rule_id);
  if (url.text) filter.text = url.text;
  for (const name of ["since", "until"] as const) {
    const at = new Date(url[name]);
    if (url[name] && !Number.isNaN(at.getTime())) filter[name] = at.toISOString();
  }
  return filter;
}

/** How many entries the filter chooses, where the groups or the depth say so. */
function known(queue: Queue | undefined, filter: Wanted): number | undefined {
  if (!queue) return undefined;
  const names = Object.keys(filter);
  if (names.length === 0) return queue.depth;
  if (!queue.complete || names.some((name) => name !== "reason" && name !== "status")) return undefined;
  return queue.groups
    .filter((group) => (!filter.reason || group.reason === filter.reason) && (filter.status === undefined || (group.status ?? "none") === filter.status))
    .reduce((sum, group) => sum + group.count, 0);
}

export function Entries({ queue, url, set, onJob }: { queue: Queue | undefined; url: DlqUrl; set: (some: Partial<DlqUrl>, how?: { push?: boolean }) => void; onJob: (job: Job) => void }) {
  const name = url.queue;
  const filter = useMemo(() => filterOf(url), [url]);
  const [chosen, setChosen] = useState<Set<string>>(new Set());
  const [asking, setAsking] = useState<{ what: "replay" | "discard"; meant: Meant }>();
  const refusal = useRefusal("operator");
  const query = useInfiniteQuery({
    queryKey: ["dlq", name, "entries", filter],
    queryFn: ({ pageParam }) => fetchEntries(name, filter, pageParam || undefined),
    initialPageParam: "",
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });
  const rows = useMemo(() => query.data?.pages.flatMap((page) => page.entries) ?? [], [query.data]);
  const filtered = Object.keys(filter).length > 0;
  const number = query.hasNextPage ? known(queue, filter) : rows.length;
  const byId = useMemo(() => new Map(rows.map((row) => [row.id, row])), [rows]);
  // What has left the queue is not chosen any more.
  useEffect(() => {
    if (query.data && [...chosen].some((id) => !byId.has(id))) setChosen(new Set([...chosen].filter((id) => byId.has(id))));
  }, [query.data, chosen, byId]);
  useEffect(() => setChosen(new Set()), [name, filter]);

  const chosenMeant = (): Meant => ({
    selection: { ids: [...chosen] },
    number: chosen.size,
    sample: [...chosen].slice(0, 3).flatMap((id) => byId.get(id) ?? []),
    filter,
  });
  const allMeant = (): Meant => ({ selection: filtered ? { filter } : { all: true }, number, sample: rows.slice(0, 3), filter });
  const ask = (what: "replay" | "discard") => setAsking({ what, meant: chosen.size > 0 ? chosenMeant() : allMeant() });
  const which = chosen.size > 0 ? `${count(chosen.size)} selected` : number === undefined ? "all matching" : `all ${count(number)} ${filtered ? "matching" : ""}`.trim();
  const done = (job: Job) => {
    setChosen(new Set());
    onJob(job);
  };

  return (
    <>
      <p className="row dlq-path">
        <Link href="/dlq">All groups</Link>
        <span aria-hidden="true">›</span>
        <b>
          {name}
          {url.reason ? ` · ${reasonWords(url.reason)}` : ""}
          {url.status ? ` · ${url.status === "none" ? "no status" : url.status}` : ""}
        </b>
        <span className="quiet">{QUEUES[name]?.about}</span>
      </p>
      {name === "dead" && rows.length > 0 && (
        <div className="dlq-note">
          <Notice tone="warning">
            Poison is what failed again after every automatic replay. Open an entry to see why it stopped; mend the cause first, then replay it, or discard it with a reason.
          </Notice>
        </div>
      )}
      <Filters key={JSON.stringify(FILTERS.map((each) => url[each]))} url={url} set={set} />
      {query.error && !query.data && <Problem error={query.error} retry={() => void query.refetch()} />}
      {query.isPending && <Loading />}
      {query.data && (
        <>
          {query.error && <Notice tone="warning">The newest answer failed: {query.error.message}</Notice>}
          {rows.length > 0 && (
            <div className="row dlq-acts">
              <ActButton refusal={refusal} onClick={() => ask("replay")}>
                Replay {which}…
              </ActButton>
              <ActButton className="danger" refusal={refusal} onClick={() => ask("discard")}>
                Discard {which}…
              </ActButton>
              {chosen.size > 0 && (
                <button type="button" className="button plain" onClick={() => setChosen(new Set())}>
                  Clear the selection
                </button>
              )}
            </div>
          )}
          <div className="wide">
            <Table
              label={`Dead letters of ${name}`}
              rows={rows}
              rowKey={(row) => row.id}
              onOpen={(row) => set({ entry: row.id }, { push: true })}
              selection={{ chosen, set: setChosen }}
              onEnd={() => {
                if (query.hasNextPage && !query.isFetchingNextPage) void query.fetchNextPage();
              }}
              total={number}
              height="max(240px, calc(100vh - 410px))"
              columns={columns(filter, (row) => set({ entry: row.id }, { push: true }))}
              foot={query.hasNextPage ? <span>oldest first; scroll for more</span> : <span>oldest first</span>}
              empty={
                filtered ? (
                  <Empty title="No entry matches this filter">
                    <p>
                      {plural(query.data.pages[0]?.depth ?? 0, "entry lies", "entries lie")} in {name}. The filter is: {filterWords(filter)}.
                    </p>
                    <p>
                      <Link href={link("/dlq", { queue: name })}>Drop the filter</Link>
                    </p>
                  </Empty>
                ) : (
                  <Empty title={`Nothing waits in ${name}`} good>
                    <p>{QUEUES[name]?.about} There are none now.</p>
                    <p>
                      <Link href="/dlq">All groups</Link>
                    </p>
                  </Empty>
                )
              }
            />
          </div>
        </>
      )}
      {url.entry && (
        <EntryDrawer
          key={url.entry}
          queue={name}
          id={url.entry}
          onClose={() => set({ entry: "" })}
          onJob={(job) => {
            set({ entry: "" });
            done(job);
          }}
        />
      )}
      {asking?.what === "replay" && <ReplayOrder queue={name} meant={asking.meant} onClose={() => setAsking(undefined)} onJob={done} />}
      {asking?.what === "discard" && <DiscardOrder queue={name} meant={asking.meant} onClose={() => setAsking(undefined)} onJob={done} />}
      <ApiCall path={address(`/dlq/${encodeURIComponent(name)}`, { ...filter, limit: 100 })} />
    </>
  );
}

function columns(filter: Wanted, open: (row: Entry) => void) {
  const group = filter.reason !== undefined;
  return [
    {
      key: "failed",
      label: "Failed",
      width: "120px",
      cell: (row: Entry) => (
        <button type="button" className="linklike" onClick={() => open(row)} title="Open the entry">
          <Ago at={row.last_failed_at} />
        </button>
      ),
    },
    ...(group
      ? []
      : [{ key: "reason", label: "Reason", width: "160px", cell: (row: Entry) => `${reasonWords(row.reason)}${row.status ? ` · ${row.status}` : ""}` }]),
    { key: "host", label: "Host", width: "140px", cell: (row: Entry) => <bdi title={row.hostname ?? undefined}>{row.hostname ?? "–"}</bdi> },
    {
      key: "what",
      label: "Message",
      cell: (row: Entry) => (
        <bdi className="mono" title={row.detail}>
          {row.summary ?? row.message.slice(0, 500)}
        </bdi>
      ),
    },
    { key: "detail", label: "Failure", width: group ? "20%" : "12%", cell: (row: Entry) => <bdi title={row.detail}>{row.detail}</bdi> },
    { key: "rule", label: "Rule", width: "60px", number: true, cell: (row: Entry) => (row.rule_id != null ? <Link href={`/rules/${row.rule_id}`}>{row.rule_id}</Link> : "–") },
    { key: "attempts", label: "Attempts", width: "80px", number: true, cell: (row: Entry) => row.attempts },
    { key: "replays", label: "Replays", width: "75px", number: true, cell: (row: Entry) => row.replays },
    { key: "next", label: "Next replay", width: "110px", cell: (row: Entry) => <NextReplay entry={row} /> },
  ];
}

/** Typed filters take effect on Enter or by the button; chosen ones at once. */
function Filters({ url, set }: { url: DlqUrl; set: (some: Partial<DlqUrl>) => void }) {
  const [draft, setDraft] = useState(() => Object.fromEntries(FILTERS.map((name) => [name, url[name]])) as Record<(typeof FILTERS)[number], string>);
  const text = (name: (typeof FILTERS)[number], label: string, more: { type?: string; width: number; inputMode?: "numeric" }) => (
    <Filter label={label}>
      <input
        type={more.type ?? "text"}
        inputMode={more.inputMode}
        pattern={more.inputMode ? "[0-9]*" : undefined}
        style={{ width: more.width }}
        value={draft[name]}
        onChange={(event) => setDraft({ ...draft, [name]: event.target.value })}
      />
    </Filter>
  );
  return (
    <form
      className="filters"
      aria-label="Filter of the entries"
      onSubmit={(event) => {
        event.preventDefault();
        set({ ...draft, entry: "" });
      }}
    >
      <Filter label="Reason">
        <select value={draft.reason} onChange={(event) => set({ ...draft, reason: event.target.value })}>
          <option value="">any</option>
          {REASON_NAMES.map((reason) => (
            <option key={reason} value={reason}>
              {reasonWords(reason)}
            </option>
          ))}
        </select>
      </Filter>
      {text("status", "Status", { width: 72, inputMode: "numeric" })}
      {text("hostname", "Host", { width: 130 })}
      {text("rule_id", "Rule", { width: 72, inputMode: "numeric" })}
      {text("text", "Text", { width: 150 })}
      {text("since", "Failed since", { type: "datetime-local", width: 178 })}
      {text("until", "Failed until", { type: "datetime-local", width: 178 })}
      <button type="submit" className="button">
        Filter
      </button>
      {FILTERS.some((name) => url[name]) && (
        <button type="button" className="button plain" onClick={() => set(Object.fromEntries(FILTERS.map((name) => [name, ""])))}>
          Drop the filter
        </button>
      )}
    </form>
  );
}
