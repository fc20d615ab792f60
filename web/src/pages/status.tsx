// The topology: which processes, queues and stores there are, how each is, and where events are stuck.

import type { ReactNode } from "react";
import { Link } from "wouter";
import { ApiCall } from "../kit/code";
import { count } from "../kit/format";
import { Shape } from "../kit/marks";
import { Card, Loading, Notice, Page, Problem } from "../kit/page";
import { Ago, Time } from "../kit/time";
import { AttentionList, Interrupted } from "./status/attention";
import { useNowStatus, type Now } from "./status/now";
import { PodBrief, Beside, Stores } from "./status/boxes";
import { PodTable, QueueTable, StoreTable } from "./status/tables";
import { Road } from "./status/road";
import { Words } from "./status/words";
import { versions } from "./status/pods";
import "../styles/overview.css";
import "../styles/status.css";

export default function Status() {
  const { now, error, retry } = useNowStatus();
  return (
    <Page title="Status" about="Every part of MUTT, in the order in which an event goes through it: what is running, what waits, and where it is stuck.">
      {now ? <Topology now={now} error={error} /> : error ? <Problem error={error} retry={retry} /> : <Loading what="Asking MUTT how it is" />}
      <ApiCall path="/api/v2/status" />
    </Page>
  );
}

function Topology({ now, error }: { now: Now; error: Error | null }) {
  const status = now.value;
  const mine = status.attention.filter((item) => item.page.split("?")[0] === "/status");
  const elsewhere = status.attention.length - mine.length;
  const running = versions(status.pods);
  return (
    <div className="stack">
      {now.stale && <Interrupted at={now.at} error={error} />}
      {!status.complete && mine.length === 0 && <Notice tone="critical">{status.error}</Notice>}
      {(mine.length > 0 || elsewhere > 0) && (
        <div className="stack tight">
          <AttentionList items={mine} label="What needs attention here" here="/status" />
          {elsewhere > 0 && (
            <p className="quiet">
              {mine.length > 0 ? "And " : ""}
              {count(elsewhere)} on other pages: <Link href="/">Overview</Link>
            </p>
          )}
        </div>
      )}
      <Card
        title="Topology"
        aside={
          <>
            {status.engine} · as of <Time at={status.at} />
          </>
        }
      >
        <Road now={now} explain inside={(station): ReactNode => (station.role ? <PodBrief status={status} of={station.role} /> : null)} />
        <div className="beside">
          <Stores status={status} />
          <Beside status={status} of="remediation" />
          <Beside status={status} of="webui" />
        </div>
        <Words />
      </Card>
      <Card
        title="Processes"
        aside={
          running.length > 1 ? (
            <span className="tone-warning skew">
              <Shape tone="warning" /> {count(running.length)} versions: {running.map(({ version, pods }) => `${version} on ${pods}`).join(", ")}
            </span>
          ) : (
            running[0] && `version ${running[0].version}`
          )
        }
      >
        <PodTable status={status} />
      </Card>
      <Card title="Queues">
        <QueueTable status={status} />
      </Card>
      <Card title="Stores">
        <StoreTable status={status} />
      </Card>
      {status.problems.length > 0 && (
        <Card title="Problems that processes report">
          <ul>
            {status.problems.map((problem, index) => (
              <li key={index} className="wrap">
                {problem}
              </li>
            ))}
          </ul>
        </Card>
      )}
      <p className="quiet">
        This MUTT is version {status.version}. Last message <Ago at={now.at} />.
      </p>
    </div>
  );
}
