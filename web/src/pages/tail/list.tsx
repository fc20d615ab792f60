// The rows of the live tail, newest at the bottom. Only the visible ones exist. The cursor goes
// from cell to cell; Enter opens the row, f filters for the cell.

import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useCallback, useEffect, useId, useLayoutEffect, useRef, useState, type KeyboardEvent } from "react";
import type { LiveEvent } from "../../api/live";
import { plural } from "../../kit/format";
import { useKeys } from "../../kit/keys";
import { Severity } from "../../kit/marks";
import { Time } from "../../kit/time";
import { Decision } from "../event/decision";
import { oneLine } from "../event/text";
import type { TailRow } from "./ring";

export const COLUMNS = ["time", "source", "severity", "host", "message", "decision", "team"] as const;
export type ColumnName = (typeof COLUMNS)[number];

const HEADS: Record<ColumnName, [label: string, width: string | undefined]> = {
  time: ["Received", "116px"],
  source: ["Source", "66px"],
  severity: ["Severity", "98px"],
  host: ["Host", "150px"],
  message: ["Message", undefined],
  decision: ["Decision", "198px"],
  team: ["Team", "96px"],
};

export interface Cursor {
  /** The key of its row. */
  row: number;
  column: number;
}

interface ListProps {
  rows: readonly TailRow[];
  /** Stay at the newest row. */
  follow: boolean;
  /** The reader went up, or came back to the end. */
  onFollow: (follow: boolean) => void;
  cursor: Cursor | undefined;
  setCursor: (cursor: Cursor | undefined) => void;
  onOpen: (event: LiveEvent) => void;
  onFilter: (column: ColumnName, event: LiveEvent) => void;
  /** Two lines a row, for narrow screens. */
  narrow: boolean;
}

export function TailList({ rows, follow, onFollow, cursor, setCursor, onOpen, onFilter, narrow }: ListProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const pointed = useRef<Cursor | undefined>(undefined);
  const lastTop = useRef(0);
  const id = useId();
  const height = narrow ? 44 : 24;
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    overscan: 10,
  });
  useEffect(() => virtual.measure(), [virtual, height]);

  const following = useRef(follow);
  following.current = follow;
  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element || !follow) return;
    element.scrollTop = element.scrollHeight;
    lastTop.current = element.scrollTop;
  }, [rows, follow, height]);

  const onScroll = () => {
    const element = scroller.current!;
    const up = element.scrollTop < lastTop.current - 2;
    lastTop.current = element.scrollTop;
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < height;
    if (following.current ? up && !atEnd : atEnd) onFollow(atEnd);
  };

  const position = cursor ? rows.findIndex((row) => row.key === cursor.row) : -1;
  const move = (by: number) => {
    if (rows.length === 0) return;
    const next = Math.max(0, Math.min(rows.length - 1, position < 0 ? rows.length - 1 : position + by));
    setCursor({ row: rows[next]!.key, column: cursor?.column ?? 4 });
    virtual.scrollToIndex(next, { align: "auto" });
  };
  const open = () => {
    const row = rows[position];
    if (row?.kind !== "event") return false;
    onOpen(row.event);
    return undefined;
  };
  const filter = () => {
    const at = cursor ?? pointed.current;
    const row = at && rows.find((each) => each.key === at.row);
    if (row?.kind !== "event") return false;
    onFilter(COLUMNS[at!.column]!, row.event);
    return undefined;
  };
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    f: filter,
    Enter: () => (document.activeElement === document.body || document.activeElement?.tagName === "H1" ? open() : false),
  });
  const onKeyDown = (event: KeyboardEvent) => {
    const across = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowDown") move(1);
    else if (event.key === "ArrowUp") move(-1);
    else if (across && cursor) setCursor({ ...cursor, column: Math.max(0, Math.min(COLUMNS.length - 1, cursor.column + across)) });
    else if (event.key === "PageDown") move(20);
    else if (event.key === "PageUp") move(-20);
    else if (event.key === "Home") move(-rows.length);
    else if (event.key === "End" || event.key === "Escape") setCursor(undefined);
    else if (event.key === "Enter" && cursor) open();
    else return;
    event.preventDefault();
  };

  const onCell = useCallback(
    (row: number, column: number) => {
      pointed.current = { row, column };
    },
    [],
  );
  const span = narrow ? 1 : COLUMNS.length;
  const items = virtual.getVirtualItems();
  const before = items[0]?.start ?? 0;
  const after = virtual.getTotalSize() - (items.at(-1)?.end ?? 0);
  return (
    <div className="tail-log" role="log" aria-live="off" aria-label="Live events">
      <div className="table-wrap tail" ref={scroller} onScroll={onScroll} onPointerLeave={() => (pointed.current = undefined)}>
        {/* The grid has the focus, and says which of its cells is meant. */}
        <table
          className="table"
          // oxlint-disable-next-line jsx-a11y/no-noninteractive-element-to-interactive-role
          role="grid"
          aria-label="Live events, newest last"
          aria-rowcount={rows.length + 1}
          aria-colcount={span}
          tabIndex={0}
          aria-activedescendant={position >= 0 ? `${id}-${cursor!.row}-${narrow ? 0 : cursor!.column}` : undefined}
          data-narrow={narrow ? "" : undefined}
          onKeyDown={onKeyDown}
        >
          {!narrow && (
            <colgroup>
              {COLUMNS.map((column) => (
                <col key={column} style={HEADS[column][1] ? { width: HEADS[column][1] } : undefined} />
              ))}
            </colgroup>
          )}
          <thead>
            <tr aria-rowindex={1}>
              {narrow ? (
                <th scope="col">Events</th>
              ) : (
                COLUMNS.map((column) => (
                  <th key={column} scope="col">
                    {HEADS[column][0]}
                  </th>
                ))
              )}
            </tr>
          </thead>
          <tbody>
            {before > 0 && (
              <tr aria-hidden="true" style={{ height: `${before}px` }}>
                <td className="gap" colSpan={span} />
              </tr>
            )}
            {items.map((item) => {
              const row = rows[item.index]!;
              return (
                <Row
                  key={row.key}
                  row={row}
                  id={id}
                  index={item.index + 2}
                  column={cursor?.row === row.key ? cursor.column : -1}
                  narrow={narrow}
                  onOpen={onOpen}
                  onCell={onCell}
                />
              );
            })}
            {after > 0 && (
              <tr aria-hidden="true" style={{ height: `${after}px` }}>
                <td className="gap" colSpan={span} />
              </tr>
            )}
          </tbody>
        </table>
      </div>
    </div>
  );
}

