// One operation: what it takes, what it answers, and a form to try it with the session at hand.

import { useState } from "react";
import { bare } from "../../api/client";
import { Code, curl } from "../../kit/code";
import { Field } from "../../kit/field";
import { span } from "../../kit/format";
import { Chip } from "../../kit/marks";
import { Card, Notice, Problem } from "../../kit/page";
import { example, fieldsOf, typeName, type Description, type Operation, type Parameter, type Schema } from "./document";

export function OperationView({ operation, description }: { operation: Operation; description: Description }) {
  return (
    <div className="stack">
      <Card
        title={operation.summary}
        aside={
          <>
            {operation.deprecated && <Chip tone="warning">Deprecated</Chip>} {operation.closed ? "Needs a key or a session" : "Open to everybody"}
          </>
        }
      >
        <p>
          <code>
            {operation.method} {operation.path}
          </code>
        </p>
        {operation.description && <p className="soft api-text">{operation.description}</p>}
      </Card>
      {operation.parameters.length > 0 && (
        <Card title="Parameters">
          <div className="api-scroll">
            <table className="simple">
              <thead>
                <tr>
                  <th scope="col">Name</th>
                  <th scope="col">In</th>
                  <th scope="col">Type</th>
                  <th scope="col">What it does</th>
                </tr>
              </thead>
              <tbody>
                {operation.parameters.map((parameter) => (
                  <tr key={`${parameter.in} ${parameter.name}`}>
                    <th scope="row">
                      <code>{parameter.name}</code>
                      {parameter.required && <span className="quiet"> required</span>}
                    </th>
                    <td>{parameter.in}</td>
                    <td className="soft">{typeName(parameter.schema, description.schemas)}</td>
                    <td>{parameter.description}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </Card>
      )}
      {operation.body && (
        <Card title="Body" aside={operation.body.type}>
          <Fields schema={operation.body.schema} description={description} depth={0} />
        </Card>
      )}
      <Card title="Answers">
        {operation.responses.map((response) => (
          <details key={response.status} className="api-answer">
            <summary>
              <b>{response.status === "default" ? "Else" : response.status}</b> {response.description} <span className="quiet">{response.type}</span>
            </summary>
            {response.schema ? <Fields schema={response.schema} description={description} depth={0} /> : <p className="quiet">No body.</p>}
          </details>
        ))}
      </Card>
      <Try key={operation.id} operation={operation} description={description} />
    </div>
  );
}

/** The fields of an object, each openable where it is an object itself. */
function Fields({ schema, description, depth }: { schema?: Schema; description: Description; depth: number }) {
  const { name, fields } = fieldsOf(schema, description.schemas);
  if (fields.length === 0) return <p className="soft">{typeName(schema, description.schemas)}</p>;
  return (
    <div className="api-scroll">
      {name && <p className="quiet">{name}</p>}
      <table className="simple">
        <tbody>
          {fields.map(([field, inner, required]) => {
            const deeper = depth < 4 && fieldsOf(inner, description.schemas).fields.length > 0;
            return (
              <tr key={field}>
                <th scope="row">
                  <code>{field}</code>
                  {required && <span className="quiet"> required</span>}
                </th>
                <td>
                  <span className="soft">{typeName(inner, description.schemas)}</span> {inner.description}
                  {deeper && (
                    <details>
                      <summary>Fields</summary>
                      <Fields schema={inner} description={description} depth={depth + 1} />
                    </details>
                  )}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

interface Outcome {
  status: number;
  text: string;
  seconds: number;
  headers: [string, string][];
}

/** Longer answers are cut: the page is for looking, not for exports. */
const SHOWN = 200_000;

function Try({ operation, description }: { operation: Operation; description: Description }) {
  const [values, setValues] = useState<Record<string, string>>({});
  const [body, setBody] = useState(() => (operation.body?.type.includes("json") ? JSON.stringify(example(operation.body.schema, description.schemas), null, 2) : ""));
  const [outcome, setOutcome] = useState<Outcome>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const streams = operation.responses.some((response) => response.type === "text/event-stream");
  const asked = operation.parameters.filter((parameter) => parameter.in === "path" || parameter.in === "query");
  const path = address(operation, asked, values);
  const missing = asked.find((parameter) => parameter.required && !values[parameter.name]);
  let parsed: unknown;
  let bad: string | undefined;
  if (operation.body?.type.includes("json") && body.trim()) {
    try {
      parsed = JSON.parse(body);
    } catch (failure) {
      bad = failure instanceof Error ? failure.message : String(failure);
    }
  }
  const send = async () => {
    setBusy(true);
    setError(undefined);
    try {
      setOutcome(await timed(operation, path, operation.body && body.trim() ? body : undefined));
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  return (
    <Card title="Try it" aside="With your session: what changes something changes it.">
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (!missing && !bad && !busy) void send();
        }}
      >
        {asked.length > 0 && (
          <div className="grid api-inputs">
            {asked.map((parameter) => (
              <Field key={`${parameter.in} ${parameter.name}`} label={`${parameter.name}${parameter.required ? " (required)" : ""}`}>
                <input
                  value={values[parameter.name] ?? ""}
                  placeholder={typeName(parameter.schema, description.schemas)}
                  onChange={(event) => setValues({ ...values, [parameter.name]: event.target.value })}
                  autoComplete="off"
                />
              </Field>
            ))}
          </div>
        )}
        {operation.body && (
          <Field label={`Body (${operation.body.type})`} error={bad}>
            <textarea className="mono" rows={Math.min(16, body.split("\n").length + 1)} value={body} onChange={(event) => setBody(event.target.value)} spellCheck={false} />
          </Field>
        )}
        {streams && <Notice tone="info">This answer is a stream without an end; try it with curl.</Notice>}
        <div className="row">
          <button type="submit" className="button primary" disabled={busy || streams || !!missing || !!bad}>
            Send {operation.method}
          </button>
          {missing && <span className="quiet">{missing.name} is needed.</span>}
        </div>
        <Code text={curl(path, operation.method, parsed)} label="As a command" />
        {error !== undefined && <Problem error={error} />}
        {outcome && (
          <div className="stack tight" role="status">
            <p>
              <Chip tone={outcome.status < 300 ? "ok" : outcome.status < 500 ? "warning" : "critical"}>{outcome.status}</Chip> in {span(outcome.seconds)}
            </p>
            <details>
              <summary>Headers</summary>
              <pre className="code">{outcome.headers.map(([name, value]) => `${name}: ${value}`).join("\n")}</pre>
            </details>
            {outcome.text ? <Code text={outcome.text} label="The answer’s body" /> : <p className="quiet">No body.</p>}
          </div>
        )}
      </form>
    </Card>
  );
}

function pretty(text: string): string {
  let shown = text;
  try {
    shown = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // Not JSON: as it is.
  }
  return shown.length > SHOWN ? `${shown.slice(0, SHOWN)}\n… ${shown.length - SHOWN} characters more` : shown;
}

function address(operation: Operation, parameters: Parameter[], values: Record<string, string>): string {
  let path = operation.path;
  const query = new URLSearchParams();
  for (const { name, in: place } of parameters) {
    const value = values[name] ?? "";
    if (place === "path") path = path.replace(`{${name}}`, value ? encodeURIComponent(value) : `{${name}}`);
    else if (value) query.set(name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

async function timed(operation: Operation, path: string, body?: string): Promise<Outcome> {
  const began = performance.now();
  const response = await bare(operation.method, path, body, operation.body?.type);
  const text = await response.text();
  return { status: response.status, text: pretty(text), seconds: (performance.now() - began) / 1000, headers: [...response.headers] };
}
