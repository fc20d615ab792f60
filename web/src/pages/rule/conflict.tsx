// Somebody else changed the rule meanwhile: what it was, what they made of it, what you did; and one
// clear choice.

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, ok } from "../../api/client";
import { Dialog } from "../../kit/dialog";
import { Diff } from "../../kit/diff";
import { Notice, Problem } from "../../kit/page";
import { Time } from "../../kit/time";
import type { Rule, RuleWrite } from "../rules/model";
import { changed, draftOf, written, type Draft, type Written } from "./draft";

interface ConflictProps {
  base: Rule;
  theirs: Rule;
  draft: Draft;
  /** Saves these fields on top of theirs. */
  onMerge: (fields: RuleWrite) => Promise<void>;
  onTakeTheirs: () => void;
  onAsNew: () => void;
  onClose: () => void;
}

const shown = (value: unknown) => (value === null || value === undefined ? "none" : String(value));

export function Conflict({ base, theirs, draft, onMerge, onTakeTheirs, onAsNew, onClose }: ConflictProps) {
  const was = written(draftOf(base));
  const their = written(draftOf(theirs));
  const your = written(draft);
  const theirChanges = changed(was, their);
  const yourChanges = changed(was, your);
  const both = (Object.keys(yourChanges) as (keyof Written)[]).filter((name) => name in theirChanges && their[name] !== your[name]);
  const [keep, setKeep] = useState<Record<string, "theirs" | "yours">>({});
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const merged = Object.fromEntries(Object.entries(yourChanges).filter(([name, value]) => keep[name] !== "theirs" && value !== their[name as keyof Written])) as RuleWrite;
  const open = both.filter((name) => !keep[name]);
  const who = useQuery({
    queryKey: ["rule change", theirs.id, theirs.version],
    queryFn: async ({ signal }) =>
      (await ok(api.GET("/api/v2/config-audit", { params: { query: { table_name: "alert_rules", record_id: String(theirs.id), limit: 1 } }, signal }))).changes[0] ?? null,
  });
  const gone = theirs.deleted_at != null;
  const save = async () => {
    setBusy(true);
    setError(undefined);
    try {
      await onMerge(merged);
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  return (
    <Dialog
      title={gone ? `Rule #${theirs.id} was deleted meanwhile` : `Rule #${theirs.id} was changed meanwhile`}
      width={860}
      onClose={onClose}
      foot={
        <>
          <button type="button" className="button" onClick={onClose}>
            Back to the editor
          </button>
          <button type="button" className="button" onClick={onTakeTheirs}>
            {gone ? "Drop yours" : "Take theirs, drop yours"}
          </button>
          {gone ? (
            <button type="button" className="button primary" onClick={onAsNew}>
              Make yours a new rule
            </button>
          ) : (
            <button type="button" className="button primary" disabled={busy || open.length > 0 || Object.keys(merged).length === 0} onClick={() => void save()}>
              {open.length > 0 ? "Choose first" : "Save both"}
            </button>
          )}
        </>
      }
    >
      <p>
        You began with version {base.version}; it is now version {theirs.version}
        {who.data && (
          <>
            , by <bdi>{who.data.changed_by}</bdi> at <Time at={who.data.changed_at} />
            {who.data.reason && (
              <>
                : “<bdi>{who.data.reason}</bdi>”
              </>
            )}
          </>
        )}
        .
      </p>
      <div className="grid">
        <section>
          <h3>Their changes</h3>
          <Diff before={was} after={{ ...was, ...theirChanges }} />
        </section>
        <section>
          <h3>Your changes</h3>
          <Diff before={was} after={{ ...was, ...yourChanges }} />
        </section>
      </div>
      {!gone && both.length === 0 && <Notice tone="ok">You changed different fields: both can be saved.</Notice>}
      {!gone && both.length > 0 && (
        <section>
          <h3>Changed by both</h3>
          <table className="simple">
            <thead>
              <tr>
                <th scope="col">Field</th>
                <th scope="col">Before</th>
                <th scope="col">Theirs</th>
                <th scope="col">Yours</th>
              </tr>
            </thead>
            <tbody>
              {both.map((name) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td className="mono wrap">{shown(was[name])}</td>
                  {(["theirs", "yours"] as const).map((side) => (
                    <td key={side}>
                      <label className="check">
                        <input type="radio" name={`keep-${name}`} checked={keep[name] === side} onChange={() => setKeep({ ...keep, [name]: side })} />
                        <span className="mono wrap">{shown((side === "theirs" ? their : your)[name])}</span>
                      </label>
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
      {error !== undefined && <Problem error={error} />}
    </Dialog>
  );
}
