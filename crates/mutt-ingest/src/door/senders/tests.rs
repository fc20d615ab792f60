use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const FILE: &str = r#"
[[sender]]
network = "10.0.0.0/8"
timezone = "Europe/Berlin"
tags = ["site"]

[[sender]]
network = "10.1.0.0/16"
tags = ["dc1", "core"]
max_rate = 100
flood = "mark"

[[sender]]
network = "10.1.2.3"
name = "fw1"
relay = false

[[sender]]
network = "2001:db8::/32"
relay = true
burst = 3
sample = 7
"#;

#[test]
fn the_longest_prefix_wins_and_what_it_leaves_open_comes_from_around() {
    let senders = Senders::parse(FILE).unwrap();
    assert_eq!(senders.len(), 4);
    let firewall = senders.of(address("10.1.2.3"));
    assert_eq!(firewall.name.as_deref(), Some("fw1"));
    assert_eq!(firewall.zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!(firewall.tags.to_vec(), ["dc1".into(), "core".into()]);
    assert_eq!(firewall.limits.max_rate, Some(100));
    assert_eq!(firewall.limits.action, Some(FloodAction::Mark));
    assert!(!firewall.is_believed());

    for beside in ["10.1.2.2", "10.1.2.4", "10.1.255.255"] {
        let sender = senders.of(address(beside));
        assert_eq!((sender.tags.len(), &sender.name), (2, &None), "{beside}");
        assert!(sender.is_believed());
    }
    assert_eq!(
        senders.of(address("10.2.0.0")).tags.to_vec(),
        ["site".into()]
    );
    for outside in [
        "9.255.255.255",
        "11.0.0.0",
        "0.0.0.0",
        "255.255.255.255",
        "::",
        "2001:db9::",
    ] {
        assert_eq!(
            senders.of(address(outside)),
            &Sender::default(),
            "{outside}"
        );
    }
    let six = senders.of(address("2001:db8:ffff::1"));
    assert_eq!(
        (six.relay, six.limits.burst, six.limits.sample),
        (Some(true), Some(3), Some(7))
    );
    // As a socket of both families shows an IPv4 sender.
    assert_eq!(
        senders.of(address("::ffff:10.1.2.3")).name.as_deref(),
        Some("fw1")
    );
}

#[test]
fn an_empty_file_knows_nobody() {
    let senders = Senders::parse("# nobody yet\n").unwrap();
    assert!(senders.is_empty());
    assert_eq!(senders.of(address("10.0.0.1")), &Sender::default());
}

#[test]
fn mistakes_are_named_with_line_and_field() {
    for (text, expected) in [
        (
            "[[sender]]\nnetwork = \"10.1.2.3/16\"",
            "line 2: network: '10.1.2.3/16' is an address within a network; the network is 10.1.0.0/16",
        ),
        (
            "[[sender]]\nnetwork = \"fw1\"",
            "line 2: network: 'fw1' is neither an address nor a network such as 10.1.0.0/16",
        ),
        (
            "[[sender]]\nnetwork = \"10.0.0.0/33\"",
            "line 2: network: '/33' is no prefix length from 0 to 32",
        ),
        (
            "[[sender]]\nnetwork = \"::/0\"\ntimezone = \"CEST\"",
            "line 3: timezone: 'CEST' is no time zone; they are named like Europe/Berlin or UTC",
        ),
        (
            "[[sender]]\nnetwork = \"10.0.0.0/8\"\nname = \"x\"",
            "line 3: name: only a single address has a name; leave out the prefix length",
        ),
        (
            "[[sender]]\nnetwork = \"10.0.0.1\"\nname = \"a b\"",
            "line 3: name: a host name has 1 to 255 characters and no blanks",
        ),
        (
            "[[sender]]\nnetwork = \"10.0.0.1\"\ntags = [\n \"a\",\n \" \"]",
            "line 5: tags: a tag has 1 to 128 bytes",
        ),
        (
            "[[sender]]\nnetwork = \"10.0.0.1\"\nflood = \"shed\"",
            "line 3: flood: allowed is drop, sample or mark",
        ),
        (
            "[[sender]]\nnetwork = \"10.0.0.1\"\nburst = 0",
            "line 3: burst: allowed is a whole number from 1 to 3600",
        ),
        (
            "[[sender]]\nnetwork = \"10.0.0.1\"\n\n[[sender]]\nnetwork = \"10.0.0.1/32\"",
            "line 5: network: it stands at line 2 already",
        ),
    ] {
        assert_eq!(Senders::parse(text).unwrap_err().to_string(), expected);
    }
    let unknown = Senders::parse("[[sender]]\nnetwork = \"::/0\"\ntimezon = \"UTC\"").unwrap_err();
    assert_eq!(unknown.line, 3);
    assert!(unknown.problem.contains("timezon"), "{unknown}");
    assert_eq!(
        Senders::parse("[[sender]]\nnetwork = ").unwrap_err().line,
        2
    );
    assert!(
        Senders::parse("[[sender]]\n")
            .unwrap_err()
            .problem
            .contains("network")
    );
}

/// Networks that touch and nest often: few distinct bits, any length.
fn networks() -> impl Strategy<Value = Vec<Network>> {
    let v4 =
        (0..8_u32, 24..=32_u8).prop_map(|(low, bits)| (false, u128::from(0x0a00_0000 | low), bits));
    let edge = (prop_oneof![Just(0_u32), Just(u32::MAX)], 0..=32_u8)
        .prop_map(|(all, bits)| (false, u128::from(all), bits));
    let v6 = (0..8_u128, 120..=128_u8).prop_map(|(low, bits)| (true, low, bits));
    let wide = (prop_oneof![Just(0_u128), Just(u128::MAX)], 0..=128_u8)
        .prop_map(|(all, bits)| (true, all, bits));
    let one =
        prop_oneof![4 => v4, 1 => edge, 4 => v6, 1 => wide].prop_map(|(is_v6, first, bits)| {
            let network = Network { is_v6, first, bits };
            Network {
                first: first & !network.rest(),
                ..network
            }
        });
    prop::collection::vec(one, 0..24)
}

proptest! {
    #[test]
    fn the_table_finds_what_a_look_at_every_network_finds(
        mut networks in networks(),
        low in 0..10_u8,
        any4: u32,
        any6: u128,
    ) {
        networks.sort_by_key(ToString::to_string);
        networks.dedup();
        let entries: Vec<_> = networks
            .iter()
            .map(|network| format!("[[sender]]\nnetwork = \"{network}\"\ntags = [\"{network}\"]\n"))
            .collect();
        let text = entries.concat();
        let senders = Senders::parse(&text).unwrap();
        let asked: [IpAddr; 8] = [
            Ipv4Addr::from(0x0a00_0000 | u32::from(low)).into(),
            Ipv4Addr::from(any4).into(),
            Ipv4Addr::from(0).into(),
            Ipv4Addr::from(u32::MAX).into(),
            Ipv6Addr::from(u128::from(low)).into(),
            Ipv6Addr::from(any6).into(),
            Ipv6Addr::from(u128::MAX).into(),
            Ipv6Addr::from(u128::MAX - 1).into(),
        ];
        for address in asked {
            let (is_v6, number) = match address {
                IpAddr::V4(address) => (false, u128::from(u32::from(address))),
                IpAddr::V6(address) => match address.to_canonical() {
                    IpAddr::V4(address) => (false, u128::from(u32::from(address))),
                    IpAddr::V6(address) => (true, u128::from(address)),
                },
            };
            let expected = networks
                .iter()
                .filter(|network| network.is_v6 == is_v6 && (network.first..=network.last()).contains(&number))
                .max_by_key(|network| network.bits)
                .map(ToString::to_string);
            let found = senders.of(address).tags.first().map(ToString::to_string);
            prop_assert_eq!(found, expected, "{}", address);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(\\[\\[sender\\]\\]|network|name|tags|=|\"|/|[0-9.:a-f]{1,8}|\\n| |\\[|\\]){0,30}") {
        let _ = Senders::parse(&text);
    }
}
