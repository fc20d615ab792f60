// The same change to many rules: each a change of its own in the config audit.

import { useState } from "react";
import { Confirm } from "../../kit/dialog";
import { count, plural } from "../../kit/format";
import { toast } from "../../kit/toast";
import { changeRule, isConflict, looksFor, stateFields, stateOf, STATES, type Rule, type RuleState } from "./model";

const SAMPLE = 5;

export function Bulk({ rules, state, onClose }: { rules: Rule[]; state: RuleState; onClose: (done: boolean) => void }) {
  const [done, setDone] = useState(0);
  const meant = rules.filter((rule) => stateOf(rule) !== state);
  const word = STATES[state].word.toLowerCase();
  const run = async (reason: string) => {
    const failed: string[] = [];
    let at = 0;
    const worker = async () => {
      while (at < meant.length) {
        const rule = meant[at++]!;
        try {
          await changeRule(rule.id, stateFields(state), rule.version, reason);
        } catch (error) {
          failed.push(`#${rule.id}: ${isConflict(error) ? "changed in the meantime" : error instanceof Error ? error.message : String(error)}`);
        }
        setDone((done) => done + 1);
      }
    };
    await Promise.all([worker(), worker(), worker(), worker()]);
    const changed = meant.length - failed.length;
    if (failed.length > 0) toast(`${plural(changed, "rule")} ${changed === 1 ? "is" : "are"} now ${word}; ${count(failed.length)} not. ${failed.slice(0, 3).join(" ")}`, "critical");
    else toast(`${plural(changed, "rule")} ${changed === 1 ? "is" : "are"} now ${word}.`);
    onClose(true);
  };
  return (
    <Confirm
      title={`Make ${plural(meant.length, "rule")} ${word}`}
      action={`Make ${plural(meant.length, "rule")} ${word}`}
      danger={state === "off"}
      reason="required"
      onConfirm={meant.length > 0 ? run : () => onClose(true)}
      onClose={() => onClose(false)}
    >
      <p>
        {STATES[state].about}. {meant.length < rules.length && `${plural(rules.length - meant.length, "rule")} of the selection ${rules.length - meant.length === 1 ? "is" : "are"} ${word} already.`}
      </p>
      <ul>
        {meant.slice(0, SAMPLE).map((rule) => (
          <li key={rule.id} className="wrap">
            #{rule.id} <code>{looksFor(rule)}</code>
          </li>
        ))}
        {meant.length > SAMPLE && <li>and {count(meant.length - SAMPLE)} more</li>}
      </ul>
      {done > 0 && <progress max={meant.length} value={done} aria-label="Rules changed" />}
    </Confirm>
  );
}
