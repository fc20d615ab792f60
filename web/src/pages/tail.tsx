// Live tail: is my device arriving, and what happens to what it says?

import { useCallback, useEffect, useState } from "react";
import { address } from "../api/client";
import { useConnection, type LiveEvent } from "../api/live";
import { ApiCall, Code, CopyButton } from "../kit/code";
import { count, handling, rate, severityWord, span } from "../kit/format";
import { Empty, Notice, Page } from "../kit/page";
import { useNow } from "../kit/time";
import { toast } from "../kit/toast";
import { useUrlState } from "../kit/url";
import { setPaused, usePaused } from "../pause";
import { EventDrawer } from "./event/drawer";
import { ChosenFilter, DECISIONS, ENVIRONMENTS, FilterBar, RuleFilter, SEVERITY_OR_WORSE, SOURCES, TypedFilter } from "./event/filters";
import { oneLine, stablePart } from "./event/text";
import { TailList, useNarrow, type ColumnName, type Cursor } from "./tail/list";
import { useTail, type Tail } from "./tail/use-tail";
import "../styles/events.css";

const FILTERS = { text: "", hostname: "", severity: "", source: "", handling: "", environment: "", rule_id: "" };
const DEFAULTS = { ...FILTERS, event: "", tab: "" };
type Filters = typeof FILTERS;

/** As the server reads it; always in the same order, so that tabs with the same filter share one. */
function asQuery(state: Filters): string {
  const query = new URLSearchParams();
  for (const name of Object.keys(FILTERS) as (keyof Filters)[]) if (state[name]) query.set(name, state[name]);
  return query.toString();
}

function inWords(name: keyof Filters, value: string): string {
  switch (name) {
    case "text":
      return `contains “${oneLine(value, 40)}”`;
    case "hostname":
      return `host ${oneLine(value, 40)}`;
    case "severity":
      return `${severityWord(Number(value))} or worse`;
    case "handling":
      return handling(value);
    case "rule_id":
      return `rule ${oneLine(value, 20)}`;
    default:
      return oneLine(value, 40);
  }
}

export default function TailPage() {
  const [state, set] = useUrlState(DEFAULTS);
  const filter = asQuery(state);
  const narrow = useNarrow();
  const paused = usePaused();
  const connection = useConnection();
  const [follow, setFollow] = useState(true);
  const [cursor, setCursor] = useState<Cursor>();
  const selecting = useSelecting();
  const [opened, setOpened] = useState<LiveEvent>();
  const why = paused
    ? "Everything is paused."
    : state.event
      ? "Held while an event is open."
      : selecting
        ? "Held while text is selected."
        : cursor
          ? "Held while a row is chosen."
          : follow
            ? ""
            : "Held while you look further up.";
  const tail = useTail(filter, why !== "");
  const chosen = (Object.keys(FILTERS) as (keyof Filters)[]).filter((name) => state[name]);

  const resume = () => {
    getSelection()?.removeAllRanges();
    setCursor(undefined);
    setFollow(true);
    if (paused) setPaused(false);
  };
  const open = useCallback(
    (event: LiveEvent) => {
      setOpened(event);
      set({ event: event.event_id }, { push: true });
    },
    [set],
  );
  const only = (column: ColumnName, event: LiveEvent) => {
    const some = wanted(column, event);
    if (!some) {
      toast("There is no filter for this cell.", "info");
      return;
    }
    setCursor(undefined);
    setFollow(true);
    set(some, { push: true });
  };
  const step = (by: 1 | -1) => {
    const at = tail.rows.findIndex((row) => row.kind === "event" && row.event.event_id === state.event);
    const further = by > 0 ? tail.rows.slice(at + 1) : tail.rows.slice(0, Math.max(0, at)).toReversed();
    const row = at < 0 ? undefined : further.find((each) => each.kind === "event");
    if (!row) {
      toast("There is no further row.", "info");
      return;
    }
    setOpened(row.event);
    setCursor({ row: row.key, column: 4 });
    set({ event: row.event.event_id });
  };

  return (
    <Page
      title="Live tail"
      about="What is decided at this moment, oldest first. Filters run in the server; at most about 50 rows a second are shown."
      actions={<CopyButton text={location.href} label="Copy link" />}
    >
      <FilterBar set={chosen.length} clear={() => set(FILTERS)} narrow={narrow}>
        <TypedFilter label="Text" value={state.text} set={(text) => set({ text })} placeholder="in the message" width="190px" />
        <TypedFilter label="Host" value={state.hostname} set={(hostname) => set({ hostname })} placeholder="whole name" />
        <ChosenFilter label="Severity" value={state.severity} set={(severity) => set({ severity })} options={SEVERITY_OR_WORSE} />
        <ChosenFilter label="Source" value={state.source} set={(source) => set({ source })} options={SOURCES} />
        <ChosenFilter label="Decision" value={state.handling} set={(handling) => set({ handling })} options={DECISIONS} />
        <ChosenFilter label="Environment" value={state.environment} set={(environment) => set({ environment })} options={ENVIRONMENTS} />
        <RuleFilter value={state.rule_id} set={(rule_id) => set({ rule_id })} />
      </FilterBar>
      <div className="tail-head">
        <span className="tail-rate">{connection.connected ? rateText(tail, chosen.length > 0) : "Not connected"}</span>
        {why && (
          <>
            <span className="soft">{why}</span>
            <button type="button" className="button small primary" onClick={resume}>
              {tail.waiting > 0 ? `↓ ${count(tail.waiting)} new` : "Go on"}
            </button>
          </>
        )}
      </div>
      <Trouble />
      {tail.refused && <Notice tone="warning">This filter shows nothing: {tail.refused}.</Notice>}
      {tail.rows.length > 0 ? (
        <TailList
          rows={tail.rows}
          follow={follow && why === ""}
          onFollow={setFollow}
          cursor={cursor}
          setCursor={setCursor}
          onOpen={open}
          onFilter={only}
          narrow={narrow}
        />
      ) : (
        <Nothing tail={tail} chosen={chosen} state={state} drop={(name) => set({ [name]: "" })} />
      )}
      <div className="table-foot">
        <span role="status" aria-live="polite">
          {tail.said}
        </span>
        <span className="tail-keys">
          <kbd>Enter</kbd> opens, <kbd>f</kbd> filters for the cell, <kbd>End</kbd> goes on
        </span>
      </div>
      {state.event && (
        <EventDrawer
          id={state.event}
          known={opened?.event_id === state.event ? opened : undefined}
          onClose={() => set({ event: "", tab: "" })}
          onStep={step}
        />
      )}
      <ApiCall path={address(`/events/stream${filter && `?${filter}`}`)} />
    </Page>
  );
}

