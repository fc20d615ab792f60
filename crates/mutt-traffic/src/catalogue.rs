//! What devices say: templates by vendor, with the severity that the text itself claims.
//!
//! Placeholders: `{if}` interface, `{ip}` address, `{peer}` neighbour, `{mac}`, `{n}` number,
//! `{port}`, `{user}`.

use jiff::Timestamp;

use crate::chance::Chance;
use crate::world::{Device, Vendor};

/// A sentence a device may say.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    pub severity: u8,
    /// The program, or the mnemonic with its `%`.
    pub program: &'static str,
    pub text: &'static str,
    /// How often, compared with the vendor's others.
    pub weight: u32,
}

const fn say(severity: u8, program: &'static str, text: &'static str, weight: u32) -> Template {
    Template {
        severity,
        program,
        text,
        weight,
    }
}

const CISCO_IOS: &[Template] = &[
    say(
        3,
        "%LINK-3-UPDOWN",
        "Interface {if}, changed state to down",
        14,
    ),
    say(
        5,
        "%LINEPROTO-5-UPDOWN",
        "Line protocol on Interface {if}, changed state to down",
        14,
    ),
    say(
        5,
        "%SYS-5-CONFIG_I",
        "Configured from console by {user} on vty0 ({ip})",
        8,
    ),
    say(
        5,
        "%OSPF-5-ADJCHG",
        "Process 1, Nbr {peer} on {if} from FULL to DOWN, Neighbor Down: Dead timer expired",
        6,
    ),
    say(
        5,
        "%BGP-5-ADJCHANGE",
        "neighbor {peer} Down BGP Notification sent",
        5,
    ),
    say(
        3,
        "%BGP-3-NOTIFICATION",
        "sent to neighbor {peer} 4/0 (hold time expired) 0 bytes",
        3,
    ),
    say(
        4,
        "%SPANTREE-4-TOPOTRAP",
        "Topology Change Trap for vlan {n}",
        5,
    ),
    say(
        2,
        "%SPANTREE-2-BLOCK_BPDUGUARD",
        "Received BPDU on port {if} with BPDU Guard enabled. Disabling port.",
        2,
    ),
    say(
        4,
        "%PM-4-ERR_DISABLE",
        "bpduguard error detected on {if}, putting {if} in err-disable state",
        2,
    ),
    say(
        5,
        "%DOT1X-5-FAIL",
        "Authentication failed for client ({mac}) on Interface {if} AuditSessionID 0A{n}",
        6,
    ),
    say(
        5,
        "%DOT1X-5-SUCCESS",
        "Authentication successful for client ({mac}) on Interface {if}",
        9,
    ),
    say(
        5,
        "%DOT1X-5-FIRMWARE",
        "DOT1X-FIRMWARE-RUNNING on {if} version {n}",
        2,
    ),
    say(
        4,
        "%SW_MATM-4-MACFLAP_NOTIF",
        "Host {mac} in vlan {n} is flapping between port {if} and port Po1",
        4,
    ),
    say(3, "%PLATFORM_ENV-3-FAN", "CRITICAL: Fan {n} has failed", 1),
    say(
        1,
        "%ILPOWER-1-OVERDRAWN",
        "CRITICAL power overdrawn on Interface {if}",
        1,
    ),
    say(
        6,
        "%SEC-6-IPACCESSLOGP",
        "list 101 denied tcp {ip}({port}) -> {peer}(22), {n} packets",
        8,
    ),
    say(
        4,
        "%SEC_LOGIN-4-LOGIN_FAILED",
        "Login failed [user: {user}] [Source: {ip}] [localport: 22] [Reason: Login Authentication Failed]",
        4,
    ),
    say(
        5,
        "%SEC_LOGIN-5-LOGIN_SUCCESS",
        "Login Success [user: {user}] [Source: {ip}] [localport: 22]",
        6,
    ),
    say(
        4,
        "%DUPLEX-4-DUPLEX_MISMATCH",
        "duplex mismatch discovered on {if} (not half duplex), with {peer} (half duplex).",
        2,
    ),
    say(
        7,
        "%IP_SNMP-7-DEBUG",
        "Packet received via UDP from {ip} on {if}",
        4,
    ),
];

const CISCO_ASA: &[Template] = &[
    say(
        4,
        "%ASA-4-106023",
        "Deny tcp src outside:{ip}/{port} dst inside:{peer}/445 by access-group \"outside_in\" [0x0, 0x0]",
        20,
    ),
    say(
        6,
        "%ASA-6-302013",
        "Built inbound TCP connection {n} for outside:{ip}/{port} ({ip}/{port}) to inside:{peer}/443",
        16,
    ),
    say(
        6,
        "%ASA-6-302014",
        "Teardown TCP connection {n} for outside:{ip}/{port} to inside:{peer}/443 duration 0:00:30 bytes {n} TCP FINs",
        16,
    ),
    say(
        3,
        "%ASA-3-710003",
        "TCP access ERROR denied by ACL from {ip}/{port} to outside:{peer}/22",
        6,
    ),
    say(
        1,
        "%ASA-1-104001",
        "(Secondary) Switching to ACTIVE - CRITICAL: peer unit failed",
        1,
    ),
    say(
        5,
        "%ASA-5-111008",
        "User '{user}' executed the 'write memory' command.",
        3,
    ),
    say(
        6,
        "%ASA-6-605005",
        "Login permitted from {ip}/{port} to inside:{peer}/ssh for user \"{user}\"",
        3,
    ),
];

