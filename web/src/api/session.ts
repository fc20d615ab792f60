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

/** Goes on with the session of this browser, or takes the one-time link that the address carries. */
export async function resume() {
  const link = /^#\/login\/(.+)$/.exec(location.hash)?.[1];
  if (link) {
    history.replaceState(null, "", location.pathname + location.search);
    try {
      set(await ask("POST", { link }));
      return;
    } catch (error) {
      set(null, error instanceof Error ? error.message : String(error));
      return;
    }
  }
  try {
    set(await ask("GET"));
  } catch (error) {
    // While developing, the proxy adds a key to every request and there is no session.
    const me = import.meta.env.DEV ? await fetch("/api/v2/me").catch(() => null) : null;
    if (me?.ok) {
      const { name, role } = (await me.json()) as Session;
      set({ name, role, csrf_token: "" });
      return;
    }
    set(null, error instanceof ApiError && error.status !== 401 ? error.message : "");
  }
}

export async function signIn(key: string) {
  set(await ask("POST", { key }));
}

export async function signOut() {
  try {
    await ask("DELETE");
  } finally {
    set(null, "You are signed out.");
  }
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
