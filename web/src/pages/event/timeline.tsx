// The road of an event, top to bottom: each step with its time and offset, waits as rows of their
// own, and under the decision why the rule won.

import { Link } from "wouter";
import { useStatus } from "../../api/live";
import { handling, plural, span } from "../../kit/format";
import { Shape, type Tone } from "../../kit/marks";
import { Notice } from "../../kit/page";
import { Time, useNow } from "../../kit/time";
import { link } from "../../kit/url";
import { Decision } from "./decision";
import type { Road, Verdict } from "./shapes";
import { answer, began, clockIsOff, entries, errorText, offsetText, others, unsettled, type Entry } from "./story";
import { fieldsOf, visible } from "./text";

export function Timeline({ road }: { road: Road }) {
  const all = entries(road);
  const lastDecision = all.findLast((entry) => entry.kind === "decided");
  return (
    <ol className="road">
      {all.map((entry, index) =>
        entry.kind === "gap" ? (
          <li key={index} className="road-gap">
            <span />
            <span className="road-line" aria-hidden="true" />
            <span>{entry.why}</span>
          </li>
        ) : (
          <Step key={index} entry={entry} road={road} why={entry === lastDecision} />
        ),
      )}
      {unsettled(road) && <Waiting road={road} />}
    </ol>
  );
}

function Step({ entry, road, why }: { entry: Exclude<Entry, { kind: "gap" }>; road: Road; why: boolean }) {
  const { tone, label } = head(entry);
  return (
    <li>
      <span className="road-time">
        <Time at={entry.at} precision="milli" />
        <span className="road-offset" title={entry.kind === "decided" && entry.offset === null ? "The moment of the decision is not recorded." : "since it was received"}>
          {offsetText(entry.offset)}
        </span>
      </span>
      <span className={`road-mark tone-${tone}`} aria-hidden="true">
        <Shape tone={tone} />
      </span>
      <div className="road-what">
        <b>{label}</b> <Words entry={entry} />
        {why && entry.kind === "decided" && <Why road={road} />}
      </div>
    </li>
  );
}

function head(entry: Exclude<Entry, { kind: "gap" }>): { tone: Tone; label: string } {
  switch (entry.kind) {
    case "received":
      return { tone: "info", label: "Received" };
    case "decided":
      return { tone: "accent", label: "Decided" };
    case "attempt":
      return entry.attempt.error === null
        ? { tone: "ok", label: `Attempt ${entry.attempt.attempt}: delivered` }
        : { tone: "critical", label: `Attempt ${entry.attempt.attempt}: failed` };
    case "dead":
      return { tone: "critical", label: "Dead letter" };
    default: {
      const word = entry.what.replaceAll("_", " ");
      return { tone: "neutral", label: word.charAt(0).toUpperCase() + word.slice(1) };
    }
  }
}

function Words({ entry }: { entry: Exclude<Entry, { kind: "gap" }> }) {
  if (entry.kind === "received") {
    const fields = fieldsOf(entry.row);
    const from = typeof fields.source_ip === "string" ? ` (sent from ${fields.source_ip})` : "";
    const off = clockIsOff(entry.row);
    return (
      <>
        from <span className="wrap">{visible(entry.row.hostname)}</span>
        {entry.row.source ? ` by ${entry.row.source}` : ""}
        {from}
        {off && <p className="quiet">{off}</p>}
      </>
    );
  }
  if (entry.kind === "decided") {
    const { row } = entry;
    return (
      <>
        {row.matched_rule_id == null ? (
          "no rule matched"
        ) : (
          <>
            <Link href={`/rules/${row.matched_rule_id}`}>rule {row.matched_rule_id}</Link>
            {row.rule_version != null && ` (version ${row.rule_version})`} won
          </>
        )}
        {" → "}
        <Decision decided={row.handling_decision} />
        {` in ${row.environment}`}
        {row.team_assignment ? `, team ${row.team_assignment}` : ""}
        {row.forwarded_to_moog ? "; an alert was queued" : "; no alert"}
      </>
    );
  }
  if (entry.kind === "attempt") {
    const { attempt } = entry;
    const text = errorText(attempt);
    return (
      <>
        to {attempt.sink}: {answer(attempt)} {took(attempt.latency_ms)}
        {text && <pre className="road-answer">{visible(text)}</pre>}
      </>
    );
  }
  if (entry.kind === "dead") {
    const { letter } = entry;
    return (
      <>
        in <Link href={link("/dlq", { queue: letter.queue, entry: letter.id })}>queue {letter.queue}</Link>, {letter.reason.replaceAll("_", " ")}
        {letter.replays > 0 ? `, replayed ${plural(letter.replays, "time")}` : ""}
        <pre className="road-answer">{visible(letter.detail)}</pre>
      </>
    );
  }
  return <>{visible(entry.detail)}</>;
}

