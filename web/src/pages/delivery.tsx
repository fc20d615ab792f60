// Delivery: whether alerts reach the sink now, and why not where they do not.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { delivery, testDelivery, type Sink } from "../api/delivery";
import { useStatus } from "../api/live";
import { useRefusal } from "../api/session";
import { ApiCall } from "../kit/code";
import { Confirm } from "../kit/dialog";
import { ActButton } from "../kit/field";
import { count, percent, plural, rate, span } from "../kit/format";
import { Chip, Meter, type Tone } from "../kit/marks";
import { Card, Empty, Notice, Page } from "../kit/page";
import { Answer } from "../kit/query";
import { Table } from "../kit/table";
import { Ago, Time, useNow } from "../kit/time";
import { link, useUrlState } from "../kit/url";
import { usePaused } from "../pause";
import "../styles/dlq.css";

export default function Delivery() {
  const paused = usePaused();
  const refusal = useRefusal("operator");
  const status = useStatus();
  const client = useQueryClient();
  const [url, set] = useUrlState({ test: "" });
  const [asking, setAsking] = useState(false);
  const query = useQuery({ queryKey: ["delivery"], queryFn: delivery, refetchInterval: paused ? false : 5_000 });
  const noSink = status?.value.attention?.find((item) => item.code === "no_sink");
  return (
    <Page
      title="Delivery"
      about="Alerts on their way to the sink. Each is tried until it is taken; what is refused or fails too often becomes a dead letter."
      actions={
        <ActButton refusal={refusal ?? (query.data?.sinks.length === 0 ? "No sink is set." : undefined)} onClick={() => setAsking(true)}>
          Test delivery…
        </ActButton>
      }
    >
      <div className="stack">
        {noSink && (
          <Notice tone={noSink.severity}>
            <b>{noSink.title}</b> {noSink.detail}
          </Notice>
        )}
        {url.test && (
          <Notice tone="info">
            A test alert is on its way. <Link href={`/events/${encodeURIComponent(url.test)}`}>Follow the test event</Link>: its timeline shows each attempt.{" "}
            <button type="button" className="button small" onClick={() => set({ test: "" })}>
              Dismiss
            </button>
          </Notice>
        )}
        <Answer query={query}>
          {({ sinks }) =>
            sinks.length === 0 ? (
              <Empty title="No sink is set">
                <p>
                  Alerts wait in the alert queue until there is one. Set <code>MOOG_WEBHOOK_URL</code> and restart the forwarder.
                </p>
              </Empty>
            ) : (
              sinks.map((sink) => <SinkView key={sink.sink} sink={sink} />)
            )
          }
        </Answer>
      </div>
      {asking && (
        <Confirm
          title="Send a test alert"
          action="Send the test alert"
          reason="optional"
          onClose={() => setAsking(false)}
          onConfirm={async (reason) => {
            const { event_id } = await testDelivery(reason || undefined);
            set({ test: event_id });
            void client.invalidateQueries({ queryKey: ["delivery"] });
          }}
        >
          <p>One alert that is marked as a test goes through the alert queue to the sink, by the same road as every other. Whoever watches the sink sees it.</p>
          {query.data?.sinks.some((sink) => sink.circuit.state === "open") && <Notice tone="warning">The circuit is open: the test alert waits until it closes.</Notice>}
        </Confirm>
      )}
      <ApiCall path="/api/v2/delivery" />
    </Page>
  );
}

const CIRCUIT: Record<Sink["circuit"]["state"], { tone: Tone; word: string }> = {
  closed: { tone: "ok", word: "closed" },
  half_open: { tone: "warning", word: "half open" },
  open: { tone: "critical", word: "open" },
};

function Circuit({ sink }: { sink: Sink }) {
  const now = useNow();
  const { state, failures, opened_at, next_probe_at, why } = sink.circuit;
  const { tone, word } = CIRCUIT[state] ?? { tone: "neutral", word: state };
  const wait = next_probe_at ? (new Date(next_probe_at).getTime() - now) / 1000 : undefined;
  return (
    <Card title="Circuit" aside={<Link href={link("/config", { text: "circuit" })}>Settings</Link>}>
      <div className="stack tight">
        <p className="row">
          <Chip tone={tone}>{word}</Chip>
          <b>
            {state === "closed" && (failures > 0 ? `Alerts go out. The last ${plural(failures, "attempt")} failed.` : "Alerts go out.")}
            {state === "open" && "Nothing goes out; alerts wait."}
            {state === "half_open" && "One probe is out; its answer decides."}
          </b>
        </p>
        {state !== "closed" && (
          <dl className="facts">
            {why && (
              <>
                <dt>Why</dt>
                <dd>
                  {plural(failures, "failure")} in a row, the last: <bdi>{why}</bdi>
                </dd>
              </>
            )}
            {opened_at && (
              <>
                <dt>Open since</dt>
                <dd>
                  <Time at={opened_at} /> (<Ago at={opened_at} />)
                </dd>
              </>
            )}
            {wait !== undefined && (
              <>
                <dt>Next probe</dt>
                <dd className="num-time">{wait > 0 ? <>in {span(Math.ceil(wait))}</> : "with the next alert"}</dd>
              </>
            )}
          </dl>
        )}
        {state === "closed" && failures > 0 && why && (
          <p className="soft">
            The last error: <bdi>{why}</bdi>
          </p>
        )}
      </div>
    </Card>
  );
}

