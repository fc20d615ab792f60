// Pasted lines: the event that is read from each, the rule that decides it, and why each earlier
// one does not.

import { handling } from "../../kit/format";
import { Chip } from "../../kit/marks";
import { Notice } from "../../kit/page";
import { RuleLink } from "../rules/marks";
import type { Rule } from "../rules/model";
import { Excerpt, inText } from "./excerpt";
import type { LineResult, LineVerdict } from "./shapes";

/** More reasons than these nobody reads. */
const REASONS = 100;

interface Known {
  /** The rule that is edited: its verdicts are the draft's. */
  id?: number;
  rules?: readonly Rule[];
}

export function Lines({ lines, any, id, rules }: Known & { lines?: LineResult[]; any: boolean }) {
  if (!any) return <p className="soft">Paste lines to see the event that MUTT reads from each, the rule that decides it, and why the earlier ones do not.</p>;
  if (!lines) return null;
  return (
    <ol className="bench-examples">
      {lines.map((line, index) => (
        // Lines may be equal; the answer is replaced as a whole.
        // oxlint-disable-next-line react/no-array-index-key
        <li key={index}>
          <Line line={line} id={id} rules={rules} />
        </li>
      ))}
    </ol>
  );
}

function Line({ line, id, rules }: Known & { line: LineResult }) {
  if (line.error || !line.event) {
    return (
      <>
        <Excerpt text={line.line} />
        <Notice tone="critical">No event can be read from this line: {line.error ?? "it is empty"}.</Notice>
      </>
    );
  }
  const message = typeof line.event.message === "string" ? line.event.message : line.line;
  const decides = line.verdicts.find((verdict) => verdict.verdict === "won");
  return (
    <>
      <Excerpt text={message} found={place(message, line.verdicts.find((verdict) => isDraft(verdict.rule_id, id) && verdict.matched) ?? decides)} />
      <p>
        <Decided by={line.winner} id={id} rules={rules} />
        {!sameRule(line, id) && (
          <span className="quiet">
            {" "}
            (today: <Decided by={line.winner_today} rules={rules} />)
          </span>
        )}
      </p>
      <Reasons verdicts={line.verdicts} id={id} rules={rules} />
      <details>
        <summary>The event as MUTT reads it</summary>
        <dl className="facts">
          {Object.entries(line.event)
            .filter(([name]) => !name.startsWith("_"))
            .map(([name, value]) => (
              <div key={name} className="fact">
                <dt>{name}</dt>
                <dd>
                  <bdi className="mono">{typeof value === "string" ? value : JSON.stringify(value)}</bdi>
                </dd>
              </div>
            ))}
        </dl>
      </details>
    </>
  );
}

export function isDraft(rule: number | "draft" | null | undefined, id?: number): boolean {
  return rule === "draft" || (rule != null && rule === id);
}

function sameRule(line: LineResult, id?: number): boolean {
  return line.winner === line.winner_today && !isDraft(line.winner, id);
}

export function Decided({ by, id, rules }: Known & { by?: number | "draft" | null }) {
  if (by == null) return <Chip tone="info">no rule decides it</Chip>;
  if (by === "draft" || (id !== undefined && by === id)) return <Chip tone="ok">{id === undefined ? "your draft" : "this rule"} decides it</Chip>;
  const rule = rules?.find((rule) => rule.id === by);
  return (
    <>
      decided by <RuleLink id={by} rules={rules} />
      {rule && <span className="quiet"> ({handling(rule.prod_handling)})</span>}
    </>
  );
}

/** What each rule up to the deciding one says; of those after it only who matches too. */
export function Reasons({ verdicts, id, rules }: Known & { verdicts: LineVerdict[] }) {
  const won = verdicts.findIndex((verdict) => verdict.verdict === "won");
  const earlier = won < 0 ? verdicts : verdicts.slice(0, won + 1);
  const later = won < 0 ? [] : verdicts.slice(won + 1).filter((verdict) => verdict.verdict === "would_match" || verdict.verdict === "observed");
  const reasons = [...earlier.slice(-REASONS), ...later];
  return (
    <details>
      <summary>{won < 0 ? "Why no rule decides it" : won === 0 ? "Why" : `Why, and why ${won === 1 ? "the earlier rule does" : `${won} earlier rules do`} not`}</summary>
      <ol className="bench-reasons">
        {earlier.length > REASONS && <li className="quiet">{earlier.length - REASONS} rules before these do not match</li>}
        {reasons.map((verdict) => (
          <li key={verdict.rule_id} data-won={verdict.verdict === "won" ? "" : undefined}>
            {verdict.rule_id === "draft" || verdict.rule_id === id ? <b>{id === undefined ? "Your draft" : "This rule"}</b> : <RuleLink id={verdict.rule_id} rules={rules} />} <bdi>{verdict.sentence}</bdi>
          </li>
        ))}
      </ol>
    </details>
  );
}

export function place(message: string, verdict?: LineVerdict): [number, number] | undefined {
  const found = verdict?.matched?.text;
  if (!found) return undefined;
  const [from, to] = found.place?.utf16 ?? inText(message, found.span);
  return [from ?? 0, to ?? 0];
}
