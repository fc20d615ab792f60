// One objective: what is left of its budget, its burn over three windows, its chart, its alerts.

import { useMemo } from "react";
import { Link } from "wouter";
import type { SloComponent, SloWindow } from "../../api/shapes";
import { Chart } from "../../kit/chart";
import { count, percent, span } from "../../kit/format";
import { Meter } from "../../kit/marks";
import { Card } from "../../kit/page";
import { link } from "../../kit/url";
import { Alerts } from "./alerts";
import { Burn, COMPONENTS, StateChip, burnText } from "./parts";

const TARGET_KEYS: Record<string, string> = { ingestor: "slo_ingest_success_target", forwarder: "slo_forward_success_target" };

export function Component({ name, component }: { name: string; component: SloComponent }) {
  const words = COMPONENTS[name];
  return (
    <Card title={words?.name ?? name} aside={<StateChip state={component.state} />}>
      <p className="soft">
        {words?.promise} Target:{" "}
        {TARGET_KEYS[name] ? <Link href={link("/config", { text: TARGET_KEYS[name] })}>{percent(component.target, 3)}</Link> : percent(component.target, 3)} over {component.window_hours} h.
      </p>
      <div className="slo-parts">
        <div className="stack">
          <Budget component={component} />
          <Windows component={component} good={words?.good} bad={words?.bad} />
        </div>
        <BurnChart name={words?.name ?? name} component={component} />
      </div>
      {component.alerts && <Alerts alerts={component.alerts} windowHours={component.window_hours} />}
      {words && (
        <p className="slo-more">
          Where to look:{" "}
          {words.pages.map((page, index) => (
            <span key={page.href}>
              {index > 0 && " · "}
              <Link href={page.href}>{page.name}</Link>
            </span>
          ))}
        </p>
      )}
    </Card>
  );
}

const minutes = (value: number) => span(Math.round(value * 60));

function Budget({ component }: { component: SloComponent }) {
  const { state, availability, budget_minutes: whole, budget_minutes_left: left, error_budget_remaining: share } = component;
  if (state === "no_data" || share == null) {
    return (
      <div className="budget">
        <p className="budget-figure">
          <b>No data</b>
        </p>
        <p className="soft">
          No traffic within {component.window_hours} h: nothing succeeded and nothing failed. That is neither an outage nor 100 %.
          {whole != null && ` The budget would be ${minutes(whole)}.`}
        </p>
      </div>
    );
  }
  const spent = share <= 0;
  return (
    <div className="budget">
      <p className="budget-figure live-value">
        {left == null || whole == null ? (
          <>
            <b>{percent(Math.max(0, share), 0)}</b> of the budget left
          </>
        ) : spent ? (
          <>
            <b className="tone-critical">Budget spent</b> {left < 0 && `and ${minutes(-left)} over; it was ${minutes(whole)}`}
          </>
        ) : (
          <>
            <b>{minutes(left)}</b> of {minutes(whole)} left in the window
          </>
        )}
      </p>
      <Meter share={share} label="Budget left" />
      <p className="soft">
        {percent(availability, 3)} available
        {whole != null && `; ${percent(component.target, 3)} over ${component.window_hours} h allows as many failures as ${minutes(whole)} of complete outage`}.
      </p>
    </div>
  );
}

function Windows({ component, good, bad }: { component: SloComponent; good?: string; bad?: string }) {
  const { windows } = component;
  const counted = windows.some((window) => window.good != null);
  const lasts = (window: SloWindow) =>
    window.burn_rate == null ? "no data" : window.burn_rate <= 1 ? `≥ ${component.window_hours} h` : span((component.window_hours / window.burn_rate) * 3600);
  const row = (label: string, title: string | undefined, cell: (window: SloWindow) => React.ReactNode) => (
    <tr>
      <th scope="row" title={title}>
        {label}
      </th>
      {windows.map((window) => (
        <td key={window.window_hours} className="num">
          {cell(window)}
        </td>
      ))}
    </tr>
  );
  return (
    // Scrollable by keyboard where it is narrow, hence in the tab order.
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
    <div className="scroll-x" tabIndex={0} role="region" aria-label="Burn over several windows">
      <table className="simple slo-windows">
        <caption className="sr">Burn over several windows, side by side</caption>
        <thead>
          <tr>
            <th scope="col">Last</th>
            {windows.map((window) => (
              <th key={window.window_hours} scope="col" className="num">
                {window.window_hours} h
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          <tr className="slo-burn">
            <th scope="row" title="How fast the allowed failures are used up; 1 is just within the target">
              Burn
            </th>
            {windows.map((window) => (
              <Burn key={window.window_hours} value={window.burn_rate} />
            ))}
          </tr>
          {row("State", undefined, (window) => (
            <StateChip state={window.state} />
          ))}
          {row("Available", undefined, (window) => (window.availability == null ? <span className="quiet">no data</span> : percent(window.availability, 3)))}
          {row("Budget lasts", "How long the whole budget would last at this burn", (window) => (
            <span className={window.burn_rate == null ? "quiet" : undefined}>{lasts(window)}</span>
          ))}
          {counted && row(good ?? "Good", undefined, (window) => count(window.good))}
          {counted && row("Failed", bad, (window) => count(window.bad))}
        </tbody>
      </table>
      {counted && bad && <p className="quiet chart-note">{bad}</p>}
    </div>
  );
}

function BurnChart({ name, component }: { name: string; component: SloComponent }) {
  const { history } = component;
  const data = useMemo(() => {
    if (!history) return undefined;
    const start = Math.floor(new Date(history.start).getTime() / 1000);
    return {
      times: history.burn_rate.map((_, index) => start + index * history.step_seconds),
      series: [{ label: "Burn", values: history.burn_rate, color: 1 as const, fill: true }],
    };
  }, [history]);
  if (!data) return <p className="quiet">This server does not say how the burn was per hour.</p>;
  if (data.series[0]!.values.every((value) => value === null)) {
    return <p className="quiet">No hour of the window had traffic, so there is no burn to draw.</p>;
  }
  return (
    <div>
      <h3>Burn per hour</h3>
      <Chart label={`${name}: burn per hour`} times={data.times} series={data.series} format={(value) => burnText(value)} height={230} level={{ value: 1, label: "Just within the target" }} />
      <p className="quiet chart-note">The line at 1 is just within the target. Gaps are hours without traffic.</p>
    </div>
  );
}
