// What one setting was, who changed it and why; each earlier value can be brought back.

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { useRefusal } from "../../api/session";
import { ApiCall } from "../../kit/code";
import { Dialog } from "../../kit/dialog";
import { ActButton } from "../../kit/field";
import { Empty } from "../../kit/page";
import { Answer } from "../../kit/query";
import { Ago, Time } from "../../kit/time";
import { link } from "../../kit/url";
import { Edit, type Target } from "./edit";
import { history, valueWords, type Change, type Setting } from "./settings";

interface Back {
  to: Target;
  /** Which state is brought back, for the audit. */
  names: string;
}

function BringBack({ setting, to, of, refusal, run }: { setting: Setting; to: Target; of: string; refusal?: string; run: (to: Target) => void }) {
  const now: Target = setting.origin === "dynamic" ? setting.value : null;
  if (to === now) return <span className="config-act quiet">the value now</span>;
  return (
    <span className="config-act">
      <ActButton className="small" refusal={refusal} onClick={() => run(to)}>
        Bring back {to === null ? "the static value" : valueWords(setting, to)}…<span className="sr"> {of}</span>
      </ActButton>
    </span>
  );
}

/** What there was before the first change that is on record. */
function BeforeAll({ setting, first, refusal, run }: { setting: Setting; first: Change; refusal?: string; run: (back: Back) => void }) {
  return (
    <li>
      <div className="row">
        <b>{valueWords(setting, first.old_value)}</b>
        <span className="quiet">before change {first.id}</span>
        <BringBack setting={setting} to={first.old_value ?? null} of={`before change ${first.id}`} refusal={refusal} run={(to) => run({ to, names: `back to before change ${first.id}` })} />
      </div>
    </li>
  );
}

export function History({ setting, onClose, onSaved }: { setting: Setting; onClose: () => void; onSaved: () => void }) {
  const refusal = useRefusal("admin");
  const [back, setBack] = useState<Back>();
  const query = useQuery({ queryKey: ["config", "history", setting.name], queryFn: () => history(setting.name) });
  return (
    <Dialog title={`History of ${setting.name}`} drawer onClose={onClose}>
      <p>
        Now: <b>{valueWords(setting, setting.value)}</b> {setting.origin === "dynamic" ? "(stored)" : "(from environment, file or default)"}
      </p>
      <Answer query={query}>
        {({ history: changes }) =>
          changes.length === 0 ? (
            <Empty title="Never changed" good>
              <p>Since this MUTT keeps its audit nobody stored a value for this setting; environment, file or default say it.</p>
            </Empty>
          ) : (
            <ol className="config-history">
              {changes.map((change) => (
                <li key={change.id}>
                  <div className="row">
                    <b>
                      {valueWords(setting, change.old_value)} <span aria-label="became">→</span> {valueWords(setting, change.new_value)}
                    </b>
                    <span className="quiet">
                      change {change.id}, <Ago at={change.changed_at} />
                    </span>
                    <BringBack setting={setting} to={change.new_value ?? null} of={`of change ${change.id}`} refusal={refusal} run={(to) => setBack({ to, names: `back to change ${change.id}` })} />
                  </div>
                  <p className="soft">
                    <Time at={change.changed_at} /> by <bdi>{change.changed_by}</bdi>
                    {change.reason && (
                      <>
                        : <bdi className="wrap">{change.reason}</bdi>
                      </>
                    )}
                  </p>
                  {change.correlation_id && (
                    <p>
                      <Link href={link("/config-audit", { correlation_id: change.correlation_id })}>In the config audit</Link>
                    </p>
                  )}
                </li>
              ))}
              <BeforeAll setting={setting} first={changes.at(-1)!} refusal={refusal} run={setBack} />
            </ol>
          )
        }
      </Answer>
      {back && (
        <Edit
          setting={setting}
          target={back.to}
          names={back.names}
          onClose={() => setBack(undefined)}
          onSaved={() => {
            void query.refetch();
            onSaved();
          }}
        />
      )}
      <ApiCall path={`/api/v2/config/history?key=${encodeURIComponent(setting.name)}`} />
    </Dialog>
  );
}
