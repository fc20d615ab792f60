// What the road of an event is made of, how each place of it is, and where it is stuck. No drawing.

import type { Role, Status } from "../../api/shapes";
import { count, percent, plural, rate, span } from "../../kit/format";
import type { Tone } from "../../kit/marks";
import { link } from "../../kit/url";

export interface Line {
  label: string;
  value: string;
  href?: string;
  /** What the word means, or what is behind the number. */
  title?: string;
  tone?: Tone;
}

export interface Station {
  id: "receive" | "ingest" | "decide" | "alert" | "deliver" | "sink";
  kind: "stage" | "queue" | "sink";
  name: string;
  /** One sentence for somebody who sees MUTT for the first time. */
  explain: string;
  tone: Tone;
  /** How it is, in a word or two; none while all is well. */
  word?: string;
  value: string;
  unit: string;
  href?: string;
  lines: Line[];
  role?: Role;
  /** 0 to 1 where there is a limit. */
  full?: { share: number; label: string };
}

export interface Verdict {
  tone: Tone;
  at?: Station["id"];
  title: string;
  text: string;
  href?: string;
}

export const QUEUES = {
  ingest: "mutt:ingest_queue",
  alert: "mutt:alert_queue",
  retry: "mutt:alert_retry",
  dlq: (name: string) => `mutt:dlq:${name}`,
};

/** How long the oldest may wait, in seconds, before somebody should look, and at once; the server warns at the same ages. */
const OLD = { ingest: [60, 300], alert: [300, 900] } as const;

/** Reasons for which messages are lost, or refused although their senders did nothing wrong. */
const LOST = new Set(["kernel", "queue_full", "redis_error", "store_error", "shed"]);

export const ROLES: Record<Role, { name: string; does: string }> = {
  ingestor: { name: "Ingestor", does: "receives events and puts them on disk before it answers" },
  alerter: { name: "Alerter", does: "decides by the rules what each event means" },
  forwarder: { name: "Forwarder", does: "delivers alerts to the sink" },
  remediation: { name: "Remediation", does: "tries dead letters again when the sink is well" },
  webui: { name: "Web UI", does: "serves these pages and the API" },
};

export function queueOf(status: Status, name: string) {
  return status.queues.find((queue) => queue.name === name);
}

/** Pods of a role; undefined where that is not known. */
function podsOf(status: Status, role: Role): number | undefined {
  return status.roles.find((each) => each.role === role)?.pods;
}

function ageTone(which: keyof typeof OLD, seconds: number | null | undefined): Tone {
  const [warning, critical] = OLD[which];
  if (seconds == null || seconds < warning) return "neutral";
  return seconds < critical ? "warning" : "critical";
}

/** Messages that were not taken: lost, and refused for what their senders did. Per second, with the reasons. */
function notTaken(status: Status): Record<"lost" | "refused", { rate: number; reasons: string }> {
  const of = (lost: boolean) => {
    const some = Object.entries(status.road.dropped.by_reason).filter(([reason, each]) => each > 0 && LOST.has(reason) === lost);
    return { rate: some.reduce((sum, [, each]) => sum + each, 0), reasons: some.map(([reason, each]) => `${reason} ${rate(each)}/s`).join(", ") };
  };
  return { lost: of(true), refused: of(false) };
}

/** "grows by 12/s", "empty in about 3 m"; nothing while it hardly moves. */
export function trendText(depth: number, perSecond: number | undefined): string | undefined {
  if (perSecond === undefined || depth < 50 || Math.abs(perSecond) < 0.5) return undefined;
  if (perSecond > 0) return `+${rate(perSecond)}/s`;
  return `empty in ${span(depth / -perSecond)}`;
}

export const SHED_MODES: Record<string, string> = {
  defer: "deciding waits until the alert queue is shorter; events stay in the ingest queue and none is lost",
  dlq: "waiting events are moved to the dead letters of the alerter, from where they can be replayed",
};

