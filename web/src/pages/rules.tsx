// The list of rules in the order in which they win, with what each has done.

import { useQueryClient } from "@tanstack/react-query";
import { useMemo, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { useRefusal } from "../api/session";
import { ApiCall } from "../kit/code";
import { ActButton } from "../kit/field";
import { handling, plural } from "../kit/format";
import { useKeys } from "../kit/keys";
import { Empty, Notice, Page } from "../kit/page";
import { Answer } from "../kit/query";
import { Table, type Column } from "../kit/table";
import { Ago } from "../kit/time";
import { toast, toastError } from "../kit/toast";
import { useUrlState } from "../kit/url";
import "../styles/rules.css";
import { Bulk } from "./rules/bulk";
import { columnsOf, type Sort } from "./rules/columns";
import { changeRule, forgetRules, stateFields, stateOf, STATES, useInsights, useRules, type Insight, type Rule, type RuleState } from "./rules/model";
import { StateMenu } from "./rules/state-menu";

const FILTERS = { q: "", state: "", team: "", handling: "" };
type Filters = typeof FILTERS;

const VIEWS: [string, string][] = [
  ["", "All"],
  ["active", "Active"],
  ["observing", "Observing"],
  ["off", "Off"],
  ["unused", "Unused (30 days)"],
  ["shadowed", "Shadowed"],
  ["broad", "Broad or slow"],
];

/** Whether this filter lets a rule through. */
const PASSES: Record<keyof Filters, (rule: Rule, value: string, insight?: Insight) => boolean> = {
  q: (rule, value) => {
    const needle = value.toLowerCase();
    return `#${rule.id}` === needle || [rule.match_string, rule.trap_oid, rule.description, rule.team_assignment].some((text) => text?.toLowerCase().includes(needle));
  },
  state: (rule, value, insight) => {
    if (value === "unused") return insight?.never_hit === true;
    if (value === "shadowed") return insight?.shadowed != null;
    if (value === "broad") return insight?.too_broad != null || insight?.cost?.slow === true;
    return stateOf(rule) === value;
  },
  team: (rule, value) => rule.team_assignment === value,
  handling: (rule, value) => rule.prod_handling === value || rule.dev_handling === value,
};
const FILTER_NAMES: Record<keyof Filters, string> = { q: "the text", state: "the state", team: "the team", handling: "the handling" };

export default function Rules() {
  const rules = useRules();
  const insights = useInsights();
  const [url, setUrl] = useUrlState({ ...FILTERS, sort: "order" });
  const [, navigate] = useLocation();
  const client = useQueryClient();
  const refusal = useRefusal("operator");
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [bulk, setBulk] = useState<RuleState>();
  const [menu, setMenu] = useState<{ rule: Rule; button: HTMLElement }>();
  const search = useRef<HTMLInputElement>(null);
  useKeys({ n: () => navigate("/rules/new"), f: () => search.current?.focus() });

  const all = useMemo(() => rules.data ?? [], [rules.data]);
  const known = insights.data;
  const teams = useMemo(() => [...new Set(all.map((rule) => rule.team_assignment))].toSorted((a, b) => a.localeCompare(b)), [all]);
  const active = (Object.keys(FILTERS) as (keyof Filters)[]).filter((name) => url[name]);
  const shown = useMemo(() => {
    const found = all.filter((rule) => active.every((name) => PASSES[name](rule, url[name], known?.get(rule.id))));
    if (url.sort === "order") return found;
    const by = url.sort as Sort;
    const weight = (rule: Rule) => {
      const insight = known?.get(rule.id);
      if (by === "last_hit") return insight?.last_hit ? Date.parse(insight.last_hit) : 0;
      return by === "order" ? 0 : (insight?.[by] ?? 0);
    };
    return found.toSorted((a, b) => weight(b) - weight(a));
    // oxlint-disable-next-line react/exhaustive-deps
  }, [all, known, url]);

  const set = async (rule: Rule, state: RuleState) => {
    const before = stateOf(rule);
    if (before === state) return;
    try {
      const version = await changeRule(rule.id, stateFields(state), rule.version);
      void forgetRules(client);
      toast(
        <>
          Rule #{rule.id} is now {STATES[state].word.toLowerCase()}.
        </>,
        "ok",
        {
          label: "Undo",
          run: () => {
            changeRule(rule.id, { is_active: rule.is_active, mode: rule.mode }, version, "undone")
              .then(() => toast(`Rule #${rule.id} is ${STATES[before].word.toLowerCase()} again.`), toastError)
              .finally(() => void forgetRules(client));
          },
        },
      );
    } catch (error) {
      toastError(error);
      void forgetRules(client);
    }
  };

  const sorted = (by: Sort): Column<Rule>["sort"] => ({
    state: url.sort === by ? (by === "order" ? "ascending" : "descending") : "none",
    set: () => setUrl({ sort: url.sort === by ? "order" : by }),
  });
  const columns = columnsOf({
    known,
    refusal,
    sorted,
    open: menu?.rule.id,
    onState: (rule, button) => setMenu({ rule, button }),
  });
  const picked = all.filter((rule) => chosen.has(String(rule.id)));
  const make = (
    <Link href="/rules/new" className="button primary">
      New rule
    </Link>
  );

  return (
    <Page
      title="Rules"
      about="In the order in which they win: of the active rules that match an event, the first decides it."
      actions={
        <>
          <a className="button" href="/api/v2/rules" download="mutt-rules.json">
            Download JSON
          </a>
          {make}
        </>
      }
    >
      <form
        className="filters"
        role="search"
        aria-label="Filter the rules"
        onSubmit={(event) => {
          event.preventDefault();
        }}
      >
        <label>
          <span>
            Text, OID, team or #number <kbd>f</kbd>
          </span>
          <input ref={search} type="search" value={url.q} onChange={(event) => setUrl({ q: event.target.value })} size={28} />
        </label>
        <label>
          State
          <select value={url.state} onChange={(event) => setUrl({ state: event.target.value })}>
            {VIEWS.map(([value, label]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <label>
          Team
          <select value={url.team} onChange={(event) => setUrl({ team: event.target.value })}>
            <option value="">Any</option>
            {[...new Set([...teams, url.team].filter(Boolean))].map((team) => (
              <option key={team}>{team}</option>
            ))}
          </select>
        </label>
        <label>
          Handling
          <select value={url.handling} onChange={(event) => setUrl({ handling: event.target.value })}>
            <option value="">Any</option>
            {HANDLING_NAMES.map((name) => (
              <option key={name} value={name}>
                {handling(name)}
              </option>
            ))}
          </select>
        </label>
        {active.length > 0 && (
          <button type="button" className="button" onClick={() => setUrl(FILTERS)}>
            Clear filters
          </button>
        )}
      </form>
      {insights.error && (
        <div className="rules-note">
          <Notice tone="warning">
            Hits and findings are {known ? <>as of <Ago at={insights.dataUpdatedAt} /></> : "not known"}: {insights.error.message}
          </Notice>
        </div>
      )}
      {picked.length > 0 && (
        <div className="row rules-bulk" role="group" aria-label="Selected rules">
          <b>{plural(picked.length, "rule")} selected</b>
          {(Object.keys(STATES) as RuleState[]).map((state) => (
            <ActButton key={state} className="small" refusal={refusal} onClick={() => setBulk(state)}>
              {{ active: "Activate…", observing: "Only observe…", off: "Switch off…" }[state]}
            </ActButton>
          ))}
          <button type="button" className="button small plain" onClick={() => setChosen(new Set())}>
            Clear selection
          </button>
        </div>
      )}
      <Answer query={rules}>
        {(all) =>
          all.length === 0 ? (
            <Empty title="No rules yet">
              <p>Every event is counted as unhandled, and nothing is sent on. Make the first rule by hand, or from what comes in.</p>
              <p className="row">
                {make}
                <Link href="/unhandled" className="button">
                  What comes in unhandled
                </Link>
              </p>
              <p className="quiet">
                Many at once: <code>mutt rules import rules.json</code>
              </p>
            </Empty>
          ) : (
            <div className="rules-list">
              <Table
                label="Rules in the order in which they win"
                columns={columns}
                rows={shown}
                total={all.length}
                rowKey={(rule) => String(rule.id)}
                onOpen={(rule) => navigate(`/rules/${rule.id}`)}
                rowKeys={{ e: (rule) => navigate(`/rules/${rule.id}`) }}
                selection={{ chosen, set: setChosen }}
                rowHeight={50}
                foot={
                  <>
                    {url.sort !== "order" && (
                      <span>
                        Not in match order.{" "}
                        <button type="button" className="button small plain" onClick={() => setUrl({ sort: "order" })}>
                          Sort by priority
                        </button>
                      </span>
                    )}
                    <span className="keys">
                      <kbd>e</kbd> edit <kbd>n</kbd> new <kbd>x</kbd> select
                    </span>
                  </>
                }
                empty={<NothingLeft rules={all} insights={known} filters={url} active={active} drop={(name) => setUrl({ [name]: "" })} />}
              />
            </div>
          )
        }
      </Answer>
      {menu && (
        <StateMenu
          anchor={menu.button}
          current={stateOf(menu.rule)}
          refusal={refusal}
          onChoose={(state) => void set(menu.rule, state)}
          onClose={() => setMenu(undefined)}
        />
      )}
      {bulk && (
        <Bulk
          rules={picked}
          state={bulk}
          onClose={(done) => {
            setBulk(undefined);
            if (done) setChosen(new Set());
            void forgetRules(client);
          }}
        />
      )}
      <ApiCall path="/api/v2/rules" />
    </Page>
  );
}

const HANDLING_NAMES = ["Page_and_ticket", "Page_only", "Ticket_only", "Log_only", "Ignore"];

/** Which filter hides how many, and a click to drop it. */
function NothingLeft({ rules, insights, filters, active, drop }: { rules: Rule[]; insights?: Map<number, Insight>; filters: Filters; active: (keyof Filters)[]; drop: (name: keyof Filters) => void }) {
  const without = (name: keyof Filters) =>
    rules.filter((rule) => active.every((other) => other === name || PASSES[other](rule, filters[other], insights?.get(rule.id)))).length;
  const good = active.length === 1 && ["unused", "shadowed", "broad"].includes(filters.state);
  const titles: Record<string, string> = { unused: "Every rule matched something within 30 days", shadowed: "No rule is shadowed", broad: "No rule is broad or slow" };
  return (
    <Empty title={good ? titles[filters.state]! : "No rule passes these filters"} good={good}>
      <p className="row">
        {active.map((name) => (
          <button key={name} type="button" className="button" onClick={() => drop(name)}>
            Without {FILTER_NAMES[name]}: {plural(without(name), "rule")}
          </button>
        ))}
      </p>
    </Empty>
  );
}
