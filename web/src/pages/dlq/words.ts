// What queues, reasons and jobs are called, and what they mean for the reader.

import type { Filter, Job } from "../../api/delivery";
import { plural } from "../../kit/format";
import type { Tone } from "../../kit/marks";

/** What lies in each queue and what a replay of it does. */
export const QUEUES: Record<string, { about: string; replay: string; alerts: boolean }> = {
  ingest: { about: "Messages that could not be read as events.", replay: "They go back to the ingest queue and are read and decided like new ones.", alerts: false },
  alerter: { about: "Events that the alerter could not decide or moved aside.", replay: "They go back to the ingest queue and are decided by today’s rules.", alerts: false },
  moog: { about: "Alerts that the sink did not take.", replay: "They go back to the alert queue.", alerts: true },
  dead: { about: "Poison: what failed again after every automatic replay. Nothing here is replayed automatically.", replay: "They go back to where they failed first.", alerts: true },
};

const REASONS: Record<string, string> = {
  malformed: "malformed",
  shed: "shed under load",
  poison: "poison",
  refused: "refused",
  retries_exhausted: "retries used up",
};

/** Why the automatic replay of such an entry stopped, or never was. */
export const STOPPED: Record<string, string> = {
  malformed: "It cannot be read, and reading it again gives the same result.",
  poison: "It failed again after each automatic replay, so MUTT stopped trying.",
  refused: "The sink refused it each time; the same alert would be refused again.",
  retries_exhausted: "The sink failed each time until the automatic replays were used up.",
  shed: "It was moved aside again after each automatic replay.",
};

export function reasonWords(reason: string): string {
  return REASONS[reason] ?? reason.replaceAll("_", " ");
}

export const REASON_NAMES = Object.keys(REASONS);

export function jobTone(state: Job["state"]): Tone {
  if (state === "running") return "info";
  if (state === "done") return "ok";
  return state === "failed" ? "critical" : "warning";
}

export function jobWords({ action, mode }: Pick<Job, "action" | "mode">): string {
  if (action === "discard") return "Discard";
  return mode === "redecide" ? "Replay, decided anew" : "Replay";
}

export function filterWords(filter: Filter): string {
  const parts = Object.entries(filter)
    .filter(([, value]) => value !== undefined && value !== null && value !== "")
    .map(([name, value]) => `${name.replace("rule_id", "rule")} ${String(value)}`);
  return parts.length > 0 ? parts.join(", ") : "all";
}

export function selectionWords(selection: Job["selection"]): string {
  if (!selection) return "–";
  if ("all" in selection) return "all";
  const { ids, filter } = selection;
  const parts = [ids === undefined ? "" : plural(ids, "chosen entry", "chosen entries"), filter ? filterWords(filter) : ""];
  return parts.filter(Boolean).join(", of them ");
}