function letters(status: Status, name: string, label = "Dead letters"): Line {
  const depth = queueOf(status, QUEUES.dlq(name))?.depth;
  return {
    label,
    value: count(depth),
    href: link("/dlq", { queue: name }),
    tone: depth ? "warning" : undefined,
    title: "Set aside because they could not be handled; kept until somebody replays or discards them.",
  };
}

/** An old queue entry by the queue's name; a dead letter may wait as long as it likes. */
export function waitsLong(queue: string, seconds: number | null): boolean {
  const which = queue === QUEUES.ingest ? "ingest" : queue === QUEUES.alert ? "alert" : undefined;
  return which !== undefined && ageTone(which, seconds) !== "neutral";
}

export function stations(status: Status, trends: ReadonlyMap<string, number>, clock: number): Station[] {
  const { road, circuit, shed } = status;
  const ingest = queueOf(status, QUEUES.ingest);
  const alert = queueOf(status, QUEUES.alert);
  const retry = queueOf(status, QUEUES.retry);
  const spooled = status.pods.reduce((sum, pod) => sum + (pod.spooled_events ?? 0), 0);
  const unknown: Partial<Station> = status.complete ? {} : { tone: "neutral", word: "Unknown" };
  const missing = (role: Role): Partial<Station> => (podsOf(status, role) === 0 ? { tone: "critical", word: `No ${role}` } : {});
  const shedding = Boolean(shed && alert && alert.depth >= shed.threshold);
  const { lost, refused } = notTaken(status);
  const sources = Object.entries(road.received.by_source).toSorted(([, a], [, b]) => b - a);
  const decided = road.decided.handled + road.decided.unhandled;
  const growth = (name: string, depth: number | undefined): Line[] => {
    const text = depth === undefined ? undefined : trendText(depth, trends.get(name));
    return text ? [{ label: "Trend", value: text, title: "Measured over the last 20 s", tone: text.startsWith("+") ? "warning" : undefined }] : [];
  };

  return [
    {
      id: "receive",
      kind: "stage",
      name: "Receive",
      explain: "Events come in from devices. One counts as received when it is safe on disk.",
      role: "ingestor",
      value: rate(road.received.per_second),
      unit: "events/s",
      href: "/tail",
      tone: lost.rate > 0 ? "critical" : spooled > 0 ? "warning" : "ok",
      word: lost.rate > 0 ? "Dropping" : spooled > 0 ? "Spooling" : undefined,
      ...missing("ingestor"),
      lines: [
        ...sources.map(([source, each]) => ({ label: source, value: rate(each), href: link("/tail", { source }), title: `Events per second by ${source}` })),
        {
          label: "Dropped",
          value: `${rate(lost.rate)}/s`,
          href: "/status",
          tone: lost.rate > 0 ? ("critical" as const) : undefined,
          title: lost.rate > 0 ? `Not taken, by reason: ${lost.reasons}` : "Messages that were not taken though their senders did nothing wrong. Each has a counter and a reason.",
        },
        {
          label: "Refused",
          value: `${rate(refused.rate)}/s`,
          href: "/status",
          tone: refused.rate > 0 ? ("warning" as const) : undefined,
          title: refused.rate > 0 ? `Sent wrongly, by reason: ${refused.reasons}` : "Messages that were sent wrongly: no JSON, a wrong key, a missing field. Their senders are told.",
        },
        ...(spooled > 0
          ? [{ label: "Spooled", value: count(spooled), href: "/status", tone: "warning" as const, title: "Accepted while the store is away; on the ingestors’ own disks until it is back." }]
          : []),
        letters(status, "ingest", "Malformed"),
      ],
    },
    {
      id: "ingest",
      kind: "queue",
      name: "Ingest queue",
      explain: "Events wait here, on disk, to be decided.",
      value: count(ingest?.depth),
      unit: ingest?.depth === 1 ? "event" : "events",
      href: "/status",
      tone: ageTone("ingest", ingest?.oldest_age_seconds),
      word: ageTone("ingest", ingest?.oldest_age_seconds) === "neutral" ? undefined : "Behind",
      ...(shed && ingest && ingest.depth >= shed.ingest_limit ? { tone: "critical" as const, word: "Full" } : {}),
      ...unknown,
      full: shed && ingest && ingest.depth > shed.ingest_limit / 100 ? { share: ingest.depth / shed.ingest_limit, label: `Filled, of ${count(shed.ingest_limit)}` } : undefined,
      lines: [
        { label: "Oldest", value: ingest?.oldest_age_seconds == null ? "–" : span(ingest.oldest_age_seconds), title: "How long the first in the queue has waited", tone: lineTone(ageTone("ingest", ingest?.oldest_age_seconds)) },
        { label: "In work", value: count(ingest?.claimed), title: "Taken by an alerter that has not finished with them; another takes over if it dies." },
        ...growth(QUEUES.ingest, ingest?.depth),
        ...(shed ? [{ label: "Limit", value: count(shed.ingest_limit), href: link("/config", { text: "max_ingest_queue_size" }), title: "When so many wait, senders are told to wait (503)." }] : []),
      ],
    },
    {
      id: "decide",
      kind: "stage",
      name: "Decide",
      explain: "The rules say what each event means: page, ticket, log or ignore. No rule: unhandled.",
      role: "alerter",
      value: rate(road.decided.per_second),
      unit: "events/s",
      href: "/events",
      tone: shedding ? "critical" : road.decided.failed > 0 ? "warning" : "ok",
      word: shedding ? (shed?.mode === "defer" ? "Deferring" : "Shedding") : road.decided.failed > 0 ? "Failing" : undefined,
      ...missing("alerter"),
      lines: [
        { label: "Handled", value: decided > 0 ? percent(road.decided.handled / decided, 0) : "–", href: "/events", title: "A rule decided what to do with them." },
        { label: "Unhandled", value: decided > 0 ? percent(road.decided.unhandled / decided, 0) : "–", href: "/unhandled", title: "No rule matched them. Many of one kind from one host make an alert." },
        { label: "Failed", value: `${rate(road.decided.failed)}/s`, href: "/status", tone: road.decided.failed > 0 ? "warning" : undefined, title: "Could not be decided or written down; they are tried again." },
        letters(status, "alerter"),
      ],
    },
    {
      id: "alert",
      kind: "queue",
      name: "Alert queue",
      explain: "Alerts wait here, on disk, to be delivered.",
      value: count(alert?.depth),
      unit: alert?.depth === 1 ? "alert" : "alerts",
      href: "/delivery",
      tone: shed && alert && alert.depth >= shed.warn_threshold && ageTone("alert", alert.oldest_age_seconds) === "neutral" ? "warning" : ageTone("alert", alert?.oldest_age_seconds),
      word: ageTone("alert", alert?.oldest_age_seconds) !== "neutral" ? "Waiting" : shed && alert && alert.depth >= shed.warn_threshold ? "Long" : undefined,
      ...unknown,
      full: shed && alert && alert.depth > shed.threshold / 20 ? { share: alert.depth / shed.threshold, label: `Filled, of ${count(shed.threshold)} where shedding begins` } : undefined,
      lines: [
        { label: "Oldest", value: alert?.oldest_age_seconds == null ? "–" : span(alert.oldest_age_seconds), title: "How long the first in the queue has waited", href: "/delivery", tone: lineTone(ageTone("alert", alert?.oldest_age_seconds)) },
        { label: "To retry", value: count(retry?.depth), href: "/delivery", title: "Failed once or more; each waits longer from attempt to attempt." },
        ...growth(QUEUES.alert, alert?.depth),
        ...(shed
          ? [
              {
                label: shed.mode === "defer" ? "Defers at" : "Sheds at",
                value: count(shed.threshold),
                href: link("/config", { text: "alerter_queue_shed_threshold" }),
                title: `Shed (${shed.mode}): when so many alerts wait, ${SHED_MODES[shed.mode] ?? "load is shed"}.`,
              },
            ]
          : []),
      ],
    },
    {
      id: "deliver",
      kind: "stage",
      name: "Deliver",
      explain: "Alerts are sent one by one, within the sink’s rate limit, until it has taken each.",
      role: "forwarder",
      value: rate(road.delivered.per_second),
      unit: "alerts/s",
      href: "/delivery",
      tone: road.delivered.failed > 0 ? "warning" : "ok",
      word: road.delivered.failed > 0 ? "Failing" : undefined,
      ...(circuit?.state === "open" ? { tone: "warning" as const, word: "Held" } : {}),
      ...missing("forwarder"),
      lines: [
        { label: "Failed", value: `${rate(road.delivered.failed)}/s`, href: "/delivery", tone: road.delivered.failed > 0 ? "warning" : undefined, title: "Attempts that the sink did not take; they are tried again." },
        ...(status.rate_limit
          ? [
              {
                label: "Rate limit",
                value: `${count(status.rate_limit.used)} of ${count(status.rate_limit.limit)}`,
                href: "/delivery",
                title: `Requests within ${span(status.rate_limit.period_seconds)}, of those that the sink may be sent`,
                tone: status.rate_limit.used >= status.rate_limit.limit ? ("warning" as const) : undefined,
              },
            ]
          : []),
        letters(status, "moog"),
        letters(status, "dead", "Given up"),
      ],
    },
    sink(status, clock),
  ];
}

