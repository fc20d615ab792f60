use super::*;
use crate::status::PodProblem;

/// Everything is well.
struct World {
    stores: Vec<Store>,
    queues: Vec<Queue>,
    circuit: Circuit,
    shed: Shed,
    roles: Vec<Role>,
    pods: Vec<Pod>,
    slo: Vec<SloLine>,
    unhandled: OverThreshold,
    floods: Vec<Flood>,
    losing: Vec<(&'static str, f64)>,
}

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn well() -> World {
    let queue = |name: &str| Queue {
        name: name.to_owned(),
        depth: 0,
        claimed: 0,
        oldest: None,
        oldest_age_seconds: None,
    };
    let names = ["mutt:ingest_queue", "mutt:alert_queue", "mutt:alert_retry"];
    World {
        stores: vec![Store {
            name: "redis",
            up: true,
            since: ago(60),
            latency_seconds: 0.001,
            error: None,
        }],
        queues: names
            .into_iter()
            .chain(Dlq::ALL.map(Dlq::key))
            .map(queue)
            .collect(),
        circuit: Circuit {
            state: CircuitState::Closed,
            failures: 0,
            opened_at: None,
            why: Some("HTTP 503".to_owned()),
            next_probe_at: None,
            sink_configured: Some(true),
            last_delivery_at: None,
        },
        shed: Shed {
            mode: "defer".to_owned(),
            threshold: 2_000,
            warn_threshold: 1_000,
            ingest_limit: 1_000_000,
        },
        roles: vec![Role {
            role: "alerter",
            pods: 1,
        }],
        pods: vec![Pod {
            pod: "a".to_owned(),
            roles: vec!["alerter".to_owned()],
            version: "3.0.0".to_owned(),
            pid: 1,
            started_at: ago(60),
            seen_at: now(),
            heartbeat_age_seconds: 0.0,
            clock_offset_seconds: 0.0,
            held: 0,
            cpu_percent: 0.0,
            memory_bytes: 0,
            per_second: 0.0,
            spooled_events: 0,
            problems: Vec::new(),
            listeners: Vec::new(),
        }],
        slo: vec![SloLine {
            component: "forwarder",
            target: 0.99,
            state: "ok",
            availability: Some(1.0),
            burn_1h: Some(0.0),
            burn_6h: Some(0.0),
            burn_24h: Some(0.0),
            alert: None,
        }],
        unhandled: OverThreshold::default(),
        floods: Vec::new(),
        losing: Vec::new(),
    }
}

impl World {
    fn attention(&self) -> Vec<Attention> {
        attention(&Known {
            now: now(),
            stores: &self.stores,
            queues: &self.queues,
            circuit: &self.circuit,
            shed: &self.shed,
            roles: &self.roles,
            pods: &self.pods,
            slo: &self.slo,
            unhandled: &self.unhandled,
            floods: &self.floods,
            losing: self.losing.clone(),
        })
    }

