//! The sentences of well-known traps. Each finds what it tells by the roles of the variables, and
//! where it lacks what it needs, says nothing.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Role, Sentence, Speech};
use crate::trap::Value;

impl Speech<'_, '_> {
    /// Writes the sentence. `false` where the trap lacks what it tells; then nothing was written.
    pub(super) fn say(&mut self, sentence: Sentence) -> bool {
        match sentence {
            Sentence::None | Sentence::CiscoSyslog | Sentence::JuniperSyslog => return false,
            Sentence::Fixed(text) => self.line.push(text),
            Sentence::LinkDown => return self.link("down"),
            Sentence::LinkUp => return self.link("up"),
            Sentence::AuthenticationFailure => {
                self.line.push("SNMP authentication failure");
                if let Some(address) = self.value(Role::RequestAddress) {
                    let _ = write!(self.line, ": request from {address}");
                }
            }
            Sentence::BgpUp => return self.bgp("is established"),
            Sentence::BgpDown => return self.bgp("went down"),
            Sentence::BgpChange => return self.bgp("changed state"),
            Sentence::OspfNeighbor => return self.ospf_neighbor(),
            Sentence::OspfInterface => return self.ospf_interface(),
            Sentence::Hsrp => return self.hsrp(),
            Sentence::PartState(kind) => return self.part_state(kind),
            Sentence::Part(kind, fate) => return self.part(kind, fate),
            Sentence::CiscoConfig => self.cisco_config(),
            Sentence::JuniperConfig => self.juniper_config(),
            Sentence::UpsOnBattery => self.ups_on_battery(),
            Sentence::UpsAlarm(fate) => {
                let Some(alarm) = self.value(Role::UpsAlarm) else {
                    return false;
                };
                let _ = write!(self.line, "UPS alarm {fate}: ");
                self.line.push_plain(&alarm);
            }
            Sentence::Tunnel(state) => return self.tunnel(state),
            Sentence::OwnWords => return self.own_words(),
        }
        true
    }

    fn link(&mut self, direction: &str) -> bool {
        const ROLES: [Role; 6] = [
            Role::IfIndex,
            Role::IfDescr,
            Role::IfName,
            Role::IfAlias,
            Role::IfAdminStatus,
            Role::IfOperStatus,
        ];
        let index = self
            .number(Role::IfIndex)
            .or_else(|| self.instance(&ROLES)?.first().map(|&arc| i64::from(arc)));
        let description = self.value(Role::IfDescr);
        let name = self.value(Role::IfName);
        let alias = self.value(Role::IfAlias);
        let admin = self.value(Role::IfAdminStatus);
        let oper = self.value(Role::IfOperStatus);
        // A description of many words is that of a network card, not the name of a port.
        let word = |text: &Cow<'_, str>| !text.trim().contains(char::is_whitespace);
        let port = match (&description, &name) {
            (Some(description), _) if word(description) => Some(description),
            (_, Some(name)) => Some(name),
            (description, None) => description.as_ref(),
        };
        if port.is_none() && index.is_none() {
            return false;
        }
        self.line.push("Interface ");
        match (port, index) {
            (Some(port), _) => self.line.push_plain(port.trim()),
            (None, Some(index)) => {
                let _ = write!(self.line, "{index}");
            }
            (None, None) => {}
        }
        let alias = alias.filter(|alias| Some(alias.trim()) != port.map(|port| port.trim()));
        if let (Some(_), Some(index)) = (port, index) {
            let _ = write!(self.line, " (index {index}");
            if let Some(alias) = &alias {
                self.line.push(", \"");
                self.line.push_plain(alias.trim());
                self.line.push("\"");
            }
            self.line.push(")");
        } else if let Some(alias) = &alias {
            self.line.push(" (\"");
            self.line.push_plain(alias.trim());
            self.line.push("\")");
        }
        self.line.push(" is ");
        self.line.push(direction);
        // linkDown tells the state before (RFC 2863, 3.1.9), though most agents tell the one after.
        if let Some(oper) = oper.filter(|oper| *oper != direction && *oper != "up") {
            let _ = write!(self.line, " ({oper})");
        }
        if let Some(admin) = admin {
            let _ = write!(self.line, ", admin {admin}");
        }
        true
    }

    fn bgp(&mut self, what: &str) -> bool {
        let peer = self.bgp_peer();
        let state = self.value(Role::BgpState);
        let before = self.value(Role::BgpPreviousState);
        let error = self.take(Role::BgpLastError);
        let text = self.value(Role::BgpLastErrorText);
        self.take(Role::BgpRemoteAddress);
        let Some(peer) = peer else { return false };
        let _ = write!(self.line, "BGP peer {peer} {what}");
        match (&before, &state) {
            (Some(before), Some(state)) => {
                let _ = write!(self.line, " ({before} to {state})");
            }
            (None, Some(state)) if state != "established" => {
                let _ = write!(self.line, " (now {state})");
            }
            _ => {}
        }
        let code = error.and_then(|(varbind, _)| match varbind.value {
            Value::OctetString([code, subcode]) if *code != 0 => Some((*code, *subcode)),
            _ => None,
        });
        if let Some((code, subcode)) = code {
            let _ = write!(self.line, ", last error {}", bgp_error(code));
            if subcode != 0 {
                let _ = write!(self.line, ", subcode {subcode}");
            }
        }
        if let Some(text) = text {
            self.line.push(", ");
            self.line.push_plain(text.trim());
        }
        true
    }

