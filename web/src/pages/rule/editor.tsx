// The fields of a rule.

import { useId } from "react";
import { Field } from "../../kit/field";
import { HANDLINGS, SEVERITIES } from "../../kit/format";
import { Shape } from "../../kit/marks";
import { looksFor, STATES, type Rule, type RuleState } from "../rules/model";
import { priorityError, type Draft } from "./draft";

interface EditorProps {
  draft: Draft;
  set: (some: Partial<Draft>) => void;
  /** What is wrong with a field. */
  wrong: (field: keyof Draft) => { message: string; position?: number } | undefined;
  rules?: readonly Rule[];
  /** The rule that is edited; none for a new one. */
  id?: number;
  /** Whether the text gets the focus at once. */
  focus?: boolean;
}

const handlings = Object.entries(HANDLINGS).filter(([name]) => name !== "Unhandled");

export function Editor({ draft, set, wrong, rules, id, focus }: EditorProps) {
  const teams = useId();
  const state = useId();
  const oidOnly = draft.match_type === "oid_prefix";
  return (
    <div className="rule-fields">
      <div className="rule-match">
        <Field label="Match">
          <select value={draft.match_type} onChange={(event) => set({ match_type: event.target.value as Draft["match_type"] })}>
            <option value="contains">Text contains</option>
            <option value="regex">Regular expression</option>
            <option value="oid_prefix">Trap OID only</option>
          </select>
        </Field>
        {!oidOnly && (
          <div className="stack tight">
            <Field
              label={draft.match_type === "regex" ? "Pattern" : "Text"}
              help={wrong("match_string") ? undefined : "Anywhere in the message; case does not matter."}
              error={wrong("match_string")?.message}
            >
              <input
                className="mono"
                value={draft.match_string}
                onChange={(event) => set({ match_string: event.target.value })}
                maxLength={255}
                spellCheck={false}
                autoComplete="off"
                // The first thing that one comes to a new rule for.
                // oxlint-disable-next-line jsx-a11y/no-autofocus
                autoFocus={focus}
              />
            </Field>
            <Caret text={draft.match_string} position={wrong("match_string")?.position} />
          </div>
        )}
      </div>
      <Field label={oidOnly ? "Trap OID" : "Trap OID (optional)"} help="This OID and all below it." error={wrong("trap_oid")?.message}>
        <input
          className="mono"
          value={draft.trap_oid}
          onChange={(event) => set({ trap_oid: event.target.value })}
          maxLength={255}
          spellCheck={false}
          autoComplete="off"
          placeholder=".1.3.6.1.4.1.9"
        />
      </Field>
      <Caret text={draft.trap_oid} position={wrong("trap_oid")?.position} />
      <div className="rule-row">
        <Field label="Severity" error={wrong("syslog_severity")?.message}>
          <select value={draft.syslog_severity} onChange={(event) => set({ syslog_severity: event.target.value })}>
            <option value="">Any</option>
            {SEVERITIES.map((word, number) => (
              <option key={word} value={number}>
                Only {number} {word}
              </option>
            ))}
          </select>
        </Field>
        <Field label="Priority" help="Lower wins." error={priorityError(draft.priority) ?? wrong("priority")?.message}>
          <input className="num" inputMode="numeric" value={draft.priority} onChange={(event) => set({ priority: event.target.value })} autoComplete="off" />
        </Field>
        <Field label="Team" error={wrong("team_assignment")?.message}>
          <input value={draft.team_assignment} onChange={(event) => set({ team_assignment: event.target.value })} list={teams} maxLength={100} autoComplete="off" required />
        </Field>
        <datalist id={teams}>
          {[...new Set(rules?.map((rule) => rule.team_assignment))].slice(0, 200).map((team) => (
            <option key={team} value={team} />
          ))}
        </datalist>
        <Place draft={draft} rules={rules} id={id} />
      </div>
      <div className="rule-row">
        {(["prod_handling", "dev_handling"] as const).map((name) => (
          <Field key={name} label={name === "prod_handling" ? "Production handling" : "Development handling"} error={wrong(name)?.message}>
            <select value={draft[name]} onChange={(event) => set({ [name]: event.target.value as Draft["prod_handling"] })}>
              {handlings.map(([value, word]) => (
                <option key={value} value={value}>
                  {word}
                </option>
              ))}
            </select>
          </Field>
        ))}
      </div>
      <fieldset className="field">
        <legend className="label" id={state}>
          State
        </legend>
        <div className="row" role="radiogroup" aria-labelledby={state}>
          {(Object.keys(STATES) as RuleState[]).map((each) => (
            <label key={each} className={`check tone-${STATES[each].tone}`} title={STATES[each].about}>
              <input type="radio" name={state} checked={draft.state === each} onChange={() => set({ state: each })} />
              <Shape tone={STATES[each].tone} />
              <span>{STATES[each].word}</span>
            </label>
          ))}
          <span className="quiet">{STATES[draft.state].about}.</span>
        </div>
      </fieldset>
      <Field label="Description (optional)" error={wrong("description")?.message}>
        <textarea rows={2} value={draft.description} onChange={(event) => set({ description: event.target.value })} maxLength={4_000} />
      </Field>
    </div>
  );
}

/** The text around a mistake with a caret below it. */
function Caret({ text, position }: { text: string; position?: number }) {
  if (position === undefined) return null;
  // Positions count characters, which are not JavaScript's units.
  const characters = [...text];
  const from = Math.max(0, position - 40);
  const shown = characters.slice(from, from + 72).join("");
  return (
    <pre className="caret" aria-hidden="true">
      {shown}
      {"\n"}
      {" ".repeat(position - from)}^
    </pre>
  );
}

const name = (rule: Rule) => `#${rule.id} ${looksFor(rule).slice(0, 24)}`;

/** Where the draft would stand among the rules. */
function Place({ draft, rules, id }: { draft: Draft; rules?: readonly Rule[]; id?: number }) {
  if (!rules || priorityError(draft.priority)) return null;
  const priority = Number(draft.priority);
  const others = rules.filter((rule) => rule.id !== id);
  // Of equal priorities the older rule wins; a new one is the youngest.
  const place = others.filter((rule) => rule.priority < priority || (rule.priority === priority && rule.id < (id ?? Infinity))).length;
  const before = others[place - 1];
  const after = others[place];
  return (
    <p className="quiet rule-place">
      Place {place + 1} of {others.length + 1}
      {before && (
        <>
          , after <bdi>{name(before)}</bdi>
        </>
      )}
      {after && (
        <>
          , before <bdi>{name(after)}</bdi>
        </>
      )}
      .
    </p>
  );
}
