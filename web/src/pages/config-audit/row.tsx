// One change in a drawer: field by field, with who, why and the hash that holds it in the chain.

import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { api, ok } from "../../api/client";
import { CopyButton } from "../../kit/code";
import { Dialog } from "../../kit/dialog";
import { Diff } from "../../kit/diff";
import { Chip } from "../../kit/marks";
import { Empty } from "../../kit/page";
import { Answer } from "../../kit/query";
import { Ago, Time } from "../../kit/time";
import { link } from "../../kit/url";
import { OPERATIONS, pageOf, recordOf, tableWords, type Change } from "./words";

const PAGE = 200;

/** Finds a change by its number: rows are numbered as they are written, so the page follows from it. */
async function find(id: number): Promise<Change | null> {
  const page = (number: number) => ok(api.GET("/api/v2/config-audit", { params: { query: { page: number, page_size: PAGE } } }));
  let answer = await page(1);
  const newest = answer.changes[0]?.id ?? 0;
  // Numbers may have gaps, never fewer numbers than rows: the row is on this page or an earlier one.
  let number = Math.min(Math.floor((newest - id) / PAGE) + 1, Math.max(1, answer.total_pages));
  for (let tries = 0; tries < 20 && number >= 1; tries++) {
    if (number > 1) answer = await page(number);
    const change = answer.changes.find((each) => each.id === id);
    if (change) return change;
    if (number === 1 || (answer.changes[0]?.id ?? 0) > id) return null;
    number--;
    if (number === 1) answer = await page(1);
  }
  return null;
}

export function ChangeDrawer({ id, loaded, onClose }: { id: number; loaded?: Change; onClose: () => void }) {
  const query = useQuery({ queryKey: ["config-audit", "row", id], queryFn: () => loaded ?? find(id), initialData: loaded, staleTime: Infinity });
  return (
    <Dialog title={`Change ${id}`} drawer onClose={onClose}>
      <Answer query={query}>
        {(change) =>
          change ? (
            <Facts change={change} />
          ) : (
            <Empty title={`There is no change ${id}`}>
              <p>No row of the audit has this number. If it should be there, verify the chain: a missing row breaks it.</p>
            </Empty>
          )
        }
      </Answer>
    </Dialog>
  );
}

function Facts({ change }: { change: Change }) {
  const operation = OPERATIONS[change.operation] ?? { word: change.operation, tone: "neutral" as const };
  const record = recordOf(change);
  const page = pageOf(change);
  return (
    <>
      <div className="row">
        <Chip tone={operation.tone}>{operation.word}</Chip>
        <b className="wrap">
          {tableWords(change.table_name)} <bdi>{record}</bdi>
        </b>
      </div>
      <dl className="facts">
        <dt>When</dt>
        <dd>
          <Time at={change.changed_at} precision="milli" /> (<Ago at={change.changed_at} />)
        </dd>
        <dt>Who</dt>
        <dd>
          <Link href={link("/config-audit", { changed_by: change.changed_by })}>
            <bdi>{change.changed_by}</bdi>
          </Link>
        </dd>
        <dt>Reason</dt>
        <dd>{change.reason ? <bdi>{change.reason}</bdi> : <span className="quiet">none given</span>}</dd>
        {change.correlation_id && (
          <>
            <dt>Correlation ID</dt>
            <dd>
              <Link href={link("/config-audit", { correlation_id: change.correlation_id })}>
                <code>{change.correlation_id}</code>
              </Link>
            </dd>
          </>
        )}
        <dt>Hash</dt>
        <dd>
          <code>{change.row_hash}</code> <CopyButton text={change.row_hash} label="Copy the hash" />
        </dd>
      </dl>
      <h3>What changed</h3>
      <div className="audit-diff">
        <Diff before={(change.old_values ?? null) as Record<string, unknown> | null} after={(change.new_values ?? null) as Record<string, unknown> | null} />
      </div>
      <p className="row">
        {record && <Link href={link("/config-audit", { table_name: change.table_name, record_id: record })}>All changes of this record</Link>}
        {page && <Link href={page}>Show the record</Link>}
      </p>
    </>
  );
}
