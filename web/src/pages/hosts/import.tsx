// Many hosts or teams at once: paste or choose a file, see what would happen, then apply it.

import { useState } from "react";
import { api, ApiError, ok, type Schemas } from "../../api/client";
import { Dialog } from "../../kit/dialog";
import { Field } from "../../kit/field";
import { plural } from "../../kit/format";
import { Notice, Problem } from "../../kit/page";
import { toast } from "../../kit/toast";

type Kind = "hosts" | "teams";
type Imported = Schemas["Imported"];

const WHAT = {
  hosts: { title: "Import development hosts", columns: "hostname", example: "hostname\nlab-router1\nlab-switch1", path: "/api/v2/dev-hosts/import" },
  teams: { title: "Import teams of devices", columns: "hostname,team_assignment", example: "hostname,team_assignment\nfw1,Security\nsw1,NetOps", path: "/api/v2/teams/import" },
} as const;

const isJson = (text: string) => text.trimStart().startsWith("[");

function send(kind: Kind, text: string, dryRun: boolean, reason: string): Promise<Imported> {
  return ok(
    api.POST(WHAT[kind].path, {
      params: { query: { dry_run: dryRun, reason: reason || undefined } },
      // The text goes as it is; the header says what it is.
      body: text as never,
      bodySerializer: (body: unknown) => body as string,
      headers: { "Content-Type": isJson(text) ? "application/json" : "text/csv" },
    }),
  );
}

/** Host and team of each row; undefined where the text is not that simple. */
export function readTeams(text: string): { hostname: string; team: string }[] | undefined {
  if (isJson(text)) {
    try {
      const rows = JSON.parse(text) as { hostname: string; team_assignment: string }[];
      return rows.map((row) => ({ hostname: row.hostname.trim(), team: row.team_assignment.trim() }));
    } catch {
      return undefined;
    }
  }
  if (text.includes('"')) return undefined;
  const [head = "", ...lines] = text.replace(/^\uFEFF/, "").split(/\r?\n/).filter((line) => line.trim());
  const names = head.split(",").map((name) => name.trim());
  const [host, team] = [names.indexOf("hostname"), names.indexOf("team_assignment")];
  if (host < 0 || team < 0) return undefined;
  return lines.map((line) => {
    const cells = line.split(",").map((cell) => cell.trim());
    return { hostname: cells[host] ?? "", team: cells[team] ?? "" };
  });
}

/** "[0].hostname" is the first row's host name. */
function where(field: string): string {
  const at = /^\[(\d+)\]\.?(.*)$/.exec(field);
  return at ? `row ${Number(at[1]) + 1}${at[2] ? `, ${at[2]}` : ""}` : field;
}

interface ImportProps {
  kind: Kind;
  /** The teams that are set now, to name what would change. */
  teams?: Schemas["Team"][];
  onClose: () => void;
  onDone: () => void;
}

export function Import({ kind, teams = [], onClose, onDone }: ImportProps) {
  const [text, setText] = useState("");
  const [reason, setReason] = useState("");
  const [found, setFound] = useState<Imported>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const what = WHAT[kind];
  const run = async (dryRun: boolean) => {
    setBusy(true);
    setError(undefined);
    try {
      const answer = await send(kind, text, dryRun, reason.trim());
      if (dryRun) {
        setFound(answer);
      } else {
        toast(`Imported: ${plural(answer.new, "new row")}, ${answer.changed} changed, ${answer.unchanged} unchanged.`);
        onDone();
        onClose();
      }
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  const now = new Map(teams.map((team) => [team.hostname.toLowerCase(), team.team_assignment]));
  const conflicts = kind === "teams" && found && found.changed > 0 ? readTeams(text)?.filter((row) => now.has(row.hostname.toLowerCase()) && now.get(row.hostname.toLowerCase()) !== row.team) : undefined;
  const nothing = found !== undefined && found.new + found.changed === 0;
  return (
    <Dialog
      title={what.title}
      width={720}
      onClose={onClose}
      foot={
        <>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          {found ? (
            <button type="button" className="button primary" disabled={busy || nothing || !reason.trim()} onClick={() => void run(false)}>
              Apply {plural(found.new + found.changed, "change")}
            </button>
          ) : (
            <button type="button" className="button primary" disabled={busy || !text.trim()} onClick={() => void run(true)}>
              Check
            </button>
          )}
        </>
      }
    >
      <p>
        CSV with {kind === "teams" ? "columns" : "a column"} <code>{what.columns}</code> in its first line, or a JSON array of objects. Nothing is stored before you apply it. A host name is one device; wildcards are
        not supported.
      </p>
      <Field label="Rows" >
        <textarea
          rows={10}
          className="mono"
          spellCheck={false}
          placeholder={what.example}
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            setFound(undefined);
            setError(undefined);
          }}
        />
      </Field>
      <Field label="Or a file">
        <input
          type="file"
          accept=".csv,.json,text/csv,application/json"
          onChange={(event) => {
            const file = event.target.files?.[0];
            setFound(undefined);
            setError(undefined);
            if (file) void file.text().then(setText, setError);
          }}
        />
      </Field>
      {error !== undefined && !(error instanceof ApiError && error.fields.length > 0) && <Problem error={error} />}
      {error instanceof ApiError && error.fields.length > 0 && (
        <Notice tone="critical" assertive>
          <p>Nothing was stored. What is wrong:</p>
          <ul className="hosts-errors">
            {error.fields.map((field) => (
              <li key={`${field.field}${field.message}`}>
                <b>{where(field.field)}</b>: <bdi>{field.message}</bdi>
              </li>
            ))}
          </ul>
        </Notice>
      )}
      {found && (
        <>
          <Notice tone={found.changed > 0 ? "warning" : "info"}>
            <b>
              {found.new} new, {found.unchanged} unchanged
              {kind === "teams" && `, ${plural(found.changed, "conflict")}`}
            </b>
            {nothing && ". There is nothing to apply."}
            {found.changed > 0 && ". A conflict is a device that has another team now; applying replaces it."}
          </Notice>
          {conflicts && conflicts.length === found.changed && (
            <div className="hosts-conflicts">
              <table className="simple diff">
                <thead>
                  <tr>
                    <th scope="col">Device</th>
                    <th scope="col">Team now, and after</th>
                  </tr>
                </thead>
                <tbody>
                  {conflicts.slice(0, 100).map((row) => (
                    <tr key={row.hostname}>
                      <th scope="row">
                        <bdi>{row.hostname}</bdi>
                      </th>
                      <td>
                        <del>
                          <span aria-hidden="true">− </span>
                          <span className="sr">now: </span>
                          {now.get(row.hostname.toLowerCase())}
                        </del>
                        <ins>
                          <span aria-hidden="true">+ </span>
                          <span className="sr">after: </span>
                          {row.team}
                        </ins>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
              {conflicts.length > 100 && <p className="quiet">and {conflicts.length - 100} more</p>}
            </div>
          )}
          {!nothing && (
            <Field label="Reason" help="Kept in the config audit with each row.">
              <input value={reason} maxLength={500} autoComplete="off" onChange={(event) => setReason(event.target.value)} />
            </Field>
          )}
        </>
      )}
    </Dialog>
  );
}
