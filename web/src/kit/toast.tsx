// Short messages that go by themselves; screen readers hear them politely.

import { useEffect, useRef, useSyncExternalStore, type ReactNode } from "react";
import { Shape, type Tone } from "./marks";

interface Toast {
  id: number;
  tone: Tone;
  text: ReactNode;
  action?: { label: string; run: () => void };
}

let toasts: Toast[] = [];
let last = 0;
const listeners = new Set<() => void>();

function set(next: Toast[]) {
  toasts = next;
  for (const listener of listeners) listener();
}

const dismiss = (id: number) => set(toasts.filter((toast) => toast.id !== id));

export function toast(text: ReactNode, tone: Tone = "ok", action?: Toast["action"]) {
  const id = ++last;
  set([...toasts.slice(-3), { id, tone, text, action }]);
  setTimeout(() => dismiss(id), action || tone === "critical" ? 12_000 : 6_000);
}

/** For what failed out of sight of any form. */
export function toastError(error: unknown) {
  toast(error instanceof Error ? error.message : String(error), "critical");
}

export function Toasts() {
  const all = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // In the top layer, above an open dialog.
    const element = place.current!;
    if (element.matches(":popover-open")) element.hidePopover();
    if (all.length > 0) element.showPopover();
  }, [all]);
  return (
    <div ref={place} className="toasts" popover="manual" role="status" aria-live="polite">
      {all.map((toast) => (
        <div key={toast.id} className={`toast notice tone-${toast.tone}`}>
          <Shape tone={toast.tone} />
          <div>{toast.text}</div>
          {toast.action && (
            <button
              type="button"
              className="button small"
              onClick={() => {
                toast.action!.run();
                dismiss(toast.id);
              }}
            >
              {toast.action.label}
            </button>
          )}
          <button type="button" className="button small plain" aria-label="Dismiss" onClick={() => dismiss(toast.id)}>
            ✕
          </button>
        </div>
      ))}
    </div>
  );
}
