// What was decided of an event, as one chip.

import { handling } from "../../kit/format";
import { Chip, handlingTone } from "../../kit/marks";

/** The decision and the rule it comes from. */
export function Decision({ decided, rule }: { decided: string; rule?: number | null }) {
  const tone = handlingTone(decided);
  return (
    <Chip tone={tone} title={rule == null ? "No rule matched" : `Decided by rule ${rule}`}>
      {handling(decided)}
      {rule != null && <span className="chip-more">rule {rule}</span>}
    </Chip>
  );
}
