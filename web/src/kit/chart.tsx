// A chart over time, readable in both themes, with its numbers as a table behind a disclosure.

import { useEffect, useMemo, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { usePrefs } from "../prefs";
import { clock } from "./format";

export interface Series {
  label: string;
  /** Same length as the times; null leaves a gap. */
  values: (number | null)[];
  /** 1 to 5: the colour, `--series-n`. */
  color: 1 | 2 | 3 | 4 | 5;
  fill?: boolean;
  dash?: number[];
}

export interface Mark {
  at: string | number;
  text: string;
}

interface ChartProps {
  label: string;
  /** Seconds since 1970. */
  times: number[];
  series: Series[];
  height?: number;
  unit?: string;
  /** Vertical lines: what changed then. */
  marks?: Mark[];
  format?: (value: number) => string;
  /** Horizontal line, such as a target. */
  level?: { value: number; label: string };
}

const plain = (value: number) => value.toLocaleString("en", { maximumFractionDigits: value >= 100 ? 0 : 2 });

/** Points without a neighbour, which no line shows. */
function lonely(chart: uPlot, index: number): number[] {
  const values = chart.data[index]!;
  const [from, to] = chart.series[0]!.idxs ?? [0, values.length - 1];
  const found: number[] = [];
  for (let at = from; at <= to; at++) {
    if (values[at] != null && values[at - 1] == null && values[at + 1] == null) found.push(at);
  }
  return found;
}

/** 21:00, 21:00:30 where seconds matter, the day (11-20) where one begins. */
function tick(seconds: number, step: number, zone: "local" | "utc"): string {
  const date = new Date(seconds * 1000);
  const iso = new Date(date.getTime() - (zone === "utc" ? 0 : date.getTimezoneOffset() * 60_000)).toISOString();
  const time = iso.slice(11, step < 60 ? 19 : 16);
  return step >= 86_400 || time.startsWith("00:00") ? iso.slice(5, 10) : time;
}

export function Chart({ label, times, series, height = 180, unit = "", marks = [], format = plain, level }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const { theme, zone } = usePrefs();
  // A new chart for a new look; new numbers go into the one that is there.
  const look = JSON.stringify([series.map(({ label, color, fill, dash }) => [label, color, fill, dash]), theme, zone, height, unit, level]);
  const data = useMemo(() => [times, ...series.map((each) => each.values)] as uPlot.AlignedData, [times, series]);
  const latest = useRef({ data, marks, format, series });
  useEffect(() => {
    latest.current = { data, marks, format, series };
  });

  useEffect(() => {
    const element = place.current!;
    const css = getComputedStyle(element);
    const color = (name: string) => {
      // light-dark() is resolved by the browser only in a property that takes a colour.
      const probe = document.createElement("i");
      probe.style.color = `var(${name})`;
      element.append(probe);
      const value = getComputedStyle(probe).color;
      probe.remove();
      return value;
    };
    const line = color("--line");
    const ink = color("--ink-3");
    const font = `11px ${css.fontFamily}`;
    const drawn = new uPlot(
      {
        width: Math.max(200, element.clientWidth),
        height,
        tzDate: zone === "utc" ? (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC") : undefined,
        cursor: { points: { size: 6 }, drag: { x: false, y: false } },
        legend: { live: true },
        // One point alone has an hour around it.
        scales: { x: { range: (chart, from, to) => (chart.data[0].length === 1 ? [from - 1_800, from + 1_800] : [from, to]) }, y: { range: (_, __, most) => [0, (Math.max(most ?? 0, level?.value ?? 0) || 1) * 1.08] } },
        axes: [
          { stroke: ink, font, grid: { show: false }, ticks: { stroke: line, width: 1 }, values: (_, splits, __, ___, step) => splits.map((seconds) => tick(seconds, step, zone)) },
          {
            stroke: ink,
            font,
            size: 56,
            grid: { stroke: line, width: 1 },
            ticks: { show: false },
            values: (_, splits) => splits.map((value) => latest.current.format(value)),
          },
        ],
        series: [
          { label: "Time", value: (_, seconds) => (seconds == null ? "–" : clock(seconds * 1000, "minute", zone)) },
          ...latest.current.series.map((each) => ({
            label: each.label,
            stroke: color(`--series-${each.color}`),
            fill: each.fill ? color(`--series-${each.color}`).replace(")", " / 12%)").replace(/^rgb\(([^)]*)\)/, (_, parts: string) => `rgb(${parts.replaceAll(",", "")})`) : undefined,
            width: 1.5,
            dash: each.dash,
            points: { show: false, size: 4, filter: lonely },
            value: (_: uPlot, value: number | null) => (value == null ? "–" : `${latest.current.format(value)}${unit ? ` ${unit}` : ""}`),
          })),
        ],
        hooks: {
          drawAxes: [
            (chart) => {
              const { ctx, bbox } = chart;
              ctx.save();
              ctx.setLineDash([3, 3]);
              for (const mark of latest.current.marks) {
                const x = chart.valToPos(new Date(mark.at).getTime() / 1000, "x", true);
                if (x < bbox.left || x > bbox.left + bbox.width) continue;
                ctx.strokeStyle = ink;
                ctx.beginPath();
                ctx.moveTo(x, bbox.top);
                ctx.lineTo(x, bbox.top + bbox.height);
                ctx.stroke();
              }
              if (level) {
                const y = chart.valToPos(level.value, "y", true);
                ctx.strokeStyle = color("--warning");
                ctx.beginPath();
                ctx.moveTo(bbox.left, y);
                ctx.lineTo(bbox.left + bbox.width, y);
                ctx.stroke();
              }
              ctx.restore();
            },
          ],
        },
      },
      latest.current.data,
      element,
    );
    plot.current = drawn;
    const resized = new ResizeObserver(() => drawn.setSize({ width: Math.max(200, element.clientWidth), height }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      drawn.destroy();
      plot.current = undefined;
    };
    // `look` stands for what it is made of.
    // oxlint-disable-next-line react/exhaustive-deps
  }, [look]);

  useEffect(() => {
    plot.current?.setData(data);
  }, [data]);

  return (
    <figure className="chart">
      <div ref={place} role="img" aria-label={`${label}. The same numbers are in the table below.`} />
      <details>
        <summary>{label}: numbers</summary>
        <Numbers times={times} series={series} format={format} unit={unit} marks={marks} level={level} />
      </details>
    </figure>
  );
}

/** At most the newest 120 points, as a table. */
function Numbers({ times, series, format, unit, marks, level }: Pick<ChartProps, "times" | "series" | "unit" | "marks" | "level"> & { format: (value: number) => string }) {
  const from = Math.max(0, times.length - 120);
  return (
    <>
      {level && (
        <p className="quiet">
          {level.label}: {format(level.value)} {unit}
        </p>
      )}
      {marks && marks.length > 0 && (
        <ul>
          {marks.map((mark) => (
            <li key={`${mark.at}${mark.text}`}>
              {clock(mark.at)} {mark.text}
            </li>
          ))}
        </ul>
      )}
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <div className="table-wrap" style={{ maxHeight: "240px" }} tabIndex={0} role="region" aria-label="Numbers of the chart">
        <table>
          <thead>
            <tr>
              <th scope="col">Time</th>
              {series.map((each) => (
                <th key={each.label} scope="col" className="num">
                  {each.label}
                  {unit ? ` (${unit})` : ""}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {times.slice(from).map((time, index) => (
              <tr key={time}>
                <td>{clock(time * 1000, "minute")}</td>
                {series.map((each) => {
                  const value = each.values[from + index];
                  return (
                    <td key={each.label} className="num">
                      {value == null ? "–" : format(value)}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
