// What the draft would do, recomputed as one types: on a sample of the last hour, on audit rows, on
// unhandled signatures, on lines of one's own.

import { useLayoutEffect, useRef, useState, type ReactNode } from "react";
import { Link } from "wouter";
import { Chart } from "../../kit/chart";
import { count, plural } from "../../kit/format";
import { Highlight } from "../../kit/highlight";
import { Chip } from "../../kit/marks";
import { Card, Empty, Notice, Problem } from "../../kit/page";
import { Ago, Time } from "../../kit/time";
import { link } from "../../kit/url";
import { RuleLink } from "../rules/marks";
import type { Rule } from "../rules/model";
import { Excerpt } from "./excerpt";
import { Figure, figureText } from "./figures";
import { Lines } from "./lines";
import type { Example, Findings, Taken, TestResult } from "./shapes";
import type { Answer } from "./use-bench";

export const SCOPES = [
  ["hour", "Last hour"],
  ["audit", "Audit rows"],
  ["unhandled", "Unhandled"],
  ["lines", "My lines"],
] as const;
export type Scope = (typeof SCOPES)[number][0];
export const SPANS = [
  ["60", "1 hour"],
  ["1440", "24 hours"],
  ["10080", "7 days"],
  ["43200", "30 days"],
] as const;

interface BenchProps {
  scope: Scope;
  span: string;
  onScope: (some: { on?: Scope; span?: string }) => void;
  answer: Answer;
  again: () => void;
  /** Why nothing can be asked yet. */
  idle?: ReactNode;
  lines: string;
  onLines: (lines: string) => void;
  /** How many of the answer's lines are not those of the box. */
  skipLines: number;
  needle: string;
  /** Whether the draft decides anything as it is. */
  decides: boolean;
  /** Whether its handling sends anything on. */
  sends: boolean;
  /** The rule that is edited. */
  id?: number;
  rules?: readonly Rule[];
}

export function Bench({ scope, span, onScope, answer, again, idle, lines, onLines, skipLines, needle, decides, sends, id, rules }: BenchProps) {
  const { result, error } = answer;
  return (
    <Card
      title="Test bench"
      aside={
        idle ? undefined : answer.at ? (
          <>
            computed <Ago at={answer.at} />{" "}
            <button type="button" className="button small" onClick={again}>
              Again
            </button>
          </>
        ) : (
          "computing…"
        )
      }
    >
      <div className="stack">
        <div className="row">
          <div className="segments" role="group" aria-label="Test on">
            {SCOPES.map(([id, label]) => (
              <button key={id} type="button" aria-pressed={scope === id} onClick={() => onScope({ on: id })}>
                {label}
              </button>
            ))}
          </div>
          {scope === "audit" && (
            <label className="row">
              Of the last
              <select value={span} onChange={(event) => onScope({ span: event.target.value })}>
                {SPANS.map(([minutes, label]) => (
                  <option key={minutes} value={minutes}>
                    {label}
                  </option>
                ))}
              </select>
            </label>
          )}
        </div>
        {scope === "lines" && (
          <div className="field">
            <label htmlFor="bench-lines">Lines as a device sends them: syslog, or one event as JSON per line</label>
            <textarea
              id="bench-lines"
              className="mono"
              rows={4}
              value={lines}
              onChange={(event) => onLines(event.target.value)}
              spellCheck={false}
              placeholder="<187>Nov 21 10:41:07 core-sw1 %LINK-3-UPDOWN: Interface Gi0/1, changed state to down"
            />
          </div>
        )}
        {idle ?? (
          <Steady waiting={!answer.at}>
            {error !== undefined && <Problem error={error} retry={again} />}
            {error === undefined && scope === "lines" && <Lines lines={result?.lines.slice(skipLines)} any={lines.trim() !== ""} id={id} rules={rules} />}
            {error === undefined && scope === "unhandled" && <Signatures result={result} needle={needle} />}
            {error === undefined && (scope === "hour" || scope === "audit") && (
              <Findings findings={scope === "hour" ? result?.sample : result?.history} waiting={!answer.at} decides={decides} sends={sends} id={id} rules={rules} />
            )}
          </Steady>
        )}
      </div>
    </Card>
  );
}

