// The filters that the live tail and the search have in common. What is typed takes effect after a
// short pause, so that no search is made for half a word.

import { useQuery } from "@tanstack/react-query";
import { useEffect, useId, useRef, useState, type HTMLInputTypeAttribute, type ReactNode } from "react";
import { api, ok } from "../../api/client";
import { HANDLINGS, SEVERITIES } from "../../kit/format";
import { oneLine } from "./text";

const PAUSE = 400;

/** The bar of filters; on a phone it is folded away. */
export function FilterBar({ set, clear, narrow, children }: { set: number; clear: () => void; narrow: boolean; children: ReactNode }) {
  const bar = (
    <div className="filters" role="group" aria-label="Filters">
      {children}
      {set > 0 && (
        <button type="button" className="button" onClick={clear}>
          Clear filters
        </button>
      )}
    </div>
  );
  if (!narrow) return bar;
  return (
    <details className="filters-folded">
      <summary>{set === 0 ? "Filters" : `Filters (${set} set)`}</summary>
      {bar}
    </details>
  );
}

interface TypedProps {
  label: string;
  value: string;
  set: (value: string) => void;
  placeholder?: string;
  width?: string;
  type?: HTMLInputTypeAttribute;
  min?: number;
}

/** A text filter that follows the address and changes it once one pauses or presses Enter. */
export function TypedFilter({ label, value, set, placeholder, width = "150px", type = "text", min }: TypedProps) {
  const id = useId();
  const [draft, setDraft] = useState(value);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => setDraft(value), [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const commit = (text: string) => {
    clearTimeout(timer.current);
    if (text.trim() !== value) set(text.trim());
  };
  return (
    <div className="filter">
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        type={type}
        min={min}
        value={draft}
        placeholder={placeholder}
        autoComplete="off"
        spellCheck={false}
        maxLength={1000}
        style={{ width }}
        onChange={(event) => {
          const text = event.target.value;
          setDraft(text);
          clearTimeout(timer.current);
          timer.current = setTimeout(() => commit(text), PAUSE);
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter") commit(draft);
          if (event.key === "Escape") event.currentTarget.blur();
        }}
        onBlur={() => commit(draft)}
      />
    </div>
  );
}

interface ChosenProps {
  label: string;
  value: string;
  set: (value: string) => void;
  options: [value: string, label: string][];
  any?: string;
}

/** A filter of a few values. One that is none of them stays to be seen and taken away. */
export function ChosenFilter({ label, value, set, options, any = "any" }: ChosenProps) {
  const id = useId();
  return (
    <div className="filter">
      <label htmlFor={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => set(event.target.value)} style={{ maxWidth: "180px" }}>
        <option value="">{any}</option>
        {options.map(([each, text]) => (
          <option key={each} value={each}>
            {text}
          </option>
        ))}
        {value !== "" && !options.some(([each]) => each === value) && <option value={value}>{oneLine(value, 40)}</option>}
      </select>
    </div>
  );
}

export const SOURCES: [string, string][] = [
  ["syslog", "syslog"],
  ["snmp", "SNMP"],
  ["http", "HTTP"],
];
export const ENVIRONMENTS: [string, string][] = [
  ["production", "production"],
  ["development", "development"],
];
export const DECISIONS: [string, string][] = Object.entries(HANDLINGS);
export const SEVERITY_IS: [string, string][] = SEVERITIES.map((word, index) => [String(index), `${index} ${word}`]);
export const SEVERITY_OR_WORSE: [string, string][] = SEVERITIES.map((word, index) => [String(index), index === 0 ? `0 ${word}` : `${index} ${word} or worse`]);

/** Chooses a rule by what it looks for. */
export function RuleFilter({ value, set }: { value: string; set: (value: string) => void }) {
  const query = useQuery({
    queryKey: ["events", "rules"],
    queryFn: () => ok(api.GET("/api/v2/rules")),
    staleTime: 60_000,
  });
  const options = (query.data?.rules ?? []).map((rule): [string, string] => [
    String(rule.id),
    `${rule.id} · ${oneLine(rule.match_string ?? rule.trap_oid ?? "", 36)}`,
  ]);
  return <ChosenFilter label="Rule" value={value} set={set} options={options} />;
}
