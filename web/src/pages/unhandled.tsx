// What no rule knows: the most frequent messages, without what varies, and the way to a rule.

import { useMemo } from "react";
import { Link, useLocation } from "wouter";
import { ApiCall } from "../kit/code";
import { count, span } from "../kit/format";
import { Empty, Notice, Page } from "../kit/page";
import { Answer } from "../kit/query";
import { Table } from "../kit/table";
import { link, useUrlState } from "../kit/url";
import "../styles/rules.css";
import "../styles/unhandled.css";
import { useNarrow } from "./tail/list";
import { columnsOf } from "./unhandled/columns";
import { LIMIT, usePolicy, useSignatures } from "./unhandled/model";
import { Panel } from "./unhandled/panel";

export default function Unhandled() {
  const signatures = useSignatures();
  const policy = usePolicy().data;
  const [url, setUrl] = useUrlState({ text: "", over: "", signature: "" });
  const [, navigate] = useLocation();
  const all = signatures.data;
  const shown = useMemo(() => {
    const needle = url.text.toLowerCase();
    return (all ?? []).filter(
      (one) =>
        (!needle || one.masked.toLowerCase().includes(needle) || one.sample.toLowerCase().includes(needle) || one.hosts.some((host) => host.toLowerCase().includes(needle))) &&
        (!url.over || (policy && one.count >= policy.threshold)),
    );
  }, [all, url, policy]);
  const narrow = useNarrow();
  // On a phone the count says enough: what the messages say comes next to it.
  const columns = useMemo(() => columnsOf(policy).filter((column) => !narrow || column.key !== "share"), [policy, narrow]);
  return (
    <Page
      title="Unhandled"
      about={
        <>
          Events that no rule matched, the same but for their <span className="masked">masked</span> parts.{" "}
          {policy && (
            <>
              {count(policy.threshold)} of one host within {span(policy.window)} make one meta-alert, so that nothing unknown stays unseen (
              <Link href={link("/config", { q: "unhandled" })}>change</Link>).
            </>
          )}
        </>
      }
    >
      <form className="filters" role="search" aria-label="Filter the signatures" onSubmit={(event) => event.preventDefault()}>
        <label>
          Text or host
          <input type="search" size={28} value={url.text} onChange={(event) => setUrl({ text: event.target.value })} />
        </label>
        <span className="check">
          <input id="over" type="checkbox" checked={url.over === "yes"} onChange={(event) => setUrl({ over: event.target.checked ? "yes" : "" })} />
          <label htmlFor="over">Over the threshold only</label>
        </span>
      </form>
      <Answer query={signatures}>
        {(all) =>
          all.length === 0 ? (
            <Empty title="Every event is known to a rule" good>
              <p>Nothing came in {policy ? `within ${span(policy.window)} ` : ""}that no rule matched.</p>
              <p>
                <Link href="/tail">Watch what comes in</Link>
              </p>
            </Empty>
          ) : (
            <div className="unhandled-list">
              {all.length === LIMIT && <Notice tone="info">The {count(LIMIT)} most frequent signatures are shown; there may be more.</Notice>}
              <Table
                label="Unhandled signatures, the most frequent first"
                columns={columns}
                rows={shown}
                total={all.length}
                rowKey={(one) => one.signature}
                onOpen={(one) => setUrl({ signature: one.signature }, { push: true })}
                rowKeys={{ n: (one) => navigate(link("/rules/new", { signature: one.signature })) }}
                rowHeight={34}
                foot={
                  <span className="keys">
                    <kbd>Enter</kbd> open <kbd>n</kbd> make a rule
                  </span>
                }
                empty={
                  <Empty title="No signature passes these filters">
                    <p>
                      <button type="button" className="button" onClick={() => setUrl({ text: "", over: "" })}>
                        Show all {count(all.length)}
                      </button>
                    </p>
                  </Empty>
                }
              />
            </div>
          )
        }
      </Answer>
      {url.signature && <Panel id={url.signature} listed={all?.find((one) => one.signature === url.signature)} policy={policy} onClose={() => setUrl({ signature: "" })} />}
      <ApiCall path="/api/v2/unhandled" />
    </Page>
  );
}
