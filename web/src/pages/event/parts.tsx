// What an event holds: its fields, its text as it is stored, what the sink is told, the API's answer.

import { Code, Json } from "../../kit/code";
import { Empty, Notice } from "../../kit/page";
import { handling } from "../../kit/format";
import type { AuditRow, Road } from "./shapes";
import { fieldsOf, messageOf, visible } from "./text";

const nothing = (
  <Empty title="There is no audit row of this event">
    <p>Its fields are not on record: only its deliveries or dead letters are.</p>
  </Empty>
);

interface Varbind {
  oid?: unknown;
  type?: unknown;
  value?: unknown;
}

/** The fields of the event; what MUTT added comes last. */
export function Parsed({ row }: { row?: AuditRow }) {
  if (!row) return nothing;
  const fields = fieldsOf(row);
  const names = Object.keys(fields);
  if (names.length === 0) return <Notice tone="warning">The stored text is no JSON object; see Raw.</Notice>;
  const own = names.filter((name) => !name.startsWith("_") && name !== "varbinds");
  const added = names.filter((name) => name.startsWith("_"));
  const varbinds = Array.isArray(fields.varbinds) ? (fields.varbinds as Varbind[]) : [];
  const value = (name: string) => (typeof fields[name] === "string" ? fields[name] : JSON.stringify(fields[name], null, 1));
  const list = (some: string[]) =>
    some.map((name) => (
      <tr key={name}>
        <th scope="row">{visible(name)}</th>
        <td className="mono wrap">
          <span className="pre">{visible(value(name))}</span>
        </td>
      </tr>
    ));
  return (
    <div className="stack">
      <table className="simple parsed">
        <caption className="sr">Fields of the event</caption>
        <tbody>{list(own)}</tbody>
      </table>
      {varbinds.length > 0 && (
        <table className="simple parsed">
          <caption>Varbinds</caption>
          <thead>
            <tr>
              <th scope="col">OID</th>
              <th scope="col">Type</th>
              <th scope="col">Value</th>
            </tr>
          </thead>
          <tbody>
            {varbinds.map((each, index) => (
              <tr key={index}>
                <td className="mono wrap">{visible(String(each.oid ?? ""))}</td>
                <td>{visible(String(each.type ?? ""))}</td>
                <td className="mono wrap">
                  <span className="pre">{visible(typeof each.value === "string" ? each.value : JSON.stringify(each.value))}</span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {added.length > 0 && (
        <details>
          <summary>Added by MUTT ({added.length})</summary>
          <table className="simple parsed">
            <caption className="sr">Fields that MUTT added</caption>
            <tbody>{list(added)}</tbody>
          </table>
        </details>
      )}
    </div>
  );
}

/** The text as it is stored, character by character. */
export function Raw({ row }: { row?: AuditRow }) {
  if (!row) return nothing;
  const message = messageOf(row);
  const hidden = visible(message) !== message;
  return (
    <div className="stack">
      {hidden && <Notice tone="info">The message has characters that are invisible or turn text around; above they are shown by name, such as ⟨ESC⟩ or ⟨RLO⟩, below as JSON escapes.</Notice>}
      <h2>Message</h2>
      <Code text={hidden ? escaped(message) : message} label="Message" />
      <h2>Stored event</h2>
      <Code text={escaped(row.raw_message, false)} label="Stored event" />
    </div>
  );
}

/** With JSON's escapes for whatever is not printed as itself. */
function escaped(text: string, quoted = true): string {
  const safe = text.replace(/[\p{Cc}\p{Cf}]/gu, (sign) =>
    sign === "\n" && !quoted ? sign : [...sign].map((each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`).join(""),
  );
  return quoted ? `"${safe}"` : safe;
}

/** What the sink was told. */
export function PayloadSent({ road, row }: { road: Road; row?: AuditRow }) {
  const letters = road.dead_letters.filter((letter) => letter.queue !== "ingest");
  if (letters.length > 0) {
    return (
      <div className="stack">
        {letters.map((letter) => (
          <div key={letter.id} className="stack tight">
            <h2>
              The alert as it lies in dead letter queue {letter.queue} ({letter.attempts} attempts)
            </h2>
            <Code text={escaped(pretty(letter.message), false)} label={`Alert in queue ${letter.queue}`} />
          </div>
        ))}
      </div>
    );
  }
  if (!row && road.deliveries.length > 0) {
    return (
      <Empty title="What was sent is not on record">
        <p>It was sent, but MUTT does not keep payloads, and there is no audit row to show the alert from.</p>
      </Empty>
    );
  }
  if (!row?.forwarded_to_moog) {
    return (
      <Empty title="No payload was sent" good={row !== undefined}>
        <p>{row ? `The decision was ${handling(row.handling_decision)} in ${row.environment}: no alert was queued for the sink.` : "No decision is on record."}</p>
      </Empty>
    );
  }
  const told = {
    external_id: road.event_id,
    hostname: row.hostname,
    team_assignment: row.team_assignment,
    severity: row.syslog_severity,
    message_body: messageOf(row),
    rule_id: row.matched_rule_id,
    handling: row.handling_decision,
    environment: row.environment,
    _correlation_id: row.correlation_id,
  };
  return (
    <div className="stack tight">
      <Notice tone="info">
        MUTT does not keep the payloads it sends. This is the alert they are made of, from the audit row; every attempt has the same <code>external_id</code>.
      </Notice>
      <Json value={told} label="The alert" />
    </div>
  );
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export function JsonTab({ road }: { road: Road }) {
  return <Json value={road} label="The API’s answer" />;
}
