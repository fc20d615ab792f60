// Every version of a rule: who, when, why, what; and the way back, which is a new change.

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { api, ok } from "../../api/client";
import { useRefusal } from "../../api/session";
import { Confirm } from "../../kit/dialog";
import { Diff } from "../../kit/diff";
import { ActButton } from "../../kit/field";
import { Chip } from "../../kit/marks";
import { Card } from "../../kit/page";
import { Answer } from "../../kit/query";
import { Time } from "../../kit/time";
import { link } from "../../kit/url";
import type { Rule, RuleWrite } from "../rules/model";
import { changed, draftOf, written, type Draft } from "./draft";

type Fields = Record<string, unknown>;

/** What every change changes. */
const ALWAYS = new Set(["version", "updated_at", "created_at", "id"]);
const OPERATIONS: Record<string, string> = { CREATE: "made", UPDATE: "changed", DELETE: "deleted" };

function telling(values: unknown): Fields | null {
  if (!values || typeof values !== "object") return null;
  return Object.fromEntries(Object.entries(values).filter(([name]) => !ALWAYS.has(name)));
}

interface HistoryProps {
  rule: Rule;
  /** There are unsaved changes in the editor. */
  dirty?: boolean;
  /** Puts an old version into the editor, to be tried. */
  onTry: (draft: Draft) => void;
  /** Saves an old version as a new one. */
  onRestore: (fields: RuleWrite, reason: string) => Promise<void>;
}

export function History({ rule, dirty, onTry, onRestore }: HistoryProps) {
  const refusal = useRefusal("operator");
  const [restoring, setRestoring] = useState<{ version: unknown; draft: Draft }>();
  const query = { table_name: "alert_rules", record_id: String(rule.id), limit: 50 };
  const history = useQuery({
    queryKey: ["rule history", rule.id, rule.version, rule.deleted_at],
    queryFn: async ({ signal }) => await ok(api.GET("/api/v2/config-audit", { params: { query }, signal })),
    placeholderData: (before) => before,
  });
  const now = written(draftOf(rule));
  return (
    <Card title="History" aside={<Link href={link("/config-audit", { table_name: "alert_rules", record_id: rule.id })}>In the config audit</Link>}>
      <Answer query={history}>
        {({ changes, total }) => (
          <>
            <ol className="rule-history">
              {changes.map((change, index) => {
                const values = change.new_values as Fields | null;
                const draft = values ? draftOf(values as Partial<Rule>) : undefined;
                const same = draft ? Object.keys(changed(now, written(draft))).length === 0 : true;
                const version = values?.version;
                return (
                  <li key={change.id}>
                    <div className="row">
                      {version !== undefined && <Chip shape={false}>version {String(version)}</Chip>}
                      <span>
                        {OPERATIONS[change.operation] ?? change.operation.toLowerCase()} by{" "}
                        <b>
                          <bdi>{change.changed_by}</bdi>
                        </b>
                      </span>
                      <Time at={change.changed_at} />
                      {change.reason && (
                        <span className="soft">
                          “<bdi>{change.reason}</bdi>”
                        </span>
                      )}
                      {draft && index > 0 && !same && rule.deleted_at == null && (
                        <span className="row rule-history-acts">
                          <button type="button" className="button small" onClick={() => onTry(draft)}>
                            Try version {String(version)}
                          </button>
                          <ActButton className="small" refusal={refusal ?? (dirty ? "Save or discard your changes first" : undefined)} onClick={() => setRestoring({ version, draft })}>
                            Restore version {String(version)}…
                          </ActButton>
                        </span>
                      )}
                    </div>
                    {change.operation === "CREATE" || change.operation === "DELETE" ? (
                      <details>
                        <summary>{change.operation === "CREATE" ? "As it was made" : "As it was"}</summary>
                        <Diff before={telling(change.old_values)} after={telling(change.new_values)} />
                      </details>
                    ) : (
                      <Diff before={telling(change.old_values)} after={telling(change.new_values)} />
                    )}
                  </li>
                );
              })}
            </ol>
            {changes.length === 0 && <p className="quiet">No change is on record: the rule came past the API.</p>}
            {total > changes.length && <p className="quiet">The newest {changes.length} of {total} changes.</p>}
          </>
        )}
      </Answer>
      {restoring && (
        <Confirm
          title={`Restore version ${String(restoring.version)} of rule #${rule.id}`}
          action="Restore as a new version"
          reason="optional"
          onConfirm={(reason) => onRestore(changed(now, written(restoring.draft)), reason || `restored version ${String(restoring.version)}`)}
          onClose={() => setRestoring(undefined)}
        >
          <Diff before={now} after={written(restoring.draft)} />
        </Confirm>
      )}
    </Card>
  );
}
