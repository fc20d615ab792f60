// The keys, and what one may prefer.

import { Dialog } from "../kit/dialog";
import { setPrefs, usePrefs } from "../prefs";
import { ROUTES } from "../routes";

const KEYS: [string, string][] = [
  ["/", "Search"],
  ["p", "Pause all movement, or go on"],
  ["j, k or arrows", "Next, previous row"],
  ["Enter", "Open the row"],
  ["x, Shift x", "Select the row, or all rows up to it"],
  ["n", "New rule, on Rules and Unhandled"],
  ["e", "Edit the rule of the row"],
  ["Ctrl Enter", "Save the rule"],
  ["Esc", "Close"],
  ["?", "This sheet"],
];

export function Sheet({ onClose }: { onClose: () => void }) {
  const prefs = usePrefs();
  return (
    <Dialog title="Keys and preferences" onClose={onClose} width={680}>
      <div className="grid" style={{ "--min": "260px" } as React.CSSProperties}>
        <table className="simple">
          <caption className="sr">Keys everywhere</caption>
          <tbody>
            {KEYS.map(([key, what]) => (
              <tr key={key}>
                <th scope="row">
                  <kbd>{key}</kbd>
                </th>
                <td>{what}</td>
              </tr>
            ))}
          </tbody>
        </table>
        <table className="simple">
          <caption className="sr">Keys to the pages</caption>
          <tbody>
            {ROUTES.filter((route) => route.key).map((route) => (
              <tr key={route.path}>
                <th scope="row">
                  <kbd>g</kbd> <kbd>{route.key}</kbd>
                </th>
                <td>{route.name}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <label className="check">
        <input type="checkbox" checked={prefs.shortcuts} onChange={(event) => setPrefs({ shortcuts: event.target.checked })} />
        Single letters are shortcuts
      </label>
      <label className="check">
        <input type="checkbox" checked={prefs.zone === "utc"} onChange={(event) => setPrefs({ zone: event.target.checked ? "utc" : "local" })} />
        Times in UTC
      </label>
      <div className="row">
        <label htmlFor="theme">Theme</label>
        <select id="theme" value={prefs.theme} onChange={(event) => setPrefs({ theme: event.target.value as typeof prefs.theme })}>
          <option value="auto">As the system</option>
          <option value="light">Light</option>
          <option value="dark">Dark</option>
        </select>
      </div>
    </Dialog>
  );
}
