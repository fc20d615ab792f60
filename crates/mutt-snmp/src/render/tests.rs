use std::net::Ipv4Addr;

use super::*;
use crate::names::{Display, Entry, Kind, Labels, Origin};
use crate::trap::{Missing, Version};

fn oid(text: &str) -> Oid<'static> {
    text.parse().unwrap()
}

fn text(value: &str) -> Value<'_> {
    Value::OctetString(value.as_bytes())
}

fn trap<'a>(number: &str, varbinds: Vec<(&str, Value<'a>)>) -> Trap<'a> {
    Trap {
        version: Version::V2c,
        inform: false,
        security_name: None,
        security_level: None,
        engine_id: &[],
        context_engine_id: &[],
        context_name: &[],
        agent_address: None,
        proxied_address: None,
        enterprise: None,
        uptime: Some(1),
        trap_oid: oid(number),
        request_id: Some(1),
        varbinds: varbinds
            .into_iter()
            .map(|(number, value)| Varbind {
                oid: oid(number),
                value,
            })
            .collect(),
    }
}

fn said(number: &str, varbinds: Vec<(&str, Value<'_>)>) -> String {
    said_with(&Names::builtin(), number, varbinds)
}

fn said_with(names: &Names, number: &str, varbinds: Vec<(&str, Value<'_>)>) -> String {
    let mut describer = Describer::default();
    describer
        .describe(&trap(number, varbinds), names)
        .message
        .to_owned()
}

const LINK_DOWN: &str = "1.3.6.1.6.3.1.1.5.3";
const LINK_UP: &str = "1.3.6.1.6.3.1.1.5.4";

#[test]
fn links() {
    let port = |number: &'static str, more: &[(&'static str, Value<'static>)], admin, oper| {
        let mut varbinds = vec![("1.3.6.1.2.1.2.2.1.1.3", Value::Integer(3))];
        varbinds.extend_from_slice(more);
        varbinds.push(("1.3.6.1.2.1.2.2.1.7.3", Value::Integer(admin)));
        varbinds.push(("1.3.6.1.2.1.2.2.1.8.3", Value::Integer(oper)));
        said(number, varbinds)
    };
    let description = |description| ("1.3.6.1.2.1.2.2.1.2.3", text(description));
    let name = |name| ("1.3.6.1.2.1.31.1.1.1.1.3", text(name));
    let alias = |alias| ("1.3.6.1.2.1.31.1.1.1.18.3", text(alias));

    let whole = [
        description("GigabitEthernet0/1"),
        name("Gi0/1"),
        alias("uplink to core1"),
    ];
    assert_eq!(
        port(LINK_DOWN, &whole, 1, 2),
        "Interface GigabitEthernet0/1 (index 3, \"uplink to core1\") is down, admin up"
    );
    assert_eq!(
        port(LINK_UP, &[name("ge-0/0/1"), alias("ge-0/0/1")], 1, 1),
        "Interface ge-0/0/1 (index 3) is up, admin up"
    );
    assert_eq!(
        port(LINK_DOWN, &[], 2, 2),
        "Interface 3 is down, admin down"
    );
    assert_eq!(
        port(LINK_UP, &[alias("to core")], 1, 5),
        "Interface 3 (\"to core\") is up (dormant), admin up"
    );
    // The state before, as the MIB says it.
    assert_eq!(port(LINK_DOWN, &[], 1, 1), "Interface 3 is down, admin up");
    // Windows: the description is that of the card.
    let card = [
        description("Intel(R) Ethernet Connection"),
        name("ethernet_32769"),
    ];
    assert_eq!(
        port(LINK_DOWN, &card, 1, 2),
        "Interface ethernet_32769 (index 3) is down, admin up"
    );
    // The index is in the instance where it is nowhere else; an unknown label stays a number.
    assert_eq!(
        said(
            LINK_DOWN,
            vec![("1.3.6.1.2.1.2.2.1.8.12", Value::Integer(9))]
        ),
        "Interface 12 is down (9)"
    );
    // What else is in it follows: Cisco's reason.
    assert_eq!(
        said(
            LINK_DOWN,
            vec![
                ("1.3.6.1.2.1.2.2.1.1.7", Value::Integer(7)),
                ("1.3.6.1.2.1.2.2.1.2.7", text("Serial0/1")),
                ("1.3.6.1.4.1.9.2.2.1.1.20.7", text("administratively down")),
            ]
        ),
        "Interface Serial0/1 (index 7) is down; locIfReason.7=\"administratively down\""
    );
    // Version 1 under an enterprise of its own, with a 0 too many.
    assert_eq!(
        said(
            "1.3.6.1.6.3.1.1.5.0.3",
            vec![("1.3.6.1.2.1.2.2.1.1.7", Value::Integer(7))]
        ),
        "Interface 7 is down"
    );
    assert_eq!(said(LINK_DOWN, vec![]), "linkDown");
}

#[test]
fn standard_traps() {
    for (number, varbinds, expected) in [
        (
            "1.3.6.1.6.3.1.1.5.1",
            vec![],
            "Cold start: the device or its SNMP agent started anew",
        ),
        (
            "1.3.6.1.6.3.1.1.5.2",
            vec![("1.3.6.1.2.1.1.5.0", text("core1"))],
            "Warm start: the SNMP agent started anew; sysName=core1",
        ),
        (
            "1.3.6.1.6.3.1.1.5.5",
            vec![(
                "1.3.6.1.4.1.9.2.1.5.0",
                Value::IpAddress(Ipv4Addr::new(192, 0, 2, 9)),
            )],
            "SNMP authentication failure: request from 192.0.2.9",
        ),
        ("1.3.6.1.6.3.1.1.5.5", vec![], "SNMP authentication failure"),
        (
            "1.3.6.1.2.1.15.7.2",
            vec![
                (
                    "1.3.6.1.2.1.15.3.1.14.192.0.2.1",
                    Value::OctetString(&[4, 0]),
                ),
                ("1.3.6.1.2.1.15.3.1.2.192.0.2.1", Value::Integer(1)),
            ],
            "BGP peer 192.0.2.1 went down (now idle), last error hold timer expired",
        ),
        (
            "1.3.6.1.2.1.15.0.1",
            vec![
                (
                    "1.3.6.1.2.1.15.3.1.7.192.0.2.1",
                    Value::IpAddress(Ipv4Addr::new(192, 0, 2, 1)),
                ),
                (
                    "1.3.6.1.2.1.15.3.1.14.192.0.2.1",
                    Value::OctetString(&[0, 0]),
                ),
                ("1.3.6.1.2.1.15.3.1.2.192.0.2.1", Value::Integer(6)),
            ],
            "BGP peer 192.0.2.1 is established",
        ),
        (
            "1.3.6.1.4.1.9.9.187.0.6",
            vec![
                (
                    "1.3.6.1.4.1.9.9.187.1.2.5.1.3.2.16.32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.1",
                    Value::Integer(3),
                ),
                (
                    "1.3.6.1.4.1.9.9.187.1.2.5.1.29.2.16.32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.1",
                    Value::Integer(6),
                ),
                (
                    "1.3.6.1.4.1.9.9.187.1.2.5.1.28.2.16.32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.1",
                    text("administrative reset"),
                ),
            ],
            "BGP peer 2001:db8::1 went down (established to active), administrative reset",
        ),
        (
            "1.3.6.1.2.1.14.16.2.2",
            vec![
                (
                    "1.3.6.1.2.1.14.1.1.0",
                    Value::IpAddress(Ipv4Addr::new(1, 1, 1, 1)),
                ),
                (
                    "1.3.6.1.2.1.14.10.1.1.192.0.2.2.0",
                    Value::IpAddress(Ipv4Addr::new(192, 0, 2, 2)),
                ),
                ("1.3.6.1.2.1.14.10.1.2.192.0.2.2.0", Value::Integer(0)),
                (
                    "1.3.6.1.2.1.14.10.1.3.192.0.2.2.0",
                    Value::IpAddress(Ipv4Addr::new(2, 2, 2, 2)),
                ),
                ("1.3.6.1.2.1.14.10.1.6.192.0.2.2.0", Value::Integer(8)),
            ],
            "OSPF neighbor 192.0.2.2 (router 2.2.2.2) is full",
        ),
        (
            "1.3.6.1.2.1.14.16.2.16",
            vec![("1.3.6.1.2.1.14.7.1.12.192.0.2.2.0", Value::Integer(5))],
            "OSPF interface 192.0.2.2 is designatedRouter",
        ),
        (
            "1.3.6.1.2.1.33.2.1",
            vec![
                ("1.3.6.1.2.1.33.1.2.3.0", Value::Integer(35)),
                ("1.3.6.1.2.1.33.1.2.2.0", Value::Integer(20)),
                ("1.3.6.1.2.1.33.1.9.7.0", Value::Integer(2)),
            ],
            "UPS on battery for 20 s, 35 min left",
        ),
        (
            "1.3.6.1.2.1.33.2.3",
            vec![
                ("1.3.6.1.2.1.33.1.6.2.1.1.5", Value::Integer(5)),
                (
                    "1.3.6.1.2.1.33.1.6.2.1.2.5",
                    Value::ObjectIdentifier(Some(oid("1.3.6.1.2.1.33.1.6.3.3"))),
                ),
            ],
            "UPS alarm raised: upsAlarmLowBattery; upsAlarmId.5=5",
        ),
    ] {
        assert_eq!(said(number, varbinds), expected);
    }
}

#[test]
fn traps_of_vendors() {
    for (number, varbinds, expected) in [
        (
            "1.3.6.1.4.1.9.9.43.2.0.1",
            vec![
                ("1.3.6.1.4.1.9.9.43.1.1.6.1.3.10", Value::Integer(1)),
                ("1.3.6.1.4.1.9.9.43.1.1.6.1.4.10", Value::Integer(2)),
                ("1.3.6.1.4.1.9.9.43.1.1.6.1.5.10", Value::Integer(3)),
            ],
            "Running configuration changed, command line",
        ),
        (
            "1.3.6.1.4.1.9.9.43.2.0.1",
            vec![
                ("1.3.6.1.4.1.9.9.43.1.1.6.1.3.10", Value::Integer(2)),
                ("1.3.6.1.4.1.9.9.43.1.1.6.1.4.10", Value::Integer(3)),
                ("1.3.6.1.4.1.9.9.43.1.1.6.1.5.10", Value::Integer(6)),
            ],
            "Configuration copied from running to networkTftp, SNMP",
        ),
        (
            "1.3.6.1.4.1.9.9.106.2.0.1",
            vec![("1.3.6.1.4.1.9.9.106.1.2.1.1.15.5.10", Value::Integer(6))],
            "HSRP group 10 on interface 5 is active",
        ),
        (
            "1.3.6.1.4.1.9.9.117.2.0.2",
            vec![
                ("1.3.6.1.4.1.9.9.117.1.1.2.1.2.470", Value::Integer(8)),
                ("1.3.6.1.4.1.9.9.117.1.1.2.1.1.470", Value::Integer(1)),
            ],
            "Power supply 470 is failed; cefcFRUPowerAdminStatus.470=on",
        ),
        (
            "1.3.6.1.4.1.9.9.117.2.0.4",
            vec![
                ("1.3.6.1.2.1.47.1.1.1.1.4.22", Value::Integer(1)),
                ("1.3.6.1.2.1.47.1.1.1.1.7.22", text("Slot 2")),
            ],
            "Part Slot 2 was removed; entPhysicalContainedIn.22=1",
        ),
        (
            "1.3.6.1.4.1.9.9.13.3.0.3",
            vec![
                ("1.3.6.1.4.1.9.9.13.1.3.1.2.1", text("Inlet Temp Sensor")),
                ("1.3.6.1.4.1.9.9.13.1.3.1.3.1", Value::Gauge32(75)),
                ("1.3.6.1.4.1.9.9.13.1.3.1.6.1", Value::Integer(3)),
            ],
            "Temperature Inlet Temp Sensor is critical, 75 °C",
        ),
        (
            "1.3.6.1.4.1.9.9.13.3.0.4",
            vec![
                ("1.3.6.1.4.1.9.9.13.1.4.1.2.3", text("Fan 3")),
                ("1.3.6.1.4.1.9.9.13.1.4.1.3.3", Value::Integer(6)),
            ],
            "Fan Fan 3 is notFunctioning",
        ),
        (
            "1.3.6.1.4.1.2636.4.1.1",
            vec![
                ("1.3.6.1.4.1.2636.3.1.8.1.6.2.1.0.0", text("PEM 0")),
                ("1.3.6.1.4.1.2636.3.1.13.1.6.2.1.0.0", Value::Integer(6)),
            ],
            "Power supply PEM 0 failed (down)",
        ),
        (
            "1.3.6.1.4.1.2636.4.5.0.1",
            vec![
                ("1.3.6.1.4.1.2636.3.18.1.7.1.4.9", Value::Integer(2)),
                ("1.3.6.1.4.1.2636.3.18.1.7.1.5.9", text("alice")),
            ],
            "Configuration changed by alice, cli",
        ),
        (
            "1.3.6.1.4.1.12356.101.2.0.302",
            vec![
                ("1.3.6.1.4.1.12356.100.1.1.1.0", text("FGT60F0000000001")),
                (
                    "1.3.6.1.4.1.12356.101.12.3.3.0",
                    Value::IpAddress(Ipv4Addr::new(198, 51, 100, 7)),
                ),
                ("1.3.6.1.4.1.12356.101.12.3.4.0", text("to-hq")),
            ],
            "VPN tunnel to-hq is down, remote gateway 198.51.100.7; fnSysSerial=FGT60F0000000001",
        ),
        (
            "1.3.6.1.4.1.318.0.5",
            vec![(
                "1.3.6.1.4.1.318.2.3.3.0",
                text("UPS: On battery power in response to an input power problem."),
            )],
            "upsOnBattery: UPS: On battery power in response to an input power problem.",
        ),
        (
            "1.3.6.1.4.1.3375.2.4.0.10",
            vec![
                (
                    "1.3.6.1.4.1.3375.2.4.1.1.0",
                    text("Pool member /Common/10.0.0.1:80 monitor status down."),
                ),
                ("1.3.6.1.4.1.3375.2.4.1.2.0", text("/Common/10.0.0.1")),
            ],
            "bigipServiceDown: Pool member /Common/10.0.0.1:80 monitor status down.; \
             bigipNotifyObjNode=/Common/10.0.0.1",
        ),
        (
            "1.3.6.1.4.1.8072.4.0.2",
            vec![(
                "1.3.6.1.6.3.1.1.4.3.0",
                Value::ObjectIdentifier(Some(oid("1.3.6.1.4.1.8072.4"))),
            )],
            "SNMP agent is shutting down",
        ),
    ] {
        assert_eq!(said(number, varbinds), expected);
    }
}

#[test]
fn a_carried_syslog_message_reads_as_by_syslog() {
    let mut describer = Describer::default();
    let names = Names::builtin();
    let cisco = trap(
        "1.3.6.1.4.1.9.9.41.2.0.1",
        vec![
            ("1.3.6.1.4.1.9.9.41.1.2.3.1.2.55", text("SYS")),
            ("1.3.6.1.4.1.9.9.41.1.2.3.1.3.55", Value::Integer(6)),
            ("1.3.6.1.4.1.9.9.41.1.2.3.1.4.55", text("CONFIG_I")),
            (
                "1.3.6.1.4.1.9.9.41.1.2.3.1.5.55",
                text("Configured from console by vty1 (10.30.0.32)"),
            ),
            ("1.3.6.1.4.1.9.9.41.1.2.3.1.6.55", Value::TimeTicks(9)),
        ],
    );
    let said = describer.describe(&cisco, &names);
    assert_eq!(
        said.message,
        "%SYS-5-CONFIG_I: Configured from console by vty1 (10.30.0.32)"
    );
    assert_eq!(said.severity, Severity::new(5));
    assert_eq!(said.program, Some("%SYS-5-CONFIG_I"));
    assert_eq!(said.trap_name, Some("clogMessageGenerated"));
    assert_eq!(said.name(0), Some("clogHistFacility.55"));
    assert_eq!(said.name(4), Some("clogHistTimestamp.55"));
    assert_eq!(said.name(5), None);

    let juniper = |message: &'static str| {
        trap(
            "1.3.6.1.4.1.2636.4.12.0.1",
            vec![
                (
                    "1.3.6.1.4.1.2636.3.35.1.1.1.2.15",
                    text("RPD_BGP_NEIGHBOR_STATE_CHANGED"),
                ),
                (
                    "1.3.6.1.4.1.2636.3.35.1.1.1.3.15",
                    Value::OctetString(&[7, 0xea, 11, 21, 13, 0, 4, 0, b'+', 0, 0]),
                ),
                ("1.3.6.1.4.1.2636.3.35.1.1.1.4.15", Value::Integer(5)),
                ("1.3.6.1.4.1.2636.3.35.1.1.1.5.15", Value::Integer(4)),
                ("1.3.6.1.4.1.2636.3.35.1.1.1.6.15", Value::Gauge32(2902)),
                ("1.3.6.1.4.1.2636.3.35.1.1.1.7.15", text("rpd")),
                ("1.3.6.1.4.1.2636.3.35.1.1.1.8.15", text("vmx01")),
                ("1.3.6.1.4.1.2636.3.35.1.1.1.9.15", text(message)),
            ],
        )
    };
    for message in [
        "BGP peer 192.0.2.1 changed state",
        "RPD_BGP_NEIGHBOR_STATE_CHANGED: BGP peer 192.0.2.1 changed state",
    ] {
        let juniper = juniper(message);
        let said = describer.describe(&juniper, &names);
        assert_eq!(
            said.message,
            "RPD_BGP_NEIGHBOR_STATE_CHANGED: BGP peer 192.0.2.1 changed state"
        );
        assert_eq!(said.severity, Severity::new(4));
        assert_eq!(
            (said.facility, said.program, said.process_id),
            (Some("daemon"), Some("rpd"), Some(2902))
        );
    }
    // Without a text it is a trap like any other; what the last one carried is forgotten.
    let mut without = juniper("");
    without.varbinds.truncate(1);
    let said = describer.describe(&without, &names);
    assert_eq!(
        said.message,
        "jnxSyslogTrap: jnxSyslogEventName.15=RPD_BGP_NEIGHBOR_STATE_CHANGED"
    );
    assert_eq!((said.severity, said.program), (None, None));
}