/** Does not shrink while there is no answer to the newest draft. */
function Steady({ waiting, children }: { waiting: boolean; children: ReactNode }) {
  const box = useRef<HTMLDivElement>(null);
  const [height, setHeight] = useState(0);
  useLayoutEffect(() => {
    if (!waiting && box.current) setHeight(box.current.offsetHeight);
  }, [waiting, children]);
  return (
    <div style={{ minHeight: waiting ? `${height}px` : undefined }} aria-busy={waiting}>
      <div ref={box} className="stack">
        {children}
      </div>
    </div>
  );
}

function Findings({ findings, waiting, decides, sends, id, rules }: { findings?: Findings | null; waiting: boolean } & Pick<BenchProps, "decides" | "sends" | "id" | "rules">) {
  if (!findings && !waiting) return <Notice tone="warning">This MUTT does not answer for this scope.</Notice>;
  const none = findings?.would_match.value === 0 && findings.would_match.exactness === "exact";
  if (findings && findings.events.value === 0) {
    return (
      <Empty title="No events in this time">
        <p>{findings.about}</p>
      </Empty>
    );
  }
  return (
    <>
      {!decides && <p className="quiet">As if it were active; as it is, it decides nothing.</p>}
      <dl className="facts bench-facts">
        <dt>Would match</dt>
        <dd>
          <Figure of={findings?.would_match} />
          {findings && <span className="quiet"> of {figureText(findings.events)} events</span>}
        </dd>
        <dt>Would decide</dt>
        <dd>
          <Figure of={findings?.would_win} />
        </dd>
        <Others label="Takes from" taken={findings?.takes_from} rules={rules} />
        <Others label="Loses to" taken={findings?.loses_to} rules={rules} />
        <Others label="Leaves to" taken={findings?.leaves_to} rules={rules} />
        <dt>Alerts</dt>
        <dd>{sends ? <Figure of={findings?.alerts} /> : "none: its handling sends nothing on"}</dd>
        <dt>Alerts an hour, at the peak</dt>
        <dd>
          {findings?.peak && sends ? (
            <>
              <Figure of={findings.peak.per_hour} />
              <span className="quiet">
                {" "}
                at <Time at={findings.peak.at} precision="minute" />
              </span>
            </>
          ) : findings ? (
            "none"
          ) : (
            <span className="quiet">…</span>
          )}
        </dd>
        <dt>Hosts</dt>
        <dd>
          <Figure of={findings?.hosts.production} mark={false} /> production, <Figure of={findings?.hosts.development} mark={false} /> development
        </dd>
      </dl>
      {findings && <Histogram findings={findings} />}
      {findings && (none ? <p className="soft">Nothing that was looked at matches.</p> : <Examples examples={findings.examples} id={id} rules={rules} />)}
      {findings && (
        <p className="quiet">
          <Time at={findings.from} precision="minute" /> to <Time at={findings.to} precision="minute" />, {plural(findings.looked_at, "event")} looked at. {findings.about}
          {findings.cut > 0 && ` ${plural(findings.cut, "message")} of them cut off: what comes later in these is unknown.`}
        </p>
      )}
    </>
  );
}

const SHOWN = 6;

function Others({ label, taken, rules }: { label: string; taken?: Taken[]; rules?: readonly Rule[] }) {
  if (!taken || taken.length === 0) return null;
  const rest = taken.slice(SHOWN);
  return (
    <>
      <dt>{label}</dt>
      <dd>
        <ul className="bench-taken">
          {taken.slice(0, SHOWN).map(({ rule_id, events }) => (
            <li key={rule_id ?? 0}>
              {rule_id == null ? <Link href="/unhandled">unhandled</Link> : <RuleLink id={rule_id} rules={rules} />} <Figure of={events} mark={false} />
            </li>
          ))}
          {rest.length > 0 && <li className="quiet">and {plural(rest.length, "rule")} more</li>}
        </ul>
      </dd>
    </>
  );
}

