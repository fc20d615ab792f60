// The editor and the bench side by side, and what becomes of a draft: saved, saved as observing,
// discarded, merged with what somebody else saved meanwhile.

import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { useLocation } from "wouter";
import { api, ApiError } from "../../api/client";
import { useRefusal } from "../../api/session";
import { ApiCall } from "../../kit/code";
import { Confirm } from "../../kit/dialog";
import { ActButton, Field } from "../../kit/field";
import { count, plural } from "../../kit/format";
import { Card, Notice, Problem } from "../../kit/page";
import { Ago } from "../../kit/time";
import { toast, toastError } from "../../kit/toast";
import { useUrlState } from "../../kit/url";
import { Findings, StateChip } from "../rules/marks";
import { changeRule, deleteRule, forgetRules, isConflict, useInsights, useRules, versionOf, type Rule, type RuleState, type RuleWrite } from "../rules/model";
import { Bench, SCOPES, SPANS, type Scope } from "./bench";
import { Conflict } from "./conflict";
import { changed, draftOf, fragment, isEmpty, keep, kept, priorityError, written, type Draft } from "./draft";
import { Editor } from "./editor";
import { History } from "./history";
import { OriginCard, type Origin } from "./origin";
import type { TestRequest } from "./shapes";
import { useBench } from "./use-bench";
import { Warnings } from "./warnings";

interface WorkbenchProps {
  /** Under which the draft is kept. */
  name: string;
  rule?: Rule;
  begin: Draft;
  beginLines?: string;
  origin?: Origin;
}

const LINES_MAX = 199;