    /// The peer stands in the instance of every variable: for IPv4 as its four numbers, for Cisco's
    /// newer table as a type, a length and the octets.
    fn bgp_peer(&self) -> Option<std::net::IpAddr> {
        let instance = self.instance(&[
            Role::BgpState,
            Role::BgpRemoteAddress,
            Role::BgpLastError,
            Role::BgpPreviousState,
            Role::BgpLastErrorText,
        ])?;
        let octets: Vec<u8> = instance
            .iter()
            .map(|&arc| u8::try_from(arc).ok())
            .collect::<Option<_>>()?;
        match octets[..] {
            [a, b, c, d] | [1, 4, a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d).into()),
            [2, 16, ref address @ ..] => {
                let address: [u8; 16] = address.try_into().ok()?;
                Some(Ipv6Addr::from(address).into())
            }
            _ => None,
        }
    }

    /// The address that an instance of OSPF's tables begins with, and the index of an interface
    /// without one.
    fn ospf_instance(&self, roles: &[Role]) -> Option<(Ipv4Addr, u32)> {
        let instance = self.instance(roles)?;
        let [a, b, c, d, index] = instance[..] else {
            return None;
        };
        let octet = |arc| u8::try_from(arc).ok();
        Some((
            Ipv4Addr::new(octet(a)?, octet(b)?, octet(c)?, octet(d)?),
            index,
        ))
    }

    fn ospf_neighbor(&mut self) -> bool {
        let instance = self.ospf_instance(&[
            Role::OspfNeighborState,
            Role::OspfNeighborAddress,
            Role::OspfNeighborRouter,
        ]);
        let address = self.value(Role::OspfNeighborAddress);
        let index = self.number(Role::OspfNeighborIndex);
        let router = self.value(Role::OspfNeighborRouter);
        let state = self.value(Role::OspfNeighborState);
        self.take(Role::OspfRouterId);
        let address = address.map_or_else(
            || instance.map(|(address, _)| address.to_string()),
            |address| Some(address.into_owned()),
        );
        let (Some(address), Some(state)) = (address, state) else {
            return false;
        };
        let _ = write!(self.line, "OSPF neighbor {address}");
        let index = index.or(instance.map(|(_, index)| i64::from(index)));
        if let Some(index) = index.filter(|&index| index > 0) {
            let _ = write!(self.line, " on interface {index}");
        }
        if let Some(router) = router {
            let _ = write!(self.line, " (router {router})");
        }
        let _ = write!(self.line, " is {state}");
        true
    }

    fn ospf_interface(&mut self) -> bool {
        let instance = self.ospf_instance(&[Role::OspfInterfaceState, Role::OspfInterfaceAddress]);
        let address = self.value(Role::OspfInterfaceAddress);
        let index = self.number(Role::OspfInterfaceIndex);
        let state = self.value(Role::OspfInterfaceState);
        self.take(Role::OspfRouterId);
        let address = address.map_or_else(
            || instance.map(|(address, _)| address.to_string()),
            |address| Some(address.into_owned()),
        );
        let (Some(address), Some(state)) = (address, state) else {
            return false;
        };
        let _ = write!(self.line, "OSPF interface {address}");
        let index = index.or(instance.map(|(_, index)| i64::from(index)));
        if let Some(index) = index.filter(|&index| index > 0) {
            let _ = write!(self.line, " (index {index})");
        }
        let _ = write!(self.line, " is {state}");
        true
    }

    fn hsrp(&mut self) -> bool {
        let instance = self.instance(&[Role::HsrpState]);
        let Some(state) = self.value(Role::HsrpState) else {
            return false;
        };
        match instance.as_deref() {
            Some([interface, group]) => {
                let _ = write!(self.line, "HSRP group {group} on interface {interface}");
            }
            _ => self.line.push("HSRP group"),
        }
        let _ = write!(self.line, " is {state}");
        true
    }

    /// Writes what kind of part it is and which; `false` where the trap does not say which.
    fn which_part(&mut self, kind: &str) -> bool {
        let instance = self.instance(&[
            Role::PartState,
            Role::PartInstance,
            Role::PartName,
            Role::PartDescription,
        ]);
        let name = self.value(Role::PartName);
        let description = self.value(Role::PartDescription);
        self.line.push(kind);
        match (name.or(description), instance.as_deref()) {
            (Some(name), _) => {
                self.take(Role::PartPlace);
                self.line.push(" ");
                self.line.push_plain(name.trim());
            }
            (None, Some([one])) => {
                let _ = write!(self.line, " {one}");
            }
            (None, _) => return false,
        }
        true
    }

    fn part_state(&mut self, kind: &str) -> bool {
        let Some(state) = self.value(Role::PartState) else {
            return false;
        };
        self.which_part(kind);
        let _ = write!(self.line, " is {state}");
        if let Some(degrees) = self.number(Role::Temperature) {
            let _ = write!(self.line, ", {degrees} °C");
        }
        if let Some(millivolts) = self.number(Role::PartValue) {
            let _ = write!(self.line, ", {millivolts} mV");
        }
        true
    }

    fn part(&mut self, kind: &str, fate: &str) -> bool {
        self.which_part(kind);
        let _ = write!(self.line, " {fate}");
        let state = self.value(Role::PartState);
        let degrees = self.number(Role::Temperature);
        match (state, degrees) {
            (_, Some(degrees)) => {
                let _ = write!(self.line, ", {degrees} °C");
            }
            (Some(state), None) => {
                let _ = write!(self.line, " ({state})");
            }
            (None, None) => {}
        }
        true
    }

    fn cisco_config(&mut self) {
        let by = self.value(Role::ConfigCommandSource);
        let from = self.value(Role::ConfigFrom);
        let to = self.value(Role::ConfigTo);
        let user = self.value(Role::ConfigUser);
        let address = self.value(Role::ConfigUserAddress);
        let terminal = self.value(Role::ConfigTerminal);
        match (from.as_deref(), to.as_deref()) {
            (_, Some("running")) => self.line.push("Running configuration changed"),
            (Some("running"), Some("startup")) => {
                self.line
                    .push("Running configuration saved as startup configuration");
            }
            (Some("erase"), Some("startup")) => self.line.push("Startup configuration erased"),
            (_, Some("startup")) => self.line.push("Startup configuration changed"),
            // Looking at the configuration is an event too.
            (Some(from), Some("commandSource")) => {
                let _ = write!(self.line, "Configuration shown ({from})");
            }
            (Some(from), Some(to)) => {
                let _ = write!(self.line, "Configuration copied from {from} to {to}");
            }
            _ => self.line.push("Configuration event"),
        }
        if let Some(user) = user {
            self.line.push(" by ");
            self.line.push_plain(user.trim());
        }
        if let Some(address) = address.filter(|address| address != "0.0.0.0") {
            let _ = write!(self.line, " from {address}");
        }
        match by.as_deref() {
            Some("commandLine") => self.line.push(", command line"),
            Some("snmp") => self.line.push(", SNMP"),
            Some(other) => {
                let _ = write!(self.line, ", {other}");
            }
            None => {}
        }
        if let Some(terminal) = terminal {
            let _ = write!(self.line, " ({terminal})");
        }
    }

    fn juniper_config(&mut self) {
        let user = self.value(Role::ConfigUser);
        let by = self.value(Role::ConfigCommandSource);
        self.line.push("Configuration changed");
        if let Some(user) = user {
            self.line.push(" by ");
            self.line.push_plain(user.trim());
        }
        if let Some(by) = by {
            let _ = write!(self.line, ", {by}");
        }
    }

    fn ups_on_battery(&mut self) {
        self.line.push("UPS on battery");
        if let Some(seconds) = self.number(Role::UpsSeconds) {
            let _ = write!(self.line, " for {seconds} s");
        }
        if let Some(minutes) = self.number(Role::UpsMinutes) {
            let _ = write!(self.line, ", {minutes} min left");
        }
        self.take(Role::UpsLowTime);
    }

    fn tunnel(&mut self, state: &str) -> bool {
        let name = self.value(Role::TunnelName);
        let remote = self.value(Role::RemoteGateway);
        let local = self.value(Role::LocalGateway);
        if name.is_none() && remote.is_none() {
            return false;
        }
        self.line.push("VPN tunnel");
        if let Some(name) = name {
            self.line.push(" ");
            self.line.push_plain(name.trim());
        }
        let _ = write!(self.line, " is {state}");
        if let Some(remote) = remote {
            let _ = write!(self.line, ", remote gateway {remote}");
        }
        if let Some(local) = local {
            let _ = write!(self.line, ", local gateway {local}");
        }
        true
    }

    fn own_words(&mut self) -> bool {
        let Some(words) = self.value(Role::OwnWords) else {
            return false;
        };
        if let Some(known) = self.names.find_trap(&self.trap.trap_oid) {
            self.line.push(&known.entry.name);
            self.line.push(": ");
        }
        self.line.push_plain(words.trim());
        true
    }
}

/// The name of a BGP error code (RFC 4271, 4.5).
fn bgp_error(code: u8) -> Cow<'static, str> {
    match code {
        1 => "message header error".into(),
        2 => "OPEN message error".into(),
        3 => "UPDATE message error".into(),
        4 => "hold timer expired".into(),
        5 => "finite state machine error".into(),
        6 => "cease".into(),
        other => format!("code {other}").into(),
    }
}
