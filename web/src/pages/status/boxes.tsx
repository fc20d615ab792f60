// What stands in and beside the road on the Status page: the processes of each role, the stores.

import type { Role, Status } from "../../api/shapes";
import { plural, rate } from "../../kit/format";
import { Chip, Shape, type Tone } from "../../kit/marks";
import { ROLES } from "./model";
import { drifts, late, latency, megabytes, odd, seen, versions } from "./pods";

/** More than these are in the table below. */
const SHOWN = 6;

/** The processes of a role, each in one or two lines. */
export function PodBrief({ status, of: role }: { status: Status; of: Role }) {
  const pods = status.pods.filter((pod) => pod.roles.includes(role));
  const common = versions(status.pods)[0]?.version;
  const known = status.roles.find((each) => each.role === role)?.pods;
  return (
    <div className="road-inside">
      <h4>{known === 0 ? `No ${ROLES[role].name.toLowerCase()}` : pods.length === 0 ? "Pods not known" : plural(pods.length, "pod")}</h4>
      <ul className="pods">
        {pods.slice(0, SHOWN).map((pod) => {
          const tone: Tone = late(pod) ? "critical" : pod.problems.length > 0 || drifts(pod) || odd(pod, common) ? "warning" : "ok";
          const why = [late(pod) && "late", drifts(pod) && "clock", odd(pod, common) && pod.version, pod.problems.length > 0 && "problem"].filter(Boolean).join(", ");
          return (
            <li key={pod.pod} title={pod.problems.map((each) => each.text).join("\n") || undefined}>
              <p>
                <span className={`tone-${tone}`}>
                  <Shape tone={tone} />
                </span>
                <b title={pod.pod}>{pod.pod}</b>
                {why && <span className={`tone-${tone}`}>{why}</span>}
              </p>
              <p className="quiet live-value">
                seen {seen(pod)}
                {pod.cpu_percent != null && ` · ${rate(pod.cpu_percent)} % CPU`}
                {pod.memory_bytes != null && ` · ${megabytes(pod.memory_bytes)}`}
                {pod.held > 0 && ` · holds ${pod.held}`}
              </p>
            </li>
          );
        })}
      </ul>
      {pods.length > SHOWN && <p className="quiet">and {pods.length - SHOWN} more below</p>}
    </div>
  );
}

/** A role that is not on the road. */
export function Beside({ status, of: role }: { status: Status; of: Role }) {
  const missing = status.roles.find((each) => each.role === role)?.pods === 0;
  return (
    <section className={`road-box ${missing ? "road-warning" : ""}`} aria-label={ROLES[role].name}>
      <header>
        <h3>{ROLES[role].name}</h3>
        {missing && <Chip tone="warning">None</Chip>}
      </header>
      <p className="road-explain">It {ROLES[role].does}.</p>
      <PodBrief status={status} of={role} />
    </section>
  );
}

export const STORES: Record<string, { name: string; holds: string }> = {
  sqlite: { name: "SQLite", holds: "queues, rules, audit: everything" },
  redis: { name: "Redis", holds: "queues, claims, counters" },
  postgres: { name: "PostgreSQL", holds: "rules, audit, configuration" },
};

export function Stores({ status }: { status: Status }) {
  const down = status.stores.some((store) => !store.up);
  return (
    <section className={`road-box road-store ${down ? "road-critical" : ""}`} aria-label="Stores" data-stuck={down}>
      <header>
        <h3>{status.stores.length === 1 ? "Store" : "Stores"}</h3>
        {down && <Chip tone="critical">Away</Chip>}
      </header>
      <p className="road-explain">Where queues, rules and the audit are kept.</p>
      <ul className="pods">
        {status.stores.map((store) => (
          <li key={store.name}>
            <p>
              <span className={`tone-${store.up ? "ok" : "critical"}`}>
                <Shape tone={store.up ? "ok" : "critical"} />
              </span>
              <b>{STORES[store.name]?.name ?? store.name}</b>
              <span className={store.up ? "quiet" : "tone-critical"}>{store.up ? `answers in ${latency(store)}` : "away"}</span>
            </p>
            <p className="quiet wrap">{store.error ?? STORES[store.name]?.holds}</p>
          </li>
        ))}
      </ul>
    </section>
  );
}
