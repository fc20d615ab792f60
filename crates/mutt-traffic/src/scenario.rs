//! What happens in the network: everyday chatter, and incidents whose messages belong together.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::catalogue::{self, Facts};
use crate::chance::Chance;
use crate::world::{Device, Vendor, World};
use crate::{Message, Wire};

/// An incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storm {
    /// An uplink goes down and up again; protocols and neighbours follow.
    LinkFlap,
    /// A site loses power: power supplies report, then neighbours miss it.
    Power,
    /// Somebody tries passwords on firewalls and servers.
    Auth,
    /// A change is rolled out to every switch.
    ConfigPush,
    /// Devices of a kind that no rule knows are switched on.
    NewDevice,
    /// A sender that does not keep to the format.
    BadSender,
}

impl Storm {
    /// Every incident with its name on the command line.
    pub const ALL: [(&'static str, Self); 6] = [
        ("link-flap", Self::LinkFlap),
        ("power", Self::Power),
        ("auth", Self::Auth),
        ("config-push", Self::ConfigPush),
        ("new-device", Self::NewDevice),
        ("bad-sender", Self::BadSender),
    ];

    /// The incident with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|&(known, _)| known == name)
            .map(|(_, storm)| storm)
    }
}

/// Which incidents come by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tour {
    /// None.
    Calm,
    /// Each in turn, again every five minutes: see [`Tour::SCENES`].
    Full,
}

impl Tour {
    /// When each incident of the tour begins, in seconds.
    pub const SCENES: [(u64, Storm); 6] = [
        (20, Storm::LinkFlap),
        (70, Storm::Auth),
        (90, Storm::BadSender),
        (120, Storm::NewDevice),
        (170, Storm::ConfigPush),
        (220, Storm::Power),
    ];
    const LENGTH: u64 = 300;
}

/// An endless stream of messages, in order of time.
#[derive(Debug)]
pub struct Traffic {
    world: World,
    chance: Chance,
    rate: f64,
    start: Timestamp,
    /// Seconds since the start at which everyday chatter goes on.
    clock: f64,
    tour: Tour,
    scenes_played: u64,
    /// What is to come of incidents: (microseconds since the start, order of making, message).
    pending: BinaryHeap<Reverse<(u64, u64, WireOrd)>>,
    made: u64,
    sequence: u64,
}

/// Messages are ordered by time and order of making; this only lets them travel along.
#[derive(Debug)]
struct WireOrd(Wire);

impl PartialEq for WireOrd {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for WireOrd {}
impl PartialOrd for WireOrd {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for WireOrd {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl Traffic {
    /// Traffic of `rate` everyday messages a second on average (> 0), beginning at `start`.
    pub fn new(seed: u64, rate: f64, start: Timestamp, tour: Tour) -> Self {
        Self {
            world: World::default(),
            chance: Chance::new(seed),
            rate: rate.max(0.001),
            start,
            clock: 0.0,
            tour,
            scenes_played: 0,
            pending: BinaryHeap::new(),
            made: 0,
            sequence: 0,
        }
    }

    /// One incident by itself, in order of time.
    pub fn storm(storm: Storm, seed: u64, start: Timestamp) -> Vec<Message> {
        let mut traffic = Self::new(seed, 1.0, start, Tour::Calm);
        traffic.begin(storm, 0.0);
        std::iter::from_fn(|| traffic.pop()).collect()
    }

    fn at(&self, micros: u64) -> Timestamp {
        let micros = i64::try_from(micros).expect("a run does not last 300,000 years");
        self.start + SignedDuration::from_micros(micros)
    }

    fn pop(&mut self) -> Option<Message> {
        let Reverse((micros, _, WireOrd(wire))) = self.pending.pop()?;
        Some(Message {
            at: self.at(micros),
            wire,
        })
    }

    fn push(&mut self, seconds: f64, wire: Wire) {
        self.made += 1;
        self.pending
            .push(Reverse((micros(seconds), self.made, WireOrd(wire))));
    }

    fn say(&mut self, seconds: f64, device: &Device, severity: u8, program: &str, text: &str) {
        self.sequence += 1;
        let at = self.at(micros(seconds));
        let bytes = catalogue::syslog(device, severity, program, text, at, self.sequence);
        // Servers and Juniper routers are set up for TCP, the rest for UDP.
        let wire = match device.vendor {
            Vendor::Linux | Vendor::Juniper => Wire::Tcp(bytes),
            _ => Wire::Udp(bytes),
        };
        self.push(seconds, wire);
    }

    /// A trap as a trap receiver posts it.
    fn trap(
        &mut self,
        seconds: f64,
        device: &Device,
        oid: &str,
        text: &str,
        varbinds: &[(&str, &str)],
    ) {
        let varbinds: Vec<_> = varbinds
            .iter()
            .map(|(oid, value)| json!({"oid": oid, "type": "OCTET STRING", "value": value}))
            .collect();
        let event = json!({
            "hostname": device.name,
            "source_ip": device.address,
            "source": "snmp",
            "message": text,
            "trap_oid": oid,
            "varbinds": varbinds,
            "timestamp": self.at(micros(seconds)).to_string(),
        });
        self.push(seconds, Wire::Http(event.to_string().into_bytes()));
    }

