// Signing in with an API key. The browser keeps a session; the key is forgotten at once.

import { useState } from "react";
import { signIn, whySignedOut } from "../api/session";
import { Field } from "../kit/field";
import { Notice, Problem } from "../kit/page";
import { Brand } from "./bar";

export function SignIn() {
  const [key, setKey] = useState("");
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const why = whySignedOut();
  return (
    <main className="signin">
      <form
        className="card"
        onSubmit={(event) => {
          event.preventDefault();
          setBusy(true);
          setError(undefined);
          signIn(key.trim()).catch((failure: unknown) => {
            setError(failure);
            setBusy(false);
          });
        }}
      >
        <h1 className="brand">
          <Brand />
        </h1>
        {error !== undefined ? <Problem error={error} /> : why && <Notice tone="info">{why}</Notice>}
        <Field label="API key" help="Your own, from an administrator (mutt keys create), or the first one: WEBUI_API_KEY, on a single host the file webui_api_key in the data directory.">
          <input type="password" autoComplete="current-password" value={key} onChange={(event) => setKey(event.target.value)} required />
        </Field>
        <div className="row end">
          <button type="submit" className="button primary" disabled={busy || !key.trim()}>
            Sign in
          </button>
        </div>
      </form>
    </main>
  );
}
