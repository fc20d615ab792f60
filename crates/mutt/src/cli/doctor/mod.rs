//! `mutt doctor`.

mod doors;
mod servers;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, SystemTime};

use clap::Args;
use mutt_config::{Backend, Secret, Secrets, Settings, Source};
use mutt_http::Tls;
use serde::Serialize;

use crate::certificates;
use crate::cli::Global;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output::{self, Style};

/// Check everything a deployment needs, and say how to mend it. Exit code 3 where something must be
/// mended.
#[derive(Debug, Args)]
pub struct Doctor {}

/// A certificate that expires within so many days is to be renewed now.
const RENEW_DAYS: u64 = 14;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Good,
    Warning,
    Bad,
}

#[derive(Debug, Serialize)]
struct Check {
    grade: Grade,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

fn good(what: impl Into<String>) -> Check {
    Check {
        grade: Grade::Good,
        what: what.into(),
        mend: None,
    }
}

fn warning(what: impl Into<String>, mend: impl Into<String>) -> Check {
    Check {
        grade: Grade::Warning,
        what: what.into(),
        mend: Some(mend.into()),
    }
}

fn bad(what: impl Into<String>, mend: impl Into<String>) -> Check {
    Check {
        grade: Grade::Bad,
        what: what.into(),
        mend: Some(mend.into()),
    }
}

impl Doctor {
    /// Checks.
    pub async fn run(self, global: &Global) -> Outcome {
        let context = Context::new(global)?;
        let mut checks = vec![good("the configuration is good")];
        for text in &context.loaded.warnings {
            checks.push(warning(text.clone(), "use the present name"));
        }
        let settings = &context.loaded.settings;
        if settings.backend == Backend::Distributed {
            checks.extend(servers::check(&context).await);
        } else {
            checks.push(data_dir(&context));
        }
        let running = server(&context, &mut checks).await;
        if running {
            checks.extend(doors::heard(&context).await);
        } else {
            listeners(&context, &mut checks);
        }
        checks.extend(doors::files(&context));
        checks.extend(store(&context).await);
        checks.extend(secrets(&context).await);
        certificates(settings, &mut checks);
        checks.push(sink(&context).await);
        checks.push(receive_buffer());
        checks.push(open_files());

        if context.json {
            output::json(&checks);
        } else {
            let colour = output::colour();
            for check in &checks {
                let (style, mark) = match check.grade {
                    Grade::Good => (Style::Green, "ok  "),
                    Grade::Warning => (Style::Yellow, "warn"),
                    Grade::Bad => (Style::Red, "bad "),
                };
                output::line(&format!(
                    "{}  {}",
                    output::paint(colour, style, mark),
                    check.what
                ));
                if let Some(mend) = &check.mend {
                    output::line(&format!("      -> {mend}"));
                }
            }
        }
        match checks
            .iter()
            .filter(|check| check.grade == Grade::Bad)
            .count()
        {
            0 => Ok(()),
            count => Err(Failure::problem(format!("{count} must be mended"))),
        }
    }
}

fn data_dir(context: &Context) -> Check {
    let dir = context.data_dir();
    let shown = dir.display();
    if !dir.exists() {
        return warning(
            format!("there is no data directory {shown} yet"),
            "`mutt serve` makes it at first start; its parent must be writable",
        );
    }
    let probe = dir.join(".doctor");
    let written = std::fs::write(&probe, b"mutt").and_then(|()| std::fs::remove_file(&probe));
    match written {
        Ok(()) => good(format!("the data directory {shown} can be written")),
        Err(error) => bad(
            format!("the data directory {shown} cannot be written: {error}"),
            "give it to the user that runs MUTT: chown -R mutt: DIR; check that the disk is neither full nor read-only",
        ),
    }
}

async fn server(context: &Context, checks: &mut Vec<Check>) -> bool {
    let settings = &context.loaded.settings;
    if settings.server_port_ingestor == 0 {
        return false;
    }
    let addr = SocketAddr::new(settings.bind_address, settings.server_port_ingestor);
    let scheme = if settings.tls_cert_file.is_some() {
        "https"
    } else {
        "http"
    };
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(3))
        .tls_danger_accept_invalid_certs(true)
        .build();
    let Ok(client) = client else { return false };
    let Ok(answer) = client.get(format!("{scheme}://{addr}/health")).send().await else {
        checks.push(warning(
            format!("no MUTT answers at {addr}"),
            "start it: `mutt serve`, or `systemctl start mutt-ingestor`",
        ));
        return false;
    };
    let status = answer.status();
    let document: serde_json::Value = answer.json().await.unwrap_or_default();
    if status.is_success() {
        checks.push(good(format!(
            "MUTT {} answers at {addr} and is healthy",
            document["version"].as_str().unwrap_or("?")
        )));
    } else {
        let details: Vec<String> = document["checks"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, check)| check["ok"] == false)
            .map(|(name, check)| {
                format!("{name}: {}", check["detail"].as_str().unwrap_or("not ok"))
            })
            .collect();
        checks.push(bad(
            format!("MUTT at {addr} is not healthy: {}", details.join("; ")),
            "see its log; `mutt status` shows queues and circuit",
        ));
    }
    true
}

