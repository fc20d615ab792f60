// The bar: search, whether what is shown is live, pause, time zone, theme, who is signed in.

import { useState } from "react";
import { Link, useLocation } from "wouter";
import { useConnection, useStatus } from "../api/live";
import { useSession } from "../api/session";
import { span } from "../kit/format";
import { Shape } from "../kit/marks";
import { useNow } from "../kit/time";
import { link } from "../kit/url";
import { togglePause, usePaused } from "../pause";
import { setPrefs, usePrefs } from "../prefs";

export function Brand() {
  return (
    <>
      <svg viewBox="0 0 32 32" aria-hidden="true">
        <rect width="32" height="32" rx="7" fill="#0f766e" />
        <path d="M6 19h5l3-9 4 13 3-8 1.500 4H26" fill="none" stroke="#fff" strokeWidth="2.600" strokeLinecap="round" strokeLinejoin="round" />
      </svg>
      <span>MUTT</span>
    </>
  );
}

export function Bar({ onMenu, menuOpen, onSheet, onSignOut }: { onMenu: () => void; menuOpen: boolean; onSheet: () => void; onSignOut: () => void }) {
  const session = useSession();
  const prefs = usePrefs();
  const themes = { auto: "Auto", light: "Light", dark: "Dark" } as const;
  const nextTheme = { auto: "light", light: "dark", dark: "auto" } as const;
  return (
    <header className="bar">
      <button type="button" className="button small menu-button" aria-expanded={menuOpen} onClick={onMenu}>
        Pages
      </button>
      <Link href="/" className="brand" aria-label="MUTT, Overview">
        <Brand />
      </Link>
      <Search />
      <div className="end">
        <Live />
        <button
          type="button"
          className="button small plain wide"
          title="Whether times are shown local or in UTC; both are in every time’s tooltip"
          onClick={() => setPrefs({ zone: prefs.zone === "utc" ? "local" : "utc" })}
        >
          {prefs.zone === "utc" ? "UTC" : "Local time"}
        </button>
        <button
          type="button"
          className="button small plain wide"
          title="Theme: as the system, light, dark"
          onClick={() => setPrefs({ theme: nextTheme[prefs.theme] })}
        >
          <span aria-hidden="true">◐</span> <span className="sr">Theme: </span>
          {themes[prefs.theme]}
        </button>
        <button type="button" className="button small plain wide" onClick={onSheet} aria-label="Keys and preferences">
          <kbd>?</kbd>
        </button>
        <span className="soft wide" title={`Signed in with the key ${session?.name}`}>
          {session?.name} <span className="quiet">({session?.role})</span>
        </span>
        <button type="button" className="button small" onClick={onSignOut}>
          Sign out
        </button>
      </div>
    </header>
  );
}

function Search() {
  const [, navigate] = useLocation();
  const [text, setText] = useState("");
  return (
    <form
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        const wanted = text.trim();
        const id = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(wanted);
        navigate(id ? `/events/${wanted}` : link("/events", { text: wanted }));
        (document.activeElement as HTMLElement | null)?.blur();
      }}
    >
      <input
        id="search"
        type="search"
        aria-label="Search events by text, or open one by its ID"
        placeholder="Search events, or paste an event ID    /"
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") event.currentTarget.blur();
        }}
      />
    </form>
  );
}

/** Live or stale, and since when; a click stops all movement. */
function Live() {
  const status = useStatus();
  const connection = useConnection();
  const paused = usePaused();
  const now = useNow();
  const age = status ? (now - status.at) / 1000 : (now - connection.since) / 1000;
  const state = paused ? "paused" : !connection.connected || age > 5 ? "stale" : "live";
  const text =
    state === "paused" ? "Paused" : state === "live" ? "Live" : status ? `Stale for ${span(Math.max(0, Math.floor(age)))}` : "Connecting";
  return (
    <button
      type="button"
      className="button small plain live"
      data-state={state}
      aria-pressed={paused}
      title={state === "stale" ? "The stream from MUTT is interrupted; it is tried again by itself." : "Stop or go on with all movement (p)"}
      onClick={togglePause}
    >
      <Shape tone={state === "live" ? "ok" : "warning"} />
      {text}
    </button>
  );
}
