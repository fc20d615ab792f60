//! Lines as devices write them, and what becomes of them.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::json;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn received() -> Timestamp {
    "2026-11-21T13:00:05Z".parse().unwrap()
}

fn event(line: impl AsRef<[u8]>, max_len: usize) -> (Value, Notes) {
    event_from(line, &Origin::new(PEER, received(), max_len))
}

fn event_from(line: impl AsRef<[u8]>, origin: &Origin<'_>) -> (Value, Notes) {
    let mut out = Vec::new();
    let parsed = parse_into(line.as_ref(), origin, &mut out);
    let event: Value = serde_json::from_slice(&out).expect("an element is JSON");
    assert_eq!(event["_event_id"], parsed.event_id.to_string());
    assert_eq!(event["source"], "syslog");
    assert_eq!(event["source_ip"], "192.0.2.7");
    assert_eq!(event["_retry_count"], 0);
    let noted: Vec<_> = parsed.notes.iter().map(Note::name).collect();
    let written = event
        .get("parse_notes")
        .cloned()
        .unwrap_or_else(|| Value::Array(Vec::new()));
    assert_eq!(written, serde_json::json!(noted));
    (event, parsed.notes)
}

/// host, message, program, severity, timestamp, notes
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    u64,
    &'static str,
    &'static [&'static str],
);

const NO_HOST: &str = "192.0.2.7";

