// Text to copy: commands, payloads, the API call behind what a page shows.

import { toast, toastError } from "./toast";

export function CopyButton({ text, label = "Copy" }: { text: string; label?: string }) {
  return (
    <button
      type="button"
      className="button small"
      onClick={() => navigator.clipboard.writeText(text).then(() => toast("Copied."), toastError)}
    >
      {label}
    </button>
  );
}

export function Code({ text, copy = true, label }: { text: string; copy?: boolean; label?: string }) {
  return (
    <div className="copyable">
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <pre className="code" tabIndex={0} role={label ? "region" : undefined} aria-label={label}>
        {text}
      </pre>
      {copy && <CopyButton text={text} />}
    </div>
  );
}

// Characters that turn the direction of what follows them.
const DIRECTIONS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Any value as indented JSON; what would turn the text around stands there as its number. */
export function Json({ value, label }: { value: unknown; label?: string }) {
  const text = JSON.stringify(value, null, 2).replaceAll(DIRECTIONS, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return <Code text={text} label={label} />;
}

const quoted = (text: string) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** The request as somebody would type it. */
export function curl(path: string, method = "GET", body?: unknown): string {
  const parts = ["curl", "-s", "-H", '"X-API-KEY: $KEY"'];
  if (method !== "GET") parts.push("-X", method);
  if (body !== undefined) parts.push("-H", "'Content-Type: application/json'", "-d", quoted(JSON.stringify(body)));
  parts.push(quoted(`${location.origin}${path}`));
  return parts.join(" ");
}

/** "Show as API call", on every page. */
export function ApiCall({ path, method, body }: { path: string; method?: string; body?: unknown }) {
  return (
    <details className="api-call">
      <summary>Show as API call</summary>
      <Code text={curl(path, method, body)} />
    </details>
  );
}
