//! Development hosts and device teams: host names are told apart without regard to case and kept
//! as they were written.
//!
//! PostgreSQL's idea of case depends on the server's locale, so names are compared here; the tables
//! are as small as a list that people keep. MUTT 2 told names apart by case: where it left two that
//! differ in nothing else, a change is made to both.

use std::collections::{HashMap, HashSet};

use deadpool_postgres::ClientWrapper;
use mutt_engine::changes::{
    HOSTS, Operation, Record, TEAMS, host_exists, hostname_key, no_host, no_team, team_exists,
};
use mutt_engine::{Change, Imported};
use serde_json::json;
use tokio_postgres::types::Type;

use crate::config_audit::{Head, record, record_all};
use crate::error::Step;

/// The development hosts, as written, in order.
pub(crate) async fn development(client: &ClientWrapper) -> Step<Vec<String>> {
    let rows = client
        .query_typed("SELECT hostname FROM development_hosts", &[])
        .await?;
    let mut hosts = rows
        .iter()
        .map(|row| Ok(row.try_get(0)?))
        .collect::<Step<Vec<String>>>()?;
    hosts.sort_by_cached_key(|host| hostname_key(host));
    Ok(hosts)
}

/// The ways in which this host is written.
async fn written(client: &ClientWrapper, hostname: &str) -> Step<Vec<String>> {
    let key = hostname_key(hostname);
    let mut hosts = development(client).await?;
    hosts.retain(|host| hostname_key(host) == key);
    Ok(hosts)
}

pub(crate) async fn add_development(
    client: &ClientWrapper,
    head: &mut Head,
    hostname: &str,
    by: &Change,
) -> Step<()> {
    if let Some(there) = written(client, hostname).await?.first() {
        return Err(host_exists(there).into());
    }
    client
        .execute_typed(
            "INSERT INTO development_hosts (hostname) VALUES ($1)",
            &[(&hostname, Type::TEXT)],
        )
        .await?;
    let new = Record {
        operation: Operation::Create,
        table: HOSTS,
        id: None,
        key: Some(hostname),
        old: None,
        new: Some(json!({ "hostname": hostname })),
    };
    record(client, head, by, new).await
}

/// One reading, one insert and one writing of audit rows, however many hosts there are.
pub(crate) async fn import_development(
    client: &ClientWrapper,
    head: &mut Head,
    hostnames: &[String],
    by: &Change,
) -> Step<Imported> {
    let there: HashSet<String> = development(client)
        .await?
        .iter()
        .map(|host| hostname_key(host))
        .collect();
    let new: Vec<&str> = hostnames
        .iter()
        .map(String::as_str)
        .filter(|host| !there.contains(&hostname_key(host)))
        .collect();
    let imported = Imported {
        new: new.len() as u64,
        changed: 0,
        unchanged: (hostnames.len() - new.len()) as u64,
    };
    if new.is_empty() {
        return Ok(imported);
    }
    client
        .execute_typed(
            "INSERT INTO development_hosts (hostname) SELECT unnest($1)",
            &[(&new, Type::TEXT_ARRAY)],
        )
        .await?;
    let records = new.iter().map(|hostname| Record {
        operation: Operation::Create,
        table: HOSTS,
        id: None,
        key: Some(hostname),
        old: None,
        new: Some(json!({ "hostname": hostname })),
    });
    record_all(client, head, by, records.collect()).await?;
    Ok(imported)
}

pub(crate) async fn remove_development(
    client: &ClientWrapper,
    head: &mut Head,
    hostname: &str,
    by: &Change,
) -> Step<()> {
    let written = written(client, hostname).await?;
    if written.is_empty() {
        return Err(no_host(hostname).into());
    }
    client
        .execute_typed(
            "DELETE FROM development_hosts WHERE hostname = ANY($1)",
            &[(&written, Type::TEXT_ARRAY)],
        )
        .await?;
    for hostname in &written {
        let gone = Record {
            operation: Operation::Delete,
            table: HOSTS,
            id: None,
            key: Some(hostname),
            old: Some(json!({ "hostname": hostname })),
            new: None,
        };
        record(client, head, by, gone).await?;
    }
    Ok(())
}

/// The teams of devices, by host name as written, in order.
pub(crate) async fn teams(client: &ClientWrapper) -> Step<Vec<(String, String)>> {
    let rows = client
        .query_typed("SELECT hostname, team_assignment FROM device_teams", &[])
        .await?;
    let mut teams = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Step<Vec<(String, String)>>>()?;
    teams.sort_by_cached_key(|(host, _)| hostname_key(host));
    Ok(teams)
}

async fn devices(client: &ClientWrapper, hostname: &str) -> Step<Vec<(String, String)>> {
    let key = hostname_key(hostname);
    let mut teams = teams(client).await?;
    teams.retain(|(host, _)| hostname_key(host) == key);
    Ok(teams)
}

