// One signature: what it looked like, from where, how often; and what to do about it.

import { Link } from "wouter";
import { useRefusal } from "../../api/session";
import { Dialog } from "../../kit/dialog";
import { count, span } from "../../kit/format";
import { Meter } from "../../kit/marks";
import { Loading, Problem } from "../../kit/page";
import { Ago, Time } from "../../kit/time";
import { link } from "../../kit/url";
import { oneLine, visible } from "../event/text";
import { Figure } from "../rule/figures";
import { suggestionFor, useSignature, type Policy, type SignatureView } from "./model";
import { Signature } from "./signature";

export function Panel({ id, listed, policy, onClose }: { id: string; listed?: SignatureView; policy?: Policy; onClose: () => void }) {
  const detail = useSignature(id);
  const shown = listed ?? detail.data ?? undefined;
  const hour = detail.data?.last_hour;
  const refusal = useRefusal("operator");
  return (
    <Dialog title="Unhandled signature" drawer onClose={onClose}>
      {!shown && detail.isPending && <Loading />}
      {!shown && !detail.isPending && !detail.error && <p>This signature is not counted any more: its events are known to a rule by now, or its window has ended.</p>}
      {detail.error && <Problem error={detail.error} retry={() => void detail.refetch()} />}
      {shown && (
        <>
          <p className="unhandled-text">
            <Signature masked={shown.masked} />
          </p>
          <div className="row" role="group" aria-label="Actions">
            <Link className="button primary" href={link("/rules/new", { signature: id })}>
              Make a rule
            </Link>
            <Link className="button" href={link("/rules/new", { signature: id, as: "noise" })}>
              Ignore as noise
            </Link>
            <EventsLink signature={shown} policy={policy} />
          </div>
          {refusal && <p className="quiet">Rules can be drafted and tested. To save one: {refusal}</p>}
          <dl className="facts">
            <dt>Events in the window</dt>
            <dd>
              {count(shown.count)}
              {policy && (
                <>
                  <span className="quiet">
                    {" "}
                    in {span(policy.window)}; {count(policy.threshold)} make a meta-alert
                  </span>
                  <Meter share={shown.count / policy.threshold} label={`${shown.count} of ${policy.threshold}`} />
                </>
              )}
            </dd>
            <dt>In the last hour</dt>
            <dd>{hour?.events ? <Figure of={hour.events} /> : "–"}</dd>
            <dt>First seen in that hour</dt>
            <dd>
              <Seen at={hour?.first} />
            </dd>
            <dt>Last seen in that hour</dt>
            <dd>
              <Seen at={hour?.last} />
            </dd>
            <dt>A rule would look for</dt>
            <dd>
              <code>
                <bdi>{visible(suggestionFor(shown))}</bdi>
              </code>
            </dd>
          </dl>
          <section>
            <h3>Hosts</h3>
            <ul className="unhandled-hosts">
              {(hour && hour.hosts.length > 0 ? hour.hosts.map(({ hostname }) => hostname) : shown.hosts).map((host) => (
                <li key={host}>
                  <Link href={link("/events", { hostname: host })}>
                    <bdi>{visible(host)}</bdi>
                  </Link>
                </li>
              ))}
            </ul>
            {!hour?.hosts.length && shown.hosts.length === 10 && <p className="quiet">The busiest ten.</p>}
          </section>
          <section>
            <h3>{hour && hour.examples.length > 0 ? "Events of the last hour" : "One of the messages"}</h3>
            <ol className="bench-examples">
              {hour && hour.examples.length > 0
                ? hour.examples.map((example) => (
                    <li key={example.event_id}>
                      <div className="row">
                        <Link href={`/events/${example.event_id}`}>
                          <Time at={example.received_at} />
                          <span className="sr"> timeline of this event</span>
                        </Link>
                        <bdi>{visible(example.hostname)}</bdi>
                      </div>
                      <bdi className="mono wrap">{oneLine(example.message)}</bdi>
                    </li>
                  ))
                : [
                    <li key="sample">
                      <bdi className="mono wrap">{oneLine(shown.sample, 2_000)}</bdi>
                    </li>,
                  ]}
            </ol>
          </section>
        </>
      )}
    </Dialog>
  );
}

function Seen({ at }: { at?: string | null }) {
  if (!at) return <>–</>;
  return (
    <>
      <Time at={at} /> <span className="quiet">({<Ago at={at} />})</span>
    </>
  );
}

/** Kept events are searched; where none are kept, the next ones can be watched. */
export function EventsLink({ signature, policy, small = false }: { signature: SignatureView; policy?: Policy; small?: boolean }) {
  const filter = { handling: "Unhandled", text: suggestionFor(signature) };
  return policy?.kept ? (
    <Link className={`button ${small ? "small" : ""}`} href={link("/events", filter)}>
      See events
    </Link>
  ) : (
    <Link className={`button ${small ? "small" : ""}`} href={link("/tail", filter)} title="Unhandled events are not kept one by one (AUDIT_SCOPE=matched); the live tail shows them as they come">
      Watch live
    </Link>
  );
}
