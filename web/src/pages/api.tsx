// The API explorer: the server's own description, searchable, with every operation to try.

import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { Chip } from "../kit/marks";
import { ApiCall } from "../kit/code";
import { Empty, Page } from "../kit/page";
import { Answer } from "../kit/query";
import { link, useUrlState } from "../kit/url";
import { read, type Description, type Operation } from "./api/document";
import { OperationView } from "./api/operation";
import "../styles/api.css";

const TONES = { GET: "info", POST: "ok", PUT: "warning", PATCH: "warning", DELETE: "critical" } as const;

export default function ApiExplorer() {
  const query = useQuery({
    queryKey: ["openapi"],
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async () => {
      const response = await fetch("/api/v2/openapi.json");
      if (!response.ok) throw new Error(`The description of the API cannot be read: ${response.status}`);
      return read(await response.json());
    },
  });
  return (
    <Page
      title="API"
      about="Everything these pages do, they do through this API. A key goes into the header X-API-KEY."
      actions={
        <a className="button" href="/api/v2/openapi.json" download="mutt-openapi.json">
          Download OpenAPI 3.1
        </a>
      }
    >
      <Answer query={query}>{(description) => <Explorer description={description} />}</Answer>
      <ApiCall path="/api/v2/openapi.json" />
    </Page>
  );
}

function Explorer({ description }: { description: Description }) {
  const [state, set] = useUrlState({ q: "", op: "", v: "v2" });
  const wanted = state.q.toLowerCase();
  const shown = description.operations.filter(
    (operation) =>
      operation.path.startsWith(`/api/${state.v}/`) &&
      (!wanted || [operation.path, operation.summary, operation.method, operation.description ?? ""].some((text) => text.toLowerCase().includes(wanted))),
  );
  const chosen = description.operations.find((operation) => operation.id === state.op) ?? shown[0];
  const tags = [...new Set(shown.map((operation) => operation.tag))];
  return (
    <div className="api">
      <div className="stack tight api-list">
        <div className="filters">
          <label>
            Search
            <input type="search" value={state.q} onChange={(event) => set({ q: event.target.value })} />
          </label>
          <label>
            Version
            <select value={state.v} onChange={(event) => set({ v: event.target.value, op: "" })}>
              <option value="v2">v2, current</option>
              <option value="v1">v1, deprecated</option>
            </select>
          </label>
        </div>
        {tags.map((tag) => (
          <nav key={tag} aria-label={tag}>
            <h2>{tag}</h2>
            <ul className="api-operations">
              {shown
                .filter((operation) => operation.tag === tag)
                .map((operation) => (
                  <Entry key={operation.id} operation={operation} here={operation.id === chosen?.id} state={state} />
                ))}
            </ul>
          </nav>
        ))}
        {shown.length === 0 && <Empty title="No operation contains this text" />}
      </div>
      {chosen && <OperationView operation={chosen} description={description} />}
    </div>
  );
}

function Entry({ operation, here, state }: { operation: Operation; here: boolean; state: { q: string; v: string } }) {
  const version = `/api/${state.v}`;
  return (
    <li>
      <Link
        href={link("/api-explorer", { q: state.q, v: state.v === "v2" ? "" : state.v, op: operation.id })}
        aria-current={here ? "true" : undefined}
        title={operation.summary}
      >
        <Chip tone={TONES[operation.method as keyof typeof TONES] ?? "neutral"} shape={false}>
          {operation.method}
        </Chip>
        <code>{operation.path.slice(version.length)}</code>
      </Link>
    </li>
  );
}