    fn chatter(&mut self) {
        let device = self.world.devices[self.chance.zipf(self.world.devices.len())].clone();
        let templates = catalogue::of(device.vendor);
        let template = templates[self
            .chance
            .weighted(templates.iter().map(|template| template.weight))];
        let facts = Facts::roll(&mut self.chance);
        let text = facts.fill(template.text);
        self.say(
            self.clock,
            &device,
            template.severity,
            template.program,
            &text,
        );
    }

    fn device(&self, name: &str) -> Device {
        self.world
            .devices
            .iter()
            .find(|device| device.name == name)
            .expect("it is in the world")
            .clone()
    }

    fn begin(&mut self, storm: Storm, at: f64) {
        let site = crate::world::SITES[self.chance.below(crate::world::SITES.len())];
        match storm {
            Storm::LinkFlap => self.link_flap(site, at),
            Storm::Power => self.power(site, at),
            Storm::Auth => self.auth(site, at),
            Storm::ConfigPush => self.config_push(at),
            Storm::NewDevice => self.new_device(site, at),
            Storm::BadSender => self.bad_sender(at),
        }
    }

    fn link_flap(&mut self, site: &str, at: f64) {
        let core = self.device(&format!("{site}-core-sw1"));
        let edge = self.device(&format!("{site}-edge-rtr1"));
        for round in 0..8 {
            let facts = Facts::roll(&mut self.chance);
            let begin = at + f64::from(round) * 1.5;
            let port = &facts.interface;
            self.trap(
                begin,
                &core,
                ".1.3.6.1.6.3.1.1.5.3",
                &format!("linkDown: {port} LINK-DOWN"),
                &[("1.3.6.1.2.1.2.2.1.2", port)],
            );
            self.say(
                begin + 0.02,
                &core,
                3,
                "%LINK-3-UPDOWN",
                &format!("Interface {port}, changed state to down"),
            );
            self.say(
                begin + 0.05,
                &core,
                5,
                "%LINEPROTO-5-UPDOWN",
                &format!("Line protocol on Interface {port}, changed state to down"),
            );
            let text = facts.fill("Process 1, Nbr {peer} on {if} from FULL to DOWN, Neighbor Down: Interface down or detached");
            self.say(begin + 0.07, &core, 5, "%OSPF-5-ADJCHG", &text);
            let text = facts.fill("bgp_hold_timeout: NOTIFICATION sent to {peer} (External AS 65010): code 4 (Hold Timer Expired Error)");
            self.say(begin + 0.6, &edge, 4, "rpd", &text);
            self.say(
                begin + 1.1,
                &core,
                3,
                "%LINK-3-UPDOWN",
                &format!("Interface {port}, changed state to up"),
            );
            self.trap(
                begin + 1.1,
                &core,
                ".1.3.6.1.6.3.1.1.5.4",
                &format!("linkUp: {port}"),
                &[("1.3.6.1.2.1.2.2.1.2", port)],
            );
        }
    }

    fn power(&mut self, site: &str, at: f64) {
        for number in 1..=8 {
            let switch = self.device(&format!("{site}-acc-sw{number}"));
            let begin = at + f64::from(number) * 0.1;
            self.say(
                begin,
                &switch,
                2,
                "%PLATFORM-2-PWR",
                "CRITICAL: power supply 1 lost input, running on battery",
            );
        }
        let others: Vec<_> = self
            .world
            .devices
            .iter()
            .filter(|device| device.site != site && device.vendor == Vendor::Juniper)
            .cloned()
            .collect();
        for device in others {
            let facts = Facts::roll(&mut self.chance);
            let text = facts.fill("RPD_OSPF_NBRDOWN: OSPF neighbor {peer} (realm ospf-v2 {if} area 0.0.0.0) state changed from Full to Down due to InActiveTimer");
            self.say(at + 4.0, &device, 4, "rpd", &text);
        }
    }

    fn auth(&mut self, site: &str, at: f64) {
        let firewall = self.device(&format!("{site}-fw1"));
        let server = self.device(&format!("{site}-srv1"));
        let facts = Facts::roll(&mut self.chance);
        for attempt in 0..60_u32 {
            let begin = at + f64::from(attempt) * 0.15;
            let port = 30000 + attempt;
            let text = format!(
                "Failed password for invalid user admin{attempt} from {} port {port} ssh2",
                facts.address
            );
            self.say(begin, &server, 4, "sshd", &text);
            let text = format!(
                "TCP access ERROR denied by ACL from {}/{port} to outside:{}/22",
                facts.address, facts.peer
            );
            self.say(begin + 0.03, &firewall, 3, "%ASA-3-710003", &text);
        }
        self.trap(
            at + 5.0,
            &firewall,
            ".1.3.6.1.6.3.1.1.5.5",
            "authenticationFailure",
            &[],
        );
    }

