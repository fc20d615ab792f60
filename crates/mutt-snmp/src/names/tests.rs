use super::*;

fn oid(text: &str) -> Oid<'static> {
    text.parse().unwrap()
}

fn named(text: &str, name: &str, origin: Origin) -> Entry {
    Entry::new(oid(text), name, Kind::Trap, origin)
}

#[test]
fn every_line_of_the_own_table_says_a_name_that_no_other_has() {
    let (entries, wrong) = builtin::read(include_str!("builtin.txt"));
    assert_eq!(wrong, Vec::<&str>::new());
    let mut seen = HashMap::new();
    for entry in &entries {
        if let Some(other) = seen.insert(entry.oid.clone(), entry.name.clone()) {
            panic!("{} is both {other} and {}", entry.oid, entry.name);
        }
    }
    assert!(entries.len() > 500);
}

#[test]
fn names_are_found_whole_and_by_their_longest_known_part() {
    let names = Names::builtin();
    for (number, name) in [
        ("1.3.6.1.2.1.2.2.1.2", "ifDescr"),
        ("1.3.6.1.2.1.2.2.1.2.3", "ifDescr.3"),
        ("1.3.6.1.2.1.1.5.0", "sysName.0"),
        ("1.3.6.1.4.1.9.77.2", "cisco.77.2"),
        ("1.3.6.1.4.1.9.9.41.2.0.1", "clogMessageGenerated"),
        ("1.3.6.1.4.1.99.1", "enterprises.99.1"),
        // 1161 begins with the octet that 9 would have if more followed.
        ("1.3.6.1.4.1.1161.2", "enterprises.1161.2"),
        ("1.3.6.1.4.1", "enterprises"),
        ("1.0.8802.1.1.2.0.0.1", "lldpRemTablesChange"),
        (
            "1.3.6.1.2.1.15.3.1.14.10.0.0.1",
            "bgpPeerLastError.10.0.0.1",
        ),
        ("1.3.6.1.4.1.4294967295.1", "enterprises.4294967295.1"),
    ] {
        assert_eq!(names.name(&oid(number)).as_deref(), Some(name), "{number}");
    }
    for unknown in ["0.0", "1.2.840", "2.16.1", "2.999.4294967215"] {
        assert_eq!(names.name(&oid(unknown)), None, "{unknown}");
    }
}

#[test]
fn every_entry_finds_itself_and_what_lies_below_it() {
    let names = Names::builtin();
    for entry in names.entries() {
        assert_eq!(
            names.get(&entry.oid).map(|found| &found.name),
            Some(&entry.name)
        );
        let below = entry.oid.child(4_000_000_000);
        let found = names.find(&below).unwrap();
        assert_eq!((&found.entry.name, found.exact), (&entry.name, false));
    }
}

#[test]
fn traps_are_found_with_and_without_the_zero() {
    let names = Names::new([
        named("1.3.6.1.4.1.99999.7", "pumpFailed", Origin::NamesFile),
        named("1.3.6.1.4.1.99999.0.8", "pumpOk", Origin::NamesFile),
    ]);
    for (number, name) in [
        ("1.3.6.1.4.1.99999.7", "pumpFailed"),
        ("1.3.6.1.4.1.99999.0.7", "pumpFailed"),
        ("1.3.6.1.4.1.99999.0.0.7", "pumpFailed"),
        ("1.3.6.1.4.1.99999.8", "pumpOk"),
        ("1.3.6.1.4.1.99999.0.8", "pumpOk"),
        ("1.3.6.1.6.3.1.1.5.0.3", "linkDown"),
        ("1.3.6.1.4.1.318.5", "upsOnBattery"),
        ("1.3.6.1.4.1.9.0.0", "reload"),
        ("1.3.6.1.4.1.9.0.1", "tcpConnectionClose"),
        // RFC 1657, RFC 4273, and RFC 1269 with its traps directly at the MIB.
        ("1.3.6.1.2.1.15.7.2", "bgpBackwardTransition"),
        ("1.3.6.1.2.1.15.0.2", "bgpBackwardTransNotification"),
        ("1.3.6.1.2.1.15.7.0.2", "bgpBackwardTransition"),
        ("1.3.6.1.4.1.99999.0.9", "enterprises.99999.0.9"),
    ] {
        assert_eq!(
            names.trap_name(&oid(number)).as_deref(),
            Some(name),
            "{number}"
        );
    }
}

