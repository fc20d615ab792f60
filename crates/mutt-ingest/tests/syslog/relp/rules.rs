//! The rules of the protocol.

use mutt_ingest::{Listener, RejectReason};

use super::client::{Client, OFFERS, frame};
use crate::support::*;

#[tokio::test]
async fn a_session_as_rsyslog_holds_it() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.relp(|_| {});
    let mut client = Client::connect(addr).await;
    client.send("open", OFFERS).await;
    let (_, _, offers) = client.hear().await;
    for line in ["200 OK", "relp_version=0", "commands=syslog"] {
        assert!(offers.lines().any(|found| found == line), "{offers}");
    }
    client
        .messages(3, |number| format!("number {number}"))
        .await;
    client.acknowledged(2, 3).await;
    assert_eq!(bed.messages(3).await, ["number 0", "number 1", "number 2"]);
    client.send("close", "").await;
    assert_eq!(
        client.until_the_end().await,
        ["5 rsp 200 OK", "0 serverclose"]
    );
    bed.stop(listener).await;
    assert_eq!(bed.received(Listener::Relp), 3);
    assert_eq!(bed.accepted(Listener::Relp), 3);
}

#[tokio::test]
async fn a_stream_may_be_split_at_every_byte() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.relp(|_| {});
    let session = frame(1, "open", OFFERS)
        + &frame(2, "syslog", "<13>first \u{e4}")
        + &frame(3, "syslog", "<13>second\nof two lines")
        + &frame(4, "close", "");
    for split in 1..session.len() {
        let mut client = Client::connect(addr).await;
        let (head, tail) = session.as_bytes().split_at(split);
        client.raw(head).await;
        // Lets the server read the first part alone most of the time.
        tokio::task::yield_now().await;
        client.raw(tail).await;
        let said = client.until_the_end().await;
        let last = [
            "2 rsp 200 OK",
            "3 rsp 200 OK",
            "4 rsp 200 OK",
            "0 serverclose",
        ];
        assert_eq!(said[1..], last, "split at {split}");
        let messages = bed.messages(2).await;
        assert_eq!(messages[0], "first \u{e4}");
        assert!(messages[1].contains("of two lines"), "{messages:?}");
    }
    bed.stop(listener).await;
}

#[tokio::test]
async fn who_breaks_the_rules_is_told_and_the_session_ends() {
    let bed = Bed::new();
    let (addr, listener) = bed.relp(|_| {});
    let open = frame(1, "open", OFFERS);
    let good = frame(2, "syslog", "<13>good");
    let cases: [(&str, String, &[&str], RejectReason); 13] = [
        (
            "no open",
            frame(1, "syslog", "<13>x"),
            &["1 rsp 500 the session is not open"],
            RejectReason::Request,
        ),
        (
            "no RELP",
            "<13>a line of syslog\n".to_owned(),
            &[],
            RejectReason::Framing,
        ),
        (
            "a wrong length",
            format!("{open}{good}3 syslog 3 <13>too long\n"),
            &["3 rsp 500 no line feed after the data: its length is wrong"],
            RejectReason::Framing,
        ),
        (
            "no length",
            format!("{open}{good}3 syslog <13>x\n"),
            &["3 rsp 500 the length of the data is not a number"],
            RejectReason::Framing,
        ),
        (
            "no command",
            format!("{open}{good}3 3 abc\n"),
            &["3 rsp 500 the command is not 1 to 32 letters"],
            RejectReason::Framing,
        ),
        (
            "too long",
            format!("{open}{good}3 syslog 999999999 <13>x"),
            &["3 rsp 500 the data is longer than 16 MiB"],
            RejectReason::TooLarge,
        ),
        // Refusing what is not due would make the sender forget a message that is still to come.
        (
            "text that looks like a frame's beginning",
            format!("{open}{good}57 syslog x\n"),
            &[],
            RejectReason::Framing,
        ),
        (
            "a number left out",
            format!("{open}{good}{}", frame(4, "syslog", "<13>x")),
            &[],
            RejectReason::Framing,
        ),
        (
            "a number twice",
            format!("{open}{good}{good}"),
            &[],
            RejectReason::Framing,
        ),
        (
            "a message as a hint",
            format!("{open}{good}{}", frame(0, "syslog", "<13>x")),
            &[],
            RejectReason::Framing,
        ),
        (
            "no number",
            format!("{open}{good}\n"),
            &[],
            RejectReason::Framing,
        ),
        (
            "no version",
            frame(1, "open", "relp_version=one\ncommands=syslog"),
            &["1 rsp 500 relp_version is not a number"],
            RejectReason::Request,
        ),
        (
            "nothing to say",
            frame(1, "open", "relp_version=0\ncommands=eventlog"),
            &["1 rsp 500 the only command here is syslog"],
            RejectReason::Request,
        ),
    ];
    let mut good_ones = 0;
    for (what, bytes, refused, reason) in cases {
        let before = bed.rejected(Listener::Relp, reason);
        let mut client = Client::connect(addr).await;
        client.raw(&bytes).await;
        // What follows is of no interest, whatever it is.
        client.raw(frame(4, "syslog", "<13>never")).await;
        let said = client.until_the_end().await;
        let mut expected: Vec<&str> = Vec::new();
        if bytes.contains("good") {
            assert!(said[0].starts_with("1 rsp 200 OK"), "{what}: {said:?}");
            expected.push("2 rsp 200 OK");
            good_ones += 1;
        }
        expected.extend(refused);
        expected.push("0 serverclose");
        let rest = &said[said.len() - expected.len()..];
        assert_eq!(rest, expected, "{what}: {said:?}");
        assert_eq!(bed.rejected(Listener::Relp, reason), before + 1, "{what}");
    }
    bed.stop(listener).await;
    assert_eq!(bed.depth().await, good_ones);
    assert_eq!(bed.received(Listener::Relp), 13 + good_ones);
}

