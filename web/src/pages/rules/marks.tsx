// How rules look wherever they are named.

import { Link } from "wouter";
import { Chip } from "../../kit/marks";
import { count, percent, rate } from "../../kit/format";
import { visible } from "../event/text";
import { looksFor, MATCH_WORDS, STATES, stateOf, type Insight, type Rule } from "./model";

export function StateChip({ rule }: { rule: { is_active?: boolean | null; mode?: string | null } }) {
  const state = STATES[stateOf(rule)];
  return (
    <Chip tone={state.tone} title={state.about}>
      {state.word}
    </Chip>
  );
}

/** What a rule looks for, with how it reads it. */
export function Looks({ rule }: { rule: Pick<Rule, "match_string" | "match_type" | "trap_oid" | "syslog_severity"> }) {
  return (
    <>
      {rule.match_string && rule.match_type !== "contains" && <span className="quiet">{MATCH_WORDS[rule.match_type] ?? rule.match_type} </span>}
      {rule.match_string && (
        <code className="rule-text">
          <bdi>{visible(rule.match_string)}</bdi>
        </code>
      )}
      {rule.trap_oid && (
        <>
          {rule.match_string && <span className="quiet"> and </span>}
          <span className="quiet">OID </span>
          <code className="rule-text">{rule.trap_oid}</code>
        </>
      )}
      {rule.syslog_severity != null && <span className="quiet"> severity {rule.syslog_severity}</span>}
    </>
  );
}

/** A rule by its number, with what it looks for where that is known. */
export function RuleLink({ id, rules, short = false }: { id: number; rules?: readonly Rule[]; short?: boolean }) {
  const rule = rules?.find((rule) => rule.id === id);
  return (
    <Link href={`/rules/${id}`} className="rule-link" title={rule && [looksFor(rule), rule.description].filter(Boolean).join("\n")}>
      #{id}
      {rule && !short && (
        <>
          {" "}
          <code>
            <bdi>{visible(looksFor(rule))}</bdi>
          </code>
        </>
      )}
    </Link>
  );
}

/** What is worth a look about a rule. */
export function Findings({ rule, insight }: { rule: Rule; insight?: Insight }) {
  if (!insight) return null;
  return (
    <>
      {insight.shadowed && (
        <Chip tone="warning" title={insight.shadowed.why}>
          shadowed by #{insight.shadowed.by} ({insight.shadowed.certainty})
        </Chip>
      )}
      {insight.never_hit && (
        <Chip title={`It did not match within 30 days; made ${rule.created_at.slice(0, 10)}, last changed ${rule.updated_at.slice(0, 10)}`}>never hit (30 d)</Chip>
      )}
      {insight.too_broad != null && (
        <Chip tone="warning" title="Its share of all events of the last 24 hours">
          broad: {percent(insight.too_broad, 0)} of all events
        </Chip>
      )}
      {insight.cost?.slow && (
        <Chip tone="warning" title={`Matching it takes ${count(insight.cost.nanoseconds)} ns an event, ${rate(insight.cost.times_median)} times what the median rule takes`}>
          slow pattern
        </Chip>
      )}
    </>
  );
}
