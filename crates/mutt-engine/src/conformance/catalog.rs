//! Hosts and teams, announcements, and the audit of everything that the team says.

use tokio::sync::broadcast;

use super::rules::{assert_chain_holds, audit, draft, to_priority};
use super::sample::change;
use super::{Fixture, PATIENCE, crash};
use crate::catalog::ConfigAuditFilter;
use crate::{Changed, EngineError};

/// Waits for an announcement and takes what else has come.
pub(super) async fn heard(changes: &mut broadcast::Receiver<Changed>) -> Vec<Changed> {
    let first = tokio::time::timeout(PATIENCE, changes.recv())
        .await
        .expect("it is announced");
    let mut all = vec![first.expect("nobody lags here")];
    while let Ok(more) = changes.try_recv() {
        all.push(more);
    }
    all
}

/// A host is there in whatever case it is written; it is listed as it was written first.
pub async fn development_hosts_are_known_in_any_case(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("lab");
    engine
        .add_development_host("Dev-Router1", &by)
        .await
        .expect("added");
    engine
        .add_development_host("qa-firewall1", &by)
        .await
        .expect("added");
    let error = engine
        .add_development_host("dev-rOUTER1", &by)
        .await
        .expect_err("it is there");
    assert!(matches!(error, EngineError::Conflict(_)), "{error:?}");
    for name in ["", "  ", "x".repeat(256).as_str()] {
        let error = engine
            .add_development_host(name, &by)
            .await
            .expect_err("no host name");
        assert!(matches!(error, EngineError::Invalid(_)), "{error:?}");
    }
    assert_eq!(
        engine.development_hosts().await.expect("hosts"),
        ["Dev-Router1", "qa-firewall1"]
    );
    engine
        .remove_development_host("DEV-ROUTER1", &by)
        .await
        .expect("removed");
    assert_eq!(
        engine.development_hosts().await.expect("hosts"),
        ["qa-firewall1"]
    );
    engine
        .add_development_host("dev-router1", &by)
        .await
        .expect("it is free again");
    assert_eq!(
        engine.development_hosts().await.expect("hosts"),
        ["dev-router1", "qa-firewall1"]
    );
}

/// A device has one team, in whatever case it is written; setting it again changes it.
pub async fn device_teams_are_known_in_any_case(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("teams");
    engine
        .set_device_team("Router1.example.com", "NetOps", &by)
        .await
        .expect("set");
    engine
        .set_device_team("firewall1", "Security", &by)
        .await
        .expect("set");
    engine
        .set_device_team("ROUTER1.example.com", "NETO", &by)
        .await
        .expect("set");
    let pair = |host: &str, team: &str| (host.to_owned(), team.to_owned());
    let teams = engine.device_teams().await.expect("teams");
    assert_eq!(teams.len(), 2);
    assert_eq!(teams[0], pair("firewall1", "Security"));
    assert!(teams[1].0.eq_ignore_ascii_case("router1.example.com") && teams[1].1 == "NETO");
    for (host, team) in [
        ("", "NETO"),
        ("host", " "),
        ("host", "x".repeat(101).as_str()),
    ] {
        let error = engine
            .set_device_team(host, team, &by)
            .await
            .expect_err("not allowed");
        assert!(matches!(error, EngineError::Invalid(_)), "{error:?}");
    }
    engine
        .remove_device_team("router1.EXAMPLE.com", &by)
        .await
        .expect("removed");
    assert_eq!(
        engine.device_teams().await.expect("teams"),
        [pair("firewall1", "Security")]
    );
}

/// Hosts and teams leave audit rows as rules do.
pub async fn hosts_and_teams_are_audited(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine
        .add_development_host("Lab1", &change("1"))
        .await
        .expect("added");
    engine
        .remove_development_host("lab1", &change("2"))
        .await
        .expect("removed");
    engine
        .set_device_team("Fw1", "Security", &change("3"))
        .await
        .expect("set");
    engine
        .set_device_team("fw1", "NetOps", &change("4"))
        .await
        .expect("set");
    engine
        .remove_device_team("FW1", &change("5"))
        .await
        .expect("removed");
    let rows = audit(&*engine).await;
    let what: Vec<_> = rows
        .iter()
        .map(|row| {
            let key = row.record_key.as_deref().unwrap_or_default().to_lowercase();
            (row.operation.as_str(), row.table_name.as_str(), key)
        })
        .collect();
    let expected = [
        ("CREATE", "development_hosts", "lab1"),
        ("DELETE", "development_hosts", "lab1"),
        ("CREATE", "device_teams", "fw1"),
        ("UPDATE", "device_teams", "fw1"),
        ("DELETE", "device_teams", "fw1"),
    ]
    .map(|(operation, table, key)| (operation, table, key.to_owned()));
    assert_eq!(what, expected);
    let team = |values: &Option<serde_json::Value>| {
        values
            .as_ref()
            .map(|values| values["team_assignment"].as_str().map(str::to_owned))
    };
    let text = |team: &str| Some(Some(team.to_owned()));
    assert_eq!(
        (team(&rows[2].old_values), team(&rows[2].new_values)),
        (None, text("Security"))
    );
    assert_eq!(
        (team(&rows[3].old_values), team(&rows[3].new_values)),
        (text("Security"), text("NetOps"))
    );
    assert_eq!(
        (team(&rows[4].old_values), team(&rows[4].new_values)),
        (text("NetOps"), None)
    );
    assert_chain_holds(&*engine).await;
}

