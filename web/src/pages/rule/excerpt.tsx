// A long message around the part that matters.

import { visible } from "../event/text";

const BEFORE = 60;
const LENGTH = 400;

/** At most some hundred characters of a message, the found part marked. */
export function Excerpt({ text, found }: { text: string; found?: readonly [number, number] }) {
  const from = found ? Math.max(0, found[0] - BEFORE) : 0;
  const start = from > 10 ? from : 0;
  const shown = text.slice(start, start + LENGTH);
  const to = found ? Math.min(found[1] - start, shown.length) : 0;
  return (
    <bdi className="mono wrap">
      {start > 0 && "…"}
      {found ? (
        <>
          {visible(shown.slice(0, found[0] - start))}
          <mark>{visible(shown.slice(found[0] - start, to))}</mark>
          {visible(shown.slice(to))}
        </>
      ) : (
        visible(shown)
      )}
      {start + LENGTH < text.length && "…"}
    </bdi>
  );
}

/** Where bytes `start` to before `end` of UTF-8 lie, as JavaScript counts. */
export function inText(text: string, { start, end }: { start: number; end: number }): [number, number] {
  const bytes = new TextEncoder().encode(text);
  const decoder = new TextDecoder();
  return [decoder.decode(bytes.subarray(0, start)).length, decoder.decode(bytes.subarray(0, end)).length];
}
