// API keys: who may call the API, in which role. A key is shown once, when it is made.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { api, ApiError, ok, type Schemas } from "../api/client";
import { useRefusal, type Role } from "../api/session";
import { ApiCall, Code } from "../kit/code";
import { Confirm, Dialog } from "../kit/dialog";
import { ActButton, Field } from "../kit/field";
import { Chip } from "../kit/marks";
import { Empty, Notice, Page, Problem } from "../kit/page";
import { Answer } from "../kit/query";
import { Table } from "../kit/table";
import { Ago, Time } from "../kit/time";
import { toast } from "../kit/toast";
import { link, useUrlState } from "../kit/url";
import "../styles/keys.css";

type Key = Schemas["KeyView"];

const ROLES: { role: Role; may: string }[] = [
  { role: "viewer", may: "reads everything; tries rules" },
  { role: "operator", may: "also changes rules, hosts and teams, and replays or discards dead letters" },
  { role: "admin", may: "also changes the configuration and these keys" },
];

export default function Keys() {
  const refusal = useRefusal("admin");
  const client = useQueryClient();
  const [url, set] = useUrlState({ revoked: "" });
  const [creating, setCreating] = useState(false);
  const [revoking, setRevoking] = useState<Key>();
  const query = useQuery({ queryKey: ["keys"], queryFn: () => ok(api.GET("/api/v2/keys")), enabled: !refusal });
  const changed = () => void client.invalidateQueries({ queryKey: ["keys"] });
  return (
    <Page
      title="API keys"
      about="Programs and people sign in with a key. Its name stands in the audit of what was done with it."
      actions={
        <>
          <Link className="button" href={link("/config-audit", { table_name: "api_keys" })}>
            All changes
          </Link>
          <ActButton className="primary" refusal={refusal} onClick={() => setCreating(true)}>
            Create a key…
          </ActButton>
        </>
      }
    >
      {refusal ? (
        <Notice tone="info">
          <b>Keys are for administrators.</b> {refusal} An administrator can make a key for you.
        </Notice>
      ) : (
        <Answer query={query}>
          {({ keys }) => {
            const revoked = keys.filter((key) => key.revoked_at).length;
            const rows = keys.filter((key) => url.revoked || !key.revoked_at);
            return (
              <>
                <div className="filters">
                  <label className="check keys-check">
                    <input type="checkbox" checked={url.revoked !== ""} onChange={(event) => set({ revoked: event.target.checked ? "shown" : "" })} />
                    <span>Show revoked keys ({revoked})</span>
                  </label>
                </div>
                <div className="keys-table">
                  <Table
                    label="API keys"
                    rows={rows}
                    rowKey={(row) => row.name}
                    columns={[
                      { key: "name", label: "Name", cell: (row) => <bdi title={row.name}>{row.name}</bdi> },
                      { key: "role", label: "Role", width: "110px", cell: (row) => <span title={ROLES.find((each) => each.role === row.role)?.may}>{row.role}</span> },
                      { key: "state", label: "State", width: "110px", cell: (row) => (row.revoked_at ? <Chip>revoked</Chip> : <Chip tone="ok">valid</Chip>) },
                      { key: "created", label: "Created", width: "175px", cell: (row) => <Time at={row.created_at} precision="minute" /> },
                      { key: "used", label: "Last used", width: "130px", cell: (row) => <Ago at={row.last_used_at} /> },
                      {
                        key: "act",
                        label: <span className="sr">Actions</span>,
                        width: "190px",
                        cell: (row) =>
                          row.revoked_at ? (
                            <span className="quiet">
                              revoked <Ago at={row.revoked_at} />
                            </span>
                          ) : (
                            <ActButton className="small danger" refusal={refusal} onClick={() => setRevoking(row)}>
                              Revoke…<span className="sr"> {row.name}</span>
                            </ActButton>
                          ),
                      },
                    ]}
                    empty={
                      <Empty title={keys.length === 0 ? "No keys but the first" : "Every key is revoked"}>
                        <p>
                          The key in the secrets (<code>WEBUI_API_KEY</code>) is an administrator’s and is not listed here. Make one key for each program or person: it can be revoked alone, and the audit tells
                          them apart.
                        </p>
                      </Empty>
                    }
                  />
                </div>
              </>
            );
          }}
        </Answer>
      )}
      {creating && <Create onClose={() => setCreating(false)} onCreated={changed} />}
      {revoking && (
        <Confirm
          title={`Revoke the key ${revoking.name}`}
          action="Revoke the key"
          danger
          reason="required"
          onClose={() => setRevoking(undefined)}
          onConfirm={async (reason) => {
            await ok(api.DELETE("/api/v2/keys/{name}", { params: { path: { name: revoking.name } }, body: { reason } }));
            toast(
              <>
                <bdi>{revoking.name}</bdi> is revoked. It is refused everywhere within a second.
              </>,
            );
            changed();
          }}
        >
          <p>
            Whoever uses it is refused within a second, on every pod. This cannot be undone: a new key needs a new name.
          </p>
          <dl className="facts">
            <dt>Role</dt>
            <dd>{revoking.role}</dd>
            <dt>Last used</dt>
            <dd>
              <Ago at={revoking.last_used_at} />
            </dd>
          </dl>
        </Confirm>
      )}
      <ApiCall path="/api/v2/keys" />
    </Page>
  );
}

