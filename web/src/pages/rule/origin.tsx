// The event or signature that a draft began with: whether the draft does what it was made for.

import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { api, ok } from "../../api/client";
import { plural } from "../../kit/format";
import { Card, Notice } from "../../kit/page";
import { Time } from "../../kit/time";
import type { Rule } from "../rules/model";
import { Excerpt } from "./excerpt";
import { Decided, isDraft, place, Reasons } from "./lines";
import type { LineResult } from "./shapes";

export interface Origin {
  kind: "event" | "signature";
  id: string;
  /** For the bench: one event as JSON. */
  line: string;
  message: string;
  trapOid?: string;
  severity?: number;
  team?: string;
  host?: string;
  at?: string;
  /** What a rule for it could look for, where the server knows. */
  suggestion?: string;
  masked?: string;
  events?: number;
}

/** The event of this id, or the unhandled signature. */
export function useOrigin(event: string, signature: string) {
  return useQuery({
    queryKey: ["rule origin", event, signature],
    enabled: Boolean(event || signature),
    staleTime: Infinity,
    queryFn: async ({ signal }): Promise<Origin> => {
      if (event) {
        const found = await ok(api.GET("/api/v2/events/{event_id}", { params: { path: { event_id: event } }, signal }));
        const row = found.audit.at(-1);
        if (!row) throw new Error("it is on record only as a delivery, without its message.");
        const fields = parsed(row.raw_message);
        return {
          kind: "event",
          id: event,
          line: row.raw_message,
          message: typeof fields.message === "string" ? fields.message : row.raw_message,
          trapOid: row.trap_oid ?? undefined,
          severity: row.syslog_severity ?? undefined,
          team: row.team_assignment ?? undefined,
          host: row.hostname,
          at: row.received_at,
        };
      }
      const { signatures } = await ok(api.GET("/api/v2/unhandled", { params: { query: { limit: 1000 } }, signal }));
      const found = signatures.find((one) => one.signature === signature);
      if (!found) throw new Error("it is not counted any more. Its events are known to a rule by now, or its window has ended.");
      const host = found.hosts[0];
      return {
        kind: "signature",
        id: signature,
        line: JSON.stringify({ hostname: host ?? "unknown", message: found.sample }),
        message: found.sample,
        masked: found.masked,
        host,
        suggestion: found.suggestion ?? undefined,
        events: found.count,
      };
    },
  });
}

function parsed(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}

export function OriginCard({ origin, line, id, rules }: { origin: Origin; line?: LineResult; id?: number; rules?: readonly Rule[] }) {
  return (
    <Card
      title={origin.kind === "event" ? "The event this began with" : "The signature this began with"}
      aside={
        origin.kind === "event" ? (
          <Link href={`/events/${origin.id}`}>
            <bdi>{origin.host}</bdi> <Time at={origin.at} />
          </Link>
        ) : (
          <Link href="/unhandled">{plural(origin.events ?? 0, "event")} unhandled</Link>
        )
      }
    >
      <div className="stack tight">
        <Excerpt text={origin.message} found={place(origin.message, line?.verdicts.find((verdict) => (verdict.rule_id === "draft" || verdict.rule_id === id) && verdict.matched))} />
        {line ? (
          <>
            <Said line={line} id={id} rules={rules} />
            <Reasons verdicts={line.verdicts} id={id} rules={rules} />
          </>
        ) : (
          <p className="quiet">…</p>
        )}
      </div>
    </Card>
  );
}

/** Whether the draft does what it was made for, and what stands in its way. */
function Said({ line, id, rules }: { line: LineResult; id?: number; rules?: readonly Rule[] }) {
  const name = id === undefined ? "Your draft" : "This rule";
  if (line.error) return <Notice tone="warning">It cannot be read again: {line.error}.</Notice>;
  if (isDraft(line.winner, id)) {
    return (
      <p>
        <Decided by={line.winner} id={id} rules={rules} />
      </p>
    );
  }
  if (!line.matched) {
    return (
      <p>
        {name} does not match it; <Decided by={line.winner} id={id} rules={rules} />.
      </p>
    );
  }
  const earlier = rules?.find((rule) => rule.id === line.winner);
  return (
    <p>
      {name} matches it, but it is <Decided by={line.winner} id={id} rules={rules} />.{earlier && ` A priority below ${earlier.priority} would put it first.`}
    </p>
  );
}
