// Changing one setting: enter, review with the reason, save. What somebody else changed meanwhile
// is shown before anything is overwritten.

import { useState } from "react";
import { ApiError } from "../../api/client";
import { useStatus } from "../../api/live";
import { Dialog } from "../../kit/dialog";
import { Diff } from "../../kit/diff";
import { Field } from "../../kit/field";
import { Notice, Problem } from "../../kit/page";
import { toast, toastError } from "../../kit/toast";
import { allowedWords, choices, effect, groupOf, setting as fetchSetting, store, unset, valueWords, wrong, type Setting } from "./settings";

/** What is to be stored: a value, or nothing so that environment, file or default count again. */
export type Target = string | null;

interface EditProps {
  setting: Setting;
  /** Given where a value was chosen already: the review comes first. */
  target?: Target;
  /** Which change is taken back; stands before the reason. */
  names?: string;
  onClose: () => void;
  onSaved: () => void;
}

const save = (key: string, target: Target, reason: string) => (target === null ? unset(key, reason) : store(key, target, reason));

const stored = (setting: Setting): Target => (setting.origin === "dynamic" ? setting.value : null);

export function Edit({ setting, target: given, names, onClose, onSaved }: EditProps) {
  const status = useStatus();
  const [value, setValue] = useState(given ?? setting.value);
  const [target, setTarget] = useState<{ to: Target } | undefined>(given === undefined ? undefined : { to: given });
  const [base, setBase] = useState(setting);
  const [theirs, setTheirs] = useState<Setting>();
  const [reason, setReason] = useState("");
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const problem = wrong(setting, value);
  const refused = error instanceof ApiError ? error.of("value") : undefined;
  const same = target !== undefined && target.to === stored(base);
  const reviewing = target !== undefined;

  const submit = async () => {
    if (!target) return;
    setBusy(true);
    setError(undefined);
    try {
      const now = await fetchSetting(setting.name);
      if (now.value !== base.value || now.origin !== base.origin) {
        setTheirs(now);
        setBusy(false);
        return;
      }
      const why = [names, reason.trim()].filter(Boolean).join(": ");
      const changed = await save(setting.name, target.to, why);
      const before = changed.old_value ?? null;
      toast(
        <>
          {setting.name} is {target.to === null ? "not stored any more" : valueWords(setting, target.to)}. In force on every pod within a second.
        </>,
        "ok",
        { label: "Undo", run: () => void save(setting.name, before, `undo of the change to ${target.to ?? "not stored"}`).catch(toastError).finally(onSaved) },
      );
      onSaved();
      onClose();
    } catch (failure) {
      setError(failure);
      if (failure instanceof ApiError && failure.of("value")) setTarget(undefined);
      setBusy(false);
    }
  };

  const roles = groupOf(setting.name).roles;
  return (
    <Dialog
      title={reviewing ? `Review the change of ${setting.name}` : `Change ${setting.name}`}
      width={620}
      onClose={onClose}
      foot={
        reviewing ? (
          <>
            {given === undefined && (
              <button type="button" className="button" onClick={() => setTarget(undefined)}>
                Back
              </button>
            )}
            <button type="button" className="button" onClick={onClose}>
              Cancel
            </button>
            <button type="submit" form="config-review" className="button primary" disabled={busy || same || theirs !== undefined || !reason.trim()}>
              Save
            </button>
          </>
        ) : (
          <>
            {setting.origin === "dynamic" && (
              <button type="button" className="button" onClick={() => setTarget({ to: null })}>
                Unset…
              </button>
            )}
            <button type="button" className="button" onClick={onClose}>
              Cancel
            </button>
            <button type="submit" form="config-edit" className="button primary" disabled={problem !== undefined}>
              Review
            </button>
          </>
        )
      }
    >
      <p>{setting.description}</p>
      {reviewing ? (
        <form
          id="config-review"
          className="stack tight"
          onSubmit={(event) => {
            event.preventDefault();
            if (reason.trim() && !same && !theirs) void submit();
          }}
        >
          <Diff
            before={{ [setting.name]: base.origin === "dynamic" ? valueWords(setting, base.value) : `${valueWords(setting, base.value)}, from environment, file or default` }}
            after={{ [setting.name]: target.to === null ? "not stored: environment, file or default count again" : valueWords(setting, target.to) }}
          />
          {same && <Notice tone="info">This is what is stored already; there is nothing to save.</Notice>}
          {target.to !== null && effect(setting, target.to, status?.value) && <Notice tone="info">{effect(setting, target.to, status?.value)}</Notice>}
          <p className="soft">{roles ? `Read by: ${roles}. ` : ""}In force on every pod within a second, without a restart.</p>
          {theirs && (
            <Notice tone="warning" assertive>
              <p>
                <b>Somebody else changed it in the meantime.</b>
              </p>
              <Diff before={{ "theirs, in force now": valueWords(theirs, theirs.value) }} after={{ "yours, not saved": target.to === null ? "not stored" : valueWords(setting, target.to) }} />
              <p className="row">
                <button
                  type="button"
                  className="button small"
                  onClick={() => {
                    onSaved();
                    onClose();
                  }}
                >
                  Keep theirs
                </button>
                <button
                  type="button"
                  className="button small"
                  onClick={() => {
                    setBase(theirs);
                    setTheirs(undefined);
                  }}
                >
                  Go on with yours
                </button>
              </p>
            </Notice>
          )}
          <Field label="Reason" help={names ? `Kept in the config audit, after “${names}”.` : "Kept in the config audit."}>
            <input value={reason} maxLength={500} autoComplete="off" onChange={(event) => setReason(event.target.value)} />
          </Field>
          {error !== undefined && <Problem error={error} />}
        </form>
      ) : (
        <form
          id="config-edit"
          className="stack tight"
          onSubmit={(event) => {
            event.preventDefault();
            if (!problem) {
              setError(undefined);
              setTarget({ to: value.trim() });
            }
          }}
        >
          <Field
            label={setting.unit ? `Value (${setting.unit})` : "Value"}
            error={problem ?? refused}
            help={`${allowedWords(setting)}. Default: ${valueWords(setting, setting.default)}. Now: ${valueWords(setting, setting.value)}.`}
          >
            {setting.type === "choice" ? (
              <select value={value} onChange={(event) => setValue(event.target.value)}>
                {choices(setting).map((choice) => (
                  <option key={choice}>{choice}</option>
                ))}
              </select>
            ) : (
              <input
                value={value}
                inputMode={setting.type === "integer" ? "numeric" : setting.type === "number" ? "decimal" : undefined}
                autoComplete="off"
                onChange={(event) => setValue(event.target.value)}
              />
            )}
          </Field>
        </form>
      )}
    </Dialog>
  );
}
