use super::*;
use crate::names::Names;
use crate::render::Describer;
use crate::trap::{Trap, Value, Varbind, Version};

/// A module of SMIv2 with what matters: types with hints, enumerations, bits, a table, notifications
/// with and without the 0.
const PUMP: &str = r#"PUMP-MIB DEFINITIONS ::= BEGIN
IMPORTS
    MODULE-IDENTITY, OBJECT-TYPE, NOTIFICATION-TYPE, Integer32, enterprises FROM SNMPv2-SMI
    TEXTUAL-CONVENTION, DisplayString, DateAndTime, MacAddress FROM SNMPv2-TC;
pump MODULE-IDENTITY
    LAST-UPDATED "202611210000Z" ORGANIZATION "Example" CONTACT-INFO "example"
    DESCRIPTION "Pumps." REVISION "202611210000Z" DESCRIPTION "First."
    ::= { enterprises 99999 }
Tenths ::= TEXTUAL-CONVENTION DISPLAY-HINT "d-1" STATUS current DESCRIPTION "d" SYNTAX Integer32
Serial ::= TEXTUAL-CONVENTION DISPLAY-HINT "2x-" STATUS current DESCRIPTION "d"
    SYNTAX OCTET STRING (SIZE (0..8))
pumpNotifications OBJECT IDENTIFIER ::= { pump 0 }
pumpTable OBJECT-TYPE SYNTAX SEQUENCE OF PumpEntry MAX-ACCESS not-accessible STATUS current
    DESCRIPTION "d" ::= { pump 1 }
pumpEntry OBJECT-TYPE SYNTAX PumpEntry MAX-ACCESS not-accessible STATUS current
    DESCRIPTION "d" INDEX { pumpIndex } ::= { pumpTable 1 }
PumpEntry ::= SEQUENCE { pumpIndex Integer32, pumpState INTEGER, pumpTemperature Tenths,
    pumpSerial Serial, pumpAlarms BITS, pumpSince DateAndTime, pumpMac MacAddress,
    pumpLabel DisplayString }
pumpIndex OBJECT-TYPE SYNTAX Integer32 (1..100) MAX-ACCESS not-accessible STATUS current
    DESCRIPTION "d" ::= { pumpEntry 1 }
pumpState OBJECT-TYPE SYNTAX INTEGER { running(1), stopped(2) } MAX-ACCESS read-only STATUS current
    DESCRIPTION "d" ::= { pumpEntry 2 }
pumpTemperature OBJECT-TYPE SYNTAX Tenths MAX-ACCESS read-only STATUS current
    DESCRIPTION "d" ::= { pumpEntry 3 }
pumpSerial OBJECT-TYPE SYNTAX Serial MAX-ACCESS read-only STATUS current
    DESCRIPTION "d" ::= { pumpEntry 4 }
pumpAlarms OBJECT-TYPE SYNTAX BITS { dry(0), hot(1) } MAX-ACCESS read-only STATUS current
    DESCRIPTION "d" ::= { pumpEntry 5 }
pumpSince OBJECT-TYPE SYNTAX DateAndTime MAX-ACCESS read-only STATUS current
    DESCRIPTION "d" ::= { pumpEntry 6 }
pumpMac OBJECT-TYPE SYNTAX MacAddress MAX-ACCESS read-only STATUS current
    DESCRIPTION "d" ::= { pumpEntry 7 }
pumpLabel OBJECT-TYPE SYNTAX DisplayString MAX-ACCESS read-only STATUS current
    DESCRIPTION "d" ::= { pumpEntry 8 }
pumpStateChange NOTIFICATION-TYPE OBJECTS { pumpState, pumpTemperature } STATUS current
    DESCRIPTION "d" ::= { pumpNotifications 1 }
END
"#;

/// A module of SMIv1.
const OLD: &str = r#"OLD-MIB DEFINITIONS ::= BEGIN
IMPORTS enterprises FROM RFC1155-SMI
    OBJECT-TYPE FROM RFC-1212
    TRAP-TYPE FROM RFC-1215;
old OBJECT IDENTIFIER ::= { enterprises 99998 }
oldLevel OBJECT-TYPE SYNTAX INTEGER { low(1), high(2) } ACCESS read-only STATUS mandatory
    DESCRIPTION "d" ::= { old 1 }
oldLevelChange TRAP-TYPE ENTERPRISE old VARIABLES { oldLevel } DESCRIPTION "d" ::= 7
END
"#;

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    directory
}

fn problems(mibs: &Mibs, directory: &tempfile::TempDir) -> Vec<String> {
    let prefix = format!("{}/", directory.path().display());
    mibs.problems
        .iter()
        .map(|problem| problem.to_string().replace(&prefix, ""))
        .collect()
}

