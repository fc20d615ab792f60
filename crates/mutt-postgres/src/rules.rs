//! Rules as rows of `alert_rules`.

use std::str::FromStr as _;

use deadpool_postgres::ClientWrapper;
use jiff::Timestamp;
use mutt_engine::EngineError;
use mutt_rules::{Handling, MatchType, Mode, Rule, RuleDraft};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::error::Step;
use crate::time::Micros;

// Databases that MUTT 2 made keep their integer types.
const COLUMNS: &str = "id::bigint, match_string, trap_oid, syslog_severity::smallint, match_type, \
     priority::integer, prod_handling, dev_handling, team_assignment, is_active, mode, \
     description, version, created_at, updated_at, deleted_at";

fn match_type(text: &str) -> Result<MatchType, String> {
    [MatchType::Contains, MatchType::Regex, MatchType::OidPrefix]
        .into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| format!("'{text}' is no match_type"))
}

fn mode(text: &str) -> Result<Mode, String> {
    [Mode::Enforce, Mode::Observe]
        .into_iter()
        .find(|mode| mode.name() == text)
        .ok_or_else(|| format!("'{text}' is no mode"))
}

/// A word that a column may hold; any other was not written by MUTT.
fn word<T>(row: &Row, index: usize, parse: impl FnOnce(&str) -> Result<T, String>) -> Step<T> {
    parse(row.try_get(index)?).map_err(|reason| {
        let id = row.try_get::<_, i64>(0).unwrap_or_default();
        let column = row.columns()[index].name();
        EngineError::Unusable(format!(
            "row {id} of alert_rules cannot be read: {column}: {reason}; correct it with SQL"
        ))
        .into()
    })
}

fn read(row: &Row) -> Step<Rule> {
    let time = |index| row.try_get::<_, Option<Micros>>(index);
    let at = |index| time(index).map(|time| time.map_or(Timestamp::UNIX_EPOCH, |time| time.0));
    Ok(Rule {
        id: row.try_get(0)?,
        draft: RuleDraft {
            match_string: row.try_get(1)?,
            trap_oid: row.try_get(2)?,
            syslog_severity: row
                .try_get::<_, Option<i16>>(3)?
                .and_then(|severity| u8::try_from(severity).ok()),
            match_type: word(row, 4, match_type)?,
            priority: row.try_get(5)?,
            prod_handling: word(row, 6, Handling::from_str)?,
            dev_handling: word(row, 7, Handling::from_str)?,
            team_assignment: row.try_get(8)?,
            is_active: row.try_get(9)?,
            mode: word(row, 10, mode)?,
            description: row.try_get(11)?,
        },
        version: row.try_get(12)?,
        created_at: at(13)?,
        updated_at: at(14)?,
        deleted_at: time(15)?.map(|time| time.0),
    })
}

/// Every rule that is not deleted, by priority, then id.
pub(crate) async fn list(client: &ClientWrapper) -> Step<Vec<Rule>> {
    let sql =
        format!("SELECT {COLUMNS} FROM alert_rules WHERE deleted_at IS NULL ORDER BY priority, id");
    let rows = client.query_typed(&sql, &[]).await?;
    rows.iter().map(read).collect()
}

/// One rule, deleted or not.
pub(crate) async fn get(client: &ClientWrapper, id: i64) -> Step<Option<Rule>> {
    let sql = format!("SELECT {COLUMNS} FROM alert_rules WHERE id = $1");
    let row = client.query_typed_opt(&sql, &[(&id, Type::INT8)]).await?;
    row.as_ref().map(read).transpose()
}

/// Text that a column cannot hold, said of the field.
fn without_nul(draft: &RuleDraft) -> Step<()> {
    let fields = [
        ("match_string", draft.match_string.as_deref()),
        ("trap_oid", draft.trap_oid.as_deref()),
        ("team_assignment", Some(&*draft.team_assignment)),
        ("description", draft.description.as_deref()),
    ];
    match fields
        .into_iter()
        .find(|(_, text)| text.is_some_and(|text| text.contains('\0')))
    {
        Some((field, _)) => Err(EngineError::Invalid(format!(
            "{field}: the character U+0000 cannot be stored"
        ))
        .into()),
        None => Ok(()),
    }
}

