//! Developer commands: `cargo muttdev …`. Each does what a person would type, and prints it first.

mod contract;
mod docs;
mod fuzz;
mod local;
mod setup;
mod shell;
mod ui;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use setup::Purpose;
use shell::{cargo, installed, run_it};

/// Developer commands of MUTT.
#[derive(Debug, Parser)]
#[command(name = "cargo muttdev", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build MUTT and run its demo: a busy network, sample rules, a pretend Moogsoft
    Demo {
        /// Options of `mutt demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Everything that must pass: format, lints, all tests, the pages in a browser, docs, the API's contract, fuzzing
    Test {
        /// Only the tests of the Rust code; no browser, format, lints, docs, contract and fuzzing
        #[arg(long)]
        quick: bool,
        /// Only tests whose name contains this
        #[arg(short = 'k', long = "filter", value_name = "TEXT")]
        filter: Option<String>,
    },
    /// Install what is missing on this machine, where it may
    Setup,
    /// Start a distributed MUTT here, in the background: Redis, PostgreSQL, every role
    Up {
        /// Only these, and the servers they need
        #[arg(value_name = "SERVICE")]
        services: Vec<String>,
        /// Build for speed
        #[arg(long)]
        release: bool,
        #[command(flatten)]
        place: local::Place,
    },
    /// Stop what `up` started
    Down {
        /// Only these
        #[arg(value_name = "SERVICE")]
        services: Vec<String>,
        /// Remove all data as well
        #[arg(long)]
        wipe: bool,
        #[command(flatten)]
        place: local::Place,
    },
    /// Show the logs of what `up` started
    Logs {
        /// Only this one; may be repeated
        #[arg(long = "service", value_name = "SERVICE")]
        services: Vec<String>,
        /// How many of each log's last lines
        #[arg(long, value_name = "LINES", default_value_t = 20)]
        tail: u32,
        /// Go on with what is added
        #[arg(long, short)]
        follow: bool,
        #[command(flatten)]
        place: local::Place,
    },
    /// Build the web interface, where its sources changed; the next build of MUTT has it
    Ui {
        /// Also go through its pages in a browser, on both engines
        #[arg(long)]
        test: bool,
    },
    /// Format the code
    Fmt,
    /// Clippy over everything; warnings are errors
    Lint,
    /// Check types
    Type,
    /// Measure this machine through the real path (release build)
    Bench {
        /// The distributed engine instead, beside Redis and PostgreSQL alone
        #[arg(long)]
        distributed: bool,
        /// The doors instead, beside rsyslog and snmptrapd
        #[arg(long, conflicts_with = "distributed")]
        doors: bool,
        /// Options of `mutt bench`, or of the other benchmarks
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Fuzz every parser
    Fuzz {
        /// Seconds for each target
        #[arg(long, default_value_t = 30)]
        seconds: u32,
    },
    /// Compare the API with its description: thousands of odd requests to a real server
    Contract {
        /// The longest time, in seconds
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Write generated pages, or check that they are up to date
    Docs {
        /// Change nothing; fail where a page is out of date
        #[arg(long)]
        check: bool,
    },
    /// What CI does, in its order
    Ci,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Demo { options } => {
            setup::run(Purpose::Build)?;
            ui::build_if_possible();
            let mut command = cargo(&[
                "run",
                "--release",
                "--quiet",
                "--package",
                "mutt",
                "--",
                "demo",
            ]);
            command.args(options);
            run_it(&mut command)
        }
        Task::Test { quick, filter } => test(quick, filter.as_deref()),
        Task::Setup => setup::run(Purpose::Tests),
        Task::Up {
            services,
            release,
            place,
        } => local::up(&place, &services, release),
        Task::Down {
            services,
            wipe,
            place,
        } => local::down(&place, &services, wipe),
        Task::Logs {
            services,
            tail,
            follow,
            place,
        } => local::logs(&place, &services, tail, follow),
        Task::Ui { test: false } => ui::build(),
        Task::Ui { test: true } => {
            setup::run(Purpose::Tests)?;
            ui::test()
        }
        Task::Fmt => run_it(&mut cargo(&["fmt", "--all"])),
        Task::Lint => lint(),
        Task::Type => run_it(&mut cargo(&["check", "--workspace", "--all-targets"])),
        Task::Bench {
            distributed: true,
            options,
            ..
        } => {
            setup::run(Purpose::Servers)?;
            let bench = ["bench", "--package", "mutt", "--bench", "distributed", "--"];
            run_it(cargo(&bench).args(options))
        }
        Task::Bench {
            doors: true,
            options,
            ..
        } => {
            setup::run(Purpose::Tests)?;
            let bench = ["bench", "--package", "mutt", "--bench", "doors", "--"];
            run_it(cargo(&bench).args(options))
        }
        Task::Bench { options, .. } => {
            setup::run(Purpose::Build)?;
            let mut command = cargo(&[
                "run",
                "--release",
                "--quiet",
                "--package",
                "mutt",
                "--",
                "bench",
            ]);
            command.args(options);
            run_it(&mut command)
        }
        Task::Fuzz { seconds } => fuzz::run(seconds),
        Task::Contract { seconds } => contract::run(seconds),
        Task::Docs { check } => docs::run(check),
        Task::Ci => test(false, None),
    }
}

fn test(quick: bool, filter: Option<&str>) -> Result<()> {
    setup::run(Purpose::Tests)?;
    ui::build()?;
    if !quick && filter.is_none() {
        run_it(&mut cargo(&["fmt", "--all", "--check"]))?;
        lint()?;
    }
    let mut tests = if installed("cargo-nextest") {
        cargo(&["nextest", "run", "--workspace", "--no-fail-fast"])
    } else {
        cargo(&["test", "--workspace", "--no-fail-fast"])
    };
    tests.args(filter);
    run_it(&mut tests)?;
    if !quick && filter.is_none() {
        ui::test()?;
        docs::run(true)?;
        contract::run(60)?;
        fuzz::run(5)?;
        eprintln!("All tests passed.");
    }
    Ok(())
}

fn lint() -> Result<()> {
    run_it(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ]))
}
