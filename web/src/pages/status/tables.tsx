// The same as the drawing, as tables: all processes, queues and stores with every number.

import { Link } from "wouter";
import type { Pod, Status } from "../../api/shapes";
import { count, rate, span } from "../../kit/format";
import { Chip, Shape } from "../../kit/marks";
import { Ago, Time } from "../../kit/time";
import { STORES } from "./boxes";
import { ROLES, QUEUES, trendText, waitsLong } from "./model";
import { useTrends } from "./now";
import { drifts, late, latency, megabytes, odd, seen, versions } from "./pods";

function Wide({ label, children }: { label: string; children: React.ReactNode }) {
  return (
    // Scrollable by keyboard, hence in the tab order.
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
    <div className="table-wrap" tabIndex={0} role="region" aria-label={label}>
      {children}
    </div>
  );
}

function Flagged({ flag, children }: { flag: boolean; children: React.ReactNode }) {
  if (!flag) return <>{children}</>;
  return (
    <span className="flagged tone-warning">
      <Shape tone="warning" />
      {children}
    </span>
  );
}

export function PodTable({ status }: { status: Status }) {
  const common = versions(status.pods)[0]?.version;
  if (status.pods.length === 0) return <p className="quiet">No process has reported yet.</p>;
  const row = (pod: Pod) => (
    <tr key={pod.pod}>
      <th scope="row" className="pod-name" title={pod.pod}>
        {pod.pod}
      </th>
      <td>{pod.roles.map((role) => ROLES[role]?.name ?? role).join(", ")}</td>
      <td>
        <Flagged flag={odd(pod, common)}>{pod.version}</Flagged>
      </td>
      <td className="num">
        <Flagged flag={late(pod)}>{seen(pod)}</Flagged>
      </td>
      <td className="num">
        {pod.clock_offset_seconds == null ? "–" : <Flagged flag={drifts(pod)}>{offset(pod.clock_offset_seconds)}</Flagged>}
      </td>
      <td className="num">{rate(pod.per_second)}</td>
      <td className="num">{count(pod.held)}</td>
      <td className="num">
        <Flagged flag={pod.spooled_events > 0}>{count(pod.spooled_events)}</Flagged>
      </td>
      <td className="num">{pod.cpu_percent == null ? "–" : `${rate(pod.cpu_percent)} %`}</td>
      <td className="num">{megabytes(pod.memory_bytes)}</td>
      <td className="num">
        <Time at={pod.started_at} precision="minute" />
      </td>
      <td className="wrap">{pod.problems.length === 0 ? <span className="quiet">none</span> : <Flagged flag>{pod.problems.map((each) => each.text).join("; ")}</Flagged>}</td>
    </tr>
  );
  return (
    <Wide label="Processes">
      <table className="facts-table" aria-label="Processes">
        <thead>
          <tr>
            <th scope="col">Pod</th>
            <th scope="col">Roles</th>
            <th scope="col">Version</th>
            <th scope="col" className="num" title="When its last sign of life came">
              Seen
            </th>
            <th scope="col" className="num" title="How far its clock is from that of the store; ahead or behind">
              Clock
            </th>
            <th scope="col" className="num" title="What its main role does per second">
              Per second
            </th>
            <th scope="col" className="num" title="Entries that it has taken and not finished">
              Holds
            </th>
            <th scope="col" className="num" title="Events on its own disk while the store is away">
              Spooled
            </th>
            <th scope="col" className="num">
              CPU
            </th>
            <th scope="col" className="num">
              Memory
            </th>
            <th scope="col" className="num">
              Started
            </th>
            <th scope="col">Problems</th>
          </tr>
        </thead>
        <tbody>{status.pods.map(row)}</tbody>
      </table>
    </Wide>
  );
}

function offset(seconds: number): string {
  if (Math.abs(seconds) < 0.1) return "exact";
  return `${span(Math.abs(seconds))} ${seconds > 0 ? "ahead" : "behind"}`;
}

