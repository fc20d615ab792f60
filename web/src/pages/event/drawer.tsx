// The panel beside a list in which an event is read; where it is open is in the address.

import { Link } from "wouter";
import type { LiveEvent } from "../../api/live";
import { Dialog } from "../../kit/dialog";
import { EventView } from "./view";

export function EventDrawer({ id, known, onClose, onStep }: { id: string; known?: LiveEvent; onClose: () => void; onStep?: (by: 1 | -1) => void }) {
  return (
    <Dialog
      drawer
      title="Event"
      onClose={onClose}
      foot={
        <>
          {onStep && (
            <>
              <button type="button" className="button" onClick={() => onStep(-1)}>
                Row above
              </button>
              <button type="button" className="button" onClick={() => onStep(1)}>
                Row below
              </button>
            </>
          )}
          <Link className="button" href={`/events/${encodeURIComponent(id)}`}>
            Open as a page
          </Link>
        </>
      }
    >
      <EventView key={id} id={id} known={known} />
    </Dialog>
  );
}
