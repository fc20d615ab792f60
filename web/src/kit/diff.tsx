// What a change changed, field by field: words and signs as well as colour.

type Fields = Record<string, unknown> | null | undefined;

const text = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value, null, 1));

/** Fields that differ between two states; a missing state is an empty one. */
export function Diff({ before, after, all = false }: { before: Fields; after: Fields; all?: boolean }) {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  const rows = names
    .map((name) => ({ name, old: before?.[name], now: after?.[name] }))
    .filter(({ old, now }) => all || JSON.stringify(old) !== JSON.stringify(now));
  if (rows.length === 0) return <p className="quiet">No field differs.</p>;
  return (
    <table className="simple diff">
      <tbody>
        {rows.map(({ name, old, now }) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td>
              {JSON.stringify(old) === JSON.stringify(now) ? (
                text(now)
              ) : (
                <>
                  {old !== undefined && old !== null && (
                    <del>
                      <span aria-hidden="true">− </span>
                      <span className="sr">removed: </span>
                      {text(old)}
                    </del>
                  )}
                  {now !== undefined && now !== null && (
                    <ins>
                      <span aria-hidden="true">+ </span>
                      <span className="sr">added: </span>
                      {text(now)}
                    </ins>
                  )}
                </>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
