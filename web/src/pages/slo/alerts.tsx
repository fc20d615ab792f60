// When somebody is woken or a ticket is due: a fast burn over a long and a short window at once
// (the multiwindow, multi-burn-rate alerts of the SRE workbook), in plain words.

import type { SloAlert } from "../../api/shapes";
import { span } from "../../kit/format";
import { Chip } from "../../kit/marks";
import { burnText } from "./parts";

export function Alerts({ alerts, windowHours }: { alerts: SloAlert[]; windowHours: number }) {
  return (
    <div className="slo-alerts">
      <h3>When to act</h3>
      <ul>
        {alerts.map((alert) => (
          <li key={`${alert.severity}${alert.burn_rate_over}`}>
            <State alert={alert} />
            <div>
              <p>
                <b>{alert.severity === "page" ? "Wake somebody" : "Open a ticket"}</b> when burn is over <b className="num">{alert.burn_rate_over}</b> both in{" "}
                <Reading burn={alert.long_burn_rate} over={alert.burn_rate_over} minutes={alert.long_window_minutes} /> and in{" "}
                <Reading burn={alert.short_burn_rate} over={alert.burn_rate_over} minutes={alert.short_window_minutes} />.
              </p>
              <p className="quiet">{meaning(alert, windowHours)}</p>
            </div>
          </li>
        ))}
      </ul>
      <p className="quiet chart-note">The long window says that it matters, the short one that it still goes on. The state at the top is a lamp; these are what to alert on.</p>
    </div>
  );
}

function State({ alert }: { alert: SloAlert }) {
  if (alert.firing) return <Chip tone={alert.severity === "page" ? "critical" : "warning"}>Firing</Chip>;
  if (alert.long_burn_rate == null && alert.short_burn_rate == null) return <Chip title="No traffic in either window">No data</Chip>;
  return <Chip tone="ok">Quiet</Chip>;
}

function Reading({ burn, over, minutes }: { burn: number | null; over: number; minutes: number }) {
  const text = burn == null ? "no data" : `now ${burnText(burn)}`;
  return (
    <>
      {span(minutes * 60)} ({burn != null && burn > over ? <b>{text}</b> : text})
    </>
  );
}

function meaning(alert: SloAlert, windowHours: number): string {
  if (alert.burn_rate_over <= 1) return "More fails than the target allows, slowly but for days.";
  return `At ${alert.burn_rate_over} times the allowed speed the budget of ${windowHours} h is gone in ${span((windowHours / alert.burn_rate_over) * 3600)}.`;
}