interface RowProps {
  row: TailRow;
  id: string;
  index: number;
  /** Where the cursor is in this row, or -1. */
  column: number;
  narrow: boolean;
  onOpen: (event: LiveEvent) => void;
  onCell: (row: number, column: number) => void;
}

const Row = memo(function Row({ row, id, index, column, narrow, onOpen, onCell }: RowProps) {
  const height = { height: narrow ? "44px" : "24px" };
  if (row.kind !== "event") {
    return (
      <tr aria-rowindex={index} className="tail-note" data-current={column >= 0} style={height}>
        <td id={`${id}-${row.key}-${Math.max(0, column)}`} colSpan={narrow ? 1 : COLUMNS.length}>
          {row.kind === "missed" ? `— ${row.about ? "about " : ""}${plural(row.count, "event")} not shown —` : `— ${row.text} —`}
        </td>
      </tr>
    );
  }
  const { event } = row;
  const open = () => {
    if (!String(getSelection())) onOpen(event);
  };
  if (narrow) {
    return (
      <tr aria-rowindex={index} data-current={column >= 0} data-open-able="" style={height} onClick={open}>
        <td id={`${id}-${row.key}-0`}>
          <div className="two-lines">
            <span>
              <Time at={event.received_at} /> <Severity value={event.severity} /> <b>{oneLine(event.hostname, 100)}</b>
            </span>
            <span>
              <Decision decided={event.handling} rule={event.rule_id} /> <span className="mono">{oneLine(event.message, 200)}</span>
            </span>
          </div>
        </td>
      </tr>
    );
  }
  return (
    <tr aria-rowindex={index} data-current={column >= 0} data-open-able="" style={height} onClick={open}>
      {COLUMNS.map((name, at) => (
        <td
          key={name}
         
          id={`${id}-${row.key}-${at}`}
          data-cursor={at === column ? "" : undefined}
          className={name === "message" ? "mono" : undefined}
          onPointerEnter={() => onCell(row.key, at)}
        >
          <Cell name={name} event={event} />
        </td>
      ))}
    </tr>
  );
});

function Cell({ name, event }: { name: ColumnName; event: LiveEvent }) {
  switch (name) {
    case "time":
      return <Time at={event.received_at} precision="milli" />;
    case "source":
      return <>{event.source ?? "–"}</>;
    case "severity":
      return <Severity value={event.severity} />;
    case "host":
      return <span title={event.environment === "development" ? "development host" : undefined}>{oneLine(event.hostname, 100)}</span>;
    case "message":
      return <>{oneLine(event.message)}</>;
    case "decision":
      return <Decision decided={event.handling} rule={event.rule_id} />;
    default:
      return <>{event.team ? oneLine(event.team, 60) : <span className="quiet">–</span>}</>;
  }
}

/** Whether the screen is a phone's. */
export function useNarrow(): boolean {
  const [narrow, setNarrow] = useState(() => matchMedia("(max-width: 860px)").matches);
  useEffect(() => {
    const media = matchMedia("(max-width: 860px)");
    const onChange = () => setNarrow(media.matches);
    media.addEventListener("change", onChange);
    return () => media.removeEventListener("change", onChange);
  }, []);
  return narrow;
}