/// A device that is known keeps the writing of its name, so that its history has one key.
pub(crate) async fn set_team(
    client: &ClientWrapper,
    head: &mut Head,
    hostname: &str,
    team: &str,
    by: &Change,
) -> Step<()> {
    let known: Vec<_> = devices(client, hostname)
        .await?
        .into_iter()
        .map(|(hostname, team)| (hostname, Some(team)))
        .collect();
    let all = if known.is_empty() {
        vec![(hostname.to_owned(), None)]
    } else {
        known
    };
    let values =
        |hostname: &str, team: &str| json!({ "hostname": hostname, "team_assignment": team });
    for (hostname, before) in all {
        client
            .execute_typed(
                "INSERT INTO device_teams (hostname, team_assignment) VALUES ($1, $2)
                 ON CONFLICT (hostname) DO UPDATE SET team_assignment = excluded.team_assignment",
                &[(&hostname, Type::TEXT), (&team, Type::TEXT)],
            )
            .await?;
        let set = Record {
            operation: match before {
                Some(_) => Operation::Update,
                None => Operation::Create,
            },
            table: TEAMS,
            id: None,
            key: Some(&hostname),
            old: before.map(|team| values(&hostname, &team)),
            new: Some(values(&hostname, team)),
        };
        record(client, head, by, set).await?;
    }
    Ok(())
}

pub(crate) async fn add_team(
    client: &ClientWrapper,
    head: &mut Head,
    hostname: &str,
    team: &str,
    by: &Change,
) -> Step<()> {
    if let Some((there, _)) = devices(client, hostname).await?.first() {
        return Err(team_exists(there).into());
    }
    set_team(client, head, hostname, team, by).await
}

/// One reading, one writing of teams and one of audit rows, however many devices there are.
pub(crate) async fn import_teams(
    client: &ClientWrapper,
    head: &mut Head,
    rows: &[(String, String)],
    by: &Change,
) -> Step<Imported> {
    let mut there: HashMap<String, Vec<(String, String)>> = HashMap::new();
    for (hostname, team) in teams(client).await? {
        let known = there.entry(hostname_key(&hostname)).or_default();
        known.push((hostname, team));
    }
    let mut imported = Imported::default();
    // (host as it is written, team before, team now)
    let mut set: Vec<(&str, Option<&str>, &str)> = Vec::new();
    for (hostname, team) in rows {
        let Some(known) = there.get(&hostname_key(hostname)) else {
            imported.new += 1;
            set.push((hostname, None, team));
            continue;
        };
        let before = set.len();
        let other = known.iter().filter(|(_, before)| before != team);
        set.extend(
            other.map(|(written, before)| (written.as_str(), Some(before.as_str()), team.as_str())),
        );
        if set.len() == before {
            imported.unchanged += 1;
        } else {
            imported.changed += 1;
        }
    }
    if set.is_empty() {
        return Ok(imported);
    }
    let hostnames: Vec<&str> = set.iter().map(|&(hostname, ..)| hostname).collect();
    let assigned: Vec<&str> = set.iter().map(|&(.., team)| team).collect();
    client
        .execute_typed(
            "INSERT INTO device_teams (hostname, team_assignment)
             SELECT hostname, team FROM unnest($1, $2) AS new (hostname, team)
             ON CONFLICT (hostname) DO UPDATE SET team_assignment = excluded.team_assignment",
            &[
                (&hostnames, Type::TEXT_ARRAY),
                (&assigned, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    let values =
        |hostname: &str, team: &str| json!({ "hostname": hostname, "team_assignment": team });
    let records = set.iter().map(|&(hostname, before, team)| Record {
        operation: match before {
            Some(_) => Operation::Update,
            None => Operation::Create,
        },
        table: TEAMS,
        id: None,
        key: Some(hostname),
        old: before.map(|before| values(hostname, before)),
        new: Some(values(hostname, team)),
    });
    record_all(client, head, by, records.collect()).await?;
    Ok(imported)
}

pub(crate) async fn remove_team(
    client: &ClientWrapper,
    head: &mut Head,
    hostname: &str,
    by: &Change,
) -> Step<()> {
    let known = devices(client, hostname).await?;
    if known.is_empty() {
        return Err(no_team(hostname).into());
    }
    let written: Vec<&str> = known.iter().map(|(hostname, _)| &**hostname).collect();
    client
        .execute_typed(
            "DELETE FROM device_teams WHERE hostname = ANY($1)",
            &[(&written, Type::TEXT_ARRAY)],
        )
        .await?;
    for (hostname, team) in &known {
        let gone = Record {
            operation: Operation::Delete,
            table: TEAMS,
            id: None,
            key: Some(hostname),
            old: Some(json!({ "hostname": hostname, "team_assignment": team })),
            new: None,
        };
        record(client, head, by, gone).await?;
    }
    Ok(())
}
