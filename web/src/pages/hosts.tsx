// Hosts and teams: which hosts are development, and which team owns which device.

import { Page } from "../kit/page";
import { Tabs } from "../kit/tabs";
import { useUrlState } from "../kit/url";
import { DevHosts } from "./hosts/dev";
import { Teams } from "./hosts/teams";
import "../styles/hosts.css";

export default function Hosts() {
  const [url, set] = useUrlState({ tab: "hosts", text: "" });
  const setText = (text: string) => set({ text });
  return (
    <Page title="Hosts & teams" about="Rules handle development hosts by their development handling. The team of a device gets the meta-alerts about its unhandled events.">
      <Tabs
        label="Hosts and teams"
        chosen={url.tab}
        tabs={[
          { id: "hosts", label: "Development hosts" },
          { id: "teams", label: "Teams of devices" },
        ]}
      />
      {url.tab === "teams" ? <Teams text={url.text} setText={setText} /> : <DevHosts text={url.text} setText={setText} />}
    </Page>
  );
}
