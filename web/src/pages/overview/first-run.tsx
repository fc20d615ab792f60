// Nothing has come in yet: the lines that send a first event to this server.

import { Link } from "wouter";
import type { History, Status } from "../../api/shapes";
import { Code } from "../../kit/code";
import { Card, Empty } from "../../kit/page";
import { Time } from "../../kit/time";

/** Whether no event came in for as long as MUTT counts, a day at most. */
export function nothingYet(status: Status, day: History | undefined): boolean {
  if (!day || !status.complete) return false;
  const before = day.series.received.reduce<number>((sum, value) => sum + (value ?? 0), 0);
  return before === 0 && status.totals.received === 0 && status.road.received.per_second === 0;
}

export function FirstRun({ history }: { history: History | undefined }) {
  // The ports that MUTT has unless it is told others; the host is the one that this page came from.
  const url = location.hostname;
  const host = url.replace(/^\[(.*)\]$/, "$1");
  const ever = history?.counted_since != null && new Date(history.counted_since) < new Date(history.start);
  return (
    <Card>
      <Empty title={ever ? "No events for 24 hours" : "No events yet"}>
        <p>
          {ever ? (
            <>
              Nothing has come in since <Time at={history.start} precision="minute" />. Is there a firewall between your devices and MUTT, or do they send elsewhere?
              These lines show whether MUTT still hears:
            </>
          ) : (
            "MUTT listens. Send it a first event from a terminal, then watch it appear here and in the live tail:"
          )}
        </p>
        <div className="first-run">
          <h3>Syslog</h3>
          <Code label="Send a syslog message" text={`logger -n ${host} -P 5514 -d 'LINK-DOWN on Gi0/1'`} />
          <h3>HTTP</h3>
          <Code
            label="Send an event over HTTP"
            text={`curl -H "X-API-KEY: $INGEST_KEY" -d '{"hostname": "core-sw1", "message": "LINK-DOWN on Gi0/2"}' http://${url}:8080/ingest`}
          />
          <p className="quiet">
            The ingest key is in the file <code>ingest_api_key</code> of MUTT’s data directory, or wherever your secrets are. 5514 and 8080 are the ports MUTT has unless{" "}
            <code>SYSLOG_UDP_ADDR</code> and <code>SERVER_PORT_INGESTOR</code> say otherwise.
          </p>
        </div>
        <p>
          <Link href="/tail">Live tail</Link> · <Link href="/rules">Rules</Link>
        </p>
      </Empty>
    </Card>
  );
}