/// Every change, and a wish to reload, is heard by who listens. (Hearing of one twice is allowed.)
pub async fn changes_are_announced(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("announce");
    let mut changes = engine.changes();
    let rules = engine
        .add_rules(vec![draft("one", 1)], &by)
        .await
        .expect("added");
    assert_eq!(heard(&mut changes).await[0], Changed::Catalog);
    engine
        .change_rule(rules[0].id, to_priority(2), None, &by)
        .await
        .expect("changed");
    assert_eq!(heard(&mut changes).await[0], Changed::Catalog);
    engine
        .delete_rule(rules[0].id, None, &by)
        .await
        .expect("deleted");
    assert_eq!(heard(&mut changes).await[0], Changed::Catalog);
    engine
        .add_development_host("lab1", &by)
        .await
        .expect("added");
    assert_eq!(heard(&mut changes).await[0], Changed::Catalog);
    engine
        .set_device_team("fw1", "NetOps", &by)
        .await
        .expect("set");
    assert_eq!(heard(&mut changes).await[0], Changed::Catalog);
    engine.announce_reload().await.expect("announced");
    assert_eq!(heard(&mut changes).await[0], Changed::Catalog);
}

/// Rules, hosts, teams and their audit are there after a crash.
pub async fn the_catalog_survives_a_crash(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("keep");
    let rules = engine
        .add_rules(vec![draft("one", 1)], &by)
        .await
        .expect("added");
    engine
        .add_development_host("Lab1", &by)
        .await
        .expect("added");
    engine
        .set_device_team("fw1", "NetOps", &by)
        .await
        .expect("set");
    let rows = audit(&*engine).await;
    let engine = crash(fixture, engine).await;
    assert_eq!(engine.rules().await.expect("rules"), rules);
    assert_eq!(engine.development_hosts().await.expect("hosts"), ["Lab1"]);
    assert_eq!(engine.device_teams().await.expect("teams").len(), 1);
    assert_eq!(audit(&*engine).await, rows);
    assert_chain_holds(&*engine).await;
    engine
        .add_development_host("Lab2", &by)
        .await
        .expect("added");
    assert_chain_holds(&*engine).await;
}

/// Many changes at once make one chain without a fork or gap.
pub async fn the_hash_chain_holds_under_concurrent_changes(fixture: &dyn Fixture) {
    const WRITERS: usize = 6;
    const CHANGES: usize = 5;
    let engine = fixture.open().await;
    assert_eq!(engine.verify_config_audit().await.expect("read"), Ok(0));
    let rules = engine
        .add_rules(vec![draft("one", 1)], &change("make"))
        .await
        .expect("added");
    let id = rules[0].id;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let engine = engine.clone();
            tokio::spawn(async move {
                for number in 0..CHANGES {
                    let by = change(&format!("{writer}-{number}"));
                    let host = format!("lab-{writer}-{number}");
                    engine
                        .add_development_host(&host, &by)
                        .await
                        .expect("added");
                    engine
                        .change_rule(id, to_priority(5), None, &by)
                        .await
                        .expect("changed");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("the writer ends well");
    }
    let changes = WRITERS * CHANGES;
    assert_eq!(
        engine.rule(id).await.expect("there").version,
        1 + i64::try_from(changes).expect("few")
    );
    let rows = audit(&*engine).await;
    assert_eq!(rows.len(), 1 + 2 * changes);
    let mut hashes: Vec<_> = rows.iter().map(|row| row.row_hash.as_str()).collect();
    assert!(hashes.iter().all(|hash| hash.len() == 64));
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), rows.len(), "every row has a hash of its own");
    assert_chain_holds(&*engine).await;
}

