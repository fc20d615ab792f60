// One event, as a page and in the panel beside a list: what became of it in words, then its road,
// then what it holds.

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useLocation, useSearch } from "wouter";
import { ApiError, address } from "../../api/client";
import type { LiveEvent } from "../../api/live";
import { ApiCall, CopyButton } from "../../kit/code";
import { Severity } from "../../kit/marks";
import { Empty, Loading, Notice } from "../../kit/page";
import { Answer } from "../../kit/query";
import { Time, useNow } from "../../kit/time";
import { link } from "../../kit/url";
import { usePaused } from "../../pause";
import { Decision } from "./decision";
import { JsonTab, Parsed, PayloadSent, Raw } from "./parts";
import { fetchRoad, useAuditScope, type AuditRow, type Road } from "./shapes";
import { inWords, unsettled } from "./story";
import { fieldsOf, messageOf, resend, stablePart, visible } from "./text";
import { Timeline, roadAsText } from "./timeline";
import "../../styles/events.css";

const TABS = [
  { id: "timeline", label: "Timeline" },
  { id: "parsed", label: "Parsed" },
  { id: "raw", label: "Raw" },
  { id: "payload", label: "Payload sent" },
  { id: "json", label: "JSON" },
] as const;

interface ViewProps {
  id: string;
  /** What a list already knows of it. */
  known?: LiveEvent;
}

export function EventView({ id, known }: ViewProps) {
  const paused = usePaused();
  const query = useQuery({
    queryKey: ["events", "road", id],
    queryFn: () => fetchRoad(id),
    // What is on its way is looked at again; so is what is not on record yet, but not what was refused.
    refetchInterval: ({ state: { data, error } }) => {
      const moves = data ? unsettled(data) : error !== null && !(error instanceof ApiError && error.status === 400);
      return moves && !paused ? 5_000 : false;
    },
  });
  const missing = query.data === undefined && query.error instanceof ApiError && query.error.status === 404;
  return (
    <div className="stack event">
      {missing ? <NoRecord id={id} known={known} /> : <Answer query={query}>{(road) => <Whole road={road} />}</Answer>}
      <ApiCall path={address(`/events/${encodeURIComponent(id)}`)} />
    </div>
  );
}

function Whole({ road }: { road: Road }) {
  const now = useNow();
  const sentence = inWords(road, now);
  const row = road.audit.at(-1);
  return (
    <>
      <Notice tone={sentence.tone}>
        <p className="event-words">{visible(sentence.text)}</p>
      </Notice>
      {row && <Message text={messageOf(row)} />}
      {row && <Facts row={row} id={road.event_id} />}
      <Actions road={road} row={row} sentence={sentence.text} />
      <Parts road={road} row={row} />
    </>
  );
}

/** Long messages show their beginning first. */
function Message({ text }: { text: string }) {
  const [whole, setWhole] = useState(false);
  const most = 600;
  const cut = text.length > most && !whole;
  return (
    <div>
      <pre className="event-message">{visible(cut ? text.slice(0, most) : text)}</pre>
      {text.length > most && (
        <button type="button" className="button small plain" aria-expanded={whole} onClick={() => setWhole(!whole)}>
          {whole ? "Show less" : `Show all ${text.length.toLocaleString("en")} characters`}
        </button>
      )}
    </div>
  );
}

function Facts({ row, id }: { row: AuditRow; id: string }) {
  return (
    <dl className="facts event-facts">
      <dt>Severity</dt>
      <dd>
        <Severity value={row.syslog_severity} />
      </dd>
      <dt>Decision</dt>
      <dd>
        <Decision decided={row.handling_decision} rule={row.matched_rule_id} />
      </dd>
      <dt>Host</dt>
      <dd>
        {visible(row.hostname)} <span className="quiet">({row.environment})</span>
      </dd>
      <dt>Team</dt>
      <dd>{row.team_assignment ?? <span className="quiet">none</span>}</dd>
      <dt>Event time</dt>
      <dd>
        <Time at={row.event_timestamp} precision="milli" />
      </dd>
      <dt>Event ID</dt>
      <dd>
        <code>{id}</code>
      </dd>
      <dt>Correlation ID</dt>
      <dd>
        <Link href={link("/events", { correlation_id: row.correlation_id })}>
          <code>{visible(row.correlation_id)}</code>
        </Link>
      </dd>
    </dl>
  );
}

const MINUTES_AROUND = 5;