const took = (ms: number) => (ms < 1 ? "in less than 1 ms" : `in ${span(ms / 1000)}`);

/** What it waits for now. */
function Waiting({ road }: { road: Road }) {
  const now = useNow();
  const status = useStatus();
  const last = road.deliveries.at(-1)?.at ?? began(road);
  const circuit = (status?.value as { circuit?: { state: string; next_probe_at?: string | null } } | undefined)?.circuit;
  const waited = last ? span(Math.max(0, Math.floor((now - new Date(last).getTime()) / 1000))) : "–";
  return (
    <li className="road-gap" data-open="">
      <span className="road-time">now</span>
      <span className="road-line" aria-hidden="true" />
      <span>
        waiting {waited}:{" "}
        {circuit && circuit.state !== "closed" ? (
          <>
            <Link href="/delivery">the circuit to the sink is {circuit.state.replaceAll("_", " ")}</Link>
            {circuit.next_probe_at && (
              <>
                , the next probe goes out at <Time at={circuit.next_probe_at} />
              </>
            )}
          </>
        ) : (
          <Link href="/delivery">{road.deliveries.length > 0 ? "it is tried again after a delay" : "its turn in the alert queue"}</Link>
        )}
      </span>
    </li>
  );
}

/** Why that rule and none before it, by today's rules. */
function Why({ road }: { road: Road }) {
  const { explanation } = road;
  if (!explanation) return null;
  const decided = road.audit.at(-1)?.matched_rule_id ?? null;
  const at = explanation.verdicts.findIndex((each) => each.verdict === "won");
  const earlier = at < 0 ? explanation.verdicts : explanation.verdicts.slice(0, at);
  const watching = explanation.verdicts.filter((each) => each.verdict === "observed");
  const outranked = explanation.verdicts.filter((each) => each.verdict === "would_match");
  const missed = earlier.filter((each) => each.verdict !== "observed");
  const won = explanation.verdicts[at];
  const differs = (explanation.winner ?? null) !== decided;
  return (
    <div className="road-why">
      {differs ? (
        <Notice tone="warning">
          The rules were changed since.{" "}
          {explanation.winner == null ? (
            "Today no rule would match."
          ) : (
            <>
              Today <Link href={`/rules/${explanation.winner}`}>rule {explanation.winner}</Link> would decide.
            </>
          )}
        </Notice>
      ) : (
        road.rule_changed_since && <Notice tone="info">The rule was changed since; this is what its present version says.</Notice>
      )}
      {won && <p>{visible(won.sentence)}</p>}
      {outranked.length > 0 && (
        <details>
          <summary>{outranked.length === 1 ? "1 later rule matches too" : `${outranked.length} later rules match too`}</summary>
          <Verdicts verdicts={outranked} />
        </details>
      )}
      {watching.length > 0 && (
        <details>
          <summary>{watching.length === 1 ? "1 observing rule matches" : `${watching.length} observing rules match`}</summary>
          <Verdicts verdicts={watching} />
        </details>
      )}
      {missed.length > 0 && (
        <details>
          <summary>{at < 0 ? others(missed.length, "active") : others(missed.length, "earlier")}</summary>
          <Verdicts verdicts={missed} />
        </details>
      )}
      {decided !== null && at === 0 && missed.length === 0 && <p className="quiet">No rule comes before it.</p>}
    </div>
  );
}

function Verdicts({ verdicts }: { verdicts: Verdict[] }) {
  return (
    <ol className="verdicts">
      {verdicts.map((each) => (
        <li key={each.rule_id}>
          <Link href={`/rules/${each.rule_id}`}>rule {each.rule_id}</Link> <span className="wrap">{visible(each.sentence)}</span>
        </li>
      ))}
    </ol>
  );
}

/** The steps as text, for a ticket. */
export function roadAsText(road: Road, sentence: string): string {
  const start = began(road);
  const lines = [sentence, `event ${road.event_id}, correlation ${road.audit[0]?.correlation_id ?? "–"}`];
  for (const step of road.timeline) {
    const past = start ? offsetText((new Date(step.at).getTime() - new Date(start).getTime()) / 1000) : "";
    lines.push(`${step.at}  ${past.padStart(10)}  ${step.what.replaceAll("_", " ")}: ${step.detail}`);
  }
  const row = road.audit.at(-1);
  if (row) lines.push(`decision: ${handling(row.handling_decision)}${row.matched_rule_id == null ? "" : `, rule ${row.matched_rule_id}`}`);
  return lines.join("\n");
}
