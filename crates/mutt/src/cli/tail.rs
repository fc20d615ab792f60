//! `mutt tail`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Deserialize;

use crate::api::{Api, Target};
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output::{self, Style};

/// Watch events as they are decided. Under load a sample is shown, and how many it stands for.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mutt tail\n  mutt tail core-sw\n  mutt tail --source snmp\n  mutt tail --unhandled --json | jq .message"
)]
pub struct Tail {
    /// Only events whose host or message contains this text (any case)
    filter: Option<String>,
    /// Only events that came this way; syslog is UDP, TCP, TLS and RELP, mutt what MUTT says itself
    #[arg(long, value_enum)]
    source: Option<Source>,
    /// Only events that no rule knows
    #[arg(long)]
    unhandled: bool,
    /// Only events that become alerts
    #[arg(long, conflicts_with = "unhandled")]
    alerts: bool,
    /// End after so many seconds
    #[arg(long = "for", value_name = "SECONDS")]
    duration: Option<u64>,
    /// End after so many events
    #[arg(long)]
    limit: Option<u64>,
    #[command(flatten)]
    target: Target,
}

/// Where events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Source {
    Syslog,
    Snmp,
    Http,
    Mutt,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Syslog => "syslog",
            Self::Snmp => "snmp",
            Self::Http => "http",
            Self::Mutt => "mutt",
        }
    }
}

#[derive(Debug, Deserialize)]
struct Batch {
    events: Vec<serde_json::Value>,
    total: u64,
}

#[derive(Debug, Deserialize)]
struct Event {
    received_at: Timestamp,
    hostname: String,
    message: String,
    severity: Option<u8>,
    source: Option<String>,
    environment: String,
    rule_id: Option<i64>,
    handling: String,
    team: Option<String>,
}

impl Tail {
    /// Watches until it is told to stop.
    pub async fn run(self, context: &Context) -> Outcome {
        let api = Api::new(context, &self.target).await?;
        let mut stream = api.stream("/api/v2/events/stream").await?;
        eprintln!("Watching {} (Ctrl-C ends)", api.base());
        let end = async {
            match self.duration {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        let mut shown = 0_u64;
        let (mut seen, mut stands_for) = (0_u64, 0_u64);
        let mut report = tokio::time::interval(Duration::from_secs(5));
        loop {
            tokio::select! {
                () = &mut end => return Ok(()),
                _ = tokio::signal::ctrl_c() => return Ok(()),
                _ = report.tick() => {
                    if stands_for > seen {
                        eprintln!("(a sample: {seen} of {} events)", output::count(stands_for));
                    }
                    (seen, stands_for) = (0, 0);
                }
                data = stream.next() => {
                    let Some(data) = data else {
                        return Err(Failure::failed("the server ended the stream"));
                    };
                    let Ok(batch) = serde_json::from_str::<Batch>(&data) else { continue };
                    seen += batch.events.len() as u64;
                    stands_for += batch.total;
                    for value in batch.events {
                        if self.show(context.json, &value) {
                            shown += 1;
                            if self.limit == Some(shown) {
                                return Ok(());
                            }
                        }
                    }
                }
            }
        }
    }

    fn show(&self, json: bool, value: &serde_json::Value) -> bool {
        let Ok(event) = Event::deserialize(value) else {
            return false;
        };
        let comes_from = |source: Source| event.source.as_deref() == Some(source.name());
        let wanted = self.source.is_none_or(comes_from)
            && self.filter.as_ref().is_none_or(|text| {
                let text = text.to_lowercase();
                event.hostname.to_lowercase().contains(&text)
                    || event.message.to_lowercase().contains(&text)
            })
            && (!self.unhandled || event.rule_id.is_none())
            && (!self.alerts
                || matches!(
                    event.handling.as_str(),
                    "Page_and_ticket" | "Page_only" | "Ticket_only"
                ));
        if !wanted {
            return false;
        }
        if json {
            output::json(value);
        } else {
            output::line(&render(&event, output::colour(), output::width()));
        }
        true
    }
}

fn render(event: &Event, colour: bool, width: usize) -> String {
    let time = event
        .received_at
        .to_zoned(jiff::tz::TimeZone::system())
        .strftime("%H:%M:%S%.3f")
        .to_string();
    let (style, mark) = match event.handling.as_str() {
        "Page_and_ticket" => (Style::Red, "PAGE+TICKET"),
        "Page_only" => (Style::Red, "PAGE"),
        "Ticket_only" => (Style::Yellow, "TICKET"),
        "Log_only" => (Style::Green, "log"),
        "Ignore" => (Style::Dim, "ignore"),
        _ => (Style::Cyan, "no rule"),
    };
    let severity = event
        .severity
        .and_then(mutt_event::Severity::new)
        .map_or("-", mutt_event::Severity::name);
    let who = match (&event.team, event.rule_id) {
        (Some(team), Some(rule)) => format!(" [{team}, rule {rule}]"),
        (None, Some(rule)) => format!(" [rule {rule}]"),
        _ => String::new(),
    };
    let lab = if event.environment == "development" {
        " (dev)"
    } else {
        ""
    };
    let head = format!("{time}  ");
    let mark = format!("{mark:<11}");
    let rest = format!(
        "  {severity:<7}  {}{lab}  {}{who}",
        output::harmless(&event.hostname),
        output::harmless(&event.message)
    );
    let used = head.chars().count() + mark.chars().count();
    let rest = if colour {
        output::cut(&rest, width.saturating_sub(used).max(20))
    } else {
        rest
    };
    format!(
        "{}{}{rest}",
        output::paint(colour, Style::Dim, &head),
        output::paint(colour, style, &mark)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            received_at: "2026-11-21T12:00:00.5Z".parse().unwrap(),
            hostname: "ams-core-sw1".into(),
            message: "%LINK-3-UPDOWN: down\u{1b}[31m".into(),
            severity: Some(3),
            source: Some("syslog".into()),
            environment: "production".into(),
            rule_id: Some(4),
            handling: "Page_and_ticket".into(),
            team: Some("NetOps".into()),
        }
    }

    #[test]
    fn without_a_terminal_there_is_neither_colour_nor_cutting() {
        let text = render(&event(), false, 20);
        assert!(
            text.ends_with(
                "PAGE+TICKET  err      ams-core-sw1  %LINK-3-UPDOWN: down [31m [NetOps, rule 4]"
            ),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn on_a_terminal_a_line_is_one_line() {
        let text = render(&event(), true, 60);
        let visible: String = text
            .replace("\x1b[2m", "")
            .replace("\x1b[31m", "")
            .replace("\x1b[0m", "");
        assert!(visible.chars().count() <= 60, "{visible}");
        assert!(visible.ends_with('…'));
    }
}
