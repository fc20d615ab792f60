// Development hosts: what they send is handled by the rules' development handling.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { api, ApiError, ok, type Schemas } from "../../api/client";
import { useRefusal } from "../../api/session";
import { ApiCall } from "../../kit/code";
import { ActButton, Field } from "../../kit/field";
import { Empty } from "../../kit/page";
import { Answer } from "../../kit/query";
import { Table } from "../../kit/table";
import { toast, toastError } from "../../kit/toast";
import { link } from "../../kit/url";
import { Import } from "./import";
import { Search } from "./search";

const KEY = ["dev-hosts"];
const add = (hostname: string, reason?: string) => ok(api.POST("/api/v2/dev-hosts", { body: { hostname, reason: reason || undefined } as Schemas["HostWrite"] }));
const remove = (hostname: string) => ok(api.DELETE("/api/v2/dev-hosts/{hostname}", { params: { path: { hostname } } }));

export function DevHosts({ text, setText }: { text: string; setText: (text: string) => void }) {
  const refusal = useRefusal("operator");
  const client = useQueryClient();
  const [importing, setImporting] = useState(false);
  const query = useQuery({ queryKey: KEY, queryFn: () => ok(api.GET("/api/v2/dev-hosts")) });
  const changed = () => void client.invalidateQueries({ queryKey: KEY });
  const drop = async (hostname: string) => {
    try {
      await remove(hostname);
      toast(
        <>
          <bdi>{hostname}</bdi> is no development host any more.
        </>,
        "ok",
        { label: "Undo", run: () => void add(hostname, "undo of the removal").catch(toastError).finally(changed) },
      );
    } catch (error) {
      toastError(error);
    }
    changed();
  };
  return (
    <div className="stack">
      <AddHost refusal={refusal} onAdded={changed} />
      <div className="row">
        <Search label="Find a host" value={text} onChange={setText} />
        <ActButton refusal={refusal} onClick={() => setImporting(true)}>
          Import…
        </ActButton>
      </div>
      <Answer query={query}>
        {({ hosts }) => {
          const rows = hosts.filter((host) => host.hostname.toLowerCase().includes(text.toLowerCase()));
          return (
            <div className="hosts-table">
              <Table
                label="Development hosts"
                rows={rows}
                rowKey={(row) => row.hostname}
                height="max(240px, calc(100vh - 400px))"
                columns={[
                  {
                    key: "host",
                    label: "Host",
                    cell: (row) => <bdi title={row.hostname}>{row.hostname}</bdi>,
                  },
                  { key: "events", label: "Events", width: "90px", cell: (row) => <Link href={link("/events", { hostname: row.hostname })}>Events</Link> },
                  {
                    key: "act",
                    label: <span className="sr">Actions</span>,
                    width: "100px",
                    cell: (row) => (
                      <ActButton className="small" refusal={refusal} onClick={() => void drop(row.hostname)}>
                        Remove<span className="sr"> {row.hostname}</span>
                      </ActButton>
                    ),
                  },
                ]}
                empty={
                  hosts.length === 0 ? (
                    <Empty title="No development hosts">
                      <p>Every host counts as production: rules use their production handling for all of them. Add the hosts of your lab above, or import a list.</p>
                    </Empty>
                  ) : (
                    <Empty title={`None of ${hosts.length} hosts contains this text`}>
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
      {importing && <Import kind="hosts" onClose={() => setImporting(false)} onDone={changed} />}
      <ApiCall path="/api/v2/dev-hosts" />
    </div>
  );
}

function AddHost({ refusal, onAdded }: { refusal?: string; onAdded: () => void }) {
  const [hostname, setHostname] = useState("");
  const [reason, setReason] = useState("");
  const [error, setError] = useState<unknown>();
  const submit = async () => {
    setError(undefined);
    try {
      const name = hostname.trim();
      await add(name, reason.trim());
      setHostname("");
      setReason("");
      toast(
        <>
          <bdi>{name}</bdi> is a development host now.
        </>,
        "ok",
        { label: "Undo", run: () => void remove(name).catch(toastError).finally(onAdded) },
      );
      onAdded();
    } catch (failure) {
      setError(failure);
    }
  };
  const wrong = error instanceof ApiError ? (error.of("hostname") ?? error.message) : error instanceof Error ? error.message : undefined;
  return (
    <form
      className="card hosts-add"
      aria-label="Add a development host"
      onSubmit={(event) => {
        event.preventDefault();
        if (!refusal && hostname.trim()) void submit();
      }}
    >
      <Field label="Host name" help="One host, as in its events; case does not matter. No wildcards." error={wrong}>
        <input value={hostname} maxLength={255} autoComplete="off" spellCheck={false} onChange={(event) => setHostname(event.target.value)} />
      </Field>
      <Field label="Reason (optional)" help="Kept in the config audit.">
        <input value={reason} maxLength={500} autoComplete="off" onChange={(event) => setReason(event.target.value)} />
      </Field>
      <ActButton type="submit" className="primary" refusal={refusal ?? (hostname.trim() ? undefined : "Enter a host name first.")}>
        Add host
      </ActButton>
    </form>
  );
}