function SinkView({ sink }: { sink: Sink }) {
  const limit = sink.rate;
  return (
    <section className="stack" aria-label={`Sink ${sink.sink}`}>
      <div className="grid level" style={{ "--min": "280px" } as React.CSSProperties}>
        <Circuit sink={sink} />
        <Card title="Rate" aside={<Link href={link("/config", { text: "moog_rate" })}>Settings</Link>}>
          {limit ? (
            <div className="stack tight">
              <p className="figure">
                <b>
                  {count(limit.used)} of {count(limit.limit)}
                </b>
                <span>requests in {span(limit.period_s)}, over all pods</span>
              </p>
              <Meter share={limit.limit ? limit.used / limit.limit : 0} label="Share of the rate limit that is used" />
            </div>
          ) : (
            <p className="quiet">No limit is known.</p>
          )}
        </Card>
        <Card title="On the way">
          <div className="row dlq-figures">
            <p className="figure">
              <b>{count(sink.waiting)}</b>
              <span>wait in the alert queue</span>
            </p>
            <p className="figure">
              <b>{count(sink.retrying)}</b>
              <span>wait for a retry</span>
            </p>
          </div>
        </Card>
      </div>
      <Card title="Success and latency" aside={<>sink {sink.sink}</>}>
        {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
        <div className="dlq-scroll" tabIndex={0} role="region" aria-label="Success and latency">
          <table className="simple">
            <thead>
              <tr>
                <th scope="col">Window</th>
                <th scope="col" className="num">
                  Attempts
                </th>
                <th scope="col" className="num">
                  Delivered
                </th>
                <th scope="col" className="num">
                  Success
                </th>
                <th scope="col" className="num">
                  Half within
                </th>
                <th scope="col" className="num">
                  95 % within
                </th>
              </tr>
            </thead>
            <tbody>
              {sink.windows.map((window) => (
                <tr key={window.minutes}>
                  <th scope="row">
                    last {span(window.minutes * 60)}
                    {!window.complete && <span className="quiet"> (counted for a part of it)</span>}
                  </th>
                  <td className="num">{count(window.attempts)}</td>
                  <td className="num">{count(window.delivered)}</td>
                  <td className="num">{window.attempts === 0 ? <span className="quiet">no attempts</span> : percent(window.success)}</td>
                  <td className="num">{window.p50_ms == null ? "–" : `${rate(window.p50_ms)} ms`}</td>
                  <td className="num">{window.p95_ms == null ? "–" : `${rate(window.p95_ms)} ms`}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Card>
      <Card title="Errors" aside="grouped by what they say">
        <div className="wide">
          <Table
            label="Errors of delivery"
            rows={sink.errors}
            rowKey={(row) => `${row.status ?? ""} ${row.error}`}
            height="300px"
            columns={[
              { key: "status", label: "Status", width: "80px", number: true, cell: (row) => row.status ?? "–" },
              { key: "count", label: "Attempts", width: "90px", number: true, cell: (row) => count(row.count) },
              { key: "last", label: "Last", width: "120px", cell: (row) => <Ago at={row.last_at} /> },
              { key: "error", label: "Error", cell: (row) => <bdi title={row.error}>{row.error}</bdi> },
              {
                key: "event",
                label: "Example",
                width: "110px",
                cell: (row) => (row.event_id ? <Link href={`/events/${encodeURIComponent(row.event_id)}`}>Timeline</Link> : "–"),
              },
            ]}
            empty={
              <Empty title="No failed attempt" good>
                <p>
                  Every attempt that is on record was taken. What failed for good is under <Link href={link("/dlq", { queue: sink.sink })}>Dead letters</Link>.
                </p>
              </Empty>
            }
          />
        </div>
      </Card>
      <Card title="Retry queue" aside={sink.retrying > sink.retries.length ? `the next ${sink.retries.length} of ${count(sink.retrying)}` : undefined}>
        <div className="wide">
          <Table
            label="Retry queue"
            rows={sink.retries}
            rowKey={(row) => `${row.event_id ?? ""} ${row.due} ${row.attempts} ${row.hostname ?? ""}`}
            height="400px"
            columns={[
              { key: "due", label: "Due", width: "110px", cell: (row) => <Ago at={row.due} /> },
              { key: "attempts", label: "Attempts", width: "85px", number: true, cell: (row) => count(row.attempts) },
              { key: "host", label: "Host", width: "170px", cell: (row) => <bdi title={row.hostname ?? undefined}>{row.hostname ?? "–"}</bdi> },
              {
                key: "summary",
                label: "Message",
                cell: (row) => (
                  <bdi className="mono" title={row.summary ?? undefined}>
                    {row.summary ?? "–"}
                  </bdi>
                ),
              },
              { key: "team", label: "Team", width: "120px", cell: (row) => <bdi>{row.team ?? "–"}</bdi> },
              { key: "rule", label: "Rule", width: "60px", number: true, cell: (row) => (row.rule_id == null ? "–" : <Link href={`/rules/${row.rule_id}`}>{row.rule_id}</Link>) },
              {
                key: "event",
                label: "Event",
                width: "90px",
                cell: (row) => (row.event_id ? <Link href={`/events/${encodeURIComponent(row.event_id)}`}>Timeline</Link> : "–"),
              },
            ]}
            empty={
              <Empty title="Nothing waits for a retry" good>
                <p>An alert whose attempt failed waits here, a little longer after each failure.</p>
              </Empty>
            }
          />
        </div>
      </Card>
    </section>
  );
}
