// Texts of events: what they hold as JSON, how they are shown, and what of them is worth searching.

export type Fields = Record<string, unknown>;

const kept = new WeakMap<object, Fields>();

/** The event as an object; an empty one where it is none. `owner` is whatever carries the text. */
export function fieldsOf(owner: { raw_message: string }): Fields {
  const known = kept.get(owner);
  if (known) return known;
  let fields: Fields = {};
  try {
    const value: unknown = JSON.parse(owner.raw_message);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) fields = value as Fields;
  } catch {
    // An event of an older version may be no JSON: its text is shown as it is.
  }
  kept.set(owner, fields);
  return fields;
}

/** The message of an event, under whichever of its names; the whole text where there is none. */
export function messageOf(owner: { raw_message: string }): string {
  const fields = fieldsOf(owner);
  for (const name of ["message", "msg"]) {
    if (typeof fields[name] === "string") return fields[name];
  }
  return owner.raw_message;
}

const NAMES: Record<string, string> = {
  "\u0000": "NUL",
  "\u0007": "BEL",
  "\u0008": "BS",
  "\u000D": "CR",
  "\u001B": "ESC",
  "\u007F": "DEL",
  "\u200E": "LRM",
  "\u200F": "RLM",
  "\u061C": "ALM",
  "\u202A": "LRE",
  "\u202B": "RLE",
  "\u202C": "PDF",
  "\u202D": "LRO",
  "\u202E": "RLO",
  "\u2066": "LRI",
  "\u2067": "RLI",
  "\u2068": "FSI",
  "\u2069": "PDI",
};

// oxlint-disable-next-line no-control-regex
const HIDDEN = /[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069\uFEFF]/g;

/** With names for what is invisible or would turn the text around, such as ⟨ESC⟩ and ⟨RLO⟩. */
export function visible(text: string): string {
  return text.replace(HIDDEN, (sign) => `⟨${NAMES[sign] ?? `U+${sign.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`}⟩`);
}

/** On one line, and no more of it than a screen holds. */
export function oneLine(text: string, most = 500): string {
  const line = visible(text.slice(0, most)).replaceAll("\n", " ↵ ").replaceAll("\t", " ");
  return text.length > most ? `${line}…` : line;
}

/** The part of a message that is likely to stand in others of its kind too. */
export function stablePart(message: string): string {
  const mnemonic = /%[A-Z][A-Z0-9_]*(?:-[A-Z0-9_]+)*-\d-[A-Z0-9_]+/.exec(message);
  if (mnemonic) return mnemonic[0];
  // The longest run of words without digits and quotes: names and numbers are what differs.
  const runs = message.slice(0, 2000).split(/\S*[\d"'[\]{}()<>=@/\\]\S*|\p{Cc}+/u).map((run) => run.trim().replace(/[:,;.]+$/, ""));
  const best = runs.reduce((longest, run) => (run.length > longest.length ? run : longest), "");
  return best.slice(0, 80) || message.slice(0, 60);
}

const quotedForShell = (text: string) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** A command that sends the same event again. */
export function resend(fields: Fields): string {
  // What MUTT itself added would be added again.
  const own = Object.entries(fields).filter(([name]) => !name.startsWith("_") && !["parse_notes", "source"].includes(name));
  const url = `${location.protocol}//${location.hostname}:8080/api/v2/ingest`;
  return `curl -s -H "X-API-KEY: $INGEST_KEY" -H 'Content-Type: application/json' -d ${quotedForShell(JSON.stringify(Object.fromEntries(own)))} ${quotedForShell(url)}`;
}
