// Keyboard shortcuts. Single letters are inert where one types, behind an open dialog, and when
// they are switched off in the preferences.

import { useEffect, useRef } from "react";
import { currentPrefs } from "../prefs";

function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

/** Keys by `event.key`, or two in a row such as "g o". A handler that returns false did not take it. */
export function useKeys(keys: Record<string, (event: KeyboardEvent) => void | false>, active = true) {
  const latest = useRef(keys);
  useEffect(() => {
    latest.current = keys;
  });
  useEffect(() => {
    if (!active) return undefined;
    let first = "";
    let timer: ReturnType<typeof setTimeout> | undefined;
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (typing(event.target) || document.querySelector("dialog[open]")) return;
      if (event.key.length === 1 && !currentPrefs().shortcuts) return;
      const handler = (first && latest.current[`${first} ${event.key}`]) || latest.current[event.key];
      clearTimeout(timer);
      first = "";
      if (handler) {
        if (handler(event) !== false) event.preventDefault();
      } else if (Object.keys(latest.current).some((key) => key.startsWith(`${event.key} `))) {
        first = event.key;
        timer = setTimeout(() => (first = ""), 1200);
      }
    };
    addEventListener("keydown", onKey);
    return () => {
      removeEventListener("keydown", onKey);
      clearTimeout(timer);
    };
  }, [active]);
}
