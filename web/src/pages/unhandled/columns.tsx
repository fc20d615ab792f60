// The columns of the list of unhandled signatures.

import { Link } from "wouter";
import { count } from "../../kit/format";
import { Chip, Meter } from "../../kit/marks";
import type { Column } from "../../kit/table";
import { link } from "../../kit/url";
import { visible } from "../event/text";
import type { Policy, SignatureView } from "./model";
import { EventsLink } from "./panel";
import { Signature } from "./signature";

export function columnsOf(policy: Policy | undefined): Column<SignatureView>[] {
  const over = (row: SignatureView) => policy !== undefined && row.count >= policy.threshold;
  return [
    { key: "count", label: "Events", width: "84px", number: true, cell: (row) => count(row.count) },
    {
      key: "share",
      label: policy ? `Of ${count(policy.threshold)}` : "Of the threshold",
      width: "150px",
      cell: (row) =>
        policy && (
          <span className="unhandled-share">
            <Meter share={row.count / policy.threshold} label={`${row.count} of ${policy.threshold} events`} />
            {over(row) && <Chip tone="warning">over</Chip>}
          </span>
        ),
    },
    { key: "signature", label: "Signature", cell: (row) => <Signature masked={row.masked} /> },
    {
      key: "hosts",
      label: "Hosts",
      width: "150px",
      cell: (row) => (
        <span title={[...row.hosts, ...(row.hosts.length === 10 ? ["(the busiest ten)"] : [])].join("\n")}>
          {row.hosts[0] !== undefined && (
            <Link href={link("/events", { hostname: row.hosts[0] })}>
              <bdi>{visible(row.hosts[0])}</bdi>
            </Link>
          )}
          {row.hosts.length > 1 && <span className="quiet"> +{row.hosts.length - 1}{row.hosts.length === 10 && "…"}</span>}
        </span>
      ),
    },
    {
      key: "act",
      label: <span className="sr">Actions</span>,
      width: "252px",
      cell: (row) => (
        <span className="row unhandled-acts">
          <Link className="button small" href={link("/rules/new", { signature: row.signature })}>
            Make a rule
          </Link>
          <Link className="button small" href={link("/rules/new", { signature: row.signature, as: "noise" })}>
            Ignore
          </Link>
          <EventsLink signature={row} policy={policy} small />
        </span>
      ),
    },
  ];
}
