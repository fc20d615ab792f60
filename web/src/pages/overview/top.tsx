// The busiest rules and hosts of the last hour, and what was changed last.

import { Link } from "wouter";
import { useQuery } from "@tanstack/react-query";
import { api, ok } from "../../api/client";
import type { Status } from "../../api/shapes";
import { count } from "../../kit/format";
import { Meter } from "../../kit/marks";
import { Card } from "../../kit/page";
import { Answer } from "../../kit/query";
import { Ago } from "../../kit/time";
import { link } from "../../kit/url";
import { usePaused } from "../../pause";

interface Busy {
  key: string;
  href: string;
  text: string;
  number: number;
}

function Ranking({ rows, what, unit, empty }: { rows: Busy[]; what: string; unit: string; empty: string }) {
  const most = Math.max(1, ...rows.map((row) => row.number));
  if (rows.length === 0) return <p className="quiet">{empty}</p>;
  return (
    <table className="simple ranking">
      <thead>
        <tr>
          <th scope="col">{what}</th>
          <th scope="col" className="num">
            {unit}
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.key}>
            <td>
              <Link href={row.href} className="mono" title={row.text}>
                {row.text}
              </Link>
              <Meter share={row.number / most} label={`${row.text}, compared with the most`} />
            </td>
            <td className="num live-value">{count(row.number)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function BusyRules({ rules }: { rules: Status["busy_rules"] }) {
  return (
    <Card title="Busiest rules" aside={<Link href="/rules">Rules</Link>}>
      <Ranking
        what="Looks for"
        unit="Hits in 1 h"
        empty="No rule has matched within the last hour."
        rows={rules.slice(0, 10).map((rule) => ({ key: String(rule.id), href: `/rules/${rule.id}`, text: rule.looks_for || `Rule ${rule.id}`, number: rule.hits_1h }))}
      />
    </Card>
  );
}

export function BusyHosts({ hosts }: { hosts: Status["busy_hosts"] | undefined }) {
  return (
    <Card title="Busiest hosts" aside="approximate">
      <Ranking
        what="Host"
        unit="Events in 1 h"
        empty="No host has sent anything within the last hour."
        rows={(hosts ?? []).slice(0, 10).map((host) => ({ key: host.hostname, href: link("/events", { hostname: host.hostname }), text: host.hostname, number: host.events_1h }))}
      />
    </Card>
  );
}

const TABLES: Record<string, string> = {
  alert_rules: "rule",
  development_hosts: "development host",
  device_teams: "team of a device",
  configuration: "setting",
  mutt_config: "setting",
  dlq: "dead letters",
  api_keys: "API key",
};
const DONE: Record<string, string> = { CREATE: "added", UPDATE: "changed", DELETE: "removed" };

export function Changes() {
  const paused = usePaused();
  const query = useQuery({
    queryKey: ["config-audit", "newest"],
    queryFn: () => ok(api.GET("/api/v2/config-audit", { params: { query: { limit: 5 } } })),
    refetchInterval: paused ? false : 15_000,
  });
  return (
    <Card title="Newest changes" aside={<Link href="/config-audit">Config audit</Link>}>
      <Answer query={query}>
        {({ changes }) =>
          changes.length === 0 ? (
            <p className="quiet">Nothing has been changed yet: no rule, host, team or setting.</p>
          ) : (
            <ul className="changes">
              {changes.map((change) => (
                <li key={change.id}>
                  <p className="wrap">
                    <Link href={link("/config-audit", { id: change.id })}>
                      {TABLES[change.table_name] ?? change.table_name} {change.record_key ?? change.record_id ?? ""}
                    </Link>{" "}
                    {DONE[change.operation] ?? change.operation.toLowerCase()}
                  </p>
                  <p className="quiet wrap">
                    <Ago at={change.changed_at} /> by {change.changed_by}
                    {change.reason ? `: ${change.reason}` : ""}
                  </p>
                </li>
              ))}
            </ul>
          )
        }
      </Answer>
    </Card>
  );
}
