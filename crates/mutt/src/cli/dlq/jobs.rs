//! Jobs of a running server: replay at a rate, watch, abort.

use std::time::Duration;

use mutt_engine::{DeadLetterFilter, Dlq};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, Target};
use crate::cli::keys::in_path;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output::{self, Table};

/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// A replay at a rate.
pub struct Order {
    pub queue: Dlq,
    /// All of them where it restricts nothing.
    pub filter: DeadLetterFilter,
    pub redecide: bool,
    /// Entries per second.
    pub rate: u32,
    pub why: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Job {
    id: String,
    action: String,
    mode: Option<String>,
    queue: String,
    state: String,
    total: u64,
    processed: u64,
    moved: u64,
    left: u64,
    by: String,
    reason: Option<String>,
    began_at: jiff::Timestamp,
    error: Option<String>,
}

fn body(order: &Order) -> Value {
    let mut body = json!({
        "mode": if order.redecide { "redecide" } else { "delivery" },
        "rate": order.rate,
        "reason": order.why,
    });
    let filter = &order.filter;
    if let Some(ids) = &filter.ids {
        body["ids"] = json!(ids);
    }
    let restricts = DeadLetterFilter {
        ids: None,
        ..filter.clone()
    };
    if filter.is_any() {
        body["all"] = true.into();
    } else if !restricts.is_any() {
        let mut fields = json!({
            "reason": filter.reason.map(mutt_engine::Reason::name),
            "text": filter.text,
            "status": filter.status,
            "hostname": filter.hostname,
            "rule_id": filter.rule_id,
        });
        if let Some(fields) = fields.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        body["filter"] = fields;
    }
    body
}

/// Orders a replay and says how it goes until it ends.
///
/// # Errors
/// As the API says; 1 where the job failed.
pub async fn replay(context: &Context, target: &Target, order: Order) -> Outcome {
    let api = Api::new(context, target).await?;
    let path = format!("/api/v2/dlq/{}/replay", order.queue.name());
    let mut accepted: Value = api.send(Method::POST, &path, &body(&order)).await?;
    let mut job = read(accepted["job"].take())?;
    let path = format!("/api/v2/jobs/{}", in_path(&job.id));
    if !context.json {
        eprintln!(
            "Job {} replays {} entries of {}, {} a second. It goes on without this command; \
             `mutt dlq jobs --abort {}` ends it.",
            job.id, job.total, job.queue, order.rate, job.id
        );
    }
    while job.state == "running" {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        job = read(api.get(&path).await?)?;
        if !context.json && job.state == "running" {
            eprintln!("{} of {}", job.processed, job.total);
        }
    }
    if context.json {
        output::json(&json!({
            "id": job.id, "state": job.state, "replayed": job.moved, "left": job.left,
        }));
    } else {
        eprintln!("{}: {} replayed, {} left.", job.state, job.moved, job.left);
    }
    match job.state.as_str() {
        "done" | "aborted" => Ok(()),
        _ => Err(Failure::failed(job.error.unwrap_or(job.state))),
    }
}

fn read(job: Value) -> Outcome<Job> {
    serde_json::from_value(job)
        .map_err(|error| Failure::failed(format!("the job is not understood: {error}")))
}

/// Lists the jobs, or aborts one.
///
/// # Errors
/// As the API says.
pub async fn show(context: &Context, target: &Target, abort: Option<String>) -> Outcome {
    let api = Api::new(context, target).await?;
    if let Some(id) = abort {
        let path = format!("/api/v2/jobs/{}/abort", in_path(&id));
        let job: Value = api.send(Method::POST, &path, &json!({})).await?;
        if context.json {
            output::json(&job);
        } else {
            eprintln!("Job {id} ends after the step it is at.");
        }
        return Ok(());
    }
    let mut all: Value = api.get("/api/v2/jobs").await?;
    let jobs = all["jobs"].take();
    if context.json {
        output::json(&jobs);
        return Ok(());
    }
    let mut table = Table::new(&["ID", "STATE", "WHAT", "DONE", "LEFT", "BEGAN", "BY", "WHY"]);
    for job in jobs.as_array().into_iter().flatten() {
        let job = read(job.clone())?;
        let what = match job.mode.as_deref() {
            Some("redecide") => format!("redecide {}", job.queue),
            _ => format!("{} {}", job.action, job.queue),
        };
        table.row([
            job.id,
            job.state,
            what,
            format!("{} of {}", job.processed, job.total),
            job.left.to_string(),
            output::local(job.began_at),
            output::cut(&job.by, 40),
            output::cut(&job.reason.unwrap_or_default(), 60),
        ]);
    }
    table.print();
    Ok(())
}