const JUNIPER: &[Template] = &[
    say(
        4,
        "rpd",
        "RPD_OSPF_NBRDOWN: OSPF neighbor {peer} (realm ospf-v2 {if} area 0.0.0.0) state changed from Full to Down due to InActiveTimer",
        6,
    ),
    say(
        4,
        "rpd",
        "bgp_hold_timeout: NOTIFICATION sent to {peer} (External AS 65010): code 4 (Hold Timer Expired Error)",
        5,
    ),
    say(
        4,
        "mib2d",
        "SNMP_TRAP_LINK_DOWN: ifIndex {n}, ifAdminStatus up(1), ifOperStatus down(2), ifName {if} LINK-DOWN",
        8,
    ),
    say(
        6,
        "mgd",
        "UI_COMMIT: User '{user}' requested 'commit' operation (comment: none)",
        6,
    ),
    say(
        3,
        "chassisd",
        "CHASSISD_FRU_ERROR: ERROR reading FPC {n} temperature sensor",
        2,
    ),
    say(
        5,
        "sshd",
        "Accepted publickey for {user} from {ip} port {port} ssh2",
        8,
    ),
    say(
        6,
        "rpd",
        "RPD_TASK_BEGIN: Commencing routing updates, version 21.4R{n}",
        3,
    ),
];

const ARISTA: &[Template] = &[
    say(
        3,
        "Ebra",
        "%LINEPROTO-3-UPDOWN: Line protocol on Interface {if} changed state to down, LINK-DOWN",
        6,
    ),
    say(
        5,
        "Rib",
        "%BGP-5-ADJCHANGE: peer {peer} (AS 65020) old state Established event HoldTime new state Idle",
        5,
    ),
    say(
        6,
        "Lldp",
        "%LLDP-6-NEIGHBOR_NEW: LLDP neighbor with chassisId {mac} and portId {if} added on interface {if}",
        7,
    ),
    say(
        4,
        "Mlag",
        "%MLAG-4-INTF_INACTIVE_REMOTE: Interface Po{n} is inactive on the peer",
        3,
    ),
    say(
        5,
        "ConfigAgent",
        "%SYS-5-CONFIG_I: Configured from console by {user} on vty3 ({ip})",
        5,
    ),
    say(
        2,
        "PowerManager",
        "%HARDWARE-2-POWERSUPPLY: CRITICAL: power supply {n} lost input",
        1,
    ),
];

const FORTINET: &[Template] = &[
    say(
        5,
        "",
        "devname=\"FGT60\" logid=\"0000000013\" type=\"traffic\" subtype=\"forward\" level=\"notice\" srcip={ip} srcport={port} dstip={peer} dstport=443 action=\"close\" sentbyte={n}",
        14,
    ),
    say(
        4,
        "",
        "devname=\"FGT60\" logid=\"0101037125\" type=\"event\" subtype=\"vpn\" level=\"warning\" msg=\"IPsec phase 1 ERROR\" remip={ip}",
        6,
    ),
    say(
        1,
        "",
        "devname=\"FGT60\" logid=\"0100032002\" type=\"event\" subtype=\"system\" level=\"alert\" msg=\"Administrator {user} login failed from ssh({ip}) because of invalid password\"",
        5,
    ),
    say(
        2,
        "",
        "devname=\"FGT60\" logid=\"0104043777\" type=\"event\" subtype=\"ha\" level=\"critical\" msg=\"CRITICAL: HA member lost heartbeat\"",
        1,
    ),
];

const LINUX: &[Template] = &[
    say(
        6,
        "sshd",
        "Accepted publickey for {user} from {ip} port {port} ssh2: ED25519 SHA256:{n}",
        10,
    ),
    say(
        4,
        "sshd",
        "Failed password for invalid user {user} from {ip} port {port} ssh2",
        8,
    ),
    say(6, "systemd", "Started Session {n} of User {user}.", 10),
    say(
        3,
        "kernel",
        "EXT4-fs ERROR (device sda1): ext4_find_entry: inode #{n}: comm rsync: reading directory lblock 0",
        2,
    ),
    say(
        2,
        "smartd",
        "CRITICAL: Device: /dev/sdb, {n} Offline uncorrectable sectors",
        1,
    ),
    say(6, "CRON", "(root) CMD (/usr/local/bin/backup.sh {n})", 8),
    say(
        4,
        "dhcpd",
        "DHCPDISCOVER from {mac} via eth0: network 10.0.0.0/24: no free leases",
        4,
    ),
    say(
        5,
        "sudo",
        "{user} : TTY=pts/0 ; PWD=/home/{user} ; USER=root ; COMMAND=/usr/bin/systemctl restart nginx",
        4,
    ),
];