export function Workbench({ name, rule, begin, beginLines = "", origin }: WorkbenchProps) {
  const [stored] = useState(() => kept(name));
  const [base, setBase] = useState(stored?.base ?? rule);
  const [draft, setDraft] = useState(stored?.draft ?? begin);
  const [lines, setLines] = useState(stored?.lines ?? beginLines);
  const [restored, setRestored] = useState(stored !== undefined);
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<{ error: unknown; draft: Draft }>();
  const [theirs, setTheirs] = useState<Rule>();
  const [deleting, setDeleting] = useState(false);
  const [url, setUrl] = useUrlState({ on: "hour", span: "60" });
  const [, navigate] = useLocation();
  const client = useQueryClient();
  const refusal = useRefusal("operator");
  const rules = useRules();
  const insight = useInsights().data?.get(rule?.id ?? 0);

  const begun = useMemo(() => (base ? draftOf(base) : begin), [base, begin]);
  const changes = useMemo(() => changed(written(begun), written(draft)), [begun, draft]);
  const dirty = Object.keys(changes).length > 0;
  const newer = rule && base && rule.version > base.version ? rule : undefined;

  // Nothing of one's own is lost when somebody else changes a rule that one only looks at.
  useEffect(() => {
    if (newer && !dirty) {
      setBase(newer);
      setDraft(draftOf(newer));
    }
  }, [newer, dirty]);
  useEffect(() => {
    keep(name, dirty || lines !== beginLines ? { draft, base, lines } : undefined);
  }, [name, draft, base, lines, dirty, beginLines]);

  const scope = SCOPES.find(([id]) => id === url.on)?.[0] ?? "hour";
  const span = SPANS.find(([minutes]) => minutes === url.span)?.[0] ?? "60";
  const pasted = lines.split("\n").filter((line) => line.trim());
  const first = origin ? [origin.line] : [];
  const request = isEmpty(draft)
    ? undefined
    : requestOf(draft, rule?.id, scope, Number(span), scope === "lines" ? [...first, ...pasted.slice(0, LINES_MAX)] : first);
  const { answer, again } = useBench(request);

  const refused = failure?.draft === draft && failure.error instanceof ApiError ? failure.error : undefined;
  const wrong = (field: keyof Draft) => {
    const tested = answer.error instanceof ApiError ? answer.error : undefined;
    const name = field === "state" ? "mode" : field;
    return [...(tested?.fields ?? []), ...(refused?.fields ?? [])].find((error) => error.field === name || error.field === `rule.${name}`);
  };
  const inFields = answer.error instanceof ApiError && answer.error.fields.some((error) => error.field.startsWith("rule."));

  const settled = (message: string, saved: Rule) => {
    setBase(saved);
    setDraft(draftOf(saved));
    setReason("");
    setRestored(false);
    setFailure(undefined);
    setTheirs(undefined);
    client.setQueryData(["rule", saved.id], saved);
    void forgetRules(client);
    void client.invalidateQueries({ queryKey: ["rule", saved.id] });
    again();
    toast(message);
  };
  const put = async (from: Rule, fields: RuleWrite, why: string) => {
    const version = await changeRule(from.id, fields, from.version, why || undefined);
    settled(`Rule #${from.id} is saved as version ${count(version)}.`, { ...from, ...(fields as Partial<Rule>), version, updated_at: new Date().toISOString() });
  };
  const compare = async (from: Rule) => {
    const { data } = await api.GET("/api/v2/rules/{id}", { params: { path: { id: from.id } } });
    setTheirs(data);
  };
  const save = async (state?: RuleState) => {
    const meant = state ? { ...draft, state } : draft;
    if (busy || refusal || priorityError(meant.priority)) return;
    const fields = base ? changed(written(begun), written(meant)) : written(meant);
    if (Object.keys(fields).length === 0) return;
    setBusy(true);
    setFailure(undefined);
    try {
      if (base) {
        await put(base, fields, reason);
      } else {
        const { data, response } = await api.POST("/api/v2/rules", { body: { ...fields, reason: reason || undefined } });
        keep(name, undefined);
        void forgetRules(client);
        toast(`Rule #${data?.id} is made (version ${versionOf(response)}).`);
        navigate(`/rules/${data?.id}${origin ? `?${origin.kind === "event" ? "from" : "signature"}=${origin.id}` : ""}`, { replace: true });
        return;
      }
    } catch (error) {
      setDraft(meant);
      if (isConflict(error) && base) await compare(base).catch(toastError);
      else setFailure({ error, draft: meant });
    }
    setBusy(false);
  };
  const discard = () => {
    const before = { draft, lines };
    setDraft(rule ? draftOf(rule) : begin);
    setBase(rule);
    setLines(beginLines);
    setRestored(false);
    setFailure(undefined);
    toast("Your changes are discarded.", "ok", {
      label: "Undo",
      run: () => {
        setDraft(before.draft);
        setLines(before.lines);
      },
    });
  };

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      void save();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  });

  const nothing = base && !dirty ? "Nothing is changed" : isEmpty(draft) ? "Say first what it looks for" : undefined;
  return (
    <div className="stack">
      {restored && dirty && (
        <Notice tone="info">
          Your unsaved changes from before are here again.{" "}
          <button type="button" className="button small" onClick={discard}>
            Discard them
          </button>
        </Notice>
      )}
      {newer && dirty && base && !theirs && (
        <Notice tone="warning">
          Somebody else saved version {count(newer.version)} of this rule <Ago at={newer.updated_at} />; you edit version {count(base.version)}.{" "}
          <button type="button" className="button small" onClick={() => setTheirs(newer)}>
            Compare
          </button>
        </Notice>
      )}
      <div className="split">
        <div className="stack">
          <Card
            title={rule ? "Rule" : "Draft"}
            aside={
              rule ? (
                <span className="row">
                  <StateChip rule={rule} />
                  <span>version {count(rule.version)}</span>
                  <Findings rule={rule} insight={insight} />
                </span>
              ) : undefined
            }
          >
            <div className="stack">
              {insight && (
                <p className="quiet rule-hits">
                  {plural(insight.hits_1h, "match", "matches")} in the last hour, {count(insight.hits_24h)} in 24 hours, {count(insight.hits_30d)} in 30 days; last <Ago at={insight.last_hit} />
                </p>
              )}
              <Editor draft={draft} set={(some) => setDraft({ ...draft, ...some })} wrong={wrong} rules={rules.data} id={rule?.id} focus={!rule} />
              <Warnings result={answer.result} id={rule?.id} rules={rules.data} />
              {failure && failure.draft === draft && <Problem error={failure.error} />}
              <Field label="Reason (optional)" help="Kept in the config audit.">
                <input value={reason} onChange={(event) => setReason(event.target.value)} maxLength={500} autoComplete="off" placeholder="INC-417" />
              </Field>
              <div className="row">
                <ActButton className="primary" refusal={refusal ?? nothing} onClick={() => void save()}>
                  Save
                </ActButton>
                <ActButton refusal={refusal ?? (base && !dirty && draft.state === "observing" ? "It is observing already" : isEmpty(draft) ? nothing : undefined)} onClick={() => void save("observing")}>
                  Save as observing
                </ActButton>
                <button type="button" className="button" disabled={!dirty && lines === beginLines} onClick={discard}>
                  Discard
                </button>
                {rule && (
                  <ActButton className="danger rule-delete" refusal={refusal} onClick={() => setDeleting(true)}>
                    Delete…
                  </ActButton>
                )}
              </div>
              <div className="row">
                <span className="quiet">
                  <kbd>Ctrl</kbd> <kbd>Enter</kbd> saves
                </span>
                <button
                  type="button"
                  className="button small plain"
                  onClick={() => navigator.clipboard.writeText(`${location.origin}/rules/new${fragment(draft, lines)}`).then(() => toast("The link to this draft is copied."), toastError)}
                >
                  Copy link to draft
                </button>
              </div>
            </div>
          </Card>
        </div>
        <div className="stack">
          {origin && <OriginCard origin={origin} line={answer.result?.lines[0]} id={rule?.id} rules={rules.data} />}
          <Bench
            scope={scope}
            span={span}
            onScope={({ on, span }) => setUrl({ ...(on && { on }), ...(span && { span }) })}
            answer={inFields ? { at: answer.at } : answer}
            again={again}
            idle={
              isEmpty(draft) ? (
                <p className="soft">Say what the rule looks for: what it would do appears here as you type.</p>
              ) : inFields ? (
                <p className="soft">The draft cannot be read like this; what is wrong stands at its field.</p>
              ) : undefined
            }
            lines={lines}
            onLines={setLines}
            skipLines={first.length}
            needle={draft.match_type === "contains" ? draft.match_string : ""}
            decides={draft.state === "active"}
            sends={[draft.prod_handling, draft.dev_handling].some((one) => one !== "Log_only" && one !== "Ignore")}
            id={rule?.id}
            rules={rules.data}
          />
        </div>
      </div>
      {rule && (
        <History
          rule={rule}
          dirty={dirty}
          onTry={(old) => {
            setDraft(old);
            scrollTo({ top: 0 });
            toast("The old version is in the editor; nothing is saved yet.", "info", { label: "Undo", run: () => setDraft(draft) });
          }}
          onRestore={(fields, reason) => put(rule, fields, reason)}
        />
      )}
      {request && <ApiCall path="/api/v2/rules/test" method="POST" body={request} />}
      {theirs && base && (
        <Conflict
          base={base}
          theirs={theirs}
          draft={draft}
          onMerge={(fields) => put(theirs, fields, reason)}
          onTakeTheirs={() => {
            setTheirs(undefined);
            setBase(theirs);
            setDraft(draftOf(theirs));
            keep(name, undefined);
            client.setQueryData(["rule", theirs.id], theirs);
          }}
          onAsNew={() => {
            keep(name, undefined);
            navigate(`/rules/new${fragment(draft, lines)}`);
          }}
          onClose={() => setTheirs(undefined)}
        />
      )}
      {deleting && rule && (
        <Confirm
          title={`Delete rule #${rule.id}`}
          action="Delete"
          danger
          reason="required"
          onConfirm={async (reason) => {
            await deleteRule(rule.id, rule.version, reason);
            keep(name, undefined);
            void forgetRules(client);
            toast(`Rule #${rule.id} is deleted.`);
            navigate("/rules");
          }}
          onClose={() => setDeleting(false)}
        >
          <p>
            It takes no part any more; audit rows can still name it.{" "}
            {insight && insight.hits_24h > 0 && `It matched ${count(insight.hits_24h)} events within 24 hours: a later rule decides them, or they are unhandled.`}
          </p>
        </Confirm>
      )}
    </div>
  );
}

function requestOf(draft: Draft, id: number | undefined, scope: Scope, minutes: number, lines: string[]): TestRequest {
  const { team_assignment: team, ...fields } = written(draft);
  return {
    // What a draft would do does not hang on its team, which may not be typed yet.
    rule: { ...fields, team_assignment: team || "-", description: null, is_active: true, mode: "enforce" },
    ...(id !== undefined && { rule_id: id }),
    ...(lines.length > 0 && { lines }),
    ...(scope === "hour" && { sample: true }),
    ...(scope === "audit" && { since_minutes: minutes }),
    ...(scope === "unhandled" && { unhandled: true }),
  };
}