#[test]
fn values_of_every_type() {
    const V: &str = "1.3.6.1.4.1.99999.1.0";
    let one = |value: Value<'_>| {
        said("1.3.6.1.4.1.99999.0.1", vec![(V, value)])
            .strip_prefix("enterprises.99999.0.1: enterprises.99999.1.0=")
            .map(str::to_owned)
            .unwrap()
    };
    for (value, expected) in [
        (Value::Integer(-5), "-5"),
        (Value::Counter32(u32::MAX), "4294967295"),
        (Value::Counter64(u64::MAX), "18446744073709551615"),
        (Value::Gauge32(7), "7"),
        (Value::TimeTicks(9_003_725), "1d 01:00:37.25"),
        (Value::TimeTicks(0), "00:00:00.00"),
        (Value::Null, "null"),
        (Value::IpAddress(Ipv4Addr::LOCALHOST), "127.0.0.1"),
        (
            Value::ObjectIdentifier(Some(oid("1.3.6.1.4.1.9.1.1208"))),
            "cisco.1.1208",
        ),
        (Value::ObjectIdentifier(Some(oid("2.16.840"))), "2.16.840"),
        (Value::ObjectIdentifier(None), "0.0"),
        (Value::Missing(Missing::NoSuchInstance), "no_such_instance"),
        (Value::Opaque(&[0x9f, 0x78, 4, 0x41, 0x28, 0, 0]), "10.5"),
        (
            Value::Opaque(&[0x9f, 0x79, 8, 0x40, 0x25, 0, 0, 0, 0, 0, 0]),
            "10.5",
        ),
        (Value::Opaque(&[0x9f, 0x7a, 1, 0xf9]), "-7"),
        (
            Value::Opaque(&[0x9f, 0x7b, 9, 0, 255, 255, 255, 255, 255, 255, 255, 255]),
            "18446744073709551615",
        ),
        (Value::Opaque(&[0x9f, 0x7a, 0]), "0x9f7a00"),
        (Value::Opaque(&[0x9f, 0x78, 4, 1]), "0x9f780401"),
        (Value::Opaque(&[4, 1, 2]), "0x040102"),
        (
            Value::Other {
                tag: 0x47,
                octets: &[1, 2],
            },
            "0x0102",
        ),
        (text(""), "\"\""),
        (text("word"), "word"),
        (text("two words"), "\"two words\""),
        (text("a=\"b\""), "\"a=\\\"b\\\"\""),
        (text("two\r\nlines"), "\"two lines\""),
        (text("C string\0\0"), "\"C string\""),
        (text("Grüße"), "Grüße"),
        (Value::OctetString(b"B\xfcro"), "0x42fc726f"),
        (
            Value::OctetString(&[0, 0x1b, 0x54, 0xc2, 3, 4]),
            "00:1b:54:c2:03:04",
        ),
        (
            Value::OctetString(&[7, 0xea, 11, 21, 13, 0, 4, 5]),
            "2026-11-21T13:00:04.5",
        ),
        (
            Value::OctetString(&[7, 0xea, 11, 21, 13, 0, 4, 0, b'-', 5, 30]),
            "2026-11-21T13:00:04.0-05:30",
        ),
        (
            Value::OctetString(&[7, 0xea, 13, 21, 13, 0, 4, 0]),
            "0x07ea0d150d000400",
        ),
        (Value::OctetString(&[10, 0, 0, 1]), "0x0a000001"),
        (Value::OctetString(&[0]), "\"\""),
        (Value::OctetString(&[1]), "0x01"),
    ] {
        assert_eq!(one(value.clone()), expected, "{value:?}");
    }
}