function Create({ onClose, onCreated }: { onClose: () => void; onCreated: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [reason, setReason] = useState("");
  const [made, setMade] = useState<{ key: string; name: string }>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const [leaving, setLeaving] = useState(false);
  const nameError = error instanceof ApiError ? error.of("name") : undefined;
  const submit = async () => {
    setBusy(true);
    setError(undefined);
    try {
      setMade((await ok(api.POST("/api/v2/keys", { body: { name: name.trim(), role, reason: reason.trim() || undefined } }))) as unknown as { key: string; name: string });
      onCreated();
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  if (made) {
    return (
      <Dialog
        title={`The key ${made.name}`}
        // A stray Escape or click must not lose a key that nobody can show again.
        onClose={() => (leaving ? onClose() : setLeaving(true))}
        foot={
          <button type="button" className="button primary" onClick={onClose}>
            I have stored it
          </button>
        }
      >
        <Notice tone="warning">
          <b>{leaving ? "Have you stored it?" : "Copy it now."}</b> Only its hash is stored; nobody can show it again.{leaving && " Close once more to go on."}
        </Notice>
        <Code text={made.key} label="The new key" />
        <p className="soft">
          It goes into the header <code>X-API-KEY</code> of each request.
        </p>
      </Dialog>
    );
  }
  return (
    <Dialog
      title="Create a key"
      onClose={onClose}
      foot={
        <>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" form="key-create" className="button primary" disabled={busy || !name.trim()}>
            Create the key
          </button>
        </>
      }
    >
      <form
        id="key-create"
        className="stack tight"
        onSubmit={(event) => {
          event.preventDefault();
          if (name.trim() && !busy) void submit();
        }}
      >
        <Field label="Name" help="Who or what uses it, such as noc or backup-script. A name is given once." error={nameError}>
          <input value={name} maxLength={100} autoComplete="off" spellCheck={false} onChange={(event) => setName(event.target.value)} />
        </Field>
        <fieldset className="stack tight">
          <legend className="keys-legend">Role</legend>
          {ROLES.map((each) => (
            <label key={each.role} className="check">
              <input type="radio" name="role" checked={role === each.role} onChange={() => setRole(each.role)} />
              <span>
                <b>{each.role}</b>: {each.may}
              </span>
            </label>
          ))}
        </fieldset>
        <Field label="Reason (optional)" help="Kept in the config audit.">
          <input value={reason} maxLength={500} autoComplete="off" onChange={(event) => setReason(event.target.value)} />
        </Field>
        {error !== undefined && !nameError && <Problem error={error} />}
      </form>
    </Dialog>
  );
}