#[test]
fn modules_of_both_versions_give_names_and_what_is_known_of_values() {
    let directory = directory(&[("PUMP-MIB.txt", PUMP), ("vendor/old.my", OLD)]);
    let mibs = load(directory.path()).unwrap();
    assert_eq!(problems(&mibs, &directory), Vec::<String>::new());
    let modules: Vec<_> = mibs
        .modules
        .iter()
        .map(|module| (&*module.name, module.notifications, module.objects))
        .collect();
    assert_eq!(modules, [("OLD-MIB", 1, 1), ("PUMP-MIB", 1, 8)]);
    assert!(mibs.modules[0].file.ends_with("vendor/old.my"));
    assert_eq!((mibs.files, mibs.errors()), (2, 0));

    let names = Names::new(mibs.entries);
    let said = |trap: &str, varbinds: Vec<(&str, Value<'_>)>| {
        let trap = Trap {
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
            uptime: None,
            trap_oid: trap.parse().unwrap(),
            request_id: None,
            varbinds: varbinds
                .into_iter()
                .map(|(oid, value)| Varbind {
                    oid: oid.parse().unwrap(),
                    value,
                })
                .collect(),
        };
        let mut describer = Describer::default();
        describer.describe(&trap, &names).message.to_owned()
    };
    assert_eq!(
        said(
            // Without the 0, as some agents send it.
            "1.3.6.1.4.1.99999.1",
            vec![
                ("1.3.6.1.4.1.99999.1.1.2.4", Value::Integer(2)),
                ("1.3.6.1.4.1.99999.1.1.3.4", Value::Integer(-35)),
                (
                    "1.3.6.1.4.1.99999.1.1.4.4",
                    Value::OctetString(b"\x01\x02\xab\xcd")
                ),
                ("1.3.6.1.4.1.99999.1.1.5.4", Value::OctetString(&[0xc0])),
                (
                    "1.3.6.1.4.1.99999.1.1.6.4",
                    Value::OctetString(&[7, 0xea, 11, 21, 13, 0, 4, 0])
                ),
                ("1.3.6.1.4.1.99999.1.1.7.4", Value::OctetString(b"abcdef")),
                (
                    "1.3.6.1.4.1.99999.1.1.8.4",
                    Value::OctetString(b"cellar\xe9")
                ),
            ]
        ),
        "pumpStateChange: pumpState.4=stopped, pumpTemperature.4=-3.5, pumpSerial.4=0102-abcd, \
         pumpAlarms.4={dry hot}, pumpSince.4=2026-11-21T13:00:04.0, pumpMac.4=61:62:63:64:65:66, \
         pumpLabel.4=cellaré"
    );
    assert_eq!(
        said(
            "1.3.6.1.4.1.99998.0.7",
            vec![("1.3.6.1.4.1.99998.1.0", Value::Integer(2))]
        ),
        "oldLevelChange: oldLevel=high"
    );
    let state = names.oid("PUMP-MIB::pumpState").unwrap();
    let state = names.get(&state).unwrap();
    assert_eq!(
        (state.module.as_deref(), state.origin),
        (Some("PUMP-MIB"), Origin::Mib)
    );
}

#[test]
fn what_is_broken_is_named_and_hides_nothing() {
    let missing = PUMP
        .replace("PUMP-MIB", "LACKING-MIB")
        .replace("99999", "99997")
        .replace("Integer32, enterprises FROM", "Integer32 FROM")
        .replace(
            "FROM SNMPv2-TC;",
            "FROM SNMPv2-TC\n    acme, nothing FROM ACME-SMI\n    noSuchThing FROM PUMP-MIB;",
        )
        .replace("{ enterprises", "{ acme");
    let broken = PUMP.replace("PUMP-MIB", "BROKEN-MIB").replacen(
        "pumpState OBJECT-TYPE SYNTAX INTEGER {",
        "pumpState OBJECT-TYPE SYNTAX INTEGER ;",
        1,
    );
    let directory = directory(&[
        ("a/PUMP-MIB", PUMP),
        ("b/PUMP-MIB", PUMP),
        ("broken.mib", &broken.replace("99999", "99996")),
        ("lacking.mib", &missing),
        ("empty.mib", ""),
        ("readme.txt", "These are our MIB files.\n"),
        (".hidden", "never looked at"),
    ]);
    std::os::unix::fs::symlink("nowhere", directory.path().join("dangling")).unwrap();
    let mibs = load(directory.path()).unwrap();
    let found = problems(&mibs, &directory);
    let has = |text: &str| found.iter().any(|problem| problem.starts_with(text));
    for text in [
        "b/PUMP-MIB: warning: PUMP-MIB: is defined in ",
        "broken.mib:22: error: BROKEN-MIB: ",
        "dangling: error: cannot be read: ",
        "empty.mib: error: is empty",
        "lacking.mib:5: error: LACKING-MIB: imports acme from ACME-SMI, which is in none of the files",
        "lacking.mib:6: error: LACKING-MIB: imports noSuchThing from PUMP-MIB, which does not define it",
        "lacking.mib:10: error: LACKING-MIB: pump has no number, nor has anything below it: its parent acme is not known",
        "readme.txt: error: has no module: expected a line such as ACME-MIB DEFINITIONS ::= BEGIN",
    ] {
        assert!(has(text), "{text}\n{}", found.join("\n"));
    }
    // Told once, and not for everything below it.
    assert!(!has("lacking.mib:14"), "{}", found.join("\n"));
    assert!(!has(".hidden"));
    assert_eq!(mibs.files, 6);
    assert!(mibs.errors() >= 6);
    // The sound one is there, and of the broken one what stands beside the breakage.
    let names = Names::new(mibs.entries);
    for (number, name) in [
        ("1.3.6.1.4.1.99999.0.1", "pumpStateChange"),
        ("1.3.6.1.4.1.99996.1.1.8", "pumpLabel"),
        ("1.3.6.1.4.1.99997.0.1", "enterprises.99997.0.1"),
    ] {
        assert_eq!(
            names.trap_name(&number.parse().unwrap()).as_deref(),
            Some(name)
        );
    }
}

