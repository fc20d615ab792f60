// One dead letter in a drawer: why it failed, what will happen to it, what it says.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { entry as fetchEntry, replay, type Entry, type Job, type Mode } from "../../api/delivery";
import { useRefusal } from "../../api/session";
import { ApiCall, Code, Json } from "../../kit/code";
import { Dialog } from "../../kit/dialog";
import { ActButton } from "../../kit/field";
import { handling, plural } from "../../kit/format";
import { Chip } from "../../kit/marks";
import { Notice } from "../../kit/page";
import { Answer } from "../../kit/query";
import { Ago, Time } from "../../kit/time";
import { toastError } from "../../kit/toast";
import { link } from "../../kit/url";
import { DiscardOrder, ReplayOrder, useSink } from "./order";
import { QUEUES, STOPPED, reasonWords } from "./words";

export function NextReplay({ entry }: { entry: Entry }) {
  if (!entry.next_replay) return <>–</>;
  const { what, at, why } = entry.next_replay;
  if (what === "none") return <span title={why}>none</span>;
  return (
    <span title={why}>
      {what === "poison" ? "to poison " : ""}
      {at ? <Ago at={at} /> : what === "replay" ? "soon" : ""}
    </span>
  );
}

export function EntryDrawer({ queue, id, onClose, onJob }: { queue: string; id: string; onClose: () => void; onJob: (job: Job) => void }) {
  const query = useQuery({ queryKey: ["dlq", queue, "entry", id], queryFn: () => fetchEntry(queue, id) });
  return (
    <Dialog title={`Dead letter ${id} in ${queue}`} drawer onClose={onClose} foot={query.data && <Acts entry={query.data} queue={queue} onJob={onJob} />}>
      <Answer query={query}>{(entry) => <Facts entry={entry} queue={queue} />}</Answer>
      <ApiCall path={`/api/v2/dlq/${queue}/${encodeURIComponent(id)}`} />
    </Dialog>
  );
}

function Acts({ entry, queue, onJob }: { entry: Entry; queue: string; onJob: (job: Job) => void }) {
  const refusal = useRefusal("operator");
  const [asking, setAsking] = useState<"replay" | "discard">();
  const { sink } = useSink(queue);
  const client = useQueryClient();
  const meant = { selection: { ids: [entry.id] }, number: 1, sample: [entry], filter: {} };
  const alerts = QUEUES[queue]?.alerts ?? false;
  const run = async (mode?: Mode) => {
    // One entry is replayed at once; the dialog is for what may surprise.
    if (sink && sink.circuit.state !== "closed") return setAsking("replay");
    try {
      onJob(await replay(queue, { ids: [entry.id], mode }));
      void client.invalidateQueries({ queryKey: ["jobs"] });
    } catch (error) {
      toastError(error);
    }
  };
  return (
    <>
      <ActButton className="danger" refusal={refusal} onClick={() => setAsking("discard")}>
        Discard…
      </ActButton>
      {alerts && (
        <ActButton refusal={refusal ?? (entry.can_redecide ? undefined : "Its event is no longer at hand, so it cannot be decided anew.")} onClick={() => void run("redecide")}>
          Decide anew
        </ActButton>
      )}
      <ActButton className="primary" refusal={refusal} onClick={() => void run()}>
        {alerts ? "Replay the delivery" : "Replay"}
      </ActButton>
      {asking === "replay" && <ReplayOrder queue={queue} meant={meant} onClose={() => setAsking(undefined)} onJob={onJob} />}
      {asking === "discard" && <DiscardOrder queue={queue} meant={meant} onClose={() => setAsking(undefined)} onJob={onJob} />}
    </>
  );
}

function Facts({ entry, queue }: { entry: Entry; queue: string }) {
  const next = entry.next_replay;
  return (
    <>
      {queue === "dead" && (
        <Notice tone="critical">
          <p>
            <b>Why it stopped.</b> {STOPPED[entry.reason] ?? "It failed again after each automatic replay."} It was replayed {plural(entry.replays, "time")} and is not replayed automatically any more.
          </p>
          <p className="wrap">
            The last failure: <bdi>{entry.detail}</bdi>
          </p>
        </Notice>
      )}
      <dl className="facts">
        <dt>Reason</dt>
        <dd>
          <Chip tone="warning">{reasonWords(entry.reason)}</Chip> {entry.status ? `HTTP ${entry.status}` : ""}
        </dd>
        <dt>Detail</dt>
        <dd>{entry.detail.length > 300 ? <Code text={entry.detail} copy={false} label="Detail" /> : <bdi>{entry.detail}</bdi>}</dd>
        <dt>Failed first</dt>
        <dd>
          <Time at={entry.first_failed_at} /> (<Ago at={entry.first_failed_at} />)
        </dd>
        <dt>Failed last</dt>
        <dd>
          <Time at={entry.last_failed_at} /> (<Ago at={entry.last_failed_at} />)
        </dd>
        <dt>Failed in</dt>
        <dd>{entry.origin}</dd>
        <dt>Attempts</dt>
        <dd>{entry.attempts}</dd>
        <dt>Replays</dt>
        <dd>{entry.replays}</dd>
        {next && (
          <>
            <dt>Next automatic replay</dt>
            <dd>
              {next.what === "none" ? "none" : next.at ? <Ago at={next.at} /> : "soon"}
              {next.what === "poison" ? " it goes to the poison queue" : ""} <span className="quiet">{next.why}</span>
            </dd>
          </>
        )}
        {entry.hostname && (
          <>
            <dt>Host</dt>
            <dd>
              <Link href={link("/events", { hostname: entry.hostname })}>
                <bdi>{entry.hostname}</bdi>
              </Link>
            </dd>
          </>
        )}
        {entry.summary && (
          <>
            <dt>Message</dt>
            <dd>
              <bdi>{entry.summary}</bdi>
            </dd>
          </>
        )}
        {entry.rule_id != null && (
          <>
            <dt>Rule</dt>
            <dd>
              <Link href={`/rules/${entry.rule_id}`}>Rule {entry.rule_id}</Link>
            </dd>
          </>
        )}
        {entry.handling && (
          <>
            <dt>Decided</dt>
            <dd>
              {handling(entry.handling)}
              {entry.environment ? `, ${entry.environment}` : ""}
              {entry.team && (
                <>
                  , team <bdi>{entry.team}</bdi>
                </>
              )}
            </dd>
          </>
        )}
        {entry.event_id && (
          <>
            <dt>Event</dt>
            <dd>
              <Link href={`/events/${encodeURIComponent(entry.event_id)}`}>Timeline of the event</Link> <code>{entry.event_id}</code>
            </dd>
          </>
        )}
        {entry.correlation_id && (
          <>
            <dt>Correlation ID</dt>
            <dd>
              <code>{entry.correlation_id}</code>
            </dd>
          </>
        )}
      </dl>
      {entry.payload != null && (
        <section className="stack tight">
          <h3>Payload, secrets masked</h3>
          <Json value={entry.payload} label="Payload" />
        </section>
      )}
      <section className="stack tight">
        <h3>The entry as it lies there</h3>
        <Code text={entry.message} label="The entry as it lies there" />
      </section>
    </>
  );
}
