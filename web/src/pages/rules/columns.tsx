// The columns of the list of rules.

import { Link } from "wouter";
import { count, handling } from "../../kit/format";
import { Chip, handlingTone } from "../../kit/marks";
import type { Column } from "../../kit/table";
import { Ago } from "../../kit/time";
import { visible } from "../event/text";
import { Findings, Looks } from "./marks";
import { stateOf, STATES, type Insight, type Rule } from "./model";

export type Sort = "order" | "hits_1h" | "hits_24h" | "hits_30d" | "last_hit";

interface Shown {
  known?: Map<number, Insight>;
  refusal?: string;
  sorted: (by: Sort) => Column<Rule>["sort"];
  /** The rule whose menu of states is open. */
  open?: number;
  onState: (rule: Rule, button: HTMLElement) => void;
}

export function columnsOf({ known, refusal, sorted, open, onState }: Shown): Column<Rule>[] {
  return [
    { key: "priority", label: "Priority", width: "76px", number: true, sort: sorted("order"), cell: (rule) => rule.priority },
    {
      key: "rule",
      label: "Rule",
      cell: (rule) => (
        <>
          <div className="rule-line" title={rule.match_string ?? undefined}>
            <Link href={`/rules/${rule.id}`}>#{rule.id}</Link> <Looks rule={rule} />
          </div>
          <div className="rule-line" title={rule.description ?? undefined}>
            <Findings rule={rule} insight={known?.get(rule.id)} /> {rule.description && <bdi className="quiet">{visible(rule.description)}</bdi>}
          </div>
        </>
      ),
    },
    {
      key: "state",
      label: "State",
      width: "116px",
      cell: (rule) => {
        const state = STATES[stateOf(rule)];
        return (
          <button
            type="button"
            className="state-button"
            aria-haspopup="menu"
            aria-expanded={open === rule.id}
            aria-label={`Rule ${rule.id} is ${state.word.toLowerCase()}; change`}
            onClick={(event) => onState(rule, event.currentTarget)}
          >
            <Chip tone={state.tone} title={refusal ?? state.about}>
              {state.word}
            </Chip>
            <span aria-hidden="true">▾</span>
          </button>
        );
      },
    },
    {
      key: "handling",
      label: "Handling",
      width: "196px",
      cell: (rule) => (
        <>
          <div className="rule-line">
            <Chip tone={handlingTone(rule.prod_handling)}>{handling(rule.prod_handling)}</Chip>
          </div>
          <div className="rule-line quiet">
            development: {handling(rule.dev_handling)}
          </div>
        </>
      ),
    },
    { key: "team", label: "Team", width: "96px", cell: (rule) => <bdi title={rule.team_assignment}>{visible(rule.team_assignment)}</bdi> },
    { key: "1h", label: "1 h", width: "72px", number: true, sort: sorted("hits_1h"), cell: (rule) => count(known?.get(rule.id)?.hits_1h) },
    { key: "24h", label: "24 h", width: "76px", number: true, sort: sorted("hits_24h"), cell: (rule) => count(known?.get(rule.id)?.hits_24h) },
    { key: "30d", label: "30 d", width: "84px", number: true, sort: sorted("hits_30d"), cell: (rule) => count(known?.get(rule.id)?.hits_30d) },
    {
      key: "last",
      label: "Last match",
      width: "116px",
      number: true,
      sort: sorted("last_hit"),
      cell: (rule) => {
        const insight = known?.get(rule.id);
        return insight ? <Ago at={insight.last_hit} /> : <span className="quiet">–</span>;
      },
    },
  ];
}
