// The three states of a rule as a menu beside the button that shows the present one.

import { useEffect, useRef } from "react";
import { STATES, type RuleState } from "./model";

interface StateMenuProps {
  anchor: HTMLElement;
  current: RuleState;
  refusal?: string;
  onChoose: (state: RuleState) => void;
  onClose: () => void;
}

export function StateMenu({ anchor, current, refusal, onChoose, onClose }: StateMenuProps) {
  const menu = useRef<HTMLDivElement>(null);
  const close = useRef(onClose);
  useEffect(() => {
    close.current = onClose;
  });
  useEffect(() => {
    const element = menu.current!;
    const place = anchor.getBoundingClientRect();
    element.style.left = `${Math.min(place.left, innerWidth - 300)}px`;
    element.style.top = place.bottom + 160 > innerHeight ? `${place.top - 150}px` : `${place.bottom + 4}px`;
    const onToggle = (event: ToggleEvent) => {
      if (event.newState === "closed") close.current();
    };
    element.addEventListener("toggle", onToggle);
    element.showPopover();
    element.querySelector<HTMLElement>(`[aria-checked="true"]`)?.focus();
    return () => {
      element.removeEventListener("toggle", onToggle);
      if (element.matches(":popover-open")) element.hidePopover();
      if (anchor.isConnected) anchor.focus();
    };
  }, [anchor]);
  const step = (by: number) => {
    const items = [...menu.current!.querySelectorAll<HTMLElement>("[role=menuitemradio]")];
    items[(items.indexOf(document.activeElement as HTMLElement) + by + items.length) % items.length]?.focus();
  };
  return (
    <div
      ref={menu}
      popover="auto"
      className="state-menu"
      role="menu"
      aria-label="State of the rule"
      tabIndex={-1}
      onKeyDown={(event) => {
        if (event.key === "ArrowDown") step(1);
        else if (event.key === "ArrowUp") step(-1);
        else if (event.key === "Tab") onClose();
        else return;
        event.preventDefault();
      }}
    >
      {(Object.keys(STATES) as RuleState[]).map((state) => (
        <button
          key={state}
          type="button"
          role="menuitemradio"
          aria-checked={state === current}
          aria-disabled={refusal ? true : undefined}
          onClick={() => {
            if (refusal) return;
            onClose();
            onChoose(state);
          }}
        >
          <b>
            {state === current ? "✓ " : ""}
            {STATES[state].word}
          </b>
          <span className="quiet">{STATES[state].about}</span>
        </button>
      ))}
      {refusal && <p className="quiet">{refusal}</p>}
    </div>
  );
}