function lineTone(tone: Tone): Tone | undefined {
  return tone === "neutral" ? undefined : tone;
}

const CIRCUIT: Record<string, { value: string; tone: Tone; word?: string }> = {
  closed: { value: "Closed", tone: "ok" },
  half_open: { value: "Probing", tone: "warning", word: "Probing" },
  open: { value: "Open", tone: "critical", word: "Stuck" },
};

function sink(status: Status, clock: number): Station {
  const { circuit } = status;
  const state = circuit && CIRCUIT[circuit.state];
  const set = circuit?.sink_configured ?? true;
  return {
    id: "sink",
    kind: "sink",
    name: "Sink",
    explain: "Where alerts go: Moogsoft. When it fails again and again, the circuit opens: MUTT stops sending and only probes.",
    value: !circuit ? "–" : set ? (state?.value ?? circuit.state) : "Not set",
    unit: circuit && set ? "circuit" : "",
    href: "/delivery",
    tone: !circuit ? "neutral" : set ? (state?.tone ?? "warning") : "warning",
    word: !circuit ? "Unknown" : set ? state?.word : "No sink",
    lines: [
      ...(circuit?.next_probe_at && circuit.state !== "closed"
        ? [{ label: "Next probe", value: until(circuit.next_probe_at, clock), href: "/delivery", title: "When the next single attempt goes out to see whether the sink is back" }]
        : []),
      ...(circuit?.failures ? [{ label: "Failures", value: count(circuit.failures), href: "/delivery", title: "Failed deliveries in a row", tone: "warning" as const }] : []),
      ...(circuit?.why && circuit.state !== "closed" ? [{ label: "Error", value: circuit.why, href: "/delivery", title: circuit.why }] : []),
      { label: "Delivered", value: circuit?.last_delivery_at ? since(circuit.last_delivery_at, clock) : "never", href: "/delivery", title: "When the sink took an alert last" },
    ],
  };
}

