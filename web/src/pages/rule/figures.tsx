// Numbers that say how exact they are.

import { count } from "../../kit/format";
import { Chip } from "../../kit/marks";
import type { Figure as Value } from "./shapes";

/** To three digits: more would promise too much. */
function rough(value: number, round: (value: number) => number): string {
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(1, value))) - 2);
  return count(round(value / unit) * unit);
}

export function figureText(figure: Value): string {
  switch (figure.exactness) {
    case "exact":
      return count(figure.value);
    case "lower_bound":
      if (figure.low === 0 && figure.high == null) return "none found";
      return figure.high == null ? `at least ${count(figure.low)}` : `${count(figure.low)} to ${count(figure.high)}`;
    case "too_few":
      return "too few to say";
    case "estimate": {
      const value = `≈ ${rough(figure.value, Math.round)}`;
      return figure.high == null ? `${value} (from ${rough(figure.low, Math.floor)})` : `${value} (${rough(figure.low, Math.floor)}–${rough(figure.high, Math.ceil)})`;
    }
  }
}

const WORDS = {
  exact: { word: "exact", tone: "ok", about: "Every event was looked at" },
  estimate: { word: "estimated", tone: "info", about: "From a sample; the interval holds the truth 95 times of 100" },
  lower_bound: { word: "lower bound", tone: "info", about: "Not everything could be looked at" },
  too_few: { word: "estimated", tone: "neutral", about: "Fewer than 20 events of the sample: no number can be given" },
} as const;

/** The number, and how exact it is. */
export function Figure({ of: figure, mark = true }: { of: Value | undefined; mark?: boolean }) {
  if (!figure) return <span className="quiet">…</span>;
  const { word, tone, about } = WORDS[figure.exactness];
  return (
    <span className="bench-figure">
      <span className={figure.exactness === "too_few" ? "quiet" : "num"}>{figureText(figure)}</span>
      {figure.exactness === "too_few" && figure.high != null && <span className="quiet">(at most {rough(figure.high, Math.ceil)})</span>}
      {mark && (
        <Chip tone={tone} shape={false} title={about}>
          {word}
        </Chip>
      )}
    </span>
  );
}
