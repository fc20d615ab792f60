// Who is signed in. One session for the whole browser; the cookie is the server's and no script
// can read it.

import { useSyncExternalStore } from "react";
import { ApiError, setCsrfToken, whenSignedOut } from "./client";

export type Role = "viewer" | "operator" | "admin";

export interface Session {
  name: string;
  role: Role;
  csrf_token: string;
  expires_at?: string;
}

/** `undefined` until the server has been asked. */
let session: Session | null | undefined;
/** Why there is none. */
let reason = "";
const listeners = new Set<() => void>();

function set(next: Session | null, why = "") {
  session = next;
  reason = why;
  setCsrfToken(next?.csrf_token ?? "");
  for (const listener of listeners) listener();
}

whenSignedOut(() => {
  if (session) set(null, "Your session has ended. Please sign in again.");
});

async function ask(method: string, body?: unknown): Promise<Session | null> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (session?.csrf_token) headers["X-CSRF-Token"] = session.csrf_token;
  const response = await fetch("/api/v2/session", {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) throw await ApiError.from(response);
  return response.status === 204 ? null : ((await response.json()) as Session);
}

/** Tabs tell each other that somebody signed in or out. */
const channel = typeof BroadcastChannel === "undefined" ? undefined : new BroadcastChannel("mutt-session");
channel?.addEventListener("message", () => void resume());

const RETRY_MIN = 500;
const RETRY_MAX = 5_000;

/** Whether asking again may help: no answer, or the server is not ready. */
function mayPass(error: unknown): boolean {
  return !(error instanceof ApiError) || error.status === 0 || error.status === 429 || error.status >= 500;
}

/** While developing, the proxy adds a key to every request and there is no session. */
async function ofProxy(): Promise<Session | null> {
  const me = import.meta.env.DEV ? await fetch("/api/v2/me").catch(() => null) : null;
  if (!me?.ok) return null;
  const { name, role } = (await me.json()) as Session;
  return { name, role, csrf_token: "" };
}

/** Goes on with the session of this browser, or takes the one-time link that the address carries. */
export async function resume(wait = RETRY_MIN): Promise<void> {
  const link = /^#\/login\/(.+)$/.exec(location.hash)?.[1];
  const forget = () => link && history.replaceState(null, "", location.pathname + location.search);
  try {
    const next = link ? await ask("POST", { link }) : await ask("GET");
    forget();
    set(next);
    if (link) channel?.postMessage("changed");
  } catch (error) {
    if (mayPass(error)) {
      // A restart is no reason to sign in again, and no reason to lose a link.
      setTimeout(() => void resume(Math.min(wait * 2, RETRY_MAX)), wait);
      return;
    }
    forget();
    const why = link && error instanceof Error ? error.message : session ? "Your session has ended. Please sign in again." : "";
    set(await ofProxy(), why);
  }
}

let checking = false;

/** Asks whether the session still stands, for what cannot see a refusal. */
export async function recheck() {
  if (checking || !session?.csrf_token) return;
  checking = true;
  try {
    await ask("GET");
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) await resume();
  } finally {
    checking = false;
  }
}

export async function signIn(key: string) {
  await ask("POST", { key });
  try {
    set(await ask("GET"));
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      throw new ApiError(401, "The key is right, but this browser did not keep the session: WEBUI_COOKIE_SECURE is on, and this page was not opened by https.");
    }
    throw error;
  }
  channel?.postMessage("changed");
}

/** Ends the session. Where that fails the session stands, and this says so. */
export async function signOut() {
  try {
    await ask("DELETE");
  } catch (error) {
    const status = error instanceof ApiError ? error.status : 0;
    if (status === 403) {
      // Another tab signed in anew: this one's token is of the session before.
      set(await ask("GET"));
      await ask("DELETE");
    } else if (status !== 401) throw error;
  }
  set(null, "You are signed out.");
  channel?.postMessage("changed");
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

/** The session; `null` when nobody is signed in, `undefined` until that is known. */
export function useSession(): Session | null | undefined {
  return useSyncExternalStore(subscribe, () => session);
}

export function whySignedOut(): string {
  return reason;
}

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

/** Why whoever is signed in may not do this; `undefined` when they may. */
export function useRefusal(needed: Role): string | undefined {
  const role = useSession()?.role ?? "viewer";
  return RANK[role] >= RANK[needed] ? undefined : `Needs the role ${needed}; you are signed in as ${role}.`;
}
