use std::net::Ipv4Addr;

use super::*;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fn limits(rate: f64, burst: f64, action: FloodAction) -> Limits {
    Limits {
        rate,
        burst,
        action,
        sample: 3,
    }
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(0xac10_0000 + number).into()
}

/// How many of `count` events at one moment are kept.
fn kept(floods: &Floods, limits: &Limits, count: usize, now: Instant) -> usize {
    (0..count)
        .filter(|_| floods.judge(PEER, limits, now).keep)
        .count()
}

#[test]
fn a_burst_is_taken_and_then_the_rate() {
    let start = Instant::now();
    let floods = Floods::new(start);
    let limits = limits(10.0, 2.0, FloodAction::Drop);
    assert_eq!(kept(&floods, &limits, 100, start), 20);
    assert_eq!(
        kept(&floods, &limits, 100, start + Duration::from_secs(1)),
        10
    );
    assert_eq!(
        kept(&floods, &limits, 100, start + Duration::from_mins(1)),
        20
    );
    // Another sender has its own.
    assert!(floods.judge(address(1), &limits, start).keep);
}

#[test]
fn a_limit_below_one_event_a_second_takes_one() {
    let start = Instant::now();
    let floods = Floods::new(start);
    assert_eq!(
        kept(&floods, &limits(0.5, 1.0, FloodAction::Drop), 5, start),
        1
    );
}

#[test]
fn beyond_the_limit_one_in_three_is_sampled_or_all_are_marked() {
    let start = Instant::now();
    let floods = Floods::new(start);
    let sampled = limits(1.0, 1.0, FloodAction::Sample);
    let verdicts: Vec<_> = (0..7)
        .map(|_| floods.judge(PEER, &sampled, start))
        .collect();
    assert_eq!(verdicts[0], Verdict::PASS);
    assert!(verdicts[1].begins && !verdicts[1].keep);
    let kept: Vec<_> = verdicts[1..].iter().map(|verdict| verdict.keep).collect();
    assert_eq!(kept, [false, false, true, false, false, true]);
    assert!(verdicts[3].mark && !verdicts[3].begins);

    let marked = limits(1.0, 1.0, FloodAction::Mark);
    let other = address(7);
    assert_eq!(floods.judge(other, &marked, start), Verdict::PASS);
    let verdict = floods.judge(other, &marked, start);
    assert!(verdict.keep && verdict.mark && verdict.begins);
}

#[test]
fn a_flood_is_announced_once_shown_with_its_rates_and_ends_when_it_is_quiet() {
    let start = Instant::now();
    let floods = Floods::new(start);
    let limits = limits(10.0, 1.0, FloodAction::Drop);
    let mut announced = 0;
    for _ in 0..110 {
        if floods.judge(PEER, &limits, start).begins {
            announced += 1;
            assert!(
                floods
                    .begun(PEER, "sw1", Listener::SyslogUdp, &limits, start)
                    .is_some()
            );
        }
    }
    assert_eq!((announced, floods.count()), (1, 1));
    let second = start + Duration::from_secs(1);
    assert!(floods.look(second).is_empty());
    let worst = floods.worst(10);
    assert_eq!((&*worst[0].hostname, worst[0].dropped), ("sw1", 100));
    assert!(
        (worst[0].dropped_per_second - 100.0).abs() < 1.0,
        "{worst:?}"
    );

    // What it sends within its limit does not count as flooding.
    assert!(floods.judge(PEER, &limits, second).keep);
    assert!(floods.look(start + Duration::from_secs(9)).is_empty());
    let ended = floods.look(start + Duration::from_secs(11));
    assert_eq!(ended.len(), 1);
    assert!(
        matches!(
            ended[0].kind,
            NoticeKind::FloodEnds {
                kept: 1,
                dropped: 100,
                ..
            }
        ),
        "{ended:?}"
    );
    assert_eq!(floods.count(), 0);
    // The next one is announced again.
    let later = start + Duration::from_mins(1);
    assert!((0..20).any(|_| floods.judge(PEER, &limits, later).begins));
}

#[test]
fn invented_addresses_neither_grow_the_table_nor_let_a_flooding_sender_off() {
    let start = Instant::now();
    let floods = Floods::new(start);
    let limits = limits(10.0, 1.0, FloodAction::Drop);
    assert_eq!(kept(&floods, &limits, 50, start), 10);
    for number in 0..2 * u32::try_from(SETS * WAYS).unwrap() {
        floods.judge(address(number), &limits, start);
    }
    // Displaced, it would have a burst again.
    assert_eq!(kept(&floods, &limits, 50, start), 0);
    let held: usize = floods
        .shards
        .iter()
        .map(|shard| shard.lock().iter().flatten().flatten().count())
        .sum();
    assert!(held <= SETS * WAYS, "{held}");
}

#[test]
fn more_floods_than_are_shown_are_limited_all_the_same() {
    let start = Instant::now();
    let floods = Floods::new(start);
    let limits = limits(1.0, 1.0, FloodAction::Drop);
    let mut announced = 0;
    for number in 0..u32::try_from(SHOWN).unwrap() + 50 {
        let peer = address(number);
        assert!(floods.judge(peer, &limits, start).keep);
        let verdict = floods.judge(peer, &limits, start);
        assert!(verdict.begins && !verdict.keep);
        announced += usize::from(
            floods
                .begun(peer, "x", Listener::SyslogUdp, &limits, start)
                .is_some(),
        );
    }
    assert_eq!((announced, floods.count()), (SHOWN, SHOWN));
}

#[test]
fn own_limits_go_before_everybodys() {
    let own = Sender {
        limits: OwnLimits {
            max_rate: Some(5),
            action: Some(FloodAction::Mark),
            ..OwnLimits::default()
        },
        ..Sender::default()
    };
    let limits = limits_of(&limits(100.0, 4.0, FloodAction::Drop), &own).unwrap();
    assert!((limits.rate, limits.burst, limits.action) == (5.0, 4.0, FloodAction::Mark));
    assert_eq!(limits_of(&Limits::NONE, &Sender::default()), None);
    let exempt = Sender {
        limits: OwnLimits {
            max_rate: Some(0),
            ..OwnLimits::default()
        },
        ..Sender::default()
    };
    assert_eq!(limits_of(&limits, &exempt), None);
}
