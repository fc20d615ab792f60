//! `mutt rules`.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use mutt_engine::Engine;
use mutt_event::syslog::Origin;
use mutt_rules::{Rule, RuleDraft, RuleSet, Subject};
use serde_json::json;

use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output::{self, Style, Table};

/// Rules: what to look for, and what is done about it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mutt rules list\n  mutt rules add '{\"match_string\":\"LINK-DOWN\",\"prod_handling\":\"Page_and_ticket\",\"dev_handling\":\"Ignore\",\"team_assignment\":\"NetOps\"}'\n  mutt rules test --lines router.log\n  mutt rules export > rules.json && mutt rules import rules.json"
)]
pub struct Rules {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List rules in the order in which they are tried
    List,
    /// Add one rule, given as a JSON object
    Add {
        /// The rule; `-` reads standard input
        rule: String,
        /// Why, for the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
    /// Delete a rule (it stays on record)
    Delete {
        /// Its id
        id: i64,
        /// Why, for the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
    /// Run rules against lines of text: which rule wins, and why the others do not
    Test {
        /// A file of rules (JSON array) instead of the stored ones
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
        /// A file of syslog lines; `-` is standard input
        #[arg(long, value_name = "FILE", default_value = "-")]
        lines: PathBuf,
        /// Explain every rule for every line
        #[arg(long)]
        explain: bool,
    },
    /// Add rules from a JSON array; all or none
    Import {
        /// The file; `-` is standard input
        file: PathBuf,
        /// Why, for the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
    /// Print all rules as a JSON array that `import` takes
    Export,
}

impl Rules {
    /// Does it.
    pub async fn run(self, context: &Context) -> Outcome {
        if let Command::Test {
            rules: Some(rules),
            lines,
            explain,
        } = &self.command
        {
            return test(context, &drafts(rules)?, lines, *explain);
        }
        let engine = match &self.command {
            Command::Add { .. } | Command::Import { .. } => context.tool_or_new().await?,
            _ => context.tool().await?,
        };
        let result = self.command.run(context, &*engine).await;
        engine.close().await;
        result
    }
}

impl Command {
    async fn run(self, context: &Context, engine: &dyn Engine) -> Outcome {
        match self {
            Self::List => list(context, engine).await,
            Self::Add { rule, reason } => {
                let text = if rule == "-" {
                    read(Path::new("-"))?
                } else {
                    rule
                };
                let draft: RuleDraft = serde_json::from_str(&text).map_err(|error| {
                    Failure::usage(format!("the rule is not understood: {error}"))
                })?;
                let added = engine
                    .add_rules(vec![draft], &Context::change(reason))
                    .await?;
                report_added(context, &added);
                Ok(())
            }
            Self::Delete { id, reason } => {
                engine
                    .delete_rule(id, None, &Context::change(reason))
                    .await?;
                eprintln!("Rule {id} is deleted; audit rows still name it.");
                Ok(())
            }
            Self::Test { lines, explain, .. } => {
                let rules = engine.rules().await?;
                test(context, &rules, &lines, explain)
            }
            Self::Import { file, reason } => {
                let drafts = drafts(&file)?.into_iter().map(|rule| rule.draft).collect();
                let added = engine.add_rules(drafts, &Context::change(reason)).await?;
                report_added(context, &added);
                Ok(())
            }
            Self::Export => {
                let drafts: Vec<_> = engine
                    .rules()
                    .await?
                    .into_iter()
                    .map(|rule| rule.draft)
                    .collect();
                output::line(&serde_json::to_string_pretty(&drafts).expect("rules are JSON"));
                Ok(())
            }
        }
    }
}

fn report_added(context: &Context, added: &[Rule]) {
    if context.json {
        output::json(
            &added
                .iter()
                .map(|rule| json!({"id": rule.id}))
                .collect::<Vec<_>>(),
        );
        return;
    }
    match added {
        [rule] => eprintln!(
            "Rule {} added; running alerters use it within a second.",
            rule.id
        ),
        _ => eprintln!(
            "{} rules added; running alerters use them within a second.",
            added.len()
        ),
    }
}

fn read(path: &Path) -> Outcome<String> {
    let mut bytes = Vec::new();
    let result = if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(path).map(|content| bytes = content)
    };
    result
        .map_err(|error| Failure::failed(format!("{} cannot be read: {error}", path.display())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Columns of `alert_rules` that the store fills in itself.
const OWN_COLUMNS: [&str; 5] = ["id", "version", "created_at", "updated_at", "deleted_at"];

/// Rules of a file, numbered from 1 in its order. Columns that the store fills in itself are left
/// out, and so are deleted rules: a dump of the table can be imported as it is.
fn drafts(path: &Path) -> Outcome<Vec<Rule>> {
    let text = read(path)?;
    let rows: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(&text)
        .map_err(|error| {
            Failure::usage(format!(
                "{} is no JSON array of rule objects: {error}",
                path.display()
            ))
        })?;
    let mut problems = Vec::new();
    let mut drafts: Vec<RuleDraft> = Vec::new();
    for (index, mut row) in rows.into_iter().enumerate() {
        if row.get("deleted_at").is_some_and(|at| !at.is_null()) {
            continue;
        }
        for column in OWN_COLUMNS {
            row.remove(column);
        }
        match serde_json::from_value::<RuleDraft>(row.into()) {
            Ok(draft) => {
                if let Err(invalid) = draft.check() {
                    problems.push(format!("rule {index}: {invalid}"));
                }
                drafts.push(draft);
            }
            Err(error) => problems.push(format!("rule {index}: {error}")),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::problem(problems.join("\n")));
    }
    let now = Timestamp::now();
    Ok((1..)
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

async fn list(context: &Context, engine: &dyn Engine) -> Outcome {
    let rules = engine.rules().await?;
    if context.json {
        output::json(&rules);
        return Ok(());
    }
    let hits = engine.rule_hits().await?;
    let mut table = Table::new(&[
        "ID",
        "PRIO",
        "LOOKS FOR",
        "PRODUCTION",
        "DEVELOPMENT",
        "TEAM",
        "STATE",
        "HITS 24H",
    ]);
    for rule in rules {
        let draft = &rule.draft;
        let state = match (draft.is_active, draft.mode) {
            (false, _) => "off",
            (true, mutt_rules::Mode::Observe) => "observe",
            (true, mutt_rules::Mode::Enforce) => "on",
        };
        let hits = hits.get(&rule.id).map_or(0, |hits| hits[1]);
        table.row([
            rule.id.to_string(),
            draft.priority.to_string(),
            output::cut(&looks_for(draft), 60),
            draft.prod_handling.to_string(),
            draft.dev_handling.to_string(),
            draft.team_assignment.clone(),
            state.into(),
            output::count(hits),
        ]);
    }
    if table.is_empty() {
        eprintln!("There are no rules yet. `mutt rules add --help` shows how to make one.");
    } else {
        table.print();
    }
    Ok(())
}

/// What a rule looks for, in a few words.
pub fn looks_for(draft: &RuleDraft) -> String {
    let mut parts = Vec::new();
    if let Some(text) = &draft.match_string {
        parts.push(match draft.match_type {
            mutt_rules::MatchType::Regex => format!("/{text}/"),
            _ => format!("'{text}'"),
        });
    }
    if let Some(oid) = &draft.trap_oid {
        parts.push(format!("trap {oid}"));
    }
    if let Some(severity) = draft.syslog_severity {
        parts.push(format!("severity {severity}"));
    }
    parts.join(" and ")
}

fn test(context: &Context, rules: &[Rule], lines: &Path, explain: bool) -> Outcome {
    let inactive = rules.iter().filter(|rule| !rule.draft.is_active).count();
    if inactive > 0 {
        eprintln!(
            "{inactive} of {} rules are off and take no part.",
            rules.len()
        );
    }
    let set = RuleSet::compile(rules.iter().cloned());
    for skipped in set.skipped() {
        eprintln!("rule {} takes no part: {}", skipped.rule_id, skipped.reason);
    }
    let colour = output::colour();
    let now = Timestamp::now();
    let mut matched = 0_u64;
    let mut total = 0_u64;
    for line in read(lines)?.lines().filter(|line| !line.trim().is_empty()) {
        total += 1;
        let mut element = Vec::new();
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let origin = Origin::new(nowhere, now, 1 << 20);
        mutt_event::syslog::parse_into(line.as_bytes(), &origin, &mut element);
        let event = mutt_event::json::view(&element)
            .map_err(|rejected| Failure::failed(format!("line {total}: {rejected}")))?;
        let subject = Subject {
            message: &event.message,
            trap_oid: event.trap_oid.as_deref(),
            severity: event.severity,
        };
        let explanation = set.explain(&subject);
        matched += u64::from(explanation.winner.is_some());
        if context.json {
            output::json(&json!({
                "line": total,
                "hostname": event.hostname,
                "message": event.message,
                "rule_id": explanation.winner,
                "verdicts": explain.then_some(&explanation.verdicts),
            }));
            continue;
        }
        let verdict = match explanation.winner {
            Some(id) => output::paint(colour, Style::Green, &format!("rule {id}")),
            None => output::paint(colour, Style::Yellow, "no rule"),
        };
        output::line(&format!(
            "{total:>4}  {verdict}  {}",
            output::harmless(line)
        ));
        if explain {
            for (id, verdict) in &explanation.verdicts {
                let text = format!("        rule {id}: {verdict}");
                output::line(&output::paint(colour, Style::Dim, &output::harmless(&text)));
            }
        }
    }
    eprintln!("{matched} of {total} lines match a rule.");
    Ok(())
}