#[test]
fn later_sources_win_and_keep_what_they_do_not_know() {
    let mut mib = Entry::new(
        oid("1.3.6.1.2.1.2.2.1.8"),
        "ifOperStatus",
        Kind::Object,
        Origin::Mib,
    );
    mib.module = Some("IF-MIB".into());
    let names = Names::new([
        mib,
        named("1.3.6.1.2.1.2.2.1.8", "portState", Origin::NamesFile),
        named("1.3.6.1.4.1.9", "ciscoSystems", Origin::NamesFile),
    ]);
    let status = names.get(&oid("1.3.6.1.2.1.2.2.1.8")).unwrap();
    assert_eq!(
        (&*status.name, status.kind, status.label(2)),
        ("portState", Kind::Object, Some("down"))
    );
    assert_eq!(status.module.as_deref(), Some("IF-MIB"));
    assert_eq!(
        names.name(&oid("1.3.6.1.4.1.9.77")).as_deref(),
        Some("ciscoSystems.77")
    );
    // Names of the table itself stay as they were.
    assert_eq!(
        Names::builtin().name(&oid("1.3.6.1.4.1.9.77")).as_deref(),
        Some("cisco.77")
    );
}

#[test]
fn a_name_leads_back_to_its_number() {
    let names = Names::builtin();
    for (name, number) in [
        ("ifDescr", Some("1.3.6.1.2.1.2.2.1.2")),
        ("ifDescr.3", Some("1.3.6.1.2.1.2.2.1.2.3")),
        ("IF-MIB::linkDown", Some("1.3.6.1.6.3.1.1.5.3")),
        ("cisco.9.41.2", Some("1.3.6.1.4.1.9.9.41.2")),
        ("nobody", None),
        ("ifDescr.x", None),
        ("", None),
    ] {
        assert_eq!(
            names.oid(name).map(|oid| oid.to_string()).as_deref(),
            number,
            "{name}"
        );
    }
}

/// The numbers that mib-rs carries with it (SNMPv2-SMI) are the same in the own table.
#[test]
fn the_own_table_agrees_with_the_foundation_modules() {
    let mib = mib_rs::Loader::new()
        .modules(["SNMPv2-SMI"])
        .load()
        .unwrap();
    let names = Names::builtin();
    let mut compared = 0;
    for node in mib.nodes().filter(|node| !node.name().is_empty()) {
        let Ok(number) = node.oid().to_string().parse::<Oid<'_>>() else {
            continue;
        };
        if let Some(entry) = names.get(&number) {
            assert_eq!(&*entry.name, node.name(), "{number}");
            compared += 1;
        }
    }
    assert!(compared >= 6, "{compared}");
}

/// Net-SNMP's own MIB files, which come with it, name the same numbers alike.
#[test]
fn the_own_table_agrees_with_net_snmp() {
    let directory = std::path::Path::new("/usr/share/snmp/mibs");
    if !directory.join("NET-SNMP-AGENT-MIB.txt").exists() {
        eprintln!("Net-SNMP's MIB files (package libsnmp-base) are not here");
        return;
    }
    let mibs = crate::mibs::load(directory).unwrap();
    let names = Names::builtin();
    let mut compared = 0;
    for theirs in &mibs.entries {
        if let Some(ours) = names.get(&theirs.oid) {
            assert_eq!(ours.name, theirs.name, "{}", theirs.oid);
            assert_eq!(ours.kind, theirs.kind, "{}", theirs.name);
            compared += 1;
        }
    }
    assert!(compared >= 10, "{compared}");
}

proptest::proptest! {
    #[test]
    fn the_longest_known_part_is_found(arcs in proptest::collection::vec(0..20_u32, 0..12), at in 0..600_usize) {
        let names = Names::builtin();
        let start = &names.entries()[at % names.entries().len()].oid;
        let tail = start.arcs().collect::<Vec<_>>();
        let number = Oid::from_arcs(tail.into_iter().chain(arcs)).unwrap();
        let longest = names
            .entries()
            .iter()
            .filter(|entry| number.starts_with(&entry.oid))
            .max_by_key(|entry| entry.oid.as_ber().len())
            .unwrap();
        proptest::prop_assert_eq!(&names.find(&number).unwrap().entry.name, &longest.name);
    }
}
