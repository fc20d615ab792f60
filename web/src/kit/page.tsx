// A page: its heading gets the focus when one arrives, its title the window's.

import { useEffect, useRef, type ReactNode } from "react";
import { Shape, type Tone } from "./marks";
import { ApiError } from "../api/client";

/** Whether a page was shown before: whoever just opened MUTT starts at the top of the document. */
let arrived = false;

export function Page({ title, about, actions, children }: { title: string; about?: ReactNode; actions?: ReactNode; children: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · MUTT`;
  }, [title]);
  useEffect(() => {
    // Whoever came by a link or a key hears where they are.
    if (arrived && (document.activeElement?.closest("nav, main") || document.activeElement === document.body)) {
      heading.current?.focus({ preventScroll: true });
    }
    arrived = true;
  }, []);
  return (
    <>
      <div className="page-head">
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {actions && <div className="actions">{actions}</div>}
        {about && <p className="about">{about}</p>}
      </div>
      {children}
    </>
  );
}

export function Card({ title, aside, children, className = "" }: { title?: ReactNode; aside?: ReactNode; children: ReactNode; className?: string }) {
  return (
    <section className={`card ${className}`}>
      {(title || aside) && (
        <header>
          {title && <h2>{title}</h2>}
          {aside && <span className="aside">{aside}</span>}
        </header>
      )}
      {children}
    </section>
  );
}

/** Something that must be read, in place. */
export function Notice({ tone, children, assertive = false }: { tone: Tone; children: ReactNode; assertive?: boolean }) {
  return (
    <div className={`notice tone-${tone}`} role={assertive ? "alert" : undefined}>
      <Shape tone={tone} />
      <div>{children}</div>
    </div>
  );
}

/** What went wrong, with what helps to find it. */
export function Problem({ error, retry }: { error: unknown; retry?: () => void }) {
  const text = error instanceof Error ? error.message : String(error);
  const id = error instanceof ApiError ? error.correlationId : undefined;
  return (
    <Notice tone="critical" assertive>
      <p>{text}</p>
      {id && <p className="quiet">Correlation ID <code>{id}</code> (it stands in the server’s log)</p>}
      {retry && (
        <p>
          <button type="button" className="button small" onClick={retry}>
            Try again
          </button>
        </p>
      )}
    </Notice>
  );
}

/** Nothing is here: why, whether that is good, what to do. */
export function Empty({ title, good = false, children }: { title: string; good?: boolean; children?: ReactNode }) {
  return (
    <div className="empty">
      <svg viewBox="0 0 28 28" aria-hidden="true" fill="none" stroke="currentColor" strokeWidth="1.600" strokeLinecap="round" strokeLinejoin="round">
        <circle cx="14" cy="14" r="12" />
        {good ? <path d="m9 14.500 3.500 3.500L19.500 10" /> : <path d="M9 14h10" />}
      </svg>
      <b>{title}</b>
      {children}
    </div>
  );
}

export function Loading({ what = "Loading" }: { what?: string }) {
  return (
    <p className="loading" role="status">
      {what}…
    </p>
  );
}