/// Filters choose, and `before_id` gives the next page without gap or overlap.
pub async fn the_config_audit_is_read_in_pages(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    for number in 0..7 {
        let by = change(&number.to_string());
        engine
            .add_development_host(&format!("lab{number}"), &by)
            .await
            .expect("added");
        engine
            .set_device_team("fw1", &format!("team{number}"), &by)
            .await
            .expect("set");
    }
    let mut filter = ConfigAuditFilter {
        table_name: Some("development_hosts".to_owned()),
        limit: 3,
        ..ConfigAuditFilter::default()
    };
    let mut pages = Vec::new();
    loop {
        let page = engine.config_audit(&filter).await.expect("rows");
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        filter.before_id = Some(last.id);
        pages.extend(page);
    }
    let reasons: Vec<_> = pages
        .iter()
        .filter_map(|row| row.reason.as_deref())
        .collect();
    assert_eq!(reasons, ["6", "5", "4", "3", "2", "1", "0"], "newest first");
    let filter = ConfigAuditFilter {
        record_key: Some("fw1".to_owned()),
        limit: 100,
        ..ConfigAuditFilter::default()
    };
    let rows = engine.config_audit(&filter).await.expect("rows");
    assert_eq!(rows.len(), 7);
    assert!(rows.iter().all(|row| row.table_name == "device_teams"));
}

/// Every filter chooses what it says, and as many are counted as are listed.
pub async fn filters_choose_changes(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = |who: &str, id: &str| crate::Change {
        by: who.to_owned(),
        reason: None,
        correlation_id: Some(id.to_owned()),
    };
    let rules = engine
        .add_rules(vec![draft("one", 1)], &by("Anna_1", "c1"))
        .await
        .expect("added");
    let rule = rules[0].id;
    engine
        .change_rule(rule, to_priority(5), None, &by("bob", "c2"))
        .await
        .expect("changed");
    engine
        .add_development_host("lab", &by("bob", "c2"))
        .await
        .expect("added");
    engine
        .delete_rule(rule, None, &by("anna%1", "c3"))
        .await
        .expect("deleted");
    let all = ConfigAuditFilter {
        limit: 100,
        ..ConfigAuditFilter::default()
    };
    let rows = engine.config_audit(&all).await.expect("rows");
    let numbers: Vec<i64> = rows.iter().rev().map(|row| row.id).collect();
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        (all.clone(), vec![3, 2, 1, 0]),
        (
            ConfigAuditFilter {
                changed_by: text("ANNA"),
                ..all.clone()
            },
            vec![3, 0],
        ),
        (
            ConfigAuditFilter {
                changed_by: text("a_1"),
                ..all.clone()
            },
            vec![0],
        ),
        (
            ConfigAuditFilter {
                changed_by: text("%"),
                ..all.clone()
            },
            vec![3],
        ),
        (
            ConfigAuditFilter {
                operation: text("CREATE"),
                ..all.clone()
            },
            vec![2, 0],
        ),
        (
            ConfigAuditFilter {
                record_id: Some(rule),
                table_name: text("alert_rules"),
                ..all.clone()
            },
            vec![3, 1, 0],
        ),
        (
            ConfigAuditFilter {
                correlation_id: text("c2"),
                ..all.clone()
            },
            vec![2, 1],
        ),
        (
            ConfigAuditFilter {
                since: Some(rows[1].changed_at),
                ..all.clone()
            },
            vec![3, 2],
        ),
        (
            ConfigAuditFilter {
                until: Some(rows[1].changed_at),
                ..all.clone()
            },
            vec![1, 0],
        ),
        (
            ConfigAuditFilter {
                record_key: text("nobody"),
                ..all.clone()
            },
            vec![],
        ),
    ];
    for (filter, expected) in cases {
        let expected: Vec<i64> = expected.into_iter().map(|at: usize| numbers[at]).collect();
        let found = engine.config_audit(&filter).await.expect("rows");
        let found: Vec<i64> = found.iter().map(|row| row.id).collect();
        assert_eq!(found, expected, "{filter:?}");
        let paged = ConfigAuditFilter {
            offset: 1,
            limit: 1,
            ..filter
        };
        let count = engine.count_config_audit(&paged).await.expect("count");
        assert_eq!(count, expected.len() as u64, "{paged:?}");
        let second = engine.config_audit(&paged).await.expect("rows");
        let second: Vec<i64> = second.iter().map(|row| row.id).collect();
        assert_eq!(second, expected.get(1..2).unwrap_or_default(), "{paged:?}");
    }
}

/// Of many who give a device its first team one does.
pub async fn a_team_is_given_once(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("team");
    let given = tokio::join!(
        engine.add_device_team("Fw1", "Security", &by),
        engine.add_device_team("fw1", "NetOps", &by),
        engine.add_device_team("FW1", "Voice", &by)
    );
    let given = [given.0, given.1, given.2];
    let mut refused = given.iter().filter_map(|given| given.as_ref().err());
    assert!(
        refused.all(|error| matches!(error, EngineError::Conflict(_))),
        "{given:?}"
    );
    assert_eq!(given.iter().filter(|given| given.is_ok()).count(), 1);
    assert_eq!(engine.device_teams().await.expect("teams").len(), 1);
    assert_eq!(audit(&*engine).await.len(), 1);
    let error = engine.add_device_team(" ", "NetOps", &by).await;
    assert!(matches!(error, Err(EngineError::Invalid(_))), "{error:?}");
}

