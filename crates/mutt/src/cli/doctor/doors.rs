//! The doors that events come through: what each heard and refused, and the files that say who sends.

use std::collections::BTreeMap;

use mutt_ingest::DoorOptions;
use serde::Deserialize;

use super::{Check, bad, good, warning};
use crate::api::{Api, Target};
use crate::cli::status::{Listener, age, not_taken};
use crate::context::Context;
use crate::output;

#[derive(Deserialize)]
struct State {
    pods: Vec<Pod>,
}

#[derive(Deserialize)]
struct Pod {
    pod: String,
    listeners: Vec<Listener>,
}

/// What each open listener heard last, and what it refused.
pub(super) async fn heard(context: &Context) -> Vec<Check> {
    if context.loaded.settings.server_port_webui == 0 {
        return Vec::new();
    }
    let state = async {
        let api = Api::new(context, &Target { url: None }).await?;
        api.get::<State>("/api/v2/status").await
    };
    let state = match state.await {
        Ok(state) => state,
        Err(failure) => {
            return vec![warning(
                format!("what the listeners heard is not known: {failure}"),
                "the role webui answers it; `mutt doctor` asks the one of this machine",
            )];
        }
    };
    let mut checks = Vec::new();
    for pod in state.pods {
        for listener in &pod.listeners {
            checks.push(listener_check(listener, &pod.pod));
        }
    }
    checks
}

fn listener_check(listener: &Listener, pod: &str) -> Check {
    let heard = match listener.last_received_at {
        None => "nothing came yet".to_owned(),
        Some(at) if listener.received == 1 => format!("one message, {} ago", age(at)),
        Some(at) => format!(
            "{} messages, the last {} ago",
            output::count(listener.received),
            age(at)
        ),
    };
    let text = format!(
        "{} is open at {} ({}): {heard}",
        listener.listener,
        listener.address,
        output::harmless(pod)
    );
    match mend(&listener.dropped) {
        None => good(text),
        Some(mend) => {
            let dropped = not_taken(&listener.dropped);
            warning(format!("{text}; not taken: {dropped}"), mend)
        }
    }
}

/// What to do about the most frequent reason.
fn mend(dropped: &BTreeMap<String, u64>) -> Option<&'static str> {
    let (reason, _) = dropped
        .iter()
        // Who sends an inform twice missed an answer; nothing is wrong.
        .filter(|(reason, _)| *reason != "retransmission")
        .max_by_key(|(_, count)| **count)?;
    Some(match &**reason {
        "kernel" => {
            "a burst was faster than MUTT could read: sysctl -w net.core.rmem_max=33554432, or more processors"
        }
        "flood" => {
            "a sender passed its limit: `mutt status` names it, docs/sources/senders.md has the settings"
        }
        "queue_full" => {
            "more came than was decided: `mutt status` shows the queues; max_ingest_queue_size is the limit"
        }
        "store_error" | "redis_error" => {
            "nothing durable could be written: see the log, and the disk or Redis"
        }
        "auth" => "a key, community, user or certificate is wrong: see the log for who it was",
        "unknown_user" | "security_level" | "wrong_digest" | "decryption" | "unknown_engine"
        | "time_window" | "too_many_engines" => {
            "an SNMPv3 user, its level, passwords or engine do not fit: the log names the sender; the users file and the device must agree"
        }
        "replay" => "somebody sends copies of old SNMP messages: the log names the address",
        "rate_limit" => {
            "more came over HTTP than ingest_max_rate allows; senders were told to wait"
        }
        "too_large" => {
            "longer than allowed (MAX_BODY_BYTES, SYSLOG_MAX_LINE): see docs/configuration.md"
        }
        _ => {
            "some sender speaks another protocol or breaks this one: see the log at level debug, and docs/sources.md"
        }
    })
}

/// The files that say who sends: whether they can be read and have no mistake.
pub(super) fn files(context: &Context) -> Vec<Check> {
    let settings = &context.loaded.settings;
    let only = |options: DoorOptions, said: String| match mutt_ingest::door::check(&options) {
        Ok(1) => good(format!("{said} is good: 1 entry")),
        Ok(entries) => good(format!("{said} is good: {entries} entries")),
        Err(error) => bad(
            error.to_string(),
            "mend the line; while MUTT runs, what the file said before holds",
        ),
    };
    let mut checks = Vec::new();
    if let Some(path) = &settings.senders_file {
        let options = DoorOptions {
            senders_file: Some(path.clone()),
            ..DoorOptions::default()
        };
        checks.push(only(options, format!("SENDERS_FILE {}", path.display())));
    }
    if let Some(path) = &settings.hosts_file {
        let options = DoorOptions {
            hosts_file: Some(path.clone()),
            ..DoorOptions::default()
        };
        checks.push(only(options, format!("HOSTS_FILE {}", path.display())));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    fn listener(dropped: &[(&str, u64)]) -> Listener {
        Listener {
            listener: "syslog_udp".into(),
            address: "0.0.0.0:514".into(),
            received: 12_345,
            accepted: 12_000,
            last_received_at: Some(jiff::Timestamp::now()),
            dropped: dropped
                .iter()
                .map(|&(reason, count)| (reason.to_owned(), count))
                .collect(),
        }
    }

    #[test]
    fn a_listener_says_what_it_heard_and_what_to_do_about_what_it_refused() {
        let check = listener_check(&listener(&[]), "pod-1");
        assert_eq!(check.grade, Grade::Good);
        assert_eq!(
            check.what,
            "syslog_udp is open at 0.0.0.0:514 (pod-1): 12,345 messages, the last 0 s ago"
        );
        let check = listener_check(&listener(&[("flood", 5), ("kernel", 300)]), "pod-1");
        assert_eq!(check.grade, Grade::Warning);
        assert!(
            check.what.ends_with("not taken: 300 kernel, 5 flood"),
            "{}",
            check.what
        );
        assert!(check.mend.unwrap().contains("rmem_max"));
    }
}
