// Orders about dead letters: replay and discard, by selection or all that match.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { delivery, discard, replay, type Entry, type Filter, type Job, type Mode, type Selection } from "../../api/delivery";
import { Confirm } from "../../kit/dialog";
import { Field } from "../../kit/field";
import { count, plural } from "../../kit/format";
import { Notice } from "../../kit/page";
import { Ago } from "../../kit/time";
import { QUEUES, filterWords } from "./words";

/** Which entries are meant, and what is known of them before the server freezes the selection. */
export interface Meant {
  selection: Selection;
  /** How many, where that is known. */
  number?: number;
  sample: Entry[];
  filter: Filter;
}

/** An order about what matches says how many were shown: where there are more or fewer by now, the server refuses. */
function order(meant: Meant): Selection & { expected?: number } {
  return "ids" in meant.selection ? meant.selection : { ...meant.selection, expected: meant.number };
}

/** Entries per second that leave the sink half of its limit; undefined where no limit is known. */
export function halfLimit(rate: { limit: number; period_s: number } | null | undefined): number | undefined {
  return rate ? Math.max(1, Math.floor(rate.limit / rate.period_s / 2)) : undefined;
}

export function useSink(queue: string) {
  const wanted = QUEUES[queue]?.alerts ?? false;
  const query = useQuery({ queryKey: ["delivery"], queryFn: delivery, enabled: wanted, retry: false, staleTime: 5000 });
  return { sink: wanted ? query.data?.sinks[0] : undefined, asked: !wanted || !query.isPending };
}

function Sample({ meant }: { meant: Meant }) {
  const more = (meant.number ?? 0) - meant.sample.length;
  return (
    <div>
      <p>
        {meant.number === undefined
          ? `Every entry that matches: ${filterWords(meant.filter)}. The job counts them when it begins.`
          : `${plural(meant.number, "entry is", "entries are")} meant. ${"ids" in meant.selection ? "" : "If there are more or fewer when you confirm, nothing is done. "}What fails later is not touched.`}
      </p>
      <ul className="dlq-sample">
        {meant.sample.map((entry) => (
          <li key={entry.id} className="wrap">
            <bdi>{entry.hostname ?? `entry ${entry.id}`}</bdi>: <bdi>{(entry.summary ?? entry.detail).slice(0, 160)}</bdi>
          </li>
        ))}
      </ul>
      {more > 0 && <p className="quiet">and {count(more)} more</p>}
    </div>
  );
}

export function ReplayOrder({ queue, meant, onClose, onJob }: { queue: string; meant: Meant; onClose: () => void; onJob: (job: Job) => void }) {
  const { sink, asked } = useSink(queue);
  const alerts = QUEUES[queue]?.alerts ?? false;
  const half = halfLimit(sink?.rate);
  const [mode, setMode] = useState<Mode>("delivery");
  const [rate, setRate] = useState<string>();
  const client = useQueryClient();
  const shownRate = rate ?? (half ? String(half) : "");
  const redecide = alerts && (meant.sample.length === 0 || meant.sample.some((entry) => entry.can_redecide === true));
  if (!asked) return null;
  const circuit = sink?.circuit;
  return (
    <Confirm
      title={`Replay from ${queue}`}
      action={meant.number === undefined ? "Replay all that match" : `Replay ${plural(meant.number, "entry", "entries")}`}
      reason="optional"
      onClose={onClose}
      onConfirm={async (reason) => {
        const asNumber = shownRate.trim() === "" ? undefined : Number(shownRate);
        if (asNumber !== undefined && (!Number.isInteger(asNumber) || asNumber < 1)) throw new Error("Rate: a whole number from 1 is allowed, or nothing for no limit.");
        onJob(await replay(queue, { ...order(meant), mode: mode === "redecide" ? mode : undefined, rate: asNumber, reason: reason || undefined }));
        void client.invalidateQueries({ queryKey: ["jobs"] });
      }}
    >
      {circuit && circuit.state !== "closed" && alerts && (
        <Notice tone="warning">
          The circuit to {sink.sink} is {circuit.state === "open" ? "open" : "half open"}
          {circuit.opened_at && (
            <>
              , since <Ago at={circuit.opened_at} />
            </>
          )}
          {circuit.why && `: ${circuit.why}`}. What is replayed now only waits in the alert queue
          {circuit.next_probe_at && (
            <>
              ; the next probe goes out <Ago at={circuit.next_probe_at} />
            </>
          )}
          .
        </Notice>
      )}
      <Sample meant={meant} />
      {alerts ? (
        <fieldset className="stack tight">
          <legend className="sr">How to replay</legend>
          <label className="check">
            <input type="radio" name="mode" checked={mode === "delivery"} onChange={() => setMode("delivery")} />
            <span>
              <b>Replay the delivery</b>: the same payload under the same external ID. A sink that already took it can tell that it is a repeat.
            </span>
          </label>
          <label className="check">
            <input type="radio" name="mode" checked={mode === "redecide"} disabled={!redecide} onChange={() => setMode("redecide")} />
            <span>
              <b>Decide anew</b>: the event goes through today’s rules, under an ID of its own that names the first.
              {redecide ? " If the sink took the first alert after all, it gets a second one." : " Not possible for these entries: their events are no longer at hand."}
            </span>
          </label>
        </fieldset>
      ) : (
        <p>{QUEUES[queue]?.replay}</p>
      )}
      <Field
        label="Entries per second"
        help={half ? `Half of what the sink may get (${count(sink!.rate!.limit)} per ${sink!.rate!.period_s} s). Empty: as fast as it goes.` : "Empty: as fast as it goes."}
      >
        <input type="number" min={1} step={1} value={shownRate} onChange={(event) => setRate(event.target.value)} />
      </Field>
    </Confirm>
  );
}

export function DiscardOrder({ queue, meant, onClose, onJob }: { queue: string; meant: Meant; onClose: () => void; onJob: (job: Job) => void }) {
  const client = useQueryClient();
  return (
    <Confirm
      title={`Discard from ${queue}`}
      action={meant.number === undefined ? "Discard all that match" : `Discard ${plural(meant.number, "entry", "entries")}`}
      danger
      reason="required"
      type={meant.number === 1 ? undefined : meant.number === undefined ? "discard" : String(meant.number)}
      onClose={onClose}
      onConfirm={async (reason) => {
        onJob(await discard(queue, { ...order(meant), reason }));
        void client.invalidateQueries({ queryKey: ["jobs"] });
      }}
    >
      <Notice tone="warning">What is discarded is gone from the queue for good. The config audit keeps who did it, how many, and why.</Notice>
      <Sample meant={meant} />
    </Confirm>
  );
}
