//! `mutt send`.

use std::io::{BufRead as _, BufReader, Read};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use mutt_config::Secret;
use mutt_traffic::{Message, Sender, Storm, Targets, Traffic, Wire};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output;

/// Send events over real sockets: lines of a file, standard input, or a generated storm.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mutt send syslog router.log --rate 100\n  echo '{\"hostname\":\"r1\",\"message\":\"LINK-DOWN\"}' | mutt send http -\n  mutt send syslog --storm link-flap\n  mutt send syslog --storm new-device --dry-run"
)]
pub struct Send {
    /// How each line travels
    #[arg(value_enum)]
    kind: Kind,
    /// A file of lines; `-` is standard input
    #[arg(required_unless_present = "storm")]
    file: Option<PathBuf>,
    /// A generated storm instead: link-flap, power, auth, config-push, new-device, bad-sender
    #[arg(long, value_parser = storm, conflicts_with = "file")]
    storm: Option<Storm>,
    /// Where to: HOST:PORT for syslog, a URL for http [default: this machine, as configured]
    #[arg(long)]
    to: Option<String>,
    /// Syslog over this transport
    #[arg(long, value_enum, default_value_t = Transport::Udp)]
    transport: Transport,
    /// Messages per second [default: as fast as they go; a storm keeps its own time]
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Send the lines again and again until so many were sent
    #[arg(long)]
    count: Option<u64>,
    /// The seed of generated traffic
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// The only certificates (PEM) to trust for https [default: those of the system]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print what would be sent
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// One syslog message per line
    Syslog,
    /// One JSON object per line, posted to /ingest
    Http,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Transport {
    Udp,
    Tcp,
}

fn storm(name: &str) -> Result<Storm, String> {
    Storm::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Storm::ALL.iter().map(|(name, _)| *name).collect();
        format!("allowed are {}", names.join(", "))
    })
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| (0.01..=10_000_000.0).contains(rate))
        .ok_or_else(|| "allowed is a number of messages per second above 0".into())
}

impl Send {
    /// Sends, then says what was sent.
    pub async fn run(self, context: &Context) -> Outcome {
        let targets = self.targets(context).await?;
        let messages: Box<dyn Iterator<Item = Message> + std::marker::Send> = match self.storm {
            Some(storm) => Box::new(Traffic::storm(storm, self.seed, Timestamp::now()).into_iter()),
            None => Box::new(self.lines()?),
        };
        if self.dry_run {
            for message in messages {
                let (how, bytes) = match &message.wire {
                    Wire::Udp(bytes) => ("udp ", bytes),
                    Wire::Tcp(bytes) => ("tcp ", bytes),
                    Wire::Http(bytes) => ("http", bytes),
                };
                output::line(&format!(
                    "{how} {}",
                    output::harmless(&String::from_utf8_lossy(bytes))
                ));
            }
            return Ok(());
        }
        let stop = CancellationToken::new();
        let on_signal = stop.clone();
        tokio::spawn(async move {
            let _ = tokio::signal::ctrl_c().await;
            on_signal.cancel();
        });
        let mut sender = Sender::new(targets).await.map_err(Failure::failed)?;
        sender.play(messages, &stop).await;
        let counts = sender.counts;
        if context.json {
            output::json(&json!({"sent": counts.sent, "refused": counts.refused,
                "failed": counts.failed, "skipped": counts.skipped}));
        } else {
            eprintln!(
                "{} sent, {} refused, {} failed.",
                output::count(counts.sent),
                counts.refused,
                counts.failed
            );
        }
        if counts.failed > 0 {
            let why = sender.last_error.unwrap_or_default();
            return Err(Failure::failed(format!(
                "{} messages could not be sent; the last: {why}",
                counts.failed
            )));
        }
        Ok(())
    }

    async fn targets(&self, context: &Context) -> Outcome<Targets> {
        let settings = &context.loaded.settings;
        let bind = settings.bind_address;
        let local = |addr: SocketAddr| {
            if addr.ip().is_unspecified() {
                SocketAddr::from(([127, 0, 0, 1], addr.port()))
            } else {
                addr
            }
        };
        let mut udp = settings.syslog_udp_addr.resolve(bind).map(local);
        let mut tcp = settings.syslog_tcp_addr.resolve(bind).map(local);
        let ingest = local(SocketAddr::new(bind, settings.server_port_ingestor));
        let scheme = if settings.tls_cert_file.is_some() {
            "https"
        } else {
            "http"
        };
        let mut http = Some(format!("{scheme}://{ingest}/ingest"));
        if let Some(to) = &self.to {
            match self.kind {
                Kind::Http => {
                    let base = to.trim_end_matches('/').trim_end_matches("/ingest");
                    http = Some(format!("{base}/ingest"));
                }
                Kind::Syslog => {
                    let addr = to
                        .to_socket_addrs()
                        .ok()
                        .and_then(|mut addrs| addrs.next())
                        .ok_or_else(|| Failure::usage(format!("--to {to} is no HOST:PORT")))?;
                    (udp, tcp) = (Some(addr), Some(addr));
                }
            }
        }
        Ok(Targets {
            udp,
            tcp,
            http,
            key: context.key(Secret::IngestApiKey).await?,
            ca: match &self.ca {
                Some(path) => Some(std::fs::read(path).map_err(|error| {
                    Failure::usage(format!("--ca {}: {error}", path.display()))
                })?),
                None => None,
            },
        })
    }

    /// The lines of the file, paced by `--rate`, repeated for `--count`.
    fn lines(&self) -> Outcome<impl Iterator<Item = Message> + use<>> {
        let path = self.file.clone().unwrap_or_else(|| PathBuf::from("-"));
        let again = self.count.is_some() && path != Path::new("-");
        let mut input = open(&path)?;
        let (kind, transport, rate) = (self.kind, self.transport, self.rate);
        let start = Timestamp::now();
        let mut number = 0_u64;
        let lines = std::iter::from_fn(move || {
            let mut read_again = again;
            loop {
                let mut line = Vec::new();
                let read = input.read_until(b'\n', &mut line).unwrap_or(0);
                if read == 0 {
                    if !read_again {
                        return None;
                    }
                    // An empty file is not read over and over.
                    read_again = false;
                    input = open(&path).ok()?;
                    continue;
                }
                let line = line.trim_ascii_end();
                if !line.is_empty() {
                    return Some(line.to_vec());
                }
            }
        })
        .map(move |line| {
            let at = match rate {
                Some(rate) => {
                    start
                        + SignedDuration::try_from(Duration::from_secs_f64(number as f64 / rate))
                            .unwrap_or_default()
                }
                None => start,
            };
            number += 1;
            let wire = match (kind, transport) {
                (Kind::Http, _) => Wire::Http(line),
                (Kind::Syslog, Transport::Udp) => Wire::Udp(line),
                (Kind::Syslog, Transport::Tcp) => Wire::Tcp(line),
            };
            Message { at, wire }
        });
        let most = self.count.map_or(usize::MAX, |count| {
            usize::try_from(count).unwrap_or(usize::MAX)
        });
        Ok(lines.take(most))
    }
}

fn open(path: &Path) -> Outcome<BufReader<Box<dyn Read + std::marker::Send>>> {
    let input: Box<dyn Read + std::marker::Send> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| {
            Failure::failed(format!("{} cannot be read: {error}", path.display()))
        })?)
    };
    Ok(BufReader::new(input))
}