function Histogram({ findings }: { findings: Findings }) {
  const { histogram } = findings;
  if (histogram.every((bucket) => bucket.alerts.value === 0)) return null;
  const seconds = histogram[0]?.seconds ?? 60;
  const each = seconds >= 3600 ? "hour" : seconds === 60 ? "minute" : `${seconds / 60} minutes`;
  const guessed = histogram.some((bucket) => bucket.alerts.exactness !== "exact");
  return (
    <div>
      <h3>Alerts it would send, by {each}</h3>
      {guessed && <p className="quiet">From the sample: a single {each} is a rough guess.</p>}
      <Chart
        label={`Alerts by ${each}`}
        times={histogram.map((bucket) => Date.parse(bucket.at) / 1000)}
        series={[{ label: guessed ? "Alerts (estimated)" : "Alerts", values: histogram.map((bucket) => bucket.alerts.value), color: 1, fill: true }]}
        height={120}
      />
    </div>
  );
}

const FIRST = 6;

function Examples({ examples, id, rules }: { examples: Example[]; id?: number; rules?: readonly Rule[] }) {
  if (examples.length === 0) return null;
  const list = (some: Example[]) => (
    <ol className="bench-examples">
      {some.map((example) => (
        <li key={example.event_id}>
          <ExampleRow example={example} id={id} rules={rules} />
        </li>
      ))}
    </ol>
  );
  const rest = examples.slice(FIRST);
  return (
    <div>
      <h3>{examples.length === 1 ? "One event that it matches" : `${examples.length} events that it matches`}</h3>
      {list(examples.slice(0, FIRST))}
      {rest.length > 0 && (
        <details>
          <summary>{rest.length} more</summary>
          {list(rest)}
        </details>
      )}
    </div>
  );
}

function ExampleRow({ example, id, rules }: { example: Example; id?: number; rules?: readonly Rule[] }) {
  const { winner_today: today } = example;
  return (
    <>
      <div className="row">
        <Link href={`/events/${example.event_id}`}>
          <Time at={example.received_at} />
          <span className="sr"> timeline of this event</span>
        </Link>
        <Link href={link("/events", { hostname: example.hostname })}>
          <bdi>{example.hostname}</bdi>
        </Link>
        {example.environment === "development" && <Chip>development</Chip>}
        {!example.wins && <Chip tone="warning">an earlier rule decides it</Chip>}
        {today == null ? (
          <span className="quiet">now unhandled</span>
        ) : today === id ? null : (
          <span className="quiet">
            now decided by <RuleLink id={today} rules={rules} short />
          </span>
        )}
      </div>
      <Excerpt text={example.message} found={example.matched ? [example.matched.utf16[0] ?? 0, example.matched.utf16[1] ?? 0] : undefined} />
      {example.cut && <span className="quiet">The message goes on.</span>}
    </>
  );
}

function Signatures({ result, needle }: { result?: TestResult; needle: string }) {
  const tally = result?.unhandled;
  if (result && !tally) return <Notice tone="warning">This MUTT does not answer for this scope.</Notice>;
  return (
    <>
      <dl className="facts bench-facts">
        <dt>Would match</dt>
        <dd>
          <AtLeast value={tally?.matched} />
        </dd>
        <dt>Would decide</dt>
        <dd>
          <AtLeast value={tally?.would_win} />
        </dd>
      </dl>
      {tally && (
        <>
          <ol className="bench-examples">
            {tally.examples.map((message, index) => (
              // Messages may be equal.
              // oxlint-disable-next-line react/no-array-index-key
              <li key={index}>
                <bdi className="mono wrap">
                  <Highlight text={message} needle={needle} />
                </bdi>
              </li>
            ))}
          </ol>
          <p className="quiet">
            Of {count(tally.looked_at)} {tally.about}.
          </p>
        </>
      )}
    </>
  );
}

function AtLeast({ value }: { value?: number }) {
  if (value === 0) return <span className="soft">nothing that can be told from signatures and samples</span>;
  return <Figure of={value === undefined ? undefined : { value, low: value, high: null, exactness: "lower_bound" }} />;
}