/// What rules say, as one array per column.
struct Columns<'a> {
    match_string: Vec<Option<&'a str>>,
    trap_oid: Vec<Option<&'a str>>,
    syslog_severity: Vec<Option<i32>>,
    match_type: Vec<&'static str>,
    priority: Vec<i32>,
    prod_handling: Vec<&'static str>,
    dev_handling: Vec<&'static str>,
    team_assignment: Vec<&'a str>,
    is_active: Vec<bool>,
    mode: Vec<&'static str>,
    description: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn new(drafts: &[&'a RuleDraft]) -> Self {
        let each = || drafts.iter().copied();
        Self {
            match_string: each().map(|draft| draft.match_string.as_deref()).collect(),
            trap_oid: each().map(|draft| draft.trap_oid.as_deref()).collect(),
            syslog_severity: each()
                .map(|draft| draft.syslog_severity.map(i32::from))
                .collect(),
            match_type: each().map(|draft| draft.match_type.name()).collect(),
            priority: each().map(|draft| draft.priority).collect(),
            prod_handling: each().map(|draft| draft.prod_handling.name()).collect(),
            dev_handling: each().map(|draft| draft.dev_handling.name()).collect(),
            team_assignment: each().map(|draft| &*draft.team_assignment).collect(),
            is_active: each().map(|draft| draft.is_active).collect(),
            mode: each().map(|draft| draft.mode.name()).collect(),
            description: each().map(|draft| draft.description.as_deref()).collect(),
        }
    }

    /// `$1` to `$11`.
    fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        vec![
            (&self.match_string, Type::TEXT_ARRAY),
            (&self.trap_oid, Type::TEXT_ARRAY),
            (&self.syslog_severity, Type::INT4_ARRAY),
            (&self.match_type, Type::TEXT_ARRAY),
            (&self.priority, Type::INT4_ARRAY),
            (&self.prod_handling, Type::TEXT_ARRAY),
            (&self.dev_handling, Type::TEXT_ARRAY),
            (&self.team_assignment, Type::TEXT_ARRAY),
            (&self.is_active, Type::BOOL_ARRAY),
            (&self.mode, Type::TEXT_ARRAY),
            (&self.description, Type::TEXT_ARRAY),
        ]
    }
}

const SAID: &str = "match_string, trap_oid, syslog_severity, match_type, priority, prod_handling, \
     dev_handling, team_assignment, is_active, mode, description";

/// Stores new rules; numbers grow in their order.
pub(crate) async fn insert(
    client: &ClientWrapper,
    drafts: Vec<RuleDraft>,
    now: Timestamp,
) -> Step<Vec<Rule>> {
    drafts.iter().try_for_each(without_nul)?;
    let each: Vec<_> = drafts.iter().collect();
    let columns = Columns::new(&each);
    let mut parameters = columns.parameters();
    let at = Micros(now);
    parameters.push((&at, Type::TIMESTAMPTZ));
    let sql = format!(
        "INSERT INTO alert_rules ({SAID}, version, created_at, updated_at)
         SELECT {SAID}, 1, $12, $12
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) WITH ORDINALITY
             AS new ({SAID}, position)
         ORDER BY position RETURNING id::bigint"
    );
    let rows = client.query_typed(&sql, &parameters).await?;
    let mut ids = rows
        .iter()
        .map(|row| Ok(row.try_get(0)?))
        .collect::<Step<Vec<i64>>>()?;
    ids.sort_unstable();
    Ok(ids
        .into_iter()
        .zip(drafts)
        .map(|(id, draft)| Rule {
            id,
            draft,
            version: 1,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        })
        .collect())
}

/// Stores what a rule says now.
pub(crate) async fn update(client: &ClientWrapper, rule: &Rule) -> Step<()> {
    without_nul(&rule.draft)?;
    let columns = Columns::new(&[&rule.draft]);
    let mut parameters = columns.parameters();
    let (updated, deleted) = (Micros(rule.updated_at), rule.deleted_at.map(Micros));
    parameters.push((&rule.version, Type::INT8));
    parameters.push((&updated, Type::TIMESTAMPTZ));
    parameters.push((&deleted, Type::TIMESTAMPTZ));
    parameters.push((&rule.id, Type::INT8));
    let sql = format!(
        "UPDATE alert_rules SET ({SAID}, version, updated_at, deleted_at) =
             (SELECT {SAID}, $12::bigint, $13::timestamptz, $14::timestamptz
              FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) AS new ({SAID}))
         WHERE id = $15"
    );
    client.execute_typed(&sql, &parameters).await?;
    Ok(())
}
