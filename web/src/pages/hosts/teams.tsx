// Teams of devices: who gets the meta-alerts about a host's unhandled events.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useId, useState } from "react";
import { Link } from "wouter";
import { api, ApiError, ok, type Schemas } from "../../api/client";
import { useRefusal } from "../../api/session";
import { ApiCall } from "../../kit/code";
import { Confirm } from "../../kit/dialog";
import { ActButton, Field } from "../../kit/field";
import { Empty } from "../../kit/page";
import { Answer } from "../../kit/query";
import { Table } from "../../kit/table";
import { toast, toastError } from "../../kit/toast";
import { link } from "../../kit/url";
import { Import } from "./import";
import { Search } from "./search";

type Team = Schemas["Team"];

const KEY = ["teams"];
const add = (hostname: string, team: string, reason?: string) =>
  ok(api.POST("/api/v2/teams", { body: { hostname, team_assignment: team, reason: reason || undefined } as Schemas["TeamWrite"] }));
const change = (hostname: string, team: string, reason?: string) =>
  ok(api.PUT("/api/v2/teams/{hostname}", { params: { path: { hostname } }, body: { team_assignment: team, reason: reason || undefined } as Schemas["TeamWrite"] }));
const remove = (hostname: string) => ok(api.DELETE("/api/v2/teams/{hostname}", { params: { path: { hostname } } }));