const whole = (value: number) => (value < 10 ? rate(Math.round(value * 10) / 10) : count(value));

/** "Showing 50 of 9,840/s" */
function rateText({ heard, rates }: Tail, filtered: boolean): string {
  if (!heard) return "Listening…";
  const about = rates.about ? "about " : "";
  const first = rates.matched - rates.shown < 0.1 ? `Showing all ${whole(rates.matched)}/s` : `Showing ${whole(rates.shown)} of ${about}${whole(rates.matched)}/s`;
  return filtered ? `${first} that match; ${whole(rates.total)}/s in all` : first;
}

function wanted(column: ColumnName, event: LiveEvent): Partial<Filters> | undefined {
  switch (column) {
    case "source":
      return event.source ? { source: event.source } : undefined;
    case "severity":
      return event.severity == null ? undefined : { severity: String(event.severity) };
    case "host":
      return { hostname: event.hostname };
    case "message":
      return { text: stablePart(event.message) };
    case "decision":
      return event.rule_id == null ? { handling: event.handling } : { rule_id: String(event.rule_id) };
    default:
      return undefined;
  }
}

/** Whether text of the tail is selected, or is about to be: nothing may move under a pressed pointer. */
function useSelecting(): boolean {
  const [selecting, setSelecting] = useState(false);
  const [pressing, setPressing] = useState(false);
  useEffect(() => {
    const inTail = (node: unknown) => node instanceof Node && (node instanceof Element ? node : node.parentElement)?.closest(".tail td") != null;
    const onChange = () => {
      const selection = getSelection();
      setSelecting(selection !== null && !selection.isCollapsed && inTail(selection.anchorNode));
    };
    const onDown = (event: PointerEvent) => setPressing(event.pointerType === "mouse" && inTail(event.target));
    const onUp = () => setPressing(false);
    document.addEventListener("selectionchange", onChange);
    document.addEventListener("pointerdown", onDown);
    document.addEventListener("pointerup", onUp);
    document.addEventListener("pointercancel", onUp);
    return () => {
      document.removeEventListener("selectionchange", onChange);
      document.removeEventListener("pointerdown", onDown);
      document.removeEventListener("pointerup", onUp);
      document.removeEventListener("pointercancel", onUp);
    };
  }, []);
  return selecting || pressing;
}

/** The stream is away. */
function Trouble() {
  const connection = useConnection();
  const now = useNow();
  if (connection.connected || now - connection.since < 3_000) return null;
  return (
    <div className="tail-trouble">
      <Notice tone="warning">
        No stream from MUTT for {span(Math.floor((now - connection.since) / 1000))}. It is tried again by itself; what is below is old.
      </Notice>
    </div>
  );
}

interface NothingProps {
  tail: Tail;
  chosen: (keyof Filters)[];
  state: Filters;
  drop: (name: keyof Filters) => void;
}

/** Nothing came yet: whether that is the filter's doing, and how to send something. */
function Nothing({ tail, chosen, state, drop }: NothingProps) {
  if (!tail.heard && chosen.length === 0) {
    const host = location.hostname;
    return (
      <Empty title="Waiting for the next event">
        <p>Nothing was decided since this page was opened. Each event appears here within a second. To send one (the usual ports):</p>
        <div className="commands">
          <Code text={`logger -n ${host} -P 5514 -d -p local7.err 'LINK-DOWN test from '"$HOSTNAME"`} label="Send by syslog" />
          <Code text={`curl -s -H "X-API-KEY: $INGEST_KEY" http://${host}:8080/api/v2/ingest -d '{"hostname": "test-1", "message": "LINK-DOWN test"}'`} label="Send by HTTP" />
        </div>
      </Empty>
    );
  }
  return (
    <Empty title={chosen.length > 0 ? "Nothing that matches came yet" : "Waiting for the next event"}>
      {chosen.length > 0 && (
        <>
          <p>
            {tail.heard && tail.rates.total >= 0.5
              ? `${count(Math.round(tail.rates.total))} events a second are decided, and none of them matches.`
              : "Events are shown as soon as one matches."}{" "}
            Filters that are set:
          </p>
          <div className="row">
            {chosen.map((name) => (
              <button key={name} type="button" className="button small" onClick={() => drop(name)}>
                Drop: {inWords(name, state[name])}
              </button>
            ))}
          </div>
        </>
      )}
    </Empty>
  );
}