fn listeners(context: &Context, checks: &mut Vec<Check>) {
    let settings = &context.loaded.settings;
    let bind = settings.bind_address;
    let mut wanted: Vec<(&str, SocketAddr, bool)> = settings
        .http_ports()
        .into_iter()
        .filter(|&(_, port)| port != 0)
        .map(|(name, port)| (name, SocketAddr::new(bind, port), false))
        .collect();
    wanted.extend(
        settings
            .syslog_tcp_addr
            .resolve(bind)
            .map(|addr| ("SYSLOG_TCP_ADDR", addr, false)),
    );
    let relp = settings.relp_addr.resolve(bind);
    wanted.extend(relp.map(|addr| ("RELP_ADDR", addr, false)));
    if settings.sender_certificate().is_some() {
        for (name, addr) in [
            ("SYSLOG_TLS_ADDR", settings.syslog_tls_addr),
            ("RELP_TLS_ADDR", settings.relp_tls_addr),
        ] {
            wanted.extend(addr.resolve(bind).map(|addr| (name, addr, false)));
        }
    }
    wanted.extend(
        settings
            .syslog_udp_addr
            .resolve(bind)
            .map(|addr| ("SYSLOG_UDP_ADDR", addr, true)),
    );
    let addr = settings.snmp_trap_addr.resolve(bind);
    wanted.extend(addr.map(|addr| ("SNMP_TRAP_ADDR", addr, true)));
    let mut free = 0;
    for (name, addr, udp) in wanted {
        let result = if udp {
            UdpSocket::bind(addr).map(drop)
        } else {
            TcpListener::bind(addr).map(drop)
        };
        match result {
            Ok(()) => free += 1,
            Err(error) => checks.push(bad(
                format!("{name} cannot listen on {addr}: {error}"),
                "set it to another port, or stop what holds this one (ss -ltnup)",
            )),
        }
    }
    checks.push(good(format!("{free} listeners can be opened")));
}

/// The certificates that clients are shown.
fn certificates(settings: &Settings, checks: &mut Vec<Check>) {
    let mut seen = Vec::new();
    for (setting, options) in [
        ("SYSLOG_TLS_CERT_FILE", certificates::of_senders(settings)),
        ("TLS_CERT_FILE", certificates::of_https(settings)),
    ] {
        let Some(options) = options else { continue };
        let file = options.certificate.clone();
        if seen.contains(&file) {
            continue;
        }
        seen.push(file.clone());
        let file = file.display();
        let expires = match Tls::load(options, &[]) {
            Ok(tls) => tls.expires(),
            Err(error) => {
                checks.push(bad(error.to_string(), format!("mend the file ({setting})")));
                continue;
            }
        };
        let Some(expires) = expires else {
            checks.push(good(format!("the certificate {file} can be used")));
            continue;
        };
        let renew = "put a new certificate in its place; MUTT takes it without a restart";
        checks.push(match expires.duration_since(SystemTime::now()) {
            Err(_) => bad(format!("the certificate {file} has expired"), renew),
            Ok(left) => {
                let days = left.as_secs() / 86_400;
                let what = format!("the certificate {file} is good for {days} more days");
                if days < RENEW_DAYS {
                    warning(what, renew)
                } else {
                    good(what)
                }
            }
        });
    }
}

async fn store(context: &Context) -> Option<Check> {
    let engine = match context.tool().await {
        Ok(engine) => engine,
        // Its servers were looked at before.
        Err(_) if context.loaded.settings.backend == Backend::Distributed => return None,
        Err(_) if !context.data_dir().join("mutt.db").exists() => return None,
        Err(_) => {
            return Some(bad(
                "the database cannot be opened",
                "`mutt status` says why; restore a backup where it is damaged",
            ));
        }
    };
    let check = match (engine.rules().await, engine.verify_config_audit().await) {
        (Ok(rules), Ok(Ok(rows))) => {
            if rules.iter().any(|rule| rule.draft.is_active) {
                good(format!(
                    "the store holds {} rules; {rows} configuration changes are on record and untouched",
                    rules.len()
                ))
            } else {
                warning(
                    "there is no active rule: every event is unhandled",
                    "`mutt rules add --help`, `mutt rules import FILE`",
                )
            }
        }
        (_, Ok(Err(row))) => bad(
            format!("config_audit_log was tampered with from row {row} on"),
            "compare with a backup; whoever wrote to the database by hand broke the chain",
        ),
        (Err(error), _) | (_, Err(error)) => {
            bad(format!("the store cannot be read: {error}"), "see the log")
        }
    };
    engine.close().await;
    Some(check)
}