#[rustfmt::skip]
const LINES: &[Row] = &[
    // A relay's header in front of the device's own
    ("<189>Nov 21 13:00:04 core1 733: *Nov 21 13:00:03.776: %SYS-5-CONFIG_I: Configured from console",
     "core1", "%SYS-5-CONFIG_I: Configured from console", "%SYS-5-CONFIG_I", 5, "2026-11-21T13:00:03.776Z",
     &["no_year", "clock_not_set", "relayed"]),
    ("<189>Nov 21 13:00:04 core1 733: *Mar  1 00:00:01.000: %SYS-5-CONFIG_I: Configured from console",
     "core1", "%SYS-5-CONFIG_I: Configured from console", "%SYS-5-CONFIG_I", 5, "2026-11-21T13:00:04Z",
     &["no_year", "clock_not_set", "relayed"]),
    ("<189>Nov 21 13:00:04 core1 733: no Cisco message",
     "core1", "733: no Cisco message", "", 5, "2026-11-21T13:00:04Z", &["no_year"]),
    // RFC 5424
    ("<34>1 2026-11-21T13:00:00.003Z web1.example.com su 4711 ID47 - 'su root' failed",
     "web1.example.com", "'su root' failed", "su", 2, "2026-11-21T13:00:00.003Z", &[]),
    ("<34>1 2026-11-21T13:00:00Z web1 su - ID47 - \u{feff}'su root' failed",
     "web1", "'su root' failed", "su", 2, "2026-11-21T13:00:00Z", &[]),
    ("<165>1 2026-11-21T15:00:00.003+02:00 192.0.2.1 evntslog - ID47 [exampleSDID@32473 iut=\"3\"] An event",
     "192.0.2.1", "An event", "evntslog", 5, "2026-11-21T13:00:00.003Z", &[]),
    ("<165>1 - - - - - - text", NO_HOST, "text", "", 5, "", &["no_host", "no_timestamp"]),
    ("1 2026-11-21T13:00:00Z web1 app - - - text",
     "web1", "text", "app", 5, "2026-11-21T13:00:00Z", &["no_pri"]),
    ("<166>1 2026-11-21T13:00:00Z esx1 Vpxa - - [Originator@6876 sub=VpxaCnxHostd opID=WFU-1] text",
     "esx1", "[Originator@6876 sub=VpxaCnxHostd opID=WFU-1] text", "Vpxa", 6, "2026-11-21T13:00:00Z",
     &["bad_structured_data"]),
    ("<13>1 2019-02-22T10:57:30.359427+00:00 ss12.00.lab orchagent - - -  :- setHostIntfsOperStatus: Set DOWN",
     "ss12.00.lab", ":- setHostIntfsOperStatus: Set DOWN", "orchagent", 5, "2019-02-22T10:57:30.359427Z", &[]),
    ("<14>1 2019-04-12T14:29:06.576Z - RT_FLOW - RT_FLOW_SESSION_CLOSE [junos@2636.1.1.1.2.129 reason=\"TCP FIN\"] session closed",
     NO_HOST, "session closed", "RT_FLOW", 6, "2019-04-12T14:29:06.576Z", &["no_host"]),
    ("<134>1 1795265990.774247467 MX84 events type=vpn_connectivity_change",
     "MX84", "events type=vpn_connectivity_change", "", 6, "2026-11-21T12:59:50.774247Z", &[]),
    // RFC 3164
    ("<34>Nov 21 13:00:00 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
     "mymachine", "'su root' failed for lonvick on /dev/pts/8", "su", 2, "2026-11-21T13:00:00Z", &["no_year"]),
    ("<38>Nov  1 13:00:00 web1 sshd[4711]: Failed password for root from 10.0.0.1 port 22 ssh2",
     "web1", "Failed password for root from 10.0.0.1 port 22 ssh2", "sshd", 6, "2026-11-01T13:00:00Z", &["no_year"]),
    ("<38>Nov 21 13:00:00 sshd[4711]: no host here",
     NO_HOST, "no host here", "sshd", 6, "2026-11-21T13:00:00Z", &["no_host", "no_year"]),
    ("Nov 21 13:00:00 web1 app: no priority",
     "web1", "no priority", "app", 5, "2026-11-21T13:00:00Z", &["no_pri", "no_year"]),
    ("<13>2026-11-21T13:00:00.5+01:00 web1 app[1]: from rsyslog's file format",
     "web1", "from rsyslog's file format", "app", 5, "2026-11-21T12:00:00.5Z", &[]),
    ("<22>Nov 21 13:00:00 mx1 postfix/smtpd[99]: connect from unknown",
     "mx1", "connect from unknown", "postfix/smtpd", 6, "2026-11-21T13:00:00Z", &["no_year"]),
    ("<13>myprog: hello", NO_HOST, "hello", "myprog", 5, "", &["no_host", "no_timestamp"]),
    ("<13>web-1 myprog[3]: hello", "web-1", "hello", "myprog", 5, "", &["no_timestamp"]),
    ("<13>just some text", NO_HOST, "just some text", "", 5, "", &["no_host", "no_timestamp"]),
    ("<13>Feb 29 12:00:00 web1 app: day that is not",
     NO_HOST, "Feb 29 12:00:00 web1 app: day that is not", "", 5, "", &["no_host", "no_timestamp"]),
    // Cisco IOS
    ("<189>29: foo: *Apr 29 13:58:40.411: %SYS-5-CONFIG_I: Configured from console by console",
     "foo", "%SYS-5-CONFIG_I: Configured from console by console", "%SYS-5-CONFIG_I", 5, "",
     &["no_timestamp", "clock_not_set"]),
    ("<189>35: *Nov 21 13:00:16.059: %SYS-5-CONFIG_I: Configured from console by console",
     NO_HOST, "%SYS-5-CONFIG_I: Configured from console by console", "%SYS-5-CONFIG_I", 5,
     "2026-11-21T13:00:16.059Z", &["no_host", "no_year", "clock_not_set"]),
    ("<180>782431: machine1: .Nov 18 21:03:22.631 GMT: %CDP-4-NATIVE_VLAN_MISMATCH: Native VLAN mismatch",
     "machine1", "%CDP-4-NATIVE_VLAN_MISMATCH: Native VLAN mismatch", "%CDP-4-NATIVE_VLAN_MISMATCH", 4,
     "2026-11-18T21:03:22.631Z", &["no_year", "clock_not_synced"]),
    ("123: *Mar  1 00:00:00.123: %SYS-5-CONFIG_I: Configured",
     NO_HOST, "%SYS-5-CONFIG_I: Configured", "%SYS-5-CONFIG_I", 5, "",
     &["no_pri", "no_host", "no_timestamp", "clock_not_set"]),
    ("<187>00:01:01: %SYSMGR-STANDBY-3-SHUTDOWN_START: The System Manager has started",
     NO_HOST, "%SYSMGR-STANDBY-3-SHUTDOWN_START: The System Manager has started",
     "%SYSMGR-STANDBY-3-SHUTDOWN_START", 3, "", &["no_host", "no_timestamp"]),
    ("%LINK-3-UPDOWN: Interface Gi1/0/1, changed state to down",
     NO_HOST, "%LINK-3-UPDOWN: Interface Gi1/0/1, changed state to down", "%LINK-3-UPDOWN", 3, "",
     &["no_pri", "no_host", "no_timestamp"]),
    ("<187>101 21: %SYSMGR-3-BASIC: text", NO_HOST, "%SYSMGR-3-BASIC: text", "%SYSMGR-3-BASIC", 3, "",
     &["no_host", "no_timestamp"]),
    ("<189>45: core1: Nov 21 08:00:00.123 EST: %LINEPROTO-5-UPDOWN: down",
     "core1", "%LINEPROTO-5-UPDOWN: down", "%LINEPROTO-5-UPDOWN", 5, "2026-11-21T13:00:00.123Z", &["no_year"]),
    ("<189>45: Nov 21 13:00:00.123 XYZT: %LINEPROTO-5-UPDOWN: down",
     NO_HOST, "%LINEPROTO-5-UPDOWN: down", "%LINEPROTO-5-UPDOWN", 5, "2026-11-21T13:00:00.123Z",
     &["no_host", "no_year", "unknown_zone"]),
    // IOS-XR
    ("<187>94307: gw2.acy1 LC/0/2/CPU0:Jul  7 20:16:14.834 : ifmgr[214]: %PKT_INFRA-LINK-3-UPDOWN : Interface TenGigE0/2/0/4, changed state to Down",
     "gw2.acy1", "%PKT_INFRA-LINK-3-UPDOWN : Interface TenGigE0/2/0/4, changed state to Down", "ifmgr", 3,
     "2026-07-07T20:16:14.834Z", &["no_year"]),
    ("<187>138076: RP/0/RP0/CPU0:Dec 11 12:43:29.227 EST: snmpd[1002]: %SNMP-SNMP-3-AUTH_FAIL : Received snmp request",
     NO_HOST, "%SNMP-SNMP-3-AUTH_FAIL : Received snmp request", "snmpd", 3, "2026-12-11T17:43:29.227Z",
     &["no_host", "no_year"]),
    // NX-OS
    ("<190>2018 Oct 31 08:12:52 sw01.test %ETHPORT-5-IF_DOWN_ERROR_DISABLED: Interface Ethernet1/3 is down",
     "sw01.test", "%ETHPORT-5-IF_DOWN_ERROR_DISABLED: Interface Ethernet1/3 is down",
     "%ETHPORT-5-IF_DOWN_ERROR_DISABLED", 5, "2018-10-31T08:12:52Z", &[]),
    ("<190>sw01.pdx01: 2017 Jul 28 14:42:46 UTC: %AUTHPRIV-6-SYSTEM_MSG: pam_unix(dcos_sshd:session): closed",
     "sw01.pdx01", "%AUTHPRIV-6-SYSTEM_MSG: pam_unix(dcos_sshd:session): closed", "%AUTHPRIV-6-SYSTEM_MSG", 6,
     "2017-07-28T14:42:46Z", &[]),
    ("<187>: 2025 Jun 25 11:27:28 GMT: %AUTHPRIV-3-SYSTEM_MSG: pam_aaa:Authentication failed from 192.168.1.10",
     NO_HOST, "%AUTHPRIV-3-SYSTEM_MSG: pam_aaa:Authentication failed from 192.168.1.10",
     "%AUTHPRIV-3-SYSTEM_MSG", 3, "2025-06-25T11:27:28Z", &["no_host"]),
    ("2026 Nov 21 13:00:00 UTC: %ETHPORT-5-IF_UP: up",
     NO_HOST, "%ETHPORT-5-IF_UP: up", "%ETHPORT-5-IF_UP", 5, "2026-11-21T13:00:00Z", &["no_pri", "no_host"]),
    // Cisco ASA, FTD, WLC
    ("<166>Aug 16 2019 09:09:20 myASA.firewall.com : %ASA-6-302016: Teardown UDP connection 8612565",
     "myASA.firewall.com", "%ASA-6-302016: Teardown UDP connection 8612565", "%ASA-6-302016", 6,
     "2019-08-16T09:09:20Z", &[]),
    ("<133>Aug 04 2016 10:48:53: %ASA-5-713120: Group = 172.25.26.76",
     NO_HOST, "%ASA-5-713120: Group = 172.25.26.76", "%ASA-5-713120", 5, "2016-08-04T10:48:53Z", &["no_host"]),
    ("<167>10.255.255.1 %ASA-7-609002: Teardown local-host",
     "10.255.255.1", "%ASA-7-609002: Teardown local-host", "%ASA-7-609002", 7, "", &["no_timestamp"]),
    ("<166>2022-02-16T15:31:53Z na-zy-int-fp1140-p02 : %FTD-6-305012: Teardown dynamic TCP translation",
     "na-zy-int-fp1140-p02", "%FTD-6-305012: Teardown dynamic TCP translation", "%FTD-6-305012", 6,
     "2022-02-16T15:31:53Z", &[]),
    ("<130> [ERROR] iapp_socket_task.c 399: iappSocketTask: iappRecvPkt returned error",
     NO_HOST, "[ERROR] iapp_socket_task.c 399: iappSocketTask: iappRecvPkt returned error", "", 2, "",
     &["no_host", "no_timestamp"]),
    // Arista, Juniper
    ("<166>Oct 18 14:39:03 edge01.bru01 Rib: %AGENT-6-INITIALIZED: Agent 'Rib' initialized; pid=7104",
     "edge01.bru01", "%AGENT-6-INITIALIZED: Agent 'Rib' initialized; pid=7104", "Rib", 6,
     "2026-10-18T14:39:03Z", &["no_year"]),
    ("<28>Jun 21 14:03:12  vmx01 rpd[2902]: RPD_BGP_NEIGHBOR_STATE_CHANGED: BGP peer 1.1.1.1 changed state",
     "vmx01", "RPD_BGP_NEIGHBOR_STATE_CHANGED: BGP peer 1.1.1.1 changed state", "rpd", 4,
     "2026-06-21T14:03:12Z", &["no_year"]),
    ("<28>Nov 20 16:58:04 re0-gw2.fin1 rpd[3167]: bgp_listen_accept:4984: NOTIFICATION sent to",
     "re0-gw2.fin1", "bgp_listen_accept:4984: NOTIFICATION sent to", "rpd", 4, "2026-11-20T16:58:04Z", &["no_year"]),
    // key=value
    ("<189>date=2021-01-15 time=12:58:59 devname=\"FORTI_111\" devid=\"FG100D\" logid=\"0001000014\" level=\"notice\" eventtime=1610704739683510055 tz=\"+0300\" msg=\"a b\"",
     "FORTI_111", "date=2021-01-15 time=12:58:59 devname=\"FORTI_111\" devid=\"FG100D\" logid=\"0001000014\" level=\"notice\" eventtime=1610704739683510055 tz=\"+0300\" msg=\"a b\"",
     "", 5, "2021-01-15T09:58:59Z", &[]),
    ("date=2021-01-15 time=12:58:59 devname=FG1 level=error msg=x",
     "FG1", "date=2021-01-15 time=12:58:59 devname=FG1 level=error msg=x", "", 3, "2021-01-15T12:58:59Z", &["no_pri"]),
    ("<14>Nov 21 13:00:00 PA-220 1,2026/11/21 13:00:00,012801,THREAT,url,2305,x",
     "PA-220", "1,2026/11/21 13:00:00,012801,THREAT,url,2305,x", "", 6, "2026-11-21T13:00:00Z", &["no_year"]),
    ("<134>id=firewall sn=0006 time=\"2026-11-21 13:00:00\" fw=10.0.0.9 pri=6 msg=\"x\"",
     "10.0.0.9", "id=firewall sn=0006 time=\"2026-11-21 13:00:00\" fw=10.0.0.9 pri=6 msg=\"x\"", "", 6,
     "2026-11-21T13:00:00Z", &[]),
    // Huawei, F5, Ubiquiti, Opengear
    ("<29>2018-7-23 01:00:34.270.1 my-awesome-huawei-switch %%01IFNET/4/IF_STATE(l)[4997]:Interface Ethernet0/0/8 has turned into DOWN state.",
     "my-awesome-huawei-switch", "%%01IFNET/4/IF_STATE(l)[4997]:Interface Ethernet0/0/8 has turned into DOWN state.",
     "%%01IFNET/4/IF_STATE", 4, "2018-07-23T01:00:34.27Z", &[]),
    ("<188>Oct  3 2024 13:19:33 Huawei WLAN/4/STATION_ONLINE_NOTIFY:OID 1.3.6.1.4.1 The Station go online.",
     "Huawei", "WLAN/4/STATION_ONLINE_NOTIFY:OID 1.3.6.1.4.1 The Station go online.", "", 4,
     "2024-10-03T13:19:33Z", &[]),
    ("<133>Jul  8 23:04:13 slot1/lb01 notice mcpd[10653]: 01070638:5: Pool /Common/p member monitor status down.",
     "lb01", "01070638:5: Pool /Common/p member monitor status down.", "mcpd", 5,
     "2026-07-08T23:04:13Z", &["no_year"]),
    ("<30>Nov 21 13:00:00 U7PG2,788a20b2c3d4,v4.3.20 hostapd: ath0: STA 00:11:22:33:44:55",
     "U7PG2,788a20b2c3d4,v4.3.20", "ath0: STA 00:11:22:33:44:55", "hostapd", 6, "2026-11-21T13:00:00Z", &["no_year"]),
    ("<30>ztp-tankstelle_1-ts port02 2018-Nov- 9 15:42:06.972 SIGNAL: CTS => 0",
     "ztp-tankstelle_1-ts", "SIGNAL: CTS => 0", "port02", 6, "2018-11-09T15:42:06.972Z", &[]),
    // Broken ones
    ("<999>Nov 21 13:00:00 web1 app: text", "web1", "text", "app", 5, "2026-11-21T13:00:00Z", &["bad_pri", "no_year"]),
    ("<>text", NO_HOST, "<>text", "", 5, "", &["no_pri", "bad_pri", "no_host", "no_timestamp"]),
    ("plain text: of no kind", NO_HOST, "plain text: of no kind", "", 5, "", &["no_pri", "no_host", "no_timestamp"]),
    ("12 monkeys escaped", NO_HOST, "12 monkeys escaped", "", 5, "", &["no_pri", "no_host", "no_timestamp"]),
    ("44 <13>Nov 21 13:00:00 web1 app: counted datagram",
     "web1", "counted datagram", "app", 5, "2026-11-21T13:00:00Z", &["no_year", "unexpected_framing"]),
    ("\u{feff}<13>Nov 21 13:00:00 web1 app: x\r\n", "web1", "x", "app", 5, "2026-11-21T13:00:00Z", &["no_year", "bom"]),
    ("<13>Nov 21 13:00:00 web1", NO_HOST, "web1", "", 5, "2026-11-21T13:00:00Z", &["no_host", "no_year"]),
    ("<13>", NO_HOST, "<13>", "", 5, "", &["no_host", "no_timestamp", "empty"]),
    ("", NO_HOST, "(empty message)", "", 5, "", &["no_pri", "no_host", "no_timestamp", "empty"]),
    ("<13>Nov 21 13:00:00 wéb app: naïve", "wéb", "naïve", "app", 5, "2026-11-21T13:00:00Z", &["no_year"]),
    ("<é>x", NO_HOST, "<é>x", "", 5, "", &["no_pri", "no_host", "no_timestamp"]),
];

