// One switch that stops all movement on the page (WCAG 2.2.2); what comes meanwhile waits.

import { useSyncExternalStore } from "react";

let paused = false;
const listeners = new Set<() => void>();

export function setPaused(next: boolean) {
  paused = next;
  for (const listener of listeners) listener();
}

export function togglePause() {
  setPaused(!paused);
}

export function usePaused(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => paused,
  );
}