async fn secrets(context: &Context) -> Vec<Check> {
    let secrets = match context.secrets().await {
        Ok(secrets) => secrets,
        Err(failure) => {
            let mend = "docs/secrets.md says where secrets come from";
            return vec![bad(failure.to_string(), mend)];
        }
    };
    let distributed = context.loaded.settings.backend == Backend::Distributed;
    let missing: Vec<_> = Secret::ALL
        .into_iter()
        .filter(|secret| match secret {
            Secret::RedisPass | Secret::DbPass => distributed,
            // One is for `mutt db migrate` alone, the other is looked at with Vault itself.
            Secret::DbAdminPass | Secret::VaultSecretId => false,
            _ => true,
        })
        .filter(|&secret| secrets.get(secret).is_empty())
        .map(Secret::name)
        .collect();
    let known = match missing.as_slice() {
        [] => good("every key is known"),
        ["MOOG_API_KEY"] if context.loaded.settings.moog_webhook_url.is_none() => {
            good("the keys of ingest and API are known")
        }
        names => warning(
            format!("not known: {}", names.join(", ")),
            "the keys of ingest and API are made at first start; MOOG_API_KEY is given by the Moogsoft team (MOOG_API_KEY_FILE)",
        ),
    };
    let vault = context.loaded.settings.vault_addr.as_ref();
    let vault = vault.map(|addr| good(format!("Vault at {addr} gives {}", from_vault(&secrets))));
    vault.into_iter().chain([known]).collect()
}

fn from_vault(secrets: &Secrets) -> String {
    let names: Vec<_> = Secret::ALL
        .into_iter()
        .filter(|&secret| secrets.source(secret) == Some(Source::Vault))
        .map(Secret::name)
        .collect();
    if names.is_empty() {
        "no secret that MUTT knows".into()
    } else {
        names.join(", ")
    }
}

async fn sink(context: &Context) -> Check {
    let Some(url) = &context.loaded.settings.moog_webhook_url else {
        return warning(
            "MOOG_WEBHOOK_URL is not set: alerts stay queued",
            "set it to the webhook of your Moogsoft",
        );
    };
    let reachable = reqwest::Url::parse(url)
        .ok()
        .and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)));
    let Some((host, port)) = reachable else {
        return bad(
            format!("MOOG_WEBHOOK_URL {url} names no host"),
            "it looks like https://moogsoft.example.com/…",
        );
    };
    let connect = tokio::net::TcpStream::connect((host.as_str(), port));
    match tokio::time::timeout(Duration::from_secs(5), connect).await {
        Ok(Ok(_)) => good(format!("the sink's host {host}:{port} accepts connections")),
        Ok(Err(error)) => bad(
            format!("the sink's host {host}:{port} cannot be reached: {error}"),
            "check name, route and firewall; alerts wait meanwhile",
        ),
        Err(_) => bad(
            format!("the sink's host {host}:{port} does not answer within 5 s"),
            "check route and firewall; alerts wait meanwhile",
        ),
    }
}

/// The most a socket may buffer: storms of datagrams need room.
fn receive_buffer() -> Check {
    const WANTED: u64 = 32 * 1024 * 1024;
    let most = std::fs::read_to_string("/proc/sys/net/core/rmem_max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .unwrap_or(0);
    if most >= WANTED {
        good("the kernel grants UDP sockets 32 MiB")
    } else {
        warning(
            format!(
                "the kernel grants UDP sockets {} KiB: a storm of datagrams may be dropped",
                most / 1024
            ),
            "sysctl -w net.core.rmem_max=33554432, and the same in /etc/sysctl.d/mutt.conf (not needed where MUTT has CAP_NET_ADMIN)",
        )
    }
}

fn open_files() -> Check {
    let limit = std::fs::read_to_string("/proc/self/limits")
        .unwrap_or_default()
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok())
        .unwrap_or(0);
    if limit == 0 || limit >= 4096 {
        good("the limit of open files allows thousands of senders")
    } else {
        warning(
            format!("only {limit} files may be open at once; every TCP sender needs one"),
            "LimitNOFILE=65536 in the unit, or ulimit -n",
        )
    }
}
