// The first page: whether anything needs somebody, where events are, and how it has been.

import { Link } from "wouter";
import { Chip } from "../kit/marks";
import { count } from "../kit/format";
import { ApiCall } from "../kit/code";
import { Card, Loading, Notice, Page, Problem } from "../kit/page";
import { Ago } from "../kit/time";
import { useUrlState } from "../kit/url";
import { AttentionList, Interrupted } from "./status/attention";
import { useHistory, useNowStatus, type Now, type Span } from "./status/now";
import { Road } from "./status/road";
import { Words } from "./status/words";
import { Depths, Rates, SPANS, defaultSpan } from "./overview/rates";
import { FirstRun, nothingYet } from "./overview/first-run";
import { SloSummary } from "./overview/slo";
import { BusyHosts, BusyRules, Changes } from "./overview/top";
import "../styles/overview.css";

export default function Overview() {
  const { now, error, retry } = useNowStatus();
  const [state, set] = useUrlState({ span: "" });
  const day = useHistory("day");
  const span: Span = SPANS.find((each) => each.id === state.span)?.id ?? defaultSpan(day.data);
  const shown = useHistory(span);
  return (
    <Page title="Overview" about="Whether anything needs you, where every event is right now, and how it has been. Each number leads to what is behind it.">
      {now ? (
        <div className="stack">
          {now.stale && <Interrupted at={now.at} error={error} />}
          <Attention now={now} />
          {nothingYet(now.value, day.data) && <FirstRun history={day.data} />}
          <Card title="Road of an event" aside={<Link href="/status">Pods, stores and queues</Link>}>
            <Road now={now} />
            <Words />
          </Card>
          <div className="overview-charts">
            <Rates query={shown} day={day.data} rates={now.value.rates} span={span} onSpan={(next) => set({ span: next })} />
            <div className="stack">
              <SloSummary slo={now.value.slo} />
              <Depths query={shown} shed={now.value.shed} />
            </div>
          </div>
          <div className="grid">
            <BusyRules rules={now.value.busy_rules} />
            <BusyHosts hosts={now.value.busy_hosts} />
            <Changes />
          </div>
        </div>
      ) : error ? (
        <Problem error={error} retry={retry} />
      ) : (
        <Loading what="Asking MUTT how it is" />
      )}
      <ApiCall path="/api/v2/status" />
    </Page>
  );
}

function Attention({ now }: { now: Now }) {
  const { attention, complete } = now.value;
  if (attention.length === 0 && complete) {
    return (
      <Notice tone={now.stale ? "neutral" : "ok"}>
        <b>{now.stale ? "Nothing needed you when last known." : "Nothing needs you."}</b>{" "}
        <span className="soft">
          Checked <Ago at={now.at} />.
        </span>
      </Notice>
    );
  }
  const critical = attention.filter((item) => item.severity === "critical").length;
  return (
    <Card
      title="Needs attention"
      aside={
        <Chip tone={attention[0]?.severity ?? "critical"}>
          {count(attention.length)}
          {critical > 0 && critical < attention.length ? `, ${critical} critical` : critical > 0 ? " critical" : ""}
        </Chip>
      }
    >
      {!complete && attention.length === 0 && <Notice tone="critical">{now.value.error ?? "The store of the queues is away."}</Notice>}
      <AttentionList items={attention} />
    </Card>
  );
}
