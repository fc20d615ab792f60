// The service level objectives: how much of the allowed failures is used up, and how fast.

import { ApiCall } from "../kit/code";
import { Notice, Page } from "../kit/page";
import { Answer } from "../kit/query";
import { Ago } from "../kit/time";
import type { Slo } from "../api/shapes";
import { useSlo } from "./status/now";
import { Component } from "./slo/component";
import { COMPONENTS } from "./slo/parts";
import "../styles/overview.css";
import "../styles/slo.css";

export default function SloPage() {
  const query = useSlo();
  return (
    <Page
      title="SLO"
      about="Service level objectives. A target leaves a small share for failures, the budget; burn says how fast it is used up. At burn 1 it lasts exactly for the window, at 2 for half of it."
    >
      <Answer query={query}>
        {(slo) => (
          <div className="stack">
            {slo.note && <Notice tone="warning">{slo.note}</Notice>}
            {order(slo).map(([name, component]) => (
              <Component key={name} name={name} component={component} />
            ))}
            <p className="quiet">
              {slo.source === "prometheus" ? "Counted by Prometheus; the chart by MUTT itself." : "Counted by MUTT itself, over all processes."} The window is {slo.window_hours} h. Asked{" "}
              <Ago at={query.dataUpdatedAt} />.
            </p>
          </div>
        )}
      </Answer>
      <ApiCall path="/api/v2/slo" />
    </Page>
  );
}

/** In the order in which an event meets them. */
function order(slo: Slo) {
  const known = Object.keys(COMPONENTS);
  const rank = (name: string) => (known.includes(name) ? known.indexOf(name) : known.length);
  return Object.entries(slo.components).toSorted(([a], [b]) => rank(a) - rank(b));
}
