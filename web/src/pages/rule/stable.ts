// What of a message stays the same from event to event: what a rule can look for.

/** Cisco's mnemonic, such as %LINK-3-UPDOWN. */
const MNEMONIC = /%[A-Z][A-Z0-9_]*(?:-[A-Z0-9_]+)*-[0-7]-[A-Z0-9_]+/;
const MASK = /<(?:n|ip|mac|hex|uuid|time|q)>/;
/** Words that vary: with a digit, in quotes, with an address' signs; and what nobody could type. */
const VARIES = /\S*\d\S*|"[^"]*"|'[^']*'|\S*[/\\@=]\S*|[\p{Cc}\p{Cf}]+/gu;
const UNTYPED = /[\p{Cc}\p{Cf}]+/u;
const SHORTEST = 8;
const LONGEST = 100;

function longest(parts: string[]): string {
  return parts.map((part) => part.replace(/^[\s,.;:()[\]-]+|[\s,.;:()[\]-]+$/g, "")).reduce((best, part) => (part.length > best.length ? part : best), "");
}

/** Of one message: its mnemonic, else its longest run of words without anything that varies. */
export function stablePart(message: string): string {
  const mnemonic = MNEMONIC.exec(message)?.[0];
  if (mnemonic) return mnemonic;
  const run = longest(message.slice(0, 4_000).split(VARIES));
  return run.length >= SHORTEST ? run.slice(0, LONGEST) : message.trim().slice(0, LONGEST);
}

/** Of a masked signature and one of its messages. */
export function stablePartOf(masked: string, sample: string): string {
  const mnemonic = MNEMONIC.exec(sample)?.[0];
  if (mnemonic) return mnemonic;
  const run = longest(masked.split(MASK).flatMap((part) => part.split(UNTYPED)));
  return run.length >= SHORTEST && sample.toLowerCase().includes(run.toLowerCase()) ? run.slice(0, LONGEST) : stablePart(sample);
}
