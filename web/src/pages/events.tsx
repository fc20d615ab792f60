// Events: search of the audit trail. The whole search is in the address.

import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useId, type ReactNode } from "react";
import { Link } from "wouter";
import { address } from "../api/client";
import { ApiCall } from "../kit/code";
import { count } from "../kit/format";
import { Chip, Severity } from "../kit/marks";
import { Empty, Loading, Page, Problem } from "../kit/page";
import { Table, type Column } from "../kit/table";
import { Time } from "../kit/time";
import { toast, toastError } from "../kit/toast";
import { link } from "../kit/url";
import { usePrefs } from "../prefs";
import { Decision } from "./event/decision";
import { EventDrawer } from "./event/drawer";
import { ChosenFilter, DECISIONS, ENVIRONMENTS, FilterBar, RuleFilter, SEVERITY_IS, SOURCES, TypedFilter } from "./event/filters";
import { useAuditScope, type AuditRow } from "./event/shapes";
import { clockIsOff } from "./event/story";
import { messageOf, oneLine } from "./event/text";
import { NAMES, NO_FILTER, filterInWords, parameters, useEvents, useEventsState, useWithout, type Filters, type Search } from "./events/search";
import { RANGES, fromInput, isRelative, moment, toInput, whenInWords } from "./events/when";
import { useNarrow } from "./tail/list";
import "../styles/events.css";

const COLUMNS: Column<AuditRow>[] = [
  {
    key: "time",
    label: "Event time",
    width: "146px",
    cell: (row) => {
      const off = clockIsOff(row);
      return (
        <>
          <Time at={row.event_timestamp} />
          {off && (
            <span className="clock-off" title={off}>
              {" "}
              ≠<span className="sr">{off}</span>
            </span>
          )}
        </>
      );
    },
  },
  { key: "severity", label: "Severity", width: "98px", cell: (row) => <Severity value={row.syslog_severity} /> },
  {
    key: "host",
    label: "Host",
    width: "140px",
    cell: (row) => (
      <>
        {oneLine(row.hostname, 100)}
        {row.environment === "development" && <span className="quiet"> dev</span>}
      </>
    ),
  },
  { key: "message", label: "Message", cell: (row) => <span className="mono">{oneLine(messageOf(row))}</span> },
  { key: "decision", label: "Decision", width: "194px", cell: (row) => <Decision decided={row.handling_decision} rule={row.matched_rule_id} /> },
  { key: "team", label: "Team", width: "92px", cell: (row) => (row.team_assignment ? oneLine(row.team_assignment, 60) : <span className="quiet">–</span>) },
];

const NARROW: Column<AuditRow>[] = [
  {
    key: "event",
    label: "Events",
    cell: (row) => (
      <div className="two-lines">
        <span>
          <Time at={row.event_timestamp} /> <Severity value={row.syslog_severity} /> <b>{oneLine(row.hostname, 100)}</b>
        </span>
        <span>
          <Decision decided={row.handling_decision} rule={row.matched_rule_id} /> <span className="mono">{oneLine(messageOf(row), 200)}</span>
        </span>
      </div>
    ),
  },
];

const rowKey = (row: AuditRow) => String(row.id);

export default function EventsPage() {
  const [state, set] = useEventsState();
  const { query, rows, newer, newerMore } = useEvents(state);
  const client = useQueryClient();
  const narrow = useNarrow();
  const chosen = NAMES.filter((name) => state[name]);
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = query;
  const onEnd = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);
  const reload = () => {
    void client.removeQueries({ queryKey: ["events", "newer"] });
    void client.resetQueries({ queryKey: ["events", "search"] });
  };
  const clear = () => set(NO_FILTER);
  const exported = (format: string) => address("/audit-logs/export", { ...parameters(state), format });
  const step = (by: 1 | -1) => {
    const at = rows.findIndex((row) => row.event_id === state.event);
    const row = at < 0 ? undefined : rows[at + by];
    if (row) set({ event: row.event_id });
    else toast("There is no further row.", "info");
  };

  return (
    <Page
      title="Events"
      about={<Scope />}
      actions={
        <>
          <button type="button" className="button small" onClick={() => copyExact(state)}>
            Copy link
          </button>
          <a className="button small" href={exported("csv")} download>
            Export CSV
          </a>
          <a className="button small" href={exported("ndjson")} download>
            Export NDJSON
          </a>
        </>
      }
    >
      <FilterBar set={chosen.length} clear={clear} narrow={narrow}>
        <When state={state} set={set} />
        <TypedFilter label="Text" value={state.text} set={(text) => set({ text })} placeholder="anywhere in the event" width="190px" />
        <TypedFilter label="Host" value={state.hostname} set={(hostname) => set({ hostname })} placeholder="whole name" />
        <ChosenFilter label="Severity" value={state.severity} set={(severity) => set({ severity })} options={SEVERITY_IS} />
        <ChosenFilter label="Source" value={state.source} set={(source) => set({ source })} options={SOURCES} />
        <ChosenFilter label="Decision" value={state.handling} set={(handling) => set({ handling })} options={DECISIONS} />
        <ChosenFilter label="Environment" value={state.environment} set={(environment) => set({ environment })} options={ENVIRONMENTS} />
        <RuleFilter value={state.rule_id} set={(rule_id) => set({ rule_id })} />
        <TypedFilter label="Team" value={state.team} set={(team) => set({ team })} placeholder="whole name" width="110px" />
        <TypedFilter label="Correlation ID" value={state.correlation_id} set={(correlation_id) => set({ correlation_id })} width="150px" />
        <TypedFilter label="Event ID" value={state.event_id} set={(event_id) => set({ event_id })} width="150px" />
      </FilterBar>
      <div className="events-head" role="status">
        {newer > 0 && (
          <button type="button" className="button small primary" onClick={reload}>
            ↑ {newerMore ? `${newer}+` : count(newer)} newer
          </button>
        )}
        {query.isPlaceholderData && <span className="soft">Searching…</span>}
      </div>
      {query.error && (rows.length === 0 || query.isPlaceholderData || query.isFetchNextPageError) && <Problem error={query.error} retry={() => void (query.isFetchNextPageError ? fetchNextPage() : query.refetch())} />}
      {query.isPending ? (
        <Loading what="Searching" />
      ) : (
        !(query.error && rows.length === 0) && (
          <Table
            label="Events, newest first"
            columns={narrow ? NARROW : COLUMNS}
            rows={rows}
            rowKey={rowKey}
            rowHeight={narrow ? 48 : 28}
            onOpen={(row) => set({ event: row.event_id }, { push: true })}
            onEnd={onEnd}
            height="max(240px, calc(100vh - 350px))"
            foot={<span>{isFetchingNextPage ? "Loading older ones…" : hasNextPage ? "more when you scroll down" : `all that match ${whenInWords(state.start, state.end)}`}</span>}
            empty={<NoneFound state={state} set={set} />}
          />
        )
      )}
      {state.event && <EventDrawer id={state.event} onClose={() => set({ event: "", tab: "" })} onStep={step} />}
      <ApiCall path={address("/audit-logs", parameters(state))} />
    </Page>
  );
}

