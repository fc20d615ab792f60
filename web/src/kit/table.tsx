// The table of every list: a real <table>, of which only the visible rows exist, with selection
// and keys (j/k or arrows, Enter opens, x selects, Shift-x up to here).

import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { count } from "./format";
import { useKeys } from "./keys";

export interface Column<T> {
  key: string;
  label: ReactNode;
  /** CSS width; one column at least should have none. */
  width?: string;
  number?: boolean;
  cell: (row: T) => ReactNode;
  /** Makes the heading a button. */
  sort?: { state: "ascending" | "descending" | "none"; set: () => void };
}

interface TableProps<T> {
  label: string;
  columns: Column<T>[];
  rows: readonly T[];
  rowKey: (row: T) => string;
  /** Where a row leads. */
  onOpen?: (row: T) => void;
  /** Further keys that do something with the current row. */
  rowKeys?: Record<string, (row: T) => void>;
  selection?: { chosen: ReadonlySet<string>; set: (chosen: Set<string>) => void };
  /** Called when the last rows come into sight: fetch more. */
  onEnd?: () => void;
  /** How many there are in all, where that is known and more than `rows`. */
  total?: number;
  /** Height of the scrolled part; the table is as high as its rows up to there. */
  height?: string;
  rowHeight?: number;
  foot?: ReactNode;
  /** Shown in place of the rows. */
  empty?: ReactNode;
}

export function Table<T>({
  label,
  columns,
  rows,
  rowKey,
  onOpen,
  rowKeys = {},
  selection,
  onEnd,
  total,
  height = "calc(100vh - 250px)",
  rowHeight = 28,
  foot,
  empty,
}: TableProps<T>) {
  const scroller = useRef<HTMLDivElement>(null);
  const [current, setCurrent] = useState(-1);
  const anchor = useRef(-1);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    overscan: 12,
  });
  const items = virtual.getVirtualItems();
  const lastShown = items.at(-1)?.index ?? -1;

  useEffect(() => {
    if (onEnd && rows.length > 0 && lastShown >= rows.length - 10) onEnd();
  }, [onEnd, rows.length, lastShown]);

  const move = (by: number) => {
    if (rows.length === 0) return;
    const next = Math.max(0, Math.min(rows.length - 1, current + by));
    setCurrent(next);
    virtual.scrollToIndex(next, { align: "auto" });
  };
  const select = (index: number, range: boolean) => {
    const row = rows[index];
    if (!selection || !row) return;
    const chosen = new Set(selection.chosen);
    if (range && anchor.current >= 0) {
      const [from, to] = [Math.min(anchor.current, index), Math.max(anchor.current, index)];
      for (const each of rows.slice(from, to + 1)) chosen.add(rowKey(each));
    } else {
      const key = rowKey(row);
      if (!chosen.delete(key)) chosen.add(key);
      anchor.current = index;
    }
    selection.set(chosen);
  };
  const onRow = (act: (row: T) => void) => () => {
    const row = rows[current];
    if (!row) return false;
    act(row);
    return undefined;
  };
  useKeys({
    ...Object.fromEntries(Object.entries(rowKeys).map(([key, act]) => [key, onRow(act)])),
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: () => (scroller.current?.contains(document.activeElement) ? move(1) : false),
    ArrowUp: () => (scroller.current?.contains(document.activeElement) ? move(-1) : false),
    Enter: () => {
      const row = rows[current];
      const inside = document.activeElement === document.body || document.activeElement === scroller.current || document.activeElement?.tagName === "H1";
      if (!onOpen || !row || !inside) return false;
      onOpen(row);
      return undefined;
    },
    x: () => (selection ? select(current, false) : false),
    X: () => (selection ? select(current, true) : false),
  });

  const latest = useRef({ rows, onOpen, select });
  useEffect(() => {
    latest.current = { rows, onOpen, select };
  });
  const acts = useMemo<Acts>(
    () => ({
      point: setCurrent,
      open: (index) => {
        const { rows, onOpen } = latest.current;
        if (rows[index] !== undefined) onOpen?.(rows[index]);
      },
      select: (index, range) => latest.current.select(index, range),
    }),
    [],
  );

  const before = items[0]?.start ?? 0;
  const after = virtual.getTotalSize() - (items.at(-1)?.end ?? 0);
  const span = columns.length + (selection ? 1 : 0);
  const all = rows.length > 0 && rows.every((row) => selection?.chosen.has(rowKey(row)));
  if (rows.length === 0 && empty) return <>{empty}</>;
  return (
    <div>
      {/* Scrollable by keyboard, hence in the tab order. */}
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <div className="table-wrap" ref={scroller} tabIndex={0} role="region" aria-label={label} style={{ maxHeight: height }}>
        <table className="table" aria-rowcount={(total ?? rows.length) + 1} aria-label={label}>
          <colgroup>
            {selection && <col style={{ width: "36px" }} />}
            {columns.map((column) => (
              <col key={column.key} style={column.width ? { width: column.width } : undefined} />
            ))}
          </colgroup>
          <thead>
            <tr aria-rowindex={1}>
              {selection && (
                <th scope="col">
                  <input
                    type="checkbox"
                    aria-label="Select all that are loaded"
                    checked={all}
                    onChange={() => selection.set(all ? new Set() : new Set(rows.map(rowKey)))}
                  />
                </th>
              )}
              {columns.map((column) => (
                <th key={column.key} scope="col" className={column.number ? "num" : undefined} aria-sort={column.sort && column.sort.state !== "none" ? column.sort.state : undefined}>
                  {column.sort ? (
                    <button type="button" onClick={column.sort.set}>
                      {column.label}
                      {column.sort.state === "ascending" ? " ▲" : column.sort.state === "descending" ? " ▼" : ""}
                    </button>
                  ) : (
                    column.label
                  )}
                </th>
              ))}
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
              const key = rowKey(row);
              return (
                <Row
                  key={key}
                  row={row}
                  index={item.index}
                  columns={columns}
                  height={rowHeight}
                  chosen={selection?.chosen.has(key)}
                  current={item.index === current}
                  opens={onOpen !== undefined}
                  acts={acts}
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
      <div className="table-foot">
        <span>
          {count(rows.length)}
          {total !== undefined && total > rows.length ? ` of ${count(total)}` : ""} {rows.length === 1 ? "row" : "rows"}
        </span>
        {foot}
      </div>
    </div>
  );
}

