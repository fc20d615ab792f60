// One rule: its fields and, beside them, what they would do; below, how it came to be what it is.

import { useQuery } from "@tanstack/react-query";
import { Link, useSearch } from "wouter";
import { api, ApiError, ok } from "../api/client";
import { Empty, Loading, Notice, Page } from "../kit/page";
import { Answer } from "../kit/query";
import { Time } from "../kit/time";
import { usePaused } from "../pause";
import "../styles/rules.css";
import { draftOf, EMPTY, fragment, fromFragment, type Draft } from "./rule/draft";
import { History } from "./rule/history";
import { useOrigin, type Origin } from "./rule/origin";
import { stablePart, stablePartOf } from "./rule/stable";
import { Workbench } from "./rule/workbench";

export default function RulePage({ params }: { params: Record<string, string | undefined> }) {
  const id = Number(params.id);
  if (params.id === "new") return <NewRule />;
  if (!Number.isSafeInteger(id) || id < 1) {
    return (
      <Page title="Rule">
        <Empty title="Rules are numbered">
          <p>
            <Link href="/rules">To the rules</Link>
          </p>
        </Empty>
      </Page>
    );
  }
  return <StoredRule id={id} />;
}

function NewRule() {
  const query = new URLSearchParams(useSearch());
  const from = query.get("from") ?? "";
  const signature = query.get("signature") ?? "";
  const origin = useOrigin(from, signature);
  if ((from || signature) && origin.isPending) {
    return (
      <Page title="New rule">
        <Loading what="Looking up where it begins" />
      </Page>
    );
  }
  const given = fromFragment(location.hash);
  const begin = given?.draft ?? beginning(origin.data, query);
  // Each way to a new rule has a draft of its own.
  const which = ["from", "signature", "match", "as", "team"].map((name) => query.get(name) ?? "").join(" ") + (given ? location.hash : "");
  return (
    <Page title="New rule" about="Nothing is stored before you save. What it would do is computed as you type.">
      <div className="stack">
        {origin.error && (
          <Notice tone="warning">
            {from ? "The event this began with is not at hand" : "The signature this began with is not at hand"}: {origin.error.message}
          </Notice>
        )}
        <Workbench key={which} name={`new ${which}`} begin={begin} beginLines={given?.lines} origin={origin.data} />
      </div>
    </Page>
  );
}

/** The first draft for an event or a signature. */
function beginning(origin: Origin | undefined, query: URLSearchParams): Draft {
  const noise = query.get("as") === "noise";
  const draft: Draft = { ...EMPTY, match_string: query.get("match") ?? "", team_assignment: query.get("team") ?? origin?.team ?? "" };
  if (noise) {
    draft.prod_handling = "Ignore";
    draft.dev_handling = "Ignore";
    draft.description = "Known, of no interest";
  }
  if (!origin) return draft;
  if (draft.match_string) return { ...draft, trap_oid: origin.trapOid ?? "" };
  if (origin.trapOid) return { ...draft, match_type: "oid_prefix", trap_oid: origin.trapOid };
  const text = origin.masked ? stablePartOf(origin.masked, origin.message) : stablePart(origin.message);
  return { ...draft, match_string: text || origin.suggestion || "" };
}

function StoredRule({ id }: { id: number }) {
  const paused = usePaused();
  const query = new URLSearchParams(useSearch());
  const origin = useOrigin(query.get("from") ?? "", query.get("signature") ?? "");
  const rule = useQuery({
    queryKey: ["rule", id],
    queryFn: async ({ signal }) => await ok(api.GET("/api/v2/rules/{id}", { params: { path: { id } }, signal })),
    refetchInterval: paused ? false : 10_000,
  });
  return (
    <Page title={`Rule #${id}`} actions={<Link className="button" href="/rules">All rules</Link>}>
      {rule.data === undefined && rule.error instanceof ApiError && rule.error.status === 404 ? (
        <Empty title={`There is no rule #${id}`}>
          <p>
            Numbers are never given twice, and a deleted rule keeps its page: there never was one. <Link href="/rules">To the rules</Link>
          </p>
        </Empty>
      ) : (
        <Answer query={rule}>
          {(rule) =>
            rule.deleted_at ? (
              <div className="stack">
                <Notice tone="warning">
                  This rule was deleted at <Time at={rule.deleted_at} /> and takes no part. Audit rows still name it.{" "}
                  <Link href={`/rules/new${fragment(draftOf({ ...rule, is_active: true }))}`}>Make a new rule like it</Link>
                </Notice>
                <History rule={rule} onTry={() => {}} onRestore={async () => {}} />
              </div>
            ) : (
              <Workbench key={id} name={String(id)} rule={rule} begin={draftOf(rule)} origin={origin.data} />
            )
          }
        </Answer>
      )}
    </Page>
  );
}
