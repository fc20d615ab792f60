// What one should know before a draft is saved.

import { Notice } from "../../kit/page";
import { RuleLink } from "../rules/marks";
import type { Rule } from "../rules/model";
import type { TestResult } from "./shapes";

const SHOWN = 5;

export function Warnings({ result, id, rules }: { result?: TestResult; id?: number; rules?: readonly Rule[] }) {
  if (!result) return null;
  const { shadowed_by: by, shadows = [] } = result;
  const skipped = result.skipped?.filter((rule) => rule.rule_id === id || rule.rule_id > Number.MAX_SAFE_INTEGER) ?? [];
  return (
    <>
      {by && (
        <Notice tone="warning">
          It would decide nothing: shadowed by <RuleLink id={by.by} rules={rules} /> ({by.certainty}). {sentence(by.why)}
        </Notice>
      )}
      {shadows.slice(0, SHOWN).map((shadow) => (
        <Notice key={shadow.rule_id} tone="warning">
          It shadows <RuleLink id={shadow.rule_id} rules={rules} /> ({shadow.certainty}), which would decide nothing any more. {sentence(shadow.why)}
        </Notice>
      ))}
      {shadows.length > SHOWN && <Notice tone="warning">It shadows {shadows.length - SHOWN} more rules.</Notice>}
      {skipped.map((rule) => (
        <Notice key={rule.rule_id} tone="critical">
          It takes no part: {rule.reason}
        </Notice>
      ))}
    </>
  );
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
