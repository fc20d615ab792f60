// The only road to the server: a typed client of the API's own description, with the problem
// details of a refusal as an error, and the CSRF token on whatever changes something.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];

/** What was wrong with one field of a request. */
export interface FieldError {
  field: string;
  message: string;
  position?: number;
}

/** A refusal (RFC 9457), or no answer at all (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly fields: FieldError[] = [],
    readonly correlationId?: string,
    readonly retryAfter?: number,
  ) {
    super(message);
    this.name = "ApiError";
  }

  /** What is wrong with this field, if anything. */
  of(field: string): string | undefined {
    return this.fields.find((error) => error.field === field || error.field.endsWith(`.${field}`))?.message;
  }

  static async from(response: Response): Promise<ApiError> {
    const body: unknown = await response.json().catch(() => null);
    const problem = (body ?? {}) as {
      detail?: string;
      title?: string;
      errors?: FieldError[];
      correlation_id?: string;
    };
    const wait = Number(response.headers.get("retry-after"));
    return new ApiError(
      response.status,
      problem.detail ?? problem.title ?? `The server answered ${response.status}.`,
      problem.errors ?? [],
      problem.correlation_id ?? response.headers.get("x-correlation-id") ?? undefined,
      wait > 0 ? wait : undefined,
    );
  }
}

let csrf = "";
let onSignedOut: () => void = () => {};

/** The token that goes along with every change. */
export function setCsrfToken(token: string) {
  csrf = token;
}

/** What to do when the server no longer knows this session. */
export function whenSignedOut(action: () => void) {
  onSignedOut = action;
}

export const api = createClient<paths>({ baseUrl: "", credentials: "same-origin" });

api.use({
  onRequest({ request }) {
    if (csrf && !["GET", "HEAD"].includes(request.method)) request.headers.set("X-CSRF-Token", csrf);
    return request;
  },
  async onResponse({ response, schemaPath }) {
    if (response.ok) return undefined;
    if (response.status === 401 && !schemaPath.endsWith("/session")) onSignedOut();
    throw await ApiError.from(response);
  },
  onError({ error }) {
    if (error instanceof DOMException && error.name === "AbortError") return error;
    return new ApiError(0, "MUTT does not answer. It may be restarting; this page tries again.");
  },
});

/** A request as it stands; whatever the answer is, it is the answer. For the API explorer. */
export function bare(method: string, path: string, body?: string, type = "application/json"): Promise<Response> {
  const headers: Record<string, string> = body === undefined ? {} : { "Content-Type": type };
  if (csrf && method !== "GET") headers["X-CSRF-Token"] = csrf;
  return fetch(path, { method, headers, body, credentials: "same-origin" });
}

/** The body of an answer; a refusal was thrown before. */
export async function ok<T>(answer: Promise<{ data?: T }>): Promise<T> {
  return (await answer).data as T;
}

/** The address of an endpoint with these parameters, for downloads and "show as API call". */
export function address(path: string, parameters: Record<string, string | number | boolean | undefined> = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return `/api/v2${path}${text ? `?${text}` : ""}`;
}