interface Acts {
  point: (index: number) => void;
  open: (index: number) => void;
  select: (index: number, range: boolean) => void;
}

interface RowProps<T> {
  row: T;
  index: number;
  columns: Column<T>[];
  height: number;
  /** Whether it is selected; undefined where nothing can be. */
  chosen?: boolean;
  current: boolean;
  opens: boolean;
  acts: Acts;
}

// While one scrolls, a row that stays in sight is not made again.
const Row = memo(function Row<T>({ row, index, columns, height, chosen, current, opens, acts }: RowProps<T>) {
  return (
    <tr
      aria-rowindex={index + 2}
      aria-selected={chosen}
      data-current={current}
      data-open-able={opens ? "" : undefined}
      style={{ height: `${height}px` }}
      onClick={(event) => {
        acts.point(index);
        const target = event.target as HTMLElement;
        if (target.closest("a, button, input, label") || String(getSelection())) return;
        acts.open(index);
      }}
    >
      {chosen !== undefined && (
        <td>
          <input type="checkbox" aria-label="Select this row" checked={chosen} onChange={(event) => acts.select(index, (event.nativeEvent as MouseEvent).shiftKey === true)} />
        </td>
      )}
      {columns.map((column) => (
        <td key={column.key} className={column.number ? "num" : undefined}>
          {column.cell(row)}
        </td>
      ))}
    </tr>
  );
}) as <T>(props: RowProps<T>) => ReactNode;