    /// The only thing that needs attention.
    #[track_caller]
    fn one(&self) -> Attention {
        let mut all = self.attention();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn wait(&mut self, name: &str, depth: u64, age: i64) {
        let queue = self.queues.iter_mut().find(|queue| queue.name == name);
        let queue = queue.unwrap();
        queue.depth = depth;
        queue.oldest = Some(ago(age));
        queue.oldest_age_seconds = Some(age as f64);
    }
}

#[test]
fn what_is_well_needs_nobody() {
    assert_eq!(well().attention(), []);
}

#[test]
fn an_open_circuit_says_why_and_when_it_is_tried() {
    let mut world = well();
    world.circuit.state = CircuitState::Open;
    world.circuit.failures = 12;
    world.circuit.opened_at = Some(ago(108));
    world.circuit.next_probe_at = Some(ago(-192));
    let item = world.one();
    assert_eq!(
        (item.code, item.severity),
        ("circuit_open", Severity::Critical)
    );
    assert_eq!(item.title, "Sink circuit open (12 failures)");
    assert_eq!(item.detail, "HTTP 503. The next probe goes out in 3 min.");
    assert_eq!((item.since, item.page), (Some(ago(108)), "/delivery"));
    world.circuit.next_probe_at = Some(ago(1));
    assert!(world.one().detail.contains("A probe is due"));
    world.circuit.state = CircuitState::HalfOpen;
    assert_eq!(world.one().code, "circuit_half_open");
}

#[test]
fn no_sink_is_critical_once_alerts_wait() {
    let mut world = well();
    world.circuit.sink_configured = Some(false);
    assert_eq!(
        (world.one().code, world.one().severity),
        ("no_sink", Severity::Warning)
    );
    world.wait("mutt:alert_queue", 7, 1);
    let item = world.one();
    assert_eq!(item.severity, Severity::Critical);
    assert!(item.detail.contains("7 queued"), "{item:?}");
}

#[test]
fn each_trouble_of_a_process_is_named() {
    let mut world = well();
    world.roles[0].pods = 0;
    assert_eq!(
        (world.one().code, world.one().severity),
        ("role_missing", Severity::Critical)
    );

    let mut world = well();
    let mut newer = world.pods[0].clone();
    newer.version = "3.1.0".to_owned();
    world.pods.push(newer);
    let item = world.one();
    assert_eq!(
        (item.code, &*item.detail),
        ("version_skew", "3.0.0, 3.1.0.")
    );

    for (offset, title) in [
        (30.0, "The clock of a is 30 s ahead"),
        (-6.0, "The clock of a is 6 s behind"),
    ] {
        let mut world = well();
        world.pods[0].clock_offset_seconds = offset;
        let item = world.one();
        assert_eq!((item.code, &*item.title), ("clock_drift", title));
    }

    let mut world = well();
    world.pods[0].spooled_events = 9;
    assert_eq!(world.one().code, "spooling");

    let mut world = well();
    for code in ["rule_skipped", "pod_problem", "of a later version"] {
        world.pods[0].problems.push(PodProblem {
            code: code.to_owned(),
            text: code.to_owned(),
        });
    }
    // Every alerter skips the same rule: it is said once.
    world.pods.push(world.pods[0].clone());
    let codes: Vec<_> = world.attention().iter().map(|item| item.code).collect();
    assert_eq!(codes, ["rule_skipped", "pod_problem", "pod_problem"]);
}

#[test]
fn queues_that_stand_still_or_fill_up_are_seen() {
    for (name, age, severity) in [
        ("mutt:ingest_queue", 59, None),
        ("mutt:ingest_queue", 60, Some(Severity::Warning)),
        ("mutt:ingest_queue", 300, Some(Severity::Critical)),
        ("mutt:alert_queue", 299, None),
        ("mutt:alert_queue", 300, Some(Severity::Warning)),
        ("mutt:alert_queue", 900, Some(Severity::Critical)),
    ] {
        let mut world = well();
        world.wait(name, 5, age);
        let found = world.attention();
        assert!(
            found.iter().all(|item| item.code == "queue_old"),
            "{found:?}"
        );
        assert_eq!(
            found.first().map(|item| item.severity),
            severity,
            "{name} {age}"
        );
    }
    let mut world = well();
    world.wait("mutt:ingest_queue", 800_000, 1);
    assert_eq!(
        (world.one().code, world.one().severity),
        ("queue_full", Severity::Warning)
    );
    world.wait("mutt:ingest_queue", 1_000_000, 1);
    assert_eq!(world.one().severity, Severity::Critical);
    let mut world = well();
    world.wait("mutt:alert_queue", 2_000, 1);
    assert_eq!(world.one().code, "shedding");
    let mut world = well();
    world.losing = vec![("kernel", 2.5)];
    assert_eq!(
        (world.one().code, &*world.one().detail),
        ("dropping", "kernel 2.5/s.")
    );
}

#[test]
fn senders_that_flood_are_named() {
    let flood = |host: &str, kept: f64, dropped: f64, seconds: i64| Flood {
        pod: "a".to_owned(),
        address: "10.0.0.9".to_owned(),
        hostname: host.to_owned(),
        listener: "syslog_udp".to_owned(),
        since: ago(seconds),
        kept_per_second: kept,
        dropped_per_second: dropped,
        kept: 0,
        dropped: 0,
    };
    let mut world = well();
    world.floods = vec![flood("sw1", 1_000.0, 20_000.4, 5)];
    let item = world.one();
    assert_eq!(
        (item.code, item.severity),
        ("sender_floods", Severity::Warning)
    );
    assert_eq!(item.title, "sw1 sends more than its limit");
    assert_eq!(item.detail, "sw1 (10.0.0.9): 1000/s kept, 20000/s dropped.");
    world.floods.push(flood("sw2", 1.0, 0.0, 60));
    assert_eq!(world.one().title, "2 senders send more than their limits");
    assert_eq!(world.one().since, Some(ago(60)));
}

#[test]
fn dead_letters_and_unhandled_events_are_counted() {
    let mut world = well();
    world.wait("mutt:dlq:moog", 3, 840);
    let item = world.one();
    assert_eq!((item.code, item.page), ("dlq_not_empty", "/dlq?queue=moog"));
    assert_eq!(item.detail, "The oldest failed 14 min ago.");
    let mut world = well();
    world.wait("mutt:dlq:dead", 1, 1);
    assert_eq!(world.one().code, "poison");
    let mut world = well();
    world.unhandled = OverThreshold {
        signatures: 7,
        threshold: 100,
        top: Some((1_204, "link <*> down".to_owned())),
    };
    let item = world.one();
    assert_eq!(
        (item.code, item.severity),
        ("unhandled_over_threshold", Severity::Info)
    );
    assert_eq!(item.title, "7 unhandled signatures over 100");
}

#[test]
fn the_most_urgent_comes_first() {
    let mut world = well();
    world.unhandled.signatures = 1;
    world.wait("mutt:dlq:moog", 3, 840);
    world.slo[0].alert = Some("page");
    world.stores[0].up = false;
    world.stores[0].error = Some("connection refused".to_owned());
    let codes: Vec<_> = world.attention().iter().map(|item| item.code).collect();
    let expected = [
        "store_away",
        "slo_burning",
        "dlq_not_empty",
        "unhandled_over_threshold",
    ];
    assert_eq!(codes, expected);
    world.slo[0].alert = Some("ticket");
    let burning = world
        .attention()
        .into_iter()
        .find(|item| item.code == "slo_burning");
    assert_eq!(burning.unwrap().severity, Severity::Warning);
}
