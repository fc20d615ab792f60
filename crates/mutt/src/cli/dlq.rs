//! `mutt dlq`.

mod jobs;

use clap::{Args, Subcommand};
use mutt_engine::dead_letters::DlqEntry;
use mutt_engine::{DeadLetterFilter, Dlq as Queue, Engine, Reason};
use serde_json::json;

use crate::api::Target;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output::{self, Table};

/// Dead letter queues: what could not be handled, and why.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mutt dlq list\n  mutt dlq list moog --reason refused\n  mutt dlq replay moog --all\n  mutt dlq replay moog --status 404 --redecide --why 'rule 5 corrected'\n  mutt dlq replay moog --all --rate 20     as a job of the running server, 20 a second\n  mutt dlq jobs\n  mutt dlq discard dead 17 --why 'test device'"
)]
pub struct Dlq {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the queues, or the entries of one
    List {
        /// ingest, alerter, moog or dead
        #[arg(value_parser = queue)]
        queue: Option<Queue>,
        #[command(flatten)]
        which: Which,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one entry whole
    Show {
        /// ingest, alerter, moog or dead
        #[arg(value_parser = queue)]
        queue: Queue,
        /// Its id
        id: String,
    },
    /// Send entries back to where they failed
    Replay {
        /// ingest, alerter, moog or dead
        #[arg(value_parser = queue)]
        queue: Queue,
        #[command(flatten)]
        which: Chosen,
        /// Have events of alerts decided anew by today's rules, instead of delivering the same again
        #[arg(long)]
        redecide: bool,
        /// At most so many a second, as a job of the running server; says how it goes until it ends
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
        /// Why, for the audit trail
        #[arg(long)]
        why: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Throw entries away
    Discard {
        /// ingest, alerter, moog or dead
        #[arg(value_parser = queue)]
        queue: Queue,
        #[command(flatten)]
        which: Chosen,
        /// Why, for the audit trail
        #[arg(long)]
        why: String,
    },
    /// The jobs of the running server, or abort one
    Jobs {
        /// Abort the job with this id; what it did stays done
        #[arg(long, value_name = "ID")]
        abort: Option<String>,
        #[command(flatten)]
        target: Target,
    },
}

/// Which entries are meant.
#[derive(Clone, Debug, Args)]
struct Which {
    /// Only this reason: malformed, shed, poison, refused, `retries_exhausted`
    #[arg(long, value_parser = reason)]
    reason: Option<Reason>,
    /// Only entries that contain this text
    #[arg(long)]
    text: Option<String>,
    /// Only entries whose last failure names this HTTP status
    #[arg(long)]
    status: Option<u16>,
    /// Only entries of this host
    #[arg(long)]
    host: Option<String>,
    /// Only alerts of this rule
    #[arg(long, value_name = "ID")]
    rule: Option<i64>,
}

impl Which {
    fn filter(self) -> DeadLetterFilter {
        DeadLetterFilter {
            reason: self.reason,
            text: self.text,
            status: self.status,
            hostname: self.host,
            rule_id: self.rule,
            ..DeadLetterFilter::default()
        }
    }
}

/// Entries by id, by filter, or all: something must be said.
#[derive(Clone, Debug, Args)]
struct Chosen {
    /// Ids of entries
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Every entry of the queue
    #[arg(long, conflicts_with_all = ["ids", "reason", "text", "status", "host", "rule"])]
    all: bool,
}

impl Chosen {
    fn filter(self) -> Outcome<DeadLetterFilter> {
        let filter = DeadLetterFilter {
            ids: (!self.ids.is_empty()).then_some(self.ids),
            ..self.which.filter()
        };
        if filter.is_any() && !self.all {
            return Err(Failure::usage(
                "say which entries: ids, --reason, --text, --status, --host, --rule or --all",
            ));
        }
        Ok(filter)
    }
}

fn queue(name: &str) -> Result<Queue, String> {
    Queue::from_name(name).ok_or_else(|| "allowed are ingest, alerter, moog and dead".into())
}

fn reason(name: &str) -> Result<Reason, String> {
    Reason::from_name(name)
        .ok_or_else(|| "allowed are malformed, shed, poison, refused and retries_exhausted".into())
}

impl Dlq {
    /// Does it.
    pub async fn run(self, context: &Context) -> Outcome {
        match self.command {
            Command::Jobs { abort, target } => return jobs::show(context, &target, abort).await,
            Command::Replay {
                queue,
                which,
                redecide,
                rate: Some(rate),
                why,
                target,
            } => {
                let order = jobs::Order {
                    queue,
                    filter: which.filter()?,
                    redecide,
                    rate,
                    why,
                };
                return jobs::replay(context, &target, order).await;
            }
            _ => {}
        }
        let engine = context.tool().await?;
        let result = self.command.run(context, &*engine).await;
        engine.close().await;
        result
    }
}

impl Command {
    async fn run(self, context: &Context, engine: &dyn Engine) -> Outcome {
        match self {
            Self::List { queue: None, .. } => depths(context, engine).await,
            Self::List {
                queue: Some(queue),
                which,
                limit,
            } => {
                let filter = which.filter();
                let entries = engine.dead_letters(queue, &filter, 0, limit).await?;
                list(context, &entries);
                let depth = engine.dlq_depth(queue).await?;
                if !context.json && depth > entries.len() as u64 {
                    eprintln!("{} of {depth} entries; more with --limit.", entries.len());
                }
                Ok(())
            }
            Self::Show { queue, id } => {
                let filter = DeadLetterFilter {
                    ids: Some(vec![id.clone()]),
                    ..Default::default()
                };
                let entries = engine.dead_letters(queue, &filter, 0, 1).await?;
                let entry = entries
                    .first()
                    .ok_or_else(|| Failure::usage(format!("{} has no entry {id}", queue.key())))?;
                show(context, entry);
                Ok(())
            }
            Self::Replay {
                queue,
                which,
                redecide,
                why,
                ..
            } => {
                let (filter, by) = (which.filter()?, Context::change(why));
                if redecide {
                    let count = engine.redecide(queue, &filter, &by).await?;
                    report(context, "sent back to be decided anew", count);
                } else {
                    let count = engine.replay(queue, &filter, &by).await?;
                    report(context, "replayed", count);
                }
                Ok(())
            }
            // It asks the server, not the engine.
            Self::Jobs { .. } => Ok(()),
            Self::Discard { queue, which, why } => {
                let count = engine
                    .discard(queue, &which.filter()?, &Context::change(Some(why)))
                    .await?;
                report(context, "discarded", count);
                Ok(())
            }
        }
    }
}

fn report(context: &Context, what: &str, count: u64) {
    if context.json {
        output::json(&json!({ what: count }));
    } else {
        eprintln!(
            "{count} {} {what}.",
            if count == 1 { "entry" } else { "entries" }
        );
    }
}

async fn depths(context: &Context, engine: &dyn Engine) -> Outcome {
    let mut rows = Vec::new();
    for queue in Queue::ALL {
        rows.push((queue, engine.dlq_depth(queue).await?));
    }
    if context.json {
        let rows: Vec<_> = rows
            .iter()
            .map(
                |(queue, depth)| json!({"queue": queue.name(), "key": queue.key(), "depth": depth}),
            )
            .collect();
        output::json(&rows);
    } else {
        let mut table = Table::new(&["QUEUE", "ENTRIES", "WHAT"]);
        for (queue, depth) in rows {
            let what = match queue {
                Queue::Ingest => "records of a batch that are no events",
                Queue::Alerter => "events that could not be decided, or were shed",
                Queue::Moog => "alerts that could not be delivered",
                Queue::Dead => "poison: set aside for a person",
            };
            table.row([queue.name().into(), output::count(depth), what.into()]);
        }
        table.print();
    }
    Ok(())
}

fn list(context: &Context, entries: &[DlqEntry]) {
    if context.json {
        output::json(&entries);
        return;
    }
    let mut table = Table::new(&[
        "ID",
        "REASON",
        "LAST FAILED",
        "TRIES",
        "REPLAYS",
        "DETAIL",
        "MESSAGE",
    ]);
    for entry in entries {
        table.row([
            entry.id.clone(),
            entry.reason.name().into(),
            output::local(entry.last_failed_at),
            entry.attempts.to_string(),
            entry.replays.to_string(),
            output::cut(&entry.detail, 60),
            output::cut(&entry.message, 120),
        ]);
    }
    table.print();
}

fn show(context: &Context, entry: &DlqEntry) {
    if context.json {
        output::json(entry);
        return;
    }
    let rows = [
        ("queue", entry.queue.key().to_owned()),
        ("failed in", entry.origin.key().to_owned()),
        ("reason", entry.reason.name().to_owned()),
        ("detail", entry.detail.clone()),
        ("first failed", output::local(entry.first_failed_at)),
        ("last failed", output::local(entry.last_failed_at)),
        ("attempts", entry.attempts.to_string()),
        ("replays", entry.replays.to_string()),
        ("message", entry.message.clone()),
    ];
    for (name, value) in rows {
        output::line(&format!("{name:<13} {}", output::harmless(&value)));
    }
}
