// What came in and went out over the last hour, day or week, and how long the queues were.

import { useMemo } from "react";
import type { UseQueryResult } from "@tanstack/react-query";
import type { History, Status } from "../../api/shapes";
import { Chart, type Series } from "../../kit/chart";
import { count, rate } from "../../kit/format";
import { Card, Empty } from "../../kit/page";
import { Answer } from "../../kit/query";
import { Time } from "../../kit/time";
import type { Span } from "../status/now";

export const SPANS: { id: Span; label: string }[] = [
  { id: "hour", label: "Hour" },
  { id: "day", label: "Day" },
  { id: "week", label: "Week" },
];

/** The beginning of each step but the running one, which is not complete. */
function steps(history: History): number[] {
  const start = Math.floor(new Date(history.start).getTime() / 1000);
  return Array.from({ length: Math.max(0, history.points - 1) }, (_, index) => start + index * history.step_seconds);
}

/** Counts per step as rates per second; nothing before MUTT counted. */
function perSecond(history: History, name: keyof History["series"]): (number | null)[] {
  const points = history.series[name] ?? [];
  const start = new Date(history.start).getTime();
  const since = history.counted_since === null ? Infinity : new Date(history.counted_since).getTime();
  const step = history.step_seconds * 1000;
  return points.slice(0, -1).map((value, index) => (value === null || start + (index + 1) * step <= since ? null : value / history.step_seconds));
}

/** Events per second on average over the last of these minutes, as far as they were counted. */
function average(day: History | undefined, minutes: number): number | null {
  if (!day) return null;
  const known = perSecond(day, "received")
    .slice(-minutes)
    .filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

/** The time to show at first: a day, or an hour where MUTT has hardly counted longer. */
export function defaultSpan(day: History | undefined): Span {
  const since = day?.counted_since;
  return since && Date.now() - new Date(since).getTime() < 2 * 3_600_000 ? "hour" : "day";
}

export function Rates({
  query,
  day,
  rates,
  span,
  onSpan,
}: {
  query: UseQueryResult<History, Error>;
  day: History | undefined;
  rates: Status["rates"];
  span: Span;
  onSpan: (span: Span) => void;
}) {
  const figures = [
    { label: "last minute", value: rates.current_rate_1m / 60 },
    { label: "15 minutes", value: average(day, 15) ?? rates.avg_rate_15m / 60 },
    { label: "1 hour", value: average(day, 60) ?? rates.avg_rate_1h / 60 },
    { label: "24 hours", value: average(day, 1440) },
  ];
  return (
    <Card
      title="Rate"
      aside={
        <span className="segments" role="group" aria-label="Time shown">
          {SPANS.map((each) => (
            <button key={each.id} type="button" className="button small" aria-pressed={each.id === span} onClick={() => onSpan(each.id)}>
              {each.label}
            </button>
          ))}
        </span>
      }
    >
      <div className="figures">
        {figures.map((each) => (
          <div key={each.label} className="figure">
            <b className="live-value">{rate(each.value)}</b>
            <span>events/s, {each.label}</span>
          </div>
        ))}
      </div>
      <Answer query={query}>{(history) => <RateChart history={history} />}</Answer>
    </Card>
  );
}

function RateChart({ history }: { history: History }) {
  const { times, series, marks } = useMemo(() => {
    const series: Series[] = [
      { label: "Received", values: perSecond(history, "received"), color: 1, fill: true },
      { label: "Delivered", values: perSecond(history, "delivered"), color: 2 },
      { label: "Failed", values: perSecond(history, "failed"), color: 3 },
    ];
    if (history.series.dropped?.some(Boolean)) series.push({ label: "Not taken", values: perSecond(history, "dropped"), color: 4, dash: [4, 3] });
    return { times: steps(history), series, marks: history.marks.map((mark) => ({ at: mark.at, text: `${mark.title} (${mark.who})` })) };
  }, [history]);
  if (history.counted_since === null) {
    return (
      <Empty title="Nothing counted yet">
        <p>Events are counted minute by minute from the first one on.</p>
      </Empty>
    );
  }
  return (
    <>
      <Chart label="Events and alerts per second" times={times} series={series} marks={marks} height={300} unit="/s" />
      <p className="quiet chart-note">
        {history.marks.length > 0 && "Dashed lines: changes of rules, hosts, teams or configuration. "}
        {new Date(history.counted_since) > new Date(history.start) ? (
          <>
            Counted since <Time at={history.counted_since} precision="minute" />.
          </>
        ) : (
          `Averages over ${history.step_seconds / 60 === 1 ? "one minute" : `${history.step_seconds / 60} minutes`} each.`
        )}
      </p>
    </>
  );
}

export function Depths({ query, shed }: { query: UseQueryResult<History, Error>; shed: Status["shed"] }) {
  return (
    <Card title="Queue depths">
      <Answer query={query}>{(history) => <DepthChart history={history} shed={shed} />}</Answer>
    </Card>
  );
}

function DepthChart({ history, shed }: { history: History; shed: Status["shed"] }) {
  const { times, series, most } = useMemo(() => {
    const points = (name: keyof History["series"]) => (history.series[name] ?? []).slice(0, -1);
    const series: Series[] = [
      { label: "Ingest queue", values: points("depth_ingest"), color: 1 },
      { label: "Alert queue", values: points("depth_alert"), color: 2 },
      { label: "To retry", values: points("depth_retry"), color: 4 },
      { label: "Dead letters", values: points("depth_dlq"), color: 5, dash: [4, 3] },
    ];
    return { times: steps(history), series, most: Math.max(0, ...points("depth_alert").map((value) => value ?? 0)) };
  }, [history]);
  if (series.every((each) => each.values.every((value) => value === null))) {
    return (
      <Empty title="No depths yet">
        <p>They are noted from the start of MUTT on, once a minute.</p>
      </Empty>
    );
  }
  return (
    <>
      <Chart
        label="Entries waiting, the most within each step"
        times={times}
        series={series}
        height={170}
        format={count}
        level={shed && most > shed.threshold / 4 ? { value: shed.threshold, label: "Shedding begins" } : undefined}
      />
      {history.depths_since && new Date(history.depths_since) > new Date(history.start) && (
        <p className="quiet chart-note">
          Known since <Time at={history.depths_since} precision="minute" />.
        </p>
      )}
    </>
  );
}
