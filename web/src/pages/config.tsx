// Configuration: the settings that change while MUTT runs, as forms from their definition.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "wouter";
import { useRefusal } from "../api/session";
import { ApiCall, CopyButton } from "../kit/code";
import { ActButton, Filter } from "../kit/field";
import { Chip } from "../kit/marks";
import { Card, Empty, Page } from "../kit/page";
import { Answer } from "../kit/query";
import { link, useUrlState } from "../kit/url";
import { usePaused } from "../pause";
import { Edit } from "./config/edit";
import { History } from "./config/history";
import { allowedWords, inGroups, settings, valueWords, type Setting } from "./config/settings";
import "../styles/config.css";

export default function Configuration() {
  const refusal = useRefusal("admin");
  const [url, set] = useUrlState({ text: "", origin: "", edit: "", history: "" });
  const paused = usePaused();
  const client = useQueryClient();
  const query = useQuery({ queryKey: ["config"], queryFn: settings, refetchInterval: paused ? false : 10_000 });
  const saved = () => void client.invalidateQueries({ queryKey: ["config"] });
  const all = query.data ?? [];
  const editing = all.find((each) => each.name === url.edit);
  const told = all.find((each) => each.name === url.history);
  return (
    <Page
      title="Configuration"
      about="Settings that change while MUTT runs. A stored value overrides environment, file and default, on every pod within a second."
      actions={
        <Link className="button" href={link("/config-audit", { table_name: "dynamic_config" })}>
          All changes
        </Link>
      }
    >
      <div className="filters">
        <Filter label="Find a setting">
          <input type="search" value={url.text} style={{ width: 280 }} onChange={(event) => set({ text: event.target.value })} />
        </Filter>
        <Filter label="Origin">
          <select value={url.origin} onChange={(event) => set({ origin: event.target.value })}>
            <option value="">any</option>
            <option value="dynamic">stored</option>
            <option value="static">environment, file or default</option>
          </select>
        </Filter>
      </div>
      <Answer query={query}>
        {(data) => {
          const needle = url.text.toLowerCase();
          const shown = data.filter(
            (each) => (!url.origin || each.origin === url.origin) && [each.name, each.alias, each.variable, each.description].some((text) => text?.toLowerCase().includes(needle)),
          );
          if (shown.length === 0) {
            return (
              <Empty title="No setting matches">
                <p>
                  {data.length} settings are there. {url.origin === "dynamic" && !url.text ? "None is stored: environment, file or default say all of them." : ""}
                </p>
                <p>
                  <Link href="/config">Show all</Link>
                </p>
              </Empty>
            );
          }
          return (
            <div className="stack">
              {inGroups(shown).map(({ group, settings }) => (
                <Card key={group.title} title={group.title} aside={group.roles && <>read by: {group.roles}</>}>
                  <Settings label={group.title} rows={settings} onEdit={(edit) => set({ edit }, { push: true })} onHistory={(history) => set({ history }, { push: true })} />
                </Card>
              ))}
            </div>
          );
        }}
      </Answer>
      <div className="stack config-static">
        <Card title="Static settings">
          <p>
            Ports, stores and secrets are read when a process starts. On its host, <code>mutt config show</code> prints each with its origin and <code>mutt config check</code> every problem.{" "}
            <CopyButton text="mutt config show" label="Copy the command" />
          </p>
        </Card>
      </div>
      {editing && !refusal && <Edit key={`edit ${editing.name}`} setting={editing} onClose={() => set({ edit: "" })} onSaved={saved} />}
      {told && <History key={`history ${told.name}`} setting={told} onClose={() => set({ history: "" })} onSaved={saved} />}
      <ApiCall path="/api/v2/config" />
    </Page>
  );
}

function Settings({ label, rows, onEdit, onHistory }: { label: string; rows: Setting[]; onEdit: (name: string) => void; onHistory: (name: string) => void }) {
  const refusal = useRefusal("admin");
  return (
    <table className="simple config-table" aria-label={label}>
      <thead>
        <tr>
          <th scope="col">Setting</th>
          <th scope="col" className="num">
            Value
          </th>
          <th scope="col">Origin</th>
          <th scope="col">Allowed</th>
          <th scope="col">
            <span className="sr">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map((setting) => (
          <tr key={setting.name}>
            <th scope="row">
              <code>{setting.name}</code>
              <p className="soft">{setting.description}</p>
            </th>
            <td className="num">
              <b>{valueWords(setting, setting.value)}</b>
              {setting.value !== setting.default && <p className="quiet">default {valueWords(setting, setting.default)}</p>}
            </td>
            <td>{setting.origin === "dynamic" ? <Chip tone="accent">stored</Chip> : setting.value === setting.default ? <Chip>default value</Chip> : <Chip title={setting.variable}>environment or file</Chip>}</td>
            <td className="soft">{allowedWords(setting)}</td>
            <td>
              <span className="row config-acts">
                <ActButton className="small" refusal={refusal} onClick={() => onEdit(setting.name)}>
                  Change…<span className="sr"> {setting.name}</span>
                </ActButton>
                <button type="button" className="button small" onClick={() => onHistory(setting.name)}>
                  History<span className="sr"> of {setting.name}</span>
                </button>
              </span>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
