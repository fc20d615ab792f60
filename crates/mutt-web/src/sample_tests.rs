use super::*;
use crate::estimate::{Exactness, Figure, Hits, Stratum, figure};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_267_200 + second).unwrap()
}

fn event(message: &str) -> LiveEvent {
    LiveEvent {
        event_id: EventId::from_bytes([7; 16]),
        received_at: at(0),
        hostname: "sw1".to_owned(),
        message: message.to_owned(),
        cut: false,
        trap_oid: None,
        severity: Some(3),
        source: None,
        environment: "production".to_owned(),
        rule_id: None,
        handling: "Unhandled".to_owned(),
        team: None,
    }
}

fn batch(messages: impl IntoIterator<Item = &'static str>, total: u64, every: u64) -> LiveBatch {
    LiveBatch {
        events: messages.into_iter().map(event).collect(),
        total,
        every,
    }
}

/// The number of events with exactly this message.
fn count(snapshot: &Snapshot, message: &str) -> Figure {
    let (strata, hits): (Vec<_>, Vec<_>) = snapshot
        .spans
        .iter()
        .map(|span| {
            let (mut stratum, mut hits) = (Stratum::new(span.total), Hits::default());
            for event in &span.events {
                let weight = span.weight(event);
                stratum.add(weight);
                if &*event.message == message {
                    hits.add(weight);
                }
            }
            (stratum, hits)
        })
        .unzip();
    figure(&strata, &hits)
}

#[test]
fn a_quiet_hour_is_kept_whole() {
    let sample = Sample::new(at(0));
    for minute in 0..60 {
        sample.add(&batch(["link down", "link up"], 2, 1), at(minute * 60));
    }
    let snapshot = sample.snapshot(at(59 * 60 + 59));
    assert_eq!(snapshot.spans.len(), 60);
    assert_eq!(count(&snapshot, "link up"), Figure::exact(60));
    assert_eq!(snapshot.since, at(0));

    // A minute later the first is forgotten, half an hour later the first half.
    let snapshot = sample.snapshot(at(60 * 60));
    assert_eq!(count(&snapshot, "link up"), Figure::exact(59));
    assert_eq!(snapshot.since, at(60));
    let snapshot = sample.snapshot(at(90 * 60));
    assert_eq!(count(&snapshot, "link up"), Figure::exact(29));
    assert!(sample.snapshot(at(500 * 60)).spans.is_empty());
}

#[test]
fn a_minute_takes_so_much_memory_and_no_more() {
    let sample = Sample::new(at(0));
    let long: &'static str = Box::leak("x".repeat(3_000).into_boxed_str());
    for _ in 0..30 {
        sample.add(&batch(std::iter::repeat_n("short", 100), 100, 1), at(1));
    }
    for _ in 0..60 {
        sample.add(&batch(std::iter::repeat_n(long, 10), 10, 1), at(61));
    }
    let snapshot = sample.snapshot(at(119));
    let [many, large] = &snapshot.spans[..] else {
        panic!("two minutes are kept");
    };
    assert_eq!((many.total, many.events.len()), (3_000, MINUTE_EVENTS));
    assert_eq!(large.total, 600);
    let bytes: usize = large.events.iter().map(|event| event.bytes()).sum();
    assert!(
        bytes <= MINUTE_BYTES && bytes > MINUTE_BYTES - 4_000,
        "{bytes}"
    );
}

#[test]
fn a_clock_that_goes_back_loses_nothing() {
    let sample = Sample::new(at(600));
    sample.add(&batch(["a"], 1, 1), at(600));
    sample.add(&batch(["b"], 1, 1), at(0));
    let snapshot = sample.snapshot(at(0));
    assert_eq!(count(&snapshot, "b"), Figure::exact(1));
    assert_eq!(snapshot.spans.len(), 1);
}

#[test]
fn what_was_missed_is_said_for_an_hour() {
    let sample = Sample::new(at(0));
    sample.missed(at(0));
    assert!(sample.snapshot(at(59 * 60)).missed);
    assert!(!sample.snapshot(at(60 * 60)).missed);
}

#[tokio::test]
async fn following_ends_with_the_engine() {
    let sample = Arc::new(Sample::new(Timestamp::now()));
    let (shown, receiver) = tokio::sync::broadcast::channel(8);
    sample.follow(receiver);
    shown.send(Arc::new(batch(["a"], 1, 1))).unwrap();
    drop(shown);
    // The task holds the other half of the sample.
    while Arc::strong_count(&sample) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        count(&sample.snapshot(Timestamp::now()), "a"),
        Figure::exact(1)
    );
}

/// Chance that is the same every time, and quick without optimization.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 16) % sides
    }

    fn share(&mut self) -> f64 {
        self.below(1 << 40) as f64 / (1_u64 << 40) as f64
    }
}

/// Minutes with a storm in two of them, as alerters show it: claims of which one event in so many is
/// shown, and a reservoir that thins them again. The intervals must hold the truth as often as they
/// promise, for what is frequent in the storm, frequent outside, or rare.
#[test]
fn the_interval_holds_the_truth_in_a_storm() {
    const RUNS: u64 = 100;
    let messages = ["storm", "common", "uncommon", "rare", "other"];
    let mut held = [0; 4];
    let mut off = [0.0_f64; 4];
    for seed in 0..RUNS {
        let mut dice = Dice(seed << 32);
        let sample = Sample::new(at(0));
        let mut truth = [0_u64; 5];
        for minute in 0..12 {
            let storm = (6..8).contains(&minute);
            // 2,400 events a minute, or 40,000; both are more than is kept.
            let (claims, size, every) = if storm { (40, 1_000, 12) } else { (30, 80, 1) };
            for _ in 0..claims {
                let mut shown = Vec::new();
                let mut pick = 0;
                for place in 0..size {
                    if place % every == 0 {
                        pick = place + dice.below(every);
                    }
                    let what = match dice.below(10_000) {
                        0..9_300 if storm => 0,
                        0..3_000 => 1,
                        3_000..3_200 => 2,
                        3_200..3_230 => 3,
                        _ => 4,
                    };
                    truth[what] += 1;
                    if place == pick {
                        shown.push(messages[what]);
                    }
                }
                let batch = batch(shown, size, every);
                sample.add_with(&batch, at(minute * 60), || dice.share());
            }
        }
        let snapshot = sample.snapshot(at(3_599));
        for index in 0..4 {
            let figure = count(&snapshot, messages[index]);
            let truth = truth[index];
            held[index] += u64::from(figure.low <= truth && truth <= figure.high.unwrap());
            off[index] += figure.value as f64 / truth as f64 - 1.0;
            assert_eq!(figure.exactness, Exactness::Estimate, "{figure:?}");
        }
    }
    for index in 0..4 {
        let message = messages[index];
        assert!(
            held[index] * 100 >= RUNS * 93,
            "{message} was held {held:?} times"
        );
        // Unbiased: on average over all runs it is right.
        let off = off[index] / RUNS as f64;
        assert!(off.abs() < 0.01, "{message} is {off} off on average");
    }
}
