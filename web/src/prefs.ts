// What this person prefers, kept in this browser.

import { useSyncExternalStore } from "react";

export interface Prefs {
  theme: "auto" | "light" | "dark";
  zone: "local" | "utc";
  /** Whether single letters are shortcuts (WCAG 2.1.4). */
  shortcuts: boolean;
}

const KEY = "mutt.preferences";
const defaults: Prefs = { theme: "auto", zone: "local", shortcuts: true };

function read(): Prefs {
  try {
    return { ...defaults, ...(JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Prefs>) };
  } catch {
    return defaults;
  }
}

let prefs = read();
const listeners = new Set<() => void>();

function apply() {
  const root = document.documentElement;
  if (prefs.theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = prefs.theme;
}
apply();

function changed(next: Prefs) {
  prefs = next;
  apply();
  for (const listener of listeners) listener();
}

// Another tab changed them.
addEventListener("storage", (event) => {
  if (event.key === KEY) changed(read());
});
// Charts read their colours from the theme.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => changed({ ...prefs }));

export function setPrefs(some: Partial<Prefs>) {
  changed({ ...prefs, ...some });
  try {
    localStorage.setItem(KEY, JSON.stringify(prefs));
  } catch {
    // A browser that keeps nothing forgets them with the page.
  }
}

export function currentPrefs(): Prefs {
  return prefs;
}

export function usePrefs(): Prefs {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => prefs,
  );
}
