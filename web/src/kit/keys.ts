// Keyboard shortcuts. Single letters are inert where one types, behind an open dialog, and when
// they are switched off in the preferences.

import { useEffect, useRef, type RefObject } from "react";
import { currentPrefs } from "../prefs";

/** Keys by `event.key`, or two in a row such as "g o". A handler that returns false did not take it. */
type Keys = Record<string, (event: KeyboardEvent) => void | false>;

/** How long the second key of two may take, in milliseconds. */
const PATIENCE = 1_200;

const all = new Set<RefObject<Keys>>();
let first = "";
let timer: ReturnType<typeof setTimeout> | undefined;

function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

// One listener for all: after "g" the next letter means a page, and not what a list does with it.
function onKey(event: KeyboardEvent) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (typing(event.target) || document.querySelector("dialog[open]")) return;
  if (event.key.length === 1 && !currentPrefs().shortcuts) return;
  const both = `${first} ${event.key}`;
  const chosen = first && [...all].some((keys) => keys.current[both]) ? both : event.key;
  clearTimeout(timer);
  first = "";
  for (const keys of all) {
    const handler = keys.current[chosen];
    if (handler && handler(event) !== false) {
      event.preventDefault();
      return;
    }
  }
  if (chosen === event.key && [...all].some((keys) => Object.keys(keys.current).some((key) => key.startsWith(`${event.key} `)))) {
    first = event.key;
    timer = setTimeout(() => (first = ""), PATIENCE);
  }
}

export function useKeys(keys: Keys) {
  const latest = useRef(keys);
  useEffect(() => {
    latest.current = keys;
  });
  useEffect(() => {
    if (all.size === 0) addEventListener("keydown", onKey);
    all.add(latest);
    return () => {
      all.delete(latest);
      if (all.size === 0) removeEventListener("keydown", onKey);
    };
  }, []);
}