    fn config_push(&mut self, at: f64) {
        let switches: Vec<_> = self
            .world
            .devices
            .iter()
            .filter(|device| device.vendor == Vendor::CiscoIos)
            .cloned()
            .collect();
        for (index, switch) in switches.iter().enumerate() {
            let begin = at + index as f64 * 0.05;
            self.say(
                begin,
                switch,
                5,
                "%SYS-5-CONFIG_I",
                "Configured from console by netops on vty0 (10.9.0.9)",
            );
            self.trap(
                begin + 0.01,
                switch,
                ".1.3.6.1.4.1.9.9.41.2.0.1",
                "clogMessageGenerated: SYS CONFIG_I Configured from console by netops",
                &[("1.3.6.1.4.1.9.9.41.1.2.3.1.2", "SYS")],
            );
        }
    }

    fn new_device(&mut self, site: &str, at: f64) {
        let controller = Device {
            name: format!("{site}-wlc1"),
            address: "10.8.0.1".into(),
            vendor: Vendor::CiscoIos,
            site: "ams",
        };
        for number in 0..160_u32 {
            let text = format!(
                "AP 'AP-{:04}' (0050.{:04x}.{:04x}) rejoined on slot {}, radio reset count {number}",
                number % 40,
                number,
                number * 7,
                number % 2
            );
            self.say(
                at + f64::from(number) * 0.12,
                &controller,
                5,
                "%CAPWAP-5-APRESET",
                &text,
            );
        }
    }

    fn bad_sender(&mut self, at: f64) {
        let bodies: [&[u8]; 4] = [
            b"[{\"hostname\":\"ams-srv1\",\"message\":\"ok\"},{\"message\":\"no host here\"}]",
            b"[{\"hostname\":\"ams-srv1\",\"message\":\"ok\"},{\"hostname\":\"ams-srv1\"}]",
            b"{\"hostname\":\"ams-srv1\",\"message\":",
            b"{\"hostname\":\"ams-srv1\",\"message\":\"when?\",\"timestamp\":\"yesterday\"}",
        ];
        for round in 0..5_u32 {
            for (index, body) in bodies.iter().enumerate() {
                self.push(
                    at + f64::from(round) + index as f64 * 0.1,
                    Wire::Http(body.to_vec()),
                );
            }
            self.push(
                at + f64::from(round) + 0.5,
                Wire::Udp(b"\xff\xfe garbage \x00\x01".to_vec()),
            );
        }
    }

    fn begin_due_scenes(&mut self) {
        if self.tour == Tour::Calm {
            return;
        }
        loop {
            let scenes = Tour::SCENES.len() as u64;
            let (round, scene) = (self.scenes_played / scenes, self.scenes_played % scenes);
            let (second, storm) = Tour::SCENES[usize::try_from(scene).expect("small")];
            let due = (round * Tour::LENGTH + second) as f64;
            if self.clock < due {
                return;
            }
            self.scenes_played += 1;
            self.begin(storm, due);
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn micros(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

impl Iterator for Traffic {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(Reverse((due, _, _))) = self.pending.peek()
                && *due <= micros(self.clock)
            {
                return self.pop();
            }
            self.clock += self.chance.gap(self.rate);
            self.begin_due_scenes();
            self.chatter();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().expect("a time")
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_in_order_of_time() {
        let take = |seed| {
            Traffic::new(seed, 50.0, start(), Tour::Full)
                .take(20_000)
                .collect::<Vec<_>>()
        };
        let messages = take(7);
        assert_eq!(messages, take(7));
        assert_ne!(messages, take(8));
        assert!(messages.windows(2).all(|pair| pair[0].at <= pair[1].at));
    }

    #[test]
    fn the_rate_is_kept_on_average() {
        let last = Traffic::new(1, 100.0, start(), Tour::Calm)
            .nth(9_999)
            .expect("endless");
        let seconds = (last.at - start())
            .total(jiff::Unit::Second)
            .expect("a span");
        assert!((90.0..110.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn syslog_messages_name_their_device_and_keep_their_text() {
        for message in Traffic::new(3, 50.0, start(), Tour::Calm).take(2_000) {
            let (Wire::Udp(bytes) | Wire::Tcp(bytes)) = message.wire else {
                panic!("chatter is syslog")
            };
            let mut element = Vec::new();
            let peer = std::net::IpAddr::from([127, 0, 0, 1]);
            let origin = mutt_event::syslog::Origin::new(peer, message.at, 65536);
            mutt_event::syslog::parse_into(&bytes, &origin, &mut element);
            let view = mutt_event::json::view(&element).expect("an event");
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.contains(&*view.hostname), "{text}: {}", view.hostname);
            assert_ne!(view.hostname, "127.0.0.1", "{text}");
        }
    }

    #[test]
    fn every_storm_ends() {
        for (name, storm) in Storm::ALL {
            let messages = Traffic::storm(storm, 1, start());
            assert!(
                (10..1000).contains(&messages.len()),
                "{name}: {}",
                messages.len()
            );
            assert_eq!(Storm::from_name(name), Some(storm));
        }
    }
}
