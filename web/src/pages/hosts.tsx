import { Page } from "../kit/page";

export default function P() {
  return <Page title="Hosts & teams">…</Page>;
}
