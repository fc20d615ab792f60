// The road of an event as a drawing: six places with arrows between them, and in one line above
// where it is stuck. Lists and text underneath, so that it reads the same without the drawing.

import type { ReactNode } from "react";
import { Link } from "wouter";
import type { Status } from "../../api/shapes";
import { Chip, Meter, Shape, type Tone } from "../../kit/marks";
import { useNow } from "../../kit/time";
import { usePaused } from "../../pause";
import { useTrends, type Now } from "./now";
import { stations, verdict, type Line, type Station } from "./model";
import "../../styles/road.css";

/** The server's clock, standing still while paused. */
function useServerClock(now: Now): number {
  const clock = useNow();
  const paused = usePaused();
  return (paused ? now.at : Math.max(clock, now.at)) + now.offset;
}

export function Road({ now, explain = false, inside }: { now: Now; explain?: boolean; inside?: (station: Station) => ReactNode }) {
  const trends = useTrends();
  const clock = useServerClock(now);
  const places = stations(now.value, trends, clock);
  const judged = verdict(now.value, clock);
  // That all was well once says nothing of now.
  const tone = now.stale && judged.tone === "ok" ? "neutral" : judged.tone;
  return (
    <div className={`road-frame ${now.stale || !now.value.complete ? "stale" : ""}`}>
      <p className={`road-verdict tone-${tone}`}>
        <Shape tone={tone} />
        <span>
          {now.stale && "Last known: "}
          <b>{judged.href ? <Link href={judged.href}>{judged.title}</Link> : judged.title}.</b> <span className="wrap">{judged.text}</span>
        </span>
      </p>
      <ol className="road" aria-label="The road of an event">
        {places.map((station, index) => (
          <Place key={station.id} station={station} stuck={judged.at === station.id ? judged.tone : undefined} blocked={blocked(now.value, places, index)} explain={explain}>
            {inside?.(station)}
          </Place>
        ))}
      </ol>
    </div>
  );
}

/** Whether nothing gets past this place to the next. */
function blocked(status: Status, places: Station[], index: number): boolean {
  const next = places[index + 1];
  if (!next) return false;
  if (next.id === "sink" || next.id === "deliver") return next.word?.startsWith("No ") === true || status.circuit?.state === "open" || status.circuit?.sink_configured === false;
  return next.word?.startsWith("No ") === true || next.word === "Deferring";
}

function Place({ station, stuck, blocked, explain, children }: { station: Station; stuck?: Tone; blocked: boolean; explain: boolean; children?: ReactNode }) {
  const tone = stuck ?? station.tone;
  const alarm = tone === "critical" || tone === "warning";
  return (
    <li className="road-place" data-blocked={blocked}>
      <section className={`road-box road-${station.kind} ${alarm ? `road-${tone}` : ""}`} data-stuck={stuck !== undefined} aria-label={station.name}>
        <header title={station.explain}>
          <h3>{station.name}</h3>
          {station.word && <Chip tone={station.tone}>{station.word}</Chip>}
        </header>
        {explain && <p className="road-explain">{station.explain}</p>}
        <p className="road-value live-value">
          {station.href ? <Link href={station.href}>{station.value}</Link> : station.value} <span>{station.unit}</span>
        </p>
        {station.full && <Meter share={station.full.share} label={station.full.label} />}
        <dl className="road-lines">
          {station.lines.map((line) => (
            <div key={line.label}>
              <dt>{line.label}</dt>
              <dd className="live-value">
                <Value line={line} />
              </dd>
            </div>
          ))}
        </dl>
        {children}
      </section>
    </li>
  );
}

function Value({ line }: { line: Line }) {
  const text = (
    <>
      {line.tone && <Shape tone={line.tone} />}
      <span>{line.value}</span>
    </>
  );
  const className = line.tone ? `tone-${line.tone}` : undefined;
  if (line.href) {
    return (
      <Link href={line.href} title={line.title} className={className}>
        {text}
      </Link>
    );
  }
  return (
    <span title={line.title} className={className}>
      {text}
    </span>
  );
}