function Actions({ road, row, sentence }: { road: Road; row?: AuditRow; sentence: string }) {
  const around = row && {
    start: new Date(new Date(row.event_timestamp).getTime() - MINUTES_AROUND * 60_000).toISOString(),
    end: new Date(new Date(row.event_timestamp).getTime() + MINUTES_AROUND * 60_000).toISOString(),
  };
  return (
    <div className="row" role="group" aria-label="Actions">
      {row?.matched_rule_id != null && (
        <Link className="button small" href={link(`/rules/${row.matched_rule_id}`, { from: road.event_id })}>
          Open rule {row.matched_rule_id}
        </Link>
      )}
      {row && (
        <Link className="button small" href={link("/rules/new", { from: road.event_id, match: stablePart(messageOf(row)) })}>
          Make a rule from this
        </Link>
      )}
      {row && around && (
        <>
          <Link className="button small" href={link("/events", { hostname: row.hostname, ...around })}>
            Same host ± {MINUTES_AROUND} min
          </Link>
          {row.matched_rule_id != null && (
            <Link className="button small" href={link("/events", { rule_id: row.matched_rule_id, ...around })}>
              Same rule ± {MINUTES_AROUND} min
            </Link>
          )}
        </>
      )}
      <CopyButton text={roadAsText(road, sentence)} label="Copy for a ticket" />
      {row && <CopyButton text={resend(fieldsOf(row))} label="Copy as curl to re-send" />}
    </div>
  );
}

function Parts({ road, row }: { road: Road; row?: AuditRow }) {
  const search = useSearch();
  const [path] = useLocation();
  const wanted = new URLSearchParams(search).get("tab");
  const chosen = TABS.find((tab) => tab.id === wanted)?.id ?? "timeline";
  const to = (tab: string) => {
    const query = new URLSearchParams(search);
    if (tab === "timeline") query.delete("tab");
    else query.set("tab", tab);
    const text = query.toString();
    return text ? `${path}?${text}` : path;
  };
  return (
    <div>
      <nav className="tabs" aria-label="Parts of the event">
        {TABS.map((tab) => (
          <Link key={tab.id} href={to(tab.id)} replace aria-current={tab.id === chosen ? "page" : undefined}>
            {tab.label}
          </Link>
        ))}
      </nav>
      {chosen === "timeline" && <Timeline road={road} />}
      {chosen === "parsed" && <Parsed row={row} />}
      {chosen === "raw" && <Raw row={row} />}
      {chosen === "payload" && <PayloadSent road={road} row={row} />}
      {chosen === "json" && <JsonTab road={road} />}
    </div>
  );
}

/** Nothing is on record: why that may be, and what was seen of it elsewhere. */
function NoRecord({ id, known }: ViewProps) {
  const scope = useAuditScope();
  if (scope === undefined && !known) return <Loading />;
  return (
    <>
      {known && (
        <>
          <Notice tone="info">
            <p className="event-words">
              {known.handling === "Unhandled"
                ? scope === "matched"
                  ? "No rule matched it. Nothing was sent, and no record of it is kept."
                  : "No rule matched it. Nothing was sent."
                : "It was decided a moment ago; its record is not there yet."}
            </p>
          </Notice>
          <Message text={known.message} />
          <dl className="facts event-facts">
            <dt>Severity</dt>
            <dd>
              <Severity value={known.severity} />
            </dd>
            <dt>Decision</dt>
            <dd>
              <Decision decided={known.handling} rule={known.rule_id} />
            </dd>
            <dt>Host</dt>
            <dd>
              {visible(known.hostname)} <span className="quiet">({known.environment})</span>
            </dd>
            <dt>Received</dt>
            <dd>
              <Time at={known.received_at} precision="milli" />
              {known.source ? ` by ${known.source}` : ""}
            </dd>
            <dt>Event ID</dt>
            <dd>
              <code>{id}</code>
            </dd>
          </dl>
          <div className="row" role="group" aria-label="Actions">
            <Link className="button small" href={link("/rules/new", { from: id, match: stablePart(known.message) })}>
              Make a rule from this
            </Link>
            <Link className="button small" href={link("/events", { hostname: known.hostname })}>
              Events of this host
            </Link>
            <Link className="button small" href={link("/unhandled", { text: stablePart(known.message) })}>
              Unhandled
            </Link>
          </div>
          {known.handling === "Unhandled" && scope === "matched" && (
            <p className="quiet">
              <code>AUDIT_SCOPE=matched</code>: events that no rule matched are counted under <Link href="/unhandled">Unhandled</Link> and not kept one by one. With{" "}
              <code>all</code> they would be.
            </p>
          )}
        </>
      )}
      {!known && (
        <Empty title="Nothing is on record of this event">
          <p>
            {scope === "matched"
              ? "Either no rule matched it (unhandled events are not kept one by one: AUDIT_SCOPE=matched), or it is not decided yet, or its record is older than the retention, or it never came."
              : "Either it is not decided yet, or its record is older than the retention, or it never came."}
          </p>
          <p>
            <code>{visible(id)}</code>
          </p>
          <p>
            <Link href={link("/events", { correlation_id: id })}>Search for it as a correlation ID</Link> · <Link href="/unhandled">Unhandled</Link> · <Link href="/dlq">Dead letters</Link>
          </p>
        </Empty>
      )}
    </>
  );
}
