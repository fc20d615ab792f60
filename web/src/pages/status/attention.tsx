// What needs somebody: worst first, each with where to look.

import { Link } from "wouter";
import type { Attention } from "../../api/shapes";
import { Shape, type Tone } from "../../kit/marks";
import { Notice } from "../../kit/page";
import { Ago, Time } from "../../kit/time";
import { ROUTES } from "../../routes";

/** The name of the page that a path leads to. */
function pageName(path: string): string {
  const bare = path.split("?")[0]!;
  const route = ROUTES.filter((each) => each.name && (bare === each.path || (each.path !== "/" && bare.startsWith(`${each.path}/`)))).at(-1);
  return route?.name ?? "Look";
}

const WORD: Record<Attention["severity"], string> = { critical: "Critical", warning: "Warning", info: "Note" };

/** `here` is the page that shows it; items do not link to where one is. */
export function AttentionList({ items, label = "What needs attention", here }: { items: Attention[]; label?: string; here?: string }) {
  return (
    <ul className="attention" aria-label={label}>
      {items.map((item, index) => (
        <li key={`${item.code}${index}`} className={`notice tone-${item.severity satisfies Tone}`}>
          <Shape tone={item.severity} />
          <div className="attention-row">
            <span className="sr">{WORD[item.severity]}: </span>
            <b>{item.title}</b>
            {item.since && (
              <span className="soft">
                since <Time at={item.since} precision="minute" />, <Ago at={item.since} />
              </span>
            )}
            {item.detail && (
              <span className="soft attention-detail" title={item.detail}>
                {item.detail}
              </span>
            )}
          </div>
          {item.page !== here && (
            <Link href={item.page} aria-label={`${pageName(item.page)}: ${item.title}`}>
              {pageName(item.page)} →
            </Link>
          )}
        </li>
      ))}
    </ul>
  );
}

/** What is shown is old, and whatever keeps newer numbers away. */
export function Interrupted({ at, error }: { at: number; error: Error | null }) {
  return (
    <Notice tone="warning" assertive>
      These numbers came <Ago at={at} />. MUTT sends no newer ones; it is asked again by itself.{error ? ` ${error.message}` : ""}
    </Notice>
  );
}