#[test]
fn what_is_known_of_a_variable_decides_how_it_reads() {
    let entry = |number: &str, name: &str, display| {
        let mut entry = Entry::new(oid(number), name, Kind::Object, Origin::Mib);
        entry.display = display;
        entry
    };
    let labels: Labels = Labels::from(vec![(0, "low".into()), (9, "hot".into())]);
    let names = Names::new([
        entry("1.3.6.1.4.1.99999.1", "peerAddress", Display::Looks),
        entry("1.3.6.1.4.1.99999.2", "temperature", Display::Decimals(1)),
        entry("1.3.6.1.4.1.99999.3", "flags", Display::Hex),
        entry("1.3.6.1.4.1.99999.4", "alarms", Display::Bits(labels)),
        entry("1.3.6.1.4.1.99999.5", "label", Display::Text),
        entry("1.3.6.1.4.1.99999.6", "mac", Display::Mac),
        entry(
            "1.3.6.1.4.1.99999.7",
            "serial",
            Display::Octets("2x-".into()),
        ),
        entry("1.3.6.1.4.1.99999.8", "address", Display::Address),
        entry(
            "1.3.6.1.4.1.99999.9",
            "broken",
            Display::Octets("what".into()),
        ),
    ]);
    for (column, value, expected) in [
        (
            1,
            Value::OctetString(&[10, 0, 0, 1]),
            "peerAddress=10.0.0.1",
        ),
        (2, Value::Integer(-5), "temperature=-0.5"),
        (2, Value::Integer(235), "temperature=23.5"),
        (3, Value::Gauge32(255), "flags=0xff"),
        (4, Value::OctetString(&[0x80, 0x60]), "alarms={low hot 10}"),
        (4, Value::OctetString(&[]), "alarms={}"),
        (5, Value::OctetString(b"B\xfcro"), "label=Büro"),
        (6, text("abcdef"), "mac=61:62:63:64:65:66"),
        (7, Value::OctetString(&[1, 2, 3, 4]), "serial=0102-0304"),
        (8, text("ABCD"), "address=65.66.67.68"),
        (8, Value::OctetString(&[1]), "address=0x01"),
        (9, text("text"), "broken=text"),
    ] {
        let number = format!("1.3.6.1.4.1.99999.{column}.0");
        assert_eq!(
            said_with(&names, "1.3.6.1.4.1.99999.0.1", vec![(&number, value)]),
            format!("enterprises.99999.0.1: {expected}")
        );
    }
}