/// An import says what was new, changed and there; where one row is wrong nothing is stored; each
/// change is a row of the audit, and all is announced.
pub async fn imports_are_stored_whole_or_not_at_all(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("import");
    engine
        .add_development_host("Lab1", &by)
        .await
        .expect("added");
    engine
        .set_device_team("Fw1", "Security", &by)
        .await
        .expect("set");
    engine
        .set_device_team("sw1", "NetOps", &by)
        .await
        .expect("set");
    let mut changes = engine.changes();
    let hosts = |hosts: &[&str]| {
        hosts
            .iter()
            .map(|&host| host.to_owned())
            .collect::<Vec<_>>()
    };
    let teams = |teams: &[(&str, &str)]| -> Vec<(String, String)> {
        let owned = |&(host, team): &(&str, &str)| (host.to_owned(), team.to_owned());
        teams.iter().map(owned).collect()
    };
    let error = engine
        .import_development_hosts(hosts(&["lab2", " "]), &by)
        .await
        .expect_err("the second is no host name");
    assert!(
        matches!(&error, EngineError::Invalid(text) if text.contains("row 1")),
        "{error:?}"
    );
    let error = engine
        .import_device_teams(teams(&[("lab2", "NetOps"), ("lab3", "")]), &by)
        .await
        .expect_err("the second has no team");
    assert!(
        matches!(&error, EngineError::Invalid(text) if text.contains("row 1")),
        "{error:?}"
    );
    assert_eq!(engine.development_hosts().await.expect("hosts"), ["Lab1"]);
    assert_eq!(audit(&*engine).await.len(), 3);

    let imported = engine
        .import_development_hosts(hosts(&["LAB1", " lab2 ", "lab3", "LAB3"]), &by)
        .await
        .expect("imported");
    assert_eq!(
        (imported.new, imported.changed, imported.unchanged),
        (2, 0, 1)
    );
    assert_eq!(
        engine.development_hosts().await.expect("hosts"),
        ["Lab1", "lab2", "lab3"]
    );
    let rows = [
        ("FW1", "NetOps"),
        ("sw1", "NetOps"),
        ("new1", "Voice"),
        ("new1", "Data"),
    ];
    let imported = engine
        .import_device_teams(teams(&rows), &by)
        .await
        .expect("imported");
    assert_eq!(
        (imported.new, imported.changed, imported.unchanged),
        (1, 1, 1)
    );
    let set = engine.device_teams().await.expect("teams");
    assert_eq!(
        set,
        teams(&[("Fw1", "NetOps"), ("new1", "Data"), ("sw1", "NetOps")])
    );
    assert!(heard(&mut changes).await.contains(&Changed::Catalog));
    let rows = audit(&*engine).await;
    assert_eq!(rows.len(), 7, "one per change: {rows:?}");
    assert!(
        rows.iter()
            .all(|row| row.reason.as_deref() == Some("import"))
    );
    assert_chain_holds(&*engine).await;

    let imported = engine
        .import_device_teams(set, &by)
        .await
        .expect("imported");
    assert_eq!(
        (imported.new, imported.changed, imported.unchanged),
        (0, 0, 3)
    );
    let many = (0..2000).map(|number| format!("host{number}")).collect();
    let imported = engine.import_development_hosts(many, &by).await;
    assert_eq!(imported.expect("imported").new, 2000);
    let verified = engine.verify_config_audit().await.expect("read");
    assert_eq!(verified, Ok(2007));
}

/// What changes no table can be put on record too.
pub async fn what_is_noted_is_in_the_chain(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine
        .add_development_host("lab", &change("1"))
        .await
        .expect("added");
    let note = crate::Note {
        operation: crate::changes::Operation::Create,
        table: "exports",
        key: Some("e1".to_owned()),
        values: serde_json::json!({ "rows": 3, "share": 0.5, "filters": { "hostname": "h" } }),
    };
    engine
        .note(note.clone(), &change("2"))
        .await
        .expect("noted");
    let rows = audit(&*engine).await;
    let row = rows
        .iter()
        .find(|row| row.table_name == "exports")
        .expect("it is there");
    assert_eq!(
        (row.operation.as_str(), row.record_key.as_deref()),
        ("CREATE", Some("e1"))
    );
    assert_eq!(row.new_values.as_ref(), Some(&note.values));
    assert_eq!(
        (row.changed_by.as_str(), row.reason.as_deref()),
        ("conformance", Some("2"))
    );
    assert_chain_holds(&*engine).await;
}