#[tokio::test]
async fn what_is_only_unknown_does_not_end_the_session() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.relp(|_| {});
    let mut client = Client::open(addr).await;
    client.send("eventlog", "whatever it may be").await;
    // librelp may open a session twice; hints need not be understood.
    client.send("open", "relp_version=1\nsomething_new=5").await;
    client.raw(frame(0, "hint", "?")).await;
    client.messages(1, |_| "still here".to_owned()).await;
    client.send("close", "").await;
    let said = client.until_the_end().await;
    assert_eq!(said[0], "2 rsp 500 no such command here");
    assert!(
        said[1].starts_with("3 rsp 200 OK\nrelp_version=1\n"),
        "{said:?}"
    );
    assert_eq!(said[2..], ["4 rsp 200 OK", "5 rsp 200 OK", "0 serverclose"]);
    assert_eq!(bed.messages(1).await, ["still here"]);
    bed.stop(listener).await;
    assert_eq!(bed.rejected(Listener::Relp, RejectReason::Request), 1);
}

#[tokio::test]
async fn numbers_go_round_after_the_last() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.relp(|_| {});
    let mut client = Client::connect(addr).await;
    client.next = 999_999_997;
    client.send("open", OFFERS).await;
    client.hear().await;
    client.messages(4, |number| number.to_string()).await;
    let mut numbers = Vec::new();
    for _ in 0..4 {
        numbers.push(client.hear().await.0);
    }
    assert_eq!(numbers, [999_999_998, 999_999_999, 1, 2]);
    assert_eq!(bed.messages(4).await, ["0", "1", "2", "3"]);
    bed.stop(listener).await;
}

#[tokio::test]
async fn a_giant_message_is_cut_marked_and_acknowledged() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.relp(|options| options.max_line = 1_000);
    let mut client = Client::open(addr).await;
    let giant = format!("<13>{}", "x".repeat(3 << 20));
    client.send("syslog", &giant).await;
    client.send("syslog", "").await;
    client.messages(1, |_| "good".to_owned()).await;
    client.acknowledged(2, 3).await;
    let events = bed.events(3).await;
    assert!(
        has_note(&events[0], "truncated"),
        "{:.300}",
        events[0].to_string()
    );
    assert!(events[0]["message"].as_str().unwrap().len() <= 1_000);
    assert!(has_note(&events[1], "empty"), "{}", events[1]);
    assert_eq!(events[2]["message"], "good");
    bed.stop(listener).await;
}

#[tokio::test]
async fn garbage_harms_nobody() {
    let bed = Bed::new();
    let (addr, listener) = bed.relp(|options| options.max_line = 2_000);
    // A fixed sequence of arbitrary bytes (xorshift), so that a failure repeats.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut garbage = |length: usize| -> Vec<u8> {
        let byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        std::iter::repeat_with(byte).take(length).collect()
    };
    for round in 1..50 {
        let mut client = Client::open(addr).await;
        client.messages(1, |_| format!("round {round}")).await;
        client.acknowledged(2, 1).await;
        // The server may end the connection before it has all of it.
        let _ =
            tokio::io::AsyncWriteExt::write_all(&mut client.stream, &garbage(200 * round)).await;
        assert_eq!(client.until_the_end().await, ["0 serverclose"]);
    }
    bed.stop(listener).await;
    assert_eq!(bed.depth().await, 49);
    assert_eq!(bed.accepted(Listener::Relp), 49);
    assert_eq!(bed.rejected(Listener::Relp, RejectReason::Framing), 49);
}