#[test]
fn every_dialect_becomes_what_its_table_row_says() {
    for (line, host, message, program, severity, time, notes) in LINES {
        let (event, noted) = event(line, 8192);
        let text = |name: &str| {
            event
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(text("hostname"), *host, "hostname of {line}");
        assert_eq!(text("message"), *message, "message of {line}");
        assert_eq!(text("program"), *program, "program of {line}");
        assert_eq!(event["syslog_severity"], *severity, "severity of {line}");
        let written = crate::time::parse_timestamp(&text("timestamp")).map(|time| time.to_string());
        let expected = crate::time::parse_timestamp(time).map(|time| time.to_string());
        assert_eq!(
            written,
            expected.filter(|_| !time.is_empty()),
            "timestamp of {line}"
        );
        let expected: Notes = Note::ALL
            .into_iter()
            .filter(|note| notes.contains(&note.name()))
            .collect();
        assert_eq!(noted, expected, "notes of {line}");
    }
}

#[test]
fn facilities_sequences_and_ids_are_kept() {
    let (event, _) = event(
        "<189>29: foo: *Apr 29 13:58:40.411: %SYS-5-CONFIG_I: x",
        8192,
    );
    assert_eq!(event["facility"], "local7");
    assert_eq!(event["sequence"], "29");
    assert_eq!(event["device_time"], "Apr 29 13:58:40.411");
    let (event, _) = self::event("<34>1 2026-11-21T13:00:00Z web1 su 4711 ID47 - x", 8192);
    assert_eq!(
        (&event["procid"], &event["msgid"]),
        (&"4711".into(), &"ID47".into())
    );
    assert_eq!(event["facility"], "auth");
}

#[test]
fn structured_data_is_kept_as_fields() {
    for (data, expected) in [
        (
            r#"[a@1 x="1" y="2"][b@1 x="3"]"#,
            r#"{"a@1":{"x":"1","y":"2"},"b@1":{"x":"3"}}"#,
        ),
        (r"[empty@1]", r#"{"empty@1":{}}"#),
        (r"[e@1][f@1]", r#"{"e@1":{},"f@1":{}}"#),
        (
            r#"[a v="q\" b\] s\\ n\n"]"#,
            r#"{"a":{"v":"q\" b] s\\ n\\n"}}"#,
        ),
        (
            r#"[origin ip="1" ip="2"]"#,
            r#"{"origin":{"ip":["1","2"]}}"#,
        ),
        (
            r#"[a x="1"][b x="2"][a x="3" y="4"]"#,
            r#"{"a":{"x":["1","3"],"y":"4"},"b":{"x":"2"}}"#,
        ),
        (r#"[a x="1"][a]"#, r#"{"a":{"x":"1"}}"#),
    ] {
        let (event, notes) = event(
            format!("<13>1 2026-11-21T13:00:00Z h app - - {data} text"),
            8192,
        );
        assert_eq!(
            event["structured_data"],
            serde_json::from_str::<Value>(expected).unwrap(),
            "{data}"
        );
        assert_eq!(event["message"], "text");
        assert!(notes.is_empty());
    }
    for data in [
        r#"[a x="1"text"#,
        "[a x=1]",
        "[",
        "[]",
        r#"[a x="1"]text"#,
        "x",
        r#"[a  ="1"]"#,
    ] {
        let (event, notes) = event(
            format!("<13>1 2026-11-21T13:00:00Z h app - - {data} text"),
            8192,
        );
        assert_eq!(event["message"], format!("{data} text"));
        assert!(notes.has(Note::BadStructuredData), "{data}");
    }
}

#[test]
fn bytes_that_are_no_text_are_replaced_and_noted() {
    let (event, notes) = event(b"<13>Nov 21 13:00:00 web1 app: caf\xe9 \0 x", 8192);
    assert_eq!(event["message"], "caf\u{fffd} \u{fffd} x");
    assert!(notes.has(Note::InvalidUtf8));
}

#[test]
fn long_lines_are_cut_between_characters() {
    let line = format!("<13>{}", "é".repeat(100));
    for max in 4..60 {
        let (event, notes) = event(&line, max);
        assert!(notes.has(Note::Truncated));
        assert!(!notes.has(Note::InvalidUtf8), "at {max}");
        assert!(event["message"].as_str().unwrap().len() <= max);
    }
}

#[test]
fn what_is_known_of_the_sender_fills_what_the_message_leaves_out() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let tags = ["dc1".into(), "a \"b\"".into()];
    let origin = Origin {
        zone: &zone,
        host: Some("core1"),
        tags: &tags,
        frame: Note::UnexpectedFraming.into(),
        ..Origin::new(PEER, received(), 8192)
    };
    for (line, host, time) in [
        (
            "<13>Nov 21 14:00:00 web1 app: x",
            "web1",
            "2026-11-21T13:00:00Z",
        ),
        (
            "<13>Jul  1 14:00:00 web1 app: x",
            "web1",
            "2026-07-01T12:00:00Z",
        ),
        (
            "<13>Nov 21 2026 14:00:00: %ASA-5-1: x",
            "core1",
            "2026-11-21T13:00:00Z",
        ),
        (
            "<13>2026 Nov 21 14:00:00: %A-5-B: x",
            "core1",
            "2026-11-21T13:00:00Z",
        ),
        (
            "<13>2026 Nov 21 14:00:00 EST: %A-5-B: x",
            "core1",
            "2026-11-21T19:00:00Z",
        ),
        (
            "<13>2026-11-21 14:00:00 web1 app: x",
            "web1",
            "2026-11-21T13:00:00Z",
        ),
        (
            "<13>1 2026-11-21T14:00:00Z web1 app - - - x",
            "web1",
            "2026-11-21T14:00:00Z",
        ),
        (
            "<13>date=2026-11-21 time=14:00:00 level=x",
            "core1",
            "2026-11-21T13:00:00Z",
        ),
        (
            "<13>date=2026-11-21 time=14:00:00 tz=\"+0300\" level=x",
            "core1",
            "2026-11-21T11:00:00Z",
        ),
        (
            "<13>id=firewall time=\"2026-11-21 14:00:00\"",
            "core1",
            "2026-11-21T13:00:00Z",
        ),
        (
            "<13>id=firewall time=\"2026-11-21 14:00:00 UTC\"",
            "core1",
            "2026-11-21T14:00:00Z",
        ),
    ] {
        let (event, notes) = event_from(line, &origin);
        assert_eq!(event["hostname"], host, "{line}");
        let expected: Timestamp = time.parse().unwrap();
        let read: Timestamp = event["timestamp"].as_str().unwrap().parse().unwrap();
        assert_eq!(read, expected, "{line}");
        assert_eq!(event["tags"], serde_json::json!(["dc1", "a \"b\""]));
        assert_eq!(notes.has(Note::NoHost), host == "core1", "{line}");
        assert!(notes.has(Note::UnexpectedFraming));
    }
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        (
            0..LINES.len(),
            prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)
        )
            .prop_map(|(row, changes)| {
                let mut line = LINES[row].0.as_bytes().to_vec();
                for (at, byte) in changes {
                    if !line.is_empty() {
                        let at = at.index(line.len());
                        line[at] = byte;
                    }
                }
                line
            }),
        (0..LINES.len(), any::<prop::sample::Index>()).prop_map(|(row, at)| {
            let line = LINES[row].0.as_bytes();
            line[..at.index(line.len() + 1)].to_vec()
        }),
    ]
}

proptest! {
    #[test]
    fn any_bytes_become_a_readable_event(line in lines(), max in 0usize..300) {
        let mut out = Vec::new();
        let origin = Origin { correlation_id: "c\"id", ..Origin::new(PEER, received(), max) };
        let parsed = parse_into(&line, &origin, &mut out);
        let value: Value = serde_json::from_slice(&out).unwrap();
        let view = json::view(&out).unwrap();
        prop_assert_eq!(view.event_id, parsed.event_id);
        prop_assert_eq!(view.received_at, received());
        prop_assert_eq!(&*view.correlation_id, "c\"id");
        prop_assert_eq!(&*view.message, value["message"].as_str().unwrap());
        prop_assert!(!view.message.trim_ascii().is_empty());
        prop_assert!(!view.hostname.is_empty());
        prop_assert!(view.severity.is_some());
    }
}