pub fn of(vendor: Vendor) -> &'static [Template] {
    match vendor {
        Vendor::CiscoIos => CISCO_IOS,
        Vendor::CiscoAsa => CISCO_ASA,
        Vendor::Juniper => JUNIPER,
        Vendor::Arista => ARISTA,
        Vendor::Fortinet => FORTINET,
        Vendor::Linux => LINUX,
    }
}

/// Values for placeholders that several messages of one incident share.
#[derive(Clone, Debug)]
pub struct Facts {
    pub interface: String,
    pub peer: String,
    pub address: String,
    pub user: &'static str,
    pub mac: String,
    pub number: usize,
    pub port: usize,
}

impl Facts {
    pub fn roll(chance: &mut Chance) -> Self {
        let users = ["jdoe", "netops", "asmith", "admin", "backup", "mlee"];
        Self {
            interface: format!("GigabitEthernet1/0/{}", chance.below(48) + 1),
            peer: format!("10.{}.0.{}", chance.below(4) + 1, chance.below(60) + 1),
            address: format!("203.0.113.{}", chance.below(254) + 1),
            user: users[chance.below(users.len())],
            mac: format!(
                "{:04x}.{:04x}.{:04x}",
                0x0050,
                chance.below(65536),
                chance.below(65536)
            ),
            number: chance.below(900) + 100,
            port: chance.below(40000) + 20000,
        }
    }

    pub fn fill(&self, text: &str) -> String {
        text.replace("{if}", &self.interface)
            .replace("{ip}", &self.address)
            .replace("{peer}", &self.peer)
            .replace("{mac}", &self.mac)
            .replace("{n}", &self.number.to_string())
            .replace("{port}", &self.port.to_string())
            .replace("{user}", self.user)
    }
}

/// The syslog message as this device sends it; `sequence` counts the device's messages.
pub fn syslog(
    device: &Device,
    severity: u8,
    program: &str,
    text: &str,
    at: Timestamp,
    sequence: u64,
) -> Vec<u8> {
    let utc = at.to_zoned(jiff::tz::TimeZone::UTC);
    let facility: u8 = if device.vendor == Vendor::Linux {
        3
    } else {
        23
    };
    let pri = facility * 8 + severity;
    let bsd = utc.strftime("%b %e %H:%M:%S");
    let name = &device.name;
    match device.vendor {
        // Every other Cisco device also numbers its messages and marks an unsynchronised clock.
        Vendor::CiscoIos if name.ends_with(['1', '3', '5', '7']) => format!(
            "<{pri}>{bsd} {name} {sequence}: *{}.{:03}: {program}: {text}",
            utc.strftime("%b %e %H:%M:%S"),
            utc.millisecond()
        ),
        Vendor::CiscoIos | Vendor::CiscoAsa => format!("<{pri}>{bsd} {name} {program}: {text}"),
        Vendor::Juniper => format!(
            "<{pri}>1 {} {name} {program} {} - [junos@2636.1.1.1.2.57 seq=\"{sequence}\"] {text}",
            utc.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
            1000 + sequence % 9000
        ),
        Vendor::Arista => format!("<{pri}>{bsd} {name} {program}: {sequence}: {text}"),
        Vendor::Fortinet => format!(
            "<{pri}>{bsd} {name} date={} time={} {text}",
            utc.strftime("%Y-%m-%d"),
            utc.strftime("%H:%M:%S")
        ),
        Vendor::Linux => format!(
            "<{pri}>{bsd} {name} {program}[{}]: {text}",
            1000 + sequence % 30000
        ),
    }
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Vendor; 6] = [
        Vendor::CiscoIos,
        Vendor::CiscoAsa,
        Vendor::Juniper,
        Vendor::Arista,
        Vendor::Fortinet,
        Vendor::Linux,
    ];

    #[test]
    fn severities_agree_with_mnemonics() {
        for template in ALL.iter().flat_map(|&vendor| of(vendor)) {
            let mnemonic = template.program.strip_prefix('%').or_else(|| {
                template
                    .text
                    .strip_prefix('%')
                    .and_then(|text| text.split(':').next())
            });
            if let Some(mnemonic) = mnemonic {
                let digit = mnemonic
                    .split('-')
                    .nth(1)
                    .expect("FACILITY-SEVERITY-MNEMONIC");
                assert_eq!(digit, template.severity.to_string(), "{mnemonic}");
            }
        }
    }

    #[test]
    fn every_placeholder_is_filled() {
        let facts = Facts::roll(&mut Chance::new(1));
        for template in ALL.iter().flat_map(|&vendor| of(vendor)) {
            let text = facts.fill(template.text);
            assert!(!text.contains('{'), "{text}");
        }
    }
}