const QUEUE_WORDS: Record<string, { name: string; href?: string; holds: string }> = {
  [QUEUES.ingest]: { name: "Ingest queue", holds: "events to decide" },
  [QUEUES.alert]: { name: "Alert queue", href: "/delivery", holds: "alerts to deliver" },
  [QUEUES.retry]: { name: "To retry", href: "/delivery", holds: "alerts that failed and wait for their next attempt" },
  [QUEUES.dlq("ingest")]: { name: "Dead letters: ingest", href: "/dlq?queue=ingest", holds: "malformed records of a batch" },
  [QUEUES.dlq("alerter")]: { name: "Dead letters: alerter", href: "/dlq?queue=alerter", holds: "events that could not be decided" },
  [QUEUES.dlq("moog")]: { name: "Dead letters: delivery", href: "/dlq?queue=moog", holds: "alerts that the sink did not take" },
  [QUEUES.dlq("dead")]: { name: "Given up", href: "/dlq?queue=dead", holds: "replayed in vain as often as allowed; they wait for a person" },
};

export function QueueTable({ status }: { status: Status }) {
  const trends = useTrends();
  if (status.queues.length === 0) return <p className="quiet">Not known while the store is away.</p>;
  return (
    <Wide label="Queues">
      <table className="facts-table" aria-label="Queues">
        <thead>
          <tr>
            <th scope="col">Queue</th>
            <th scope="col" className="num">
              Depth
            </th>
            <th scope="col" className="num" title="Measured over the last 20 s">
              Trend
            </th>
            <th scope="col" className="num" title="Taken by a process that has not finished with them">
              In work
            </th>
            <th scope="col" className="num">
              Oldest
            </th>
            <th scope="col">Holds</th>
            <th scope="col">Name in the store</th>
          </tr>
        </thead>
        <tbody>
          {status.queues.map((queue) => {
            const words = QUEUE_WORDS[queue.name];
            const dead = queue.name.startsWith(QUEUES.dlq(""));
            return (
              <tr key={queue.name}>
                <th scope="row">{words?.href ? <Link href={words.href}>{words.name}</Link> : (words?.name ?? queue.name)}</th>
                <td className="num">
                  <Flagged flag={dead && queue.depth > 0}>{count(queue.depth)}</Flagged>
                </td>
                <td className="num">{trendText(queue.depth, trends.get(queue.name)) ?? <span className="quiet">–</span>}</td>
                <td className="num">{count(queue.claimed)}</td>
                <td className="num" title={queue.oldest ?? undefined}>
                  {queue.oldest_age_seconds == null ? <span className="quiet">–</span> : <Flagged flag={waitsLong(queue.name, queue.oldest_age_seconds)}>{span(queue.oldest_age_seconds)}</Flagged>}
                </td>
                <td className="soft">{words?.holds}</td>
                <td>
                  <code>{queue.name}</code>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Wide>
  );
}

export function StoreTable({ status }: { status: Status }) {
  if (status.stores.length === 0) return <p className="quiet">No store has been looked at yet.</p>;
  return (
    <Wide label="Stores">
      <table className="facts-table" aria-label="Stores">
        <thead>
          <tr>
            <th scope="col">Store</th>
            <th scope="col">State</th>
            <th scope="col" className="num">
              Since
            </th>
            <th scope="col" className="num">
              Answers in
            </th>
            <th scope="col">Holds</th>
            <th scope="col">Error</th>
          </tr>
        </thead>
        <tbody>
          {status.stores.map((store) => (
            <tr key={store.name}>
              <th scope="row">{STORES[store.name]?.name ?? store.name}</th>
              <td>
                <Chip tone={store.up ? "ok" : "critical"}>{store.up ? "Up" : "Away"}</Chip>
              </td>
              <td className="num">{store.since ? <Ago at={store.since} /> : "–"}</td>
              <td className="num">{latency(store)}</td>
              <td className="soft">{STORES[store.name]?.holds}</td>
              <td className="wrap">{store.error ?? <span className="quiet">none</span>}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}
