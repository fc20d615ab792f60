//! MUTT's doors beside the daemons that sites have in front of them today, on this machine:
//! `cargo muttdev bench --doors [case…]`, or `cargo bench -p mutt --bench doors -- [case…]`.
//!
//! One sender, two receivers turn by turn: rsyslog (or snmptrapd) that writes a file, and MUTT's
//! ingestor that stores durably before it says so. Compared is what a message costs the receiver in
//! processor time, because sender and receiver share the machine; loss is counted, not estimated.

mod receivers;
mod report;
mod senders;
mod traps;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use receivers::Receiver;
use report::{Figure, Turn};
use senders::Offer;

/// Measure MUTT's doors beside rsyslog and snmptrapd.
#[derive(Debug, Parser)]
#[command(name = "doors")]
struct Arguments {
    /// What to measure [default: everything]
    #[arg(value_enum)]
    cases: Vec<Case>,
    #[command(flatten)]
    options: Options,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
    /// What `cargo bench` says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// How long and how much.
#[derive(Clone, Debug, clap::Args)]
struct Options {
    /// Seconds of load in each turn
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Turns of reference and ours
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Connections of the senders over TCP, TLS and RELP
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Syslog messages per second over UDP
    #[arg(long, default_value_t = 100_000)]
    rate: u32,
    /// SNMPv2c traps per second
    #[arg(long, default_value_t = 60_000)]
    v2c_rate: u32,
    /// SNMPv3 traps per second
    #[arg(long, default_value_t = 20_000)]
    v3_rate: u32,
}

impl Options {
    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.max(1))
    }
}

/// A door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// Syslog over TCP, lines
    Tcp,
    /// Syslog over TLS 1.3, octet counting
    Tls,
    /// RELP with a window of 128 frames
    Relp,
    /// Syslog over UDP at a steady rate
    Udp,
    /// SNMPv2c traps at a steady rate
    TrapV2c,
    /// SNMPv3 traps with SHA-256 and AES-128 at a steady rate
    TrapV3,
}

fn measure(cases: &[Case], options: &Options) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for &case in cases {
        let name = case.to_possible_value().expect("no case is hidden");
        eprintln!("{} …", name.get_name());
        let offer = Offer {
            case,
            duration: options.duration(),
            connections: options.connections.max(1),
            rate: match case {
                Case::TrapV2c => options.v2c_rate,
                Case::TrapV3 => options.v3_rate,
                _ => options.rate,
            },
        };
        let mut figure = Figure::new(name.get_name(), Receiver::reference_name(case));
        for _ in 0..options.turns.max(1) {
            let reference = Receiver::reference(case)?;
            figure.reference.push(turn(&reference, &offer)?);
            drop(reference);
            let ours = Receiver::mutt(case)?;
            figure.ours.push(turn(&ours, &offer)?);
        }
        figures.push(figure);
    }
    Ok(figures)
}

/// Offers the load to one receiver and waits until it has all that it will ever have.
fn turn(receiver: &Receiver, offer: &Offer) -> Result<Turn> {
    let load = senders::prepare(offer)?;
    let cpu = receiver.cpu()?;
    let counting = receiver.counting()?;
    let sent = senders::send(offer, &load, receiver)?;
    let (received, elapsed) = counting.settle(sent.messages)?;
    let spent = receiver.cpu()? - cpu;
    Ok(Turn {
        sent: sent.messages,
        received,
        elapsed,
        cpu: spent,
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let cases = if arguments.cases.is_empty() {
        Case::value_variants().to_vec()
    } else {
        arguments.cases
    };
    let measured = measure(&cases, &arguments.options).and_then(|figures| {
        report::print(&figures, arguments.json)?;
        Ok(())
    });
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
