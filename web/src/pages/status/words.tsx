// The words that these pages use, for somebody who is new to them.

const WORDS: [string, string][] = [
  ["Event", "One message of a device: a syslog line, an SNMP trap or an HTTP post."],
  ["Rule", "Says what an event means and what follows: page, ticket, log or ignore. The first that matches, by priority, decides."],
  ["Unhandled", "No rule matched. A host that sends many such events makes an alert by itself, so that nothing stays unseen."],
  ["Alert", "What a rule makes of an event and MUTT delivers to the sink."],
  ["Queue", "Events and alerts wait on disk. What MUTT has accepted is there even after a crash or a power cut."],
  ["Oldest", "How long the first in a queue has waited. It tells more than the depth: a long queue that moves is well."],
  ["Sink", "The system that alerts are delivered to: Moogsoft."],
  ["Circuit", "Guards the sink. Closed: alerts are sent. Open: it failed several times in a row, so MUTT only probes it now and then. Probing: one attempt is under way."],
  ["Shed", "What MUTT does when too many alerts wait: “defer” stops deciding until there are fewer, “dlq” moves waiting events to the dead letters."],
  ["Dropped", "Messages that were not taken though their senders did nothing wrong. None is dropped silently: each has a counter and a reason."],
  ["Refused", "Messages that were sent wrongly: no JSON, a wrong key, a missing field. Their senders are told why."],
  ["Spooled", "Accepted while the store was away; an ingestor keeps them on its own disk and hands them on when it is back."],
  ["Dead letters", "What could not be handled or delivered, kept with the reason. They can be looked at, replayed or discarded."],
  ["Pod", "One process of MUTT. It may have one role or all of them."],
  ["SLO", "Service level objective: the share of events that must be taken and of alerts that must be delivered."],
  ["Burn", "How fast the allowed failures are being used up. 1 is just within the objective; 2 is twice too fast."],
];

export function Words() {
  return (
    <details className="words">
      <summary>What the words mean</summary>
      <dl className="facts">
        {WORDS.map(([word, meaning]) => (
          <div key={word} className="word">
            <dt>{word}</dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
