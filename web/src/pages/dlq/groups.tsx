// The first view of dead letters: what failed alike, over all queues.

import { useQuery } from "@tanstack/react-query";
import { Link, useLocation } from "wouter";
import { delivery, jobs, type Group, type Queue } from "../../api/delivery";
import { count } from "../../kit/format";
import { Chip } from "../../kit/marks";
import { Card, Empty, Notice } from "../../kit/page";
import { Table } from "../../kit/table";
import { Ago } from "../../kit/time";
import { link } from "../../kit/url";
import { QUEUES, reasonWords } from "./words";

type Row = Group & { queue: string };

export function groupLink(queue: string, group?: Pick<Group, "reason" | "status">) {
  return link("/dlq", { queue, reason: group?.reason, status: group && (group.status ?? "none") });
}

export function Groups({ queues }: { queues: Queue[] }) {
  const [, navigate] = useLocation();
  const rows: Row[] = queues.flatMap(({ queue, groups }) => groups.map((group) => ({ ...group, queue }))).toSorted((a, b) => b.count - a.count);
  const partial = queues.filter((queue) => !queue.complete);
  if (queues.every((queue) => queue.depth === 0)) return <Nothing />;
  return (
    <div className="stack">
      <ul className="dlq-queues" aria-label="Queues">
        {queues.map(({ queue, depth }) => (
          <li key={queue} className="card">
            <Link href={groupLink(queue)}>
              <b>{queue}</b>
              <span className="num">{count(depth)}</span>
            </Link>
            <p className="quiet">{QUEUES[queue]?.about}</p>
          </li>
        ))}
      </ul>
      {partial.map(({ queue, depth, groups }) => (
        <Notice key={queue} tone="info">
          Queue {queue} holds {count(depth)} entries. The groups below count the oldest {count(groups.reduce((sum, group) => sum + group.count, 0))} of them.
        </Notice>
      ))}
      <Card title="What failed alike" aside="Choose a group to see its entries, replay or discard them">
        <div className="wide">
          <Table
            label="Groups of dead letters"
            rows={rows}
            rowKey={(row) => `${row.queue} ${row.reason} ${row.status ?? ""}`}
            onOpen={(row) => navigate(groupLink(row.queue, row))}
            columns={[
              {
                key: "queue",
                label: "Queue",
                width: "90px",
                cell: (row) => <Chip tone={row.queue === "dead" ? "critical" : "neutral"}>{row.queue}</Chip>,
              },
              {
                key: "reason",
                label: "Reason",
                width: "170px",
                cell: (row) => <Link href={groupLink(row.queue, row)}>{reasonWords(row.reason)}</Link>,
              },
              { key: "status", label: "Status", width: "70px", number: true, cell: (row) => row.status ?? "–" },
              { key: "count", label: "Entries", width: "90px", number: true, cell: (row) => count(row.count) },
              { key: "oldest", label: "Oldest", width: "110px", cell: (row) => (row.oldest ? <Ago at={row.oldest} /> : "–") },
              { key: "newest", label: "Newest", width: "110px", cell: (row) => (row.newest ? <Ago at={row.newest} /> : "–") },
              { key: "detail", label: "What the last failure says", cell: (row) => <bdi title={row.detail}>{row.detail}</bdi> },
            ]}
          />
        </div>
      </Card>
    </div>
  );
}

/** Nothing waits; says what is known of the last failure. */
function Nothing() {
  const sinks = useQuery({ queryKey: ["delivery"], queryFn: delivery, retry: false });
  const done = useQuery({ queryKey: ["jobs"], queryFn: jobs, retry: false });
  const last = (sinks.data?.sinks ?? []).flatMap((sink) => sink.errors.map((error) => ({ ...error, sink: sink.sink }))).toSorted((a, b) => (a.last_at < b.last_at ? 1 : -1))[0];
  const job = done.data?.jobs.find((each) => each.state !== "running");
  return (
    <Empty title="Nothing failed." good>
      <p>No dead letters wait in any queue. What fails for good comes here, with its reason; nothing is thrown away.</p>
      {last && (
        <p>
          The last failed delivery to {last.sink} was <Ago at={last.last_at} />: {last.error}
          {last.status ? ` (HTTP ${last.status})` : ""}. It was delivered later or is being tried again. <Link href="/delivery">See Delivery</Link>
        </p>
      )}
      {job && (
        <p>
          The last job on dead letters ended <Ago at={job.ended_at ?? job.began_at} />. <Link href={link("/dlq", { tab: "jobs", job: job.id })}>See the job</Link>
        </p>
      )}
    </Empty>
  );
}