#[test]
fn a_directory_without_files_gives_nothing_and_a_missing_one_an_error() {
    let directory = directory(&[]);
    let mibs = load(directory.path()).unwrap();
    assert_eq!(
        (mibs.files, mibs.entries.len(), mibs.problems.len()),
        (0, 0, 0)
    );
    assert!(load(&directory.path().join("nowhere")).is_err());
}

/// Each of these would overflow the stack of the reader, or keep it busy for minutes.
#[test]
fn files_that_would_break_the_reader_are_refused() {
    let deep = 100_000;
    let around = |text: String| format!("X-MIB DEFINITIONS ::= BEGIN\n{text}\nEND\n");
    let cases = [
        (
            around(format!("Y ::= {}INTEGER", "[1] ".repeat(deep))),
            "is not read: it has more than 100 tags in brackets one after another",
        ),
        (
            around(format!(
                "Y ::= {}INTEGER",
                "[APPLICATION 1] IMPLICIT ".repeat(deep)
            )),
            "is not read: it has more than 100 tags in brackets one after another",
        ),
        (
            around(format!("Y ::= {}", "SEQUENCE { a ".repeat(deep))),
            "is not read: its braces are nested more than 100 deep",
        ),
        (
            around(format!("Y ::= {}", "CHOICE { a ".repeat(deep))),
            "is not read: its braces are nested more than 100 deep",
        ),
        (
            around(format!(
                "y OBJECT IDENTIFIER ::= {{ iso {}}}",
                "1 ".repeat(deep)
            )),
            "is not read: it has more than 300 numbers one after another",
        ),
    ];
    for (text, expected) in cases {
        let directory = directory(&[("PUMP-MIB", PUMP), ("x.mib", &text)]);
        let mibs = load(directory.path()).unwrap();
        assert_eq!(
            problems(&mibs, &directory),
            [format!("x.mib: error: {expected}")]
        );
        assert_eq!(mibs.modules.len(), 1);
    }
    // What is just within the bounds is read, and is no danger.
    for text in [
        format!("Y ::= {}INTEGER", "[1] ".repeat(100)),
        format!("Y ::= {}", "SEQUENCE { a ".repeat(100)),
        format!("Y ::= {}", "CHOICE { a ".repeat(100)),
        format!("y OBJECT IDENTIFIER ::= {{ iso {}}}", "1 ".repeat(299)),
    ] {
        let directory = directory(&[("PUMP-MIB", PUMP), ("x.mib", &around(text))]);
        let mibs = load(directory.path()).unwrap();
        assert!(mibs.modules.iter().any(|module| module.name == "PUMP-MIB"));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    /// Whatever is done to a file, the others are read.
    #[test]
    fn a_damaged_file_never_hides_the_others(from in 0..3000_usize, len in 0..400_usize, with in "[\\x20-\\x7e\\n]{0,40}") {
        let mut damaged = OLD.to_owned().into_bytes();
        let from = from.min(damaged.len());
        let to = (from + len).min(damaged.len());
        damaged.splice(from..to, with.into_bytes());
        let directory = directory(&[("PUMP-MIB", PUMP)]);
        std::fs::write(directory.path().join("damaged"), damaged).unwrap();
        let mibs = load(directory.path()).unwrap();
        proptest::prop_assert!(mibs.modules.iter().any(|module| module.name == "PUMP-MIB" && module.objects == 8));
    }
}