/** What is kept at all. */
function Scope(): ReactNode {
  const scope = useAuditScope();
  if (scope === "matched") {
    return (
      <>
        The audit trail of events that a rule matched, newest first. Those that no rule matched are not kept one by one (<code>AUDIT_SCOPE=matched</code>): see{" "}
        <Link href="/unhandled">Unhandled</Link>.
      </>
    );
  }
  return "The audit trail of all events, newest first.";
}

type Set = (some: Partial<Search>) => void;

function When({ state, set }: { state: Search; set: Set }) {
  const utc = usePrefs().zone === "utc";
  const quick = !state.end && RANGES.some(([start]) => start === state.start);
  const zone = utc ? "UTC" : "local";
  const id = useId();
  return (
    <>
      <ChosenFilter
        label="Time"
        value={quick ? state.start || "any" : "exact"}
        set={(value) => {
          if (value !== "exact") set({ start: value === "any" ? "" : value, end: "" });
          else set({ start: moment(state.start || "-24h") ?? "", end: new Date().toISOString() });
        }}
        options={[...RANGES.filter(([start]) => start).map(([start, label]): [string, string] => [start, label]), ["any", "any time"], ["exact", "from … to …"]]}
      />
      {!quick && (
        <>
          <div className="filter">
            <label htmlFor={`${id}-from`}>From ({zone})</label>
            {isRelative(state.start) ? (
              <input id={`${id}-from`} value={`${state.start.slice(1)} before now`} readOnly />
            ) : (
              <input id={`${id}-from`} type="datetime-local" step="1" value={toInput(state.start, utc)} onChange={(event) => set({ start: fromInput(event.target.value, utc) })} />
            )}
          </div>
          <div className="filter">
            <label htmlFor={`${id}-to`}>To ({zone})</label>
            <input id={`${id}-to`} type="datetime-local" step="1" value={toInput(moment(state.end) ?? "", utc)} onChange={(event) => set({ end: fromInput(event.target.value, utc) })} />
          </div>
        </>
      )}
    </>
  );
}

/** A link shows others what is shown here: its times are exact. */
function copyExact(state: Search) {
  const { start, end, ...filters } = state as Search & { event?: string; tab?: string };
  const url = link(`${location.origin}/events`, { ...filters, start: moment(start), end: moment(end) ?? new Date().toISOString() });
  navigator.clipboard.writeText(url).then(() => toast("Copied, with exact times."), toastError);
}

/** Nothing matches: what is set, and what would be found without it. */
function NoneFound({ state, set }: { state: Search; set: (some: Partial<Search>) => void }) {
  const without = useWithout(state, true);
  const helpful = without.filter((each) => each.finds);
  const filters = without.filter((each) => each.name !== "time");
  const words = (name: keyof Filters | "time") => (name === "time" ? "Any time" : `Drop: ${filterInWords(name, state[name])}`);
  const drop = (name: keyof Filters | "time") => set(name === "time" ? { start: "", end: "" } : { [name]: "" });
  const unhandled = state.handling === "Unhandled";
  return (
    <Empty title={filters.length > 0 ? `No event that came ${whenInWords(state.start, state.end)} matches` : `No event is on record ${whenInWords(state.start, state.end)}`}>
      {unhandled && <UnhandledKept />}
      {without.length > 0 && (
        <>
          <p>{helpful.length > 0 ? "Without the marked filter there are some." : "Take a filter away:"}</p>
          <div className="row">
            {without.map(({ name, finds }) => (
              <button key={name} type="button" className={`button small${finds ? " primary" : ""}`} onClick={() => drop(name)}>
                {words(name)}
                {finds && <Chip shape={false}>finds some</Chip>}
              </button>
            ))}
            {filters.length > 1 && (
              <button type="button" className="button small" onClick={() => set(NO_FILTER)}>
                Clear all filters
              </button>
            )}
          </div>
        </>
      )}
      <p className="quiet">
        What no rule matched is under <Link href="/unhandled">Unhandled</Link>; what arrives at this moment in the <Link href="/tail">Live tail</Link>.
      </p>
    </Empty>
  );
}

function UnhandledKept() {
  const scope = useAuditScope();
  if (scope !== "matched") return null;
  return (
    <p>
      Unhandled events are not kept one by one while <code>AUDIT_SCOPE</code> is <code>matched</code>.
    </p>
  );
}