/** The larger unit alone: "7 m". */
function since(at: string, clock: number): string {
  const seconds = Math.max(0, Math.floor((clock - new Date(at).getTime()) / 1000));
  return seconds < 2 ? "now" : `${span(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

/** "in 3:12", to the second. */
function until(at: string, clock: number): string {
  const seconds = Math.ceil((new Date(at).getTime() - clock) / 1000);
  if (seconds <= 0) return "now";
  if (seconds >= 3600) return `in ${span(seconds)}`;
  return `in ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** What somebody else wrote, fit for a sentence: short, and without characters that turn it around. */
function short(text: string): string {
  // oxlint-disable-next-line no-control-regex
  const plain = text.replaceAll(/[\u0000-\u001F\u007F-\u009F\u200E\u200F\u202A-\u202E\u2066-\u2069]/g, " ");
  return plain.length > 120 ? `${plain.slice(0, 120)}…` : plain;
}

/** Where it is stuck, or that it flows; the cause comes before what follows from it. */
export function verdict(status: Status, clock: number): Verdict {
  const { road, circuit, shed } = status;
  const ingest = queueOf(status, QUEUES.ingest);
  const alert = queueOf(status, QUEUES.alert);
  const waiting = (alert?.depth ?? 0) + (queueOf(status, QUEUES.retry)?.depth ?? 0);
  const wait = waiting === 0 ? "No alert waits" : `${plural(waiting, "alert waits", "alerts wait")}${alert?.oldest_age_seconds ? `, the oldest for ${span(alert.oldest_age_seconds)}` : ""}`;
  if (!status.complete) {
    return { tone: "critical", at: "ingest", title: "The store of the queues is away", text: status.error ? short(status.error) : "What waits in them is not known.", href: "/status" };
  }
  if (circuit && !circuit.sink_configured) {
    return { tone: "warning", at: "sink", title: "No sink is set", text: `Alerts are kept until MOOG_WEBHOOK_URL says where to send them. ${wait}.`, href: "/delivery" };
  }
  if (circuit?.state === "open") {
    const probe = circuit.next_probe_at ? ` The next probe goes out ${until(circuit.next_probe_at, clock)}.` : "";
    return {
      tone: "critical",
      at: "sink",
      title: "Stuck at the sink: its circuit is open",
      text: `${plural(circuit.failures, "delivery", "deliveries")} failed in a row${circuit.why ? ` (${short(circuit.why)})` : ""}. ${wait}; none is lost.${probe}`,
      href: "/delivery",
    };
  }
  for (const [role, at, what] of [
    ["forwarder", "deliver", "Alerts wait and none is lost"],
    ["alerter", "decide", "Events wait and none is lost"],
    ["ingestor", "receive", "Senders get no answer"],
  ] as const) {
    if (podsOf(status, role) === 0) return { tone: "critical", at, title: `Stuck: no ${role} is running`, text: `${what} until one starts.`, href: "/status" };
  }
  const { lost } = notTaken(status);
  if (lost.rate > 0) {
    return { tone: "critical", at: "receive", title: `Messages are not taken: ${rate(lost.rate)} per second`, text: `By reason: ${lost.reasons}.`, href: "/status" };
  }
  if (shed && alert && alert.depth >= shed.threshold) {
    return {
      tone: "critical",
      at: "decide",
      title: "Shedding: the alert queue is too long",
      text: `${wait}; from ${count(shed.threshold)} on, ${SHED_MODES[shed.mode] ?? "load is shed"}.`,
      href: "/delivery",
    };
  }
  if (ageTone("ingest", ingest?.oldest_age_seconds) !== "neutral") {
    return {
      tone: ageTone("ingest", ingest?.oldest_age_seconds),
      at: "ingest",
      title: "Deciding is behind",
      text: `${plural(ingest!.depth, "event waits", "events wait")}, the oldest for ${span(ingest!.oldest_age_seconds)}. More alerters, or fewer and simpler rules, help.`,
      href: "/status",
    };
  }
  if (ageTone("alert", alert?.oldest_age_seconds) !== "neutral") {
    const limited = status.rate_limit && status.rate_limit.used >= status.rate_limit.limit;
    return {
      tone: ageTone("alert", alert?.oldest_age_seconds),
      at: "alert",
      title: "Delivery is behind",
      text: `${wait}.${limited ? ` The rate limit of ${count(status.rate_limit!.limit)} per ${span(status.rate_limit!.period_seconds)} is used up.` : ""}`,
      href: "/delivery",
    };
  }
  if (circuit?.state === "half_open") {
    return { tone: "warning", at: "sink", title: "The sink is being probed", text: `One delivery is tried; if it succeeds, the circuit closes. ${wait}.`, href: "/delivery" };
  }
  return {
    tone: "ok",
    title: road.received.per_second > 0 ? "Everything flows" : "Nothing is stuck",
    text: `${rate(road.received.per_second)} events per second come in, ${rate(road.delivered.per_second)} alerts per second go out.`,
  };
}