export function Teams({ text, setText }: { text: string; setText: (text: string) => void }) {
  const refusal = useRefusal("operator");
  const client = useQueryClient();
  const [importing, setImporting] = useState(false);
  const [editing, setEditing] = useState<Team>();
  const list = useId();
  const query = useQuery({ queryKey: KEY, queryFn: () => ok(api.GET("/api/v2/teams")) });
  const all = query.data?.teams ?? [];
  const names = [...new Set(all.map((team) => team.team_assignment))].toSorted();
  const changed = () => void client.invalidateQueries({ queryKey: KEY });
  const drop = async ({ hostname, team_assignment }: Team) => {
    try {
      await remove(hostname);
      toast(
        <>
          <bdi>{hostname}</bdi> has no team of its own any more.
        </>,
        "ok",
        { label: "Undo", run: () => void add(hostname, team_assignment, "undo of the removal").catch(toastError).finally(changed) },
      );
    } catch (error) {
      toastError(error);
    }
    changed();
  };
  return (
    <div className="stack">
      <datalist id={list}>
        {names.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      <AddTeam refusal={refusal} list={list} onAdded={changed} />
      <div className="row">
        <Search label="Find a device or a team" value={text} onChange={setText} />
        <ActButton refusal={refusal} onClick={() => setImporting(true)}>
          Import…
        </ActButton>
      </div>
      <Answer query={query}>
        {({ teams }) => {
          const needle = text.toLowerCase();
          const rows = teams.filter((team) => `${team.hostname}\n${team.team_assignment}`.toLowerCase().includes(needle));
          return (
            <div className="hosts-table">
              <Table
                label="Teams of devices"
                rows={rows}
                rowKey={(row) => row.hostname}
                height="max(240px, calc(100vh - 400px))"
                columns={[
                  { key: "host", label: "Device", cell: (row) => <bdi title={row.hostname}>{row.hostname}</bdi> },
                  { key: "team", label: "Team", cell: (row) => <bdi title={row.team_assignment}>{row.team_assignment}</bdi> },
                  { key: "events", label: "Events", width: "75px", cell: (row) => <Link href={link("/events", { hostname: row.hostname })}>Events</Link> },
                  {
                    key: "act",
                    label: <span className="sr">Actions</span>,
                    width: "170px",
                    cell: (row) => (
                      <span className="row hosts-acts">
                        <ActButton className="small" refusal={refusal} onClick={() => setEditing(row)}>
                          Change<span className="sr"> the team of {row.hostname}</span>
                        </ActButton>
                        <ActButton className="small" refusal={refusal} onClick={() => void drop(row)}>
                          Remove<span className="sr"> {row.hostname}</span>
                        </ActButton>
                      </span>
                    ),
                  },
                ]}
                empty={
                  teams.length === 0 ? (
                    <Empty title="No device has a team of its own">
                      <p>Alerts of rules go to the team that the rule names. Meta-alerts about unhandled events of a device go to its team; without one, to the default team (<code>UNHANDLED_DEFAULT_TEAM</code>).</p>
                    </Empty>
                  ) : (
                    <Empty title={`None of ${teams.length} devices contains this text`}>
                      <p>
                        <button type="button" className="button small" onClick={() => setText("")}>
                          Show all
                        </button>
                      </p>
                    </Empty>
                  )
                }
              />
            </div>
          );
        }}
      </Answer>
      {editing && (
        <ChangeTeam
          team={editing}
          list={list}
          onClose={() => setEditing(undefined)}
          onChanged={(before, after) => {
            changed();
            toast(
              <>
                <bdi>{before.hostname}</bdi> belongs to <bdi>{after}</bdi> now.
              </>,
              "ok",
              { label: "Undo", run: () => void change(before.hostname, before.team_assignment, "undo of the change").catch(toastError).finally(changed) },
            );
          }}
        />
      )}
      {importing && <Import kind="teams" teams={all} onClose={() => setImporting(false)} onDone={changed} />}
      <ApiCall path="/api/v2/teams" />
    </div>
  );
}

function ChangeTeam({ team, list, onClose, onChanged }: { team: Team; list: string; onClose: () => void; onChanged: (before: Team, after: string) => void }) {
  const [name, setName] = useState(team.team_assignment);
  return (
    <Confirm
      title="Change the team of a device"
      action="Change the team"
      reason="optional"
      onClose={onClose}
      onConfirm={async (reason) => {
        await change(team.hostname, name.trim(), reason);
        onChanged(team, name.trim());
      }}
    >
      <p className="wrap">
        Device <b>{team.hostname}</b>, team now: <b>{team.team_assignment}</b>
      </p>
      <Field label="Team">
        <input value={name} list={list} maxLength={100} autoComplete="off" onChange={(event) => setName(event.target.value)} />
      </Field>
    </Confirm>
  );
}

function AddTeam({ refusal, list, onAdded }: { refusal?: string; list: string; onAdded: () => void }) {
  const [hostname, setHostname] = useState("");
  const [team, setTeam] = useState("");
  const [reason, setReason] = useState("");
  const [error, setError] = useState<unknown>();
  const submit = async () => {
    setError(undefined);
    try {
      const name = hostname.trim();
      await add(name, team.trim(), reason.trim());
      setHostname("");
      setReason("");
      toast(
        <>
          <bdi>{name}</bdi> belongs to <bdi>{team.trim()}</bdi> now.
        </>,
        "ok",
        { label: "Undo", run: () => void remove(name).catch(toastError).finally(onAdded) },
      );
      onAdded();
    } catch (failure) {
      setError(failure);
    }
  };
  const refused = error instanceof ApiError ? error : undefined;
  const teamError = refused?.of("team_assignment");
  const hostError = refused ? (refused.of("hostname") ?? (teamError ? undefined : refused.message)) : error instanceof Error ? error.message : undefined;
  return (
    <form
      className="card hosts-add teams"
      aria-label="Give a device a team"
      onSubmit={(event) => {
        event.preventDefault();
        if (!refusal && hostname.trim() && team.trim()) void submit();
      }}
    >
      <Field label="Host name" help="One device, as in its events. No wildcards." error={hostError}>
        <input value={hostname} maxLength={255} autoComplete="off" spellCheck={false} onChange={(event) => setHostname(event.target.value)} />
      </Field>
      <Field label="Team" error={teamError}>
        <input value={team} list={list} maxLength={100} autoComplete="off" onChange={(event) => setTeam(event.target.value)} />
      </Field>
      <Field label="Reason (optional)" help="Kept in the config audit.">
        <input value={reason} maxLength={500} autoComplete="off" onChange={(event) => setReason(event.target.value)} />
      </Field>
      <ActButton type="submit" className="primary" refusal={refusal ?? (hostname.trim() && team.trim() ? undefined : "Enter a host name and a team first.")}>
        Add team
      </ActButton>
    </form>
  );
}