#[test]
fn what_is_too_long_is_cut_and_says_so() {
    let long = "x".repeat(100_000);
    let many: Vec<(&str, Value<'_>)> = (0..1000)
        .map(|_| ("1.3.6.1.4.1.99999.1.0", text(&long)))
        .collect();
    let line = said("1.3.6.1.4.1.99999.0.1", many);
    assert!(line.len() <= MAX_MESSAGE, "{}", line.len());
    assert!(line.ends_with(CUT), "{}", &line[line.len() - 40..]);
    // A single long value leaves room for the others.
    let line = said(
        "1.3.6.1.4.1.99999.0.1",
        vec![
            ("1.3.6.1.4.1.99999.1.0", text(&long)),
            ("1.3.6.1.4.1.99999.2.0", Value::Integer(7)),
        ],
    );
    assert!(line.ends_with("x…\", enterprises.99999.2.0=7"), "{line}");
    // A carried message may be as long as the line.
    let line = said(
        "1.3.6.1.4.1.9.9.41.2.0.1",
        vec![("1.3.6.1.4.1.9.9.41.1.2.3.1.5.1", text(&long))],
    );
    assert_eq!(line.len(), MAX_MESSAGE);
    assert!(line.ends_with(CUT));
    // More variables than the told ones can be counted of.
    let seventy: Vec<(&str, Value<'_>)> = (0..70)
        .map(|_| ("1.3.6.1.2.1.2.2.1.1.7", Value::Integer(7)))
        .collect();
    assert!(said(LINK_DOWN, seventy).starts_with("Interface 7 is down; ifIndex.7=7, "));
}

proptest::proptest! {
    /// Whatever comes: no panic, one line, within the bound, and as many names as variables.
    #[test]
    fn anything_can_be_described(
        trap_at in 0..700_usize,
        parts in proptest::collection::vec(
            (0..700_usize, proptest::collection::vec(proptest::num::u32::ANY, 0..8), value()),
            0..12,
        ),
    ) {
        let names = Names::builtin();
        let entries = names.entries();
        let mut trap = trap("1.3.6.1.6.3.1.1.5.3", vec![]);
        trap.trap_oid = entries[trap_at % entries.len()].oid.clone();
        trap.varbinds = parts
            .iter()
            .map(|(at, instance, value)| {
                let arcs: Vec<u32> = entries[at % entries.len()].oid.arcs().collect();
                Varbind {
                    oid: Oid::from_arcs(arcs.into_iter().chain(instance.iter().copied())).unwrap(),
                    value: value.as_value(),
                }
            })
            .collect();
        let mut describer = Describer::default();
        let said = describer.describe(&trap, &names);
        proptest::prop_assert!(!said.message.is_empty());
        proptest::prop_assert!(said.message.len() <= MAX_MESSAGE);
        proptest::prop_assert!(!said.message.contains(char::is_control), "{}", said.message);
        for index in 0..trap.varbinds.len() {
            let name = said.name(index).unwrap();
            proptest::prop_assert!(name.len() <= MAX_VARIABLE_NAME);
        }
        proptest::prop_assert_eq!(said.name(trap.varbinds.len()), None);
    }
}

#[derive(Clone, Debug)]
enum Any {
    Number(i32),
    Big(u64),
    Octets(Vec<u8>),
    Opaque(Vec<u8>),
    Null,
}

impl Any {
    fn as_value(&self) -> Value<'_> {
        match self {
            Self::Number(number) => Value::Integer(*number),
            Self::Big(number) => Value::Counter64(*number),
            Self::Octets(octets) => Value::OctetString(octets),
            Self::Opaque(octets) => Value::Opaque(octets),
            Self::Null => Value::Null,
        }
    }
}

fn value() -> impl proptest::strategy::Strategy<Value = Any> {
    use proptest::prelude::*;
    prop_oneof![
        (-2..12).prop_map(Any::Number),
        any::<i32>().prop_map(Any::Number),
        any::<u64>().prop_map(Any::Big),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Any::Octets),
        "\\PC{0,60}".prop_map(|text| Any::Octets(text.into_bytes())),
        "[\\x00-\\x7f]{0,40}".prop_map(|text| Any::Octets(text.into_bytes())),
        prop::collection::vec(any::<u8>(), 900..1200).prop_map(Any::Octets),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(Any::Opaque),
        Just(Any::Null),
    ]
}
