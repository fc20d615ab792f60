// Text with a part of it marked. Text stays text, whatever it contains.

/** Marks the first place where `needle` (any case) stands. */
export function Highlight({ text, needle }: { text: string; needle: string }) {
  const at = needle ? text.toLowerCase().indexOf(needle.toLowerCase()) : -1;
  if (at < 0) return <>{text}</>;
  return <Marked text={text} from={at} to={at + needle.length} />;
}

/** Marks characters `from` to before `to`. */
export function Marked({ text, from, to }: { text: string; from: number; to: number }) {
  return (
    <>
      {text.slice(0, from)}
      <mark>{text.slice(from, to)}</mark>
      {text.slice(to)}
    </>
  );
}
