// One event: what became of it, and what it holds.

import { CopyButton } from "../kit/code";
import { Page } from "../kit/page";
import { EventView } from "./event/view";

export default function EventPage({ params }: { params: Record<string, string | undefined> }) {
  const id = params.id ?? "";
  return (
    <Page title="Event" actions={<CopyButton text={`${location.origin}/events/${encodeURIComponent(id)}`} label="Copy link" />}>
      <EventView key={id} id={id} />
    </Page>
  );
}
