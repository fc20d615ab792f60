//! Developer commands: `cargo muttdev …`. Each does what a person would type, and prints it first.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

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
    /// Everything that must pass: format, lints, all tests, docs, fuzzing for a moment
    Test {
        /// Only the tests; no format, lints, docs and fuzzing
        #[arg(long)]
        quick: bool,
        /// Only tests whose name contains this
        #[arg(short = 'k', long = "filter", value_name = "TEXT")]
        filter: Option<String>,
    },
    /// Install what is missing on this machine, where it may
    Setup,
    /// Format the code
    Fmt,
    /// Clippy over everything; warnings are errors
    Lint,
    /// Check types
    Type,
    /// Measure this machine through the real path (release build)
    Bench {
        /// Options of `mutt bench`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Fuzz every parser
    Fuzz {
        /// Seconds for each target
        #[arg(long, default_value_t = 30)]
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
            setup()?;
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
        Task::Setup => setup(),
        Task::Fmt => run_it(&mut cargo(&["fmt", "--all"])),
        Task::Lint => lint(),
        Task::Type => run_it(&mut cargo(&["check", "--workspace", "--all-targets"])),
        Task::Bench { options } => {
            setup()?;
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
        Task::Fuzz { seconds } => fuzz(seconds),
        Task::Docs { check } => docs(check),
        Task::Ci => test(false, None),
    }
}

fn test(quick: bool, filter: Option<&str>) -> Result<()> {
    setup()?;
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
        docs(true)?;
        fuzz(5)?;
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

/// Programs that build and tests need: (program, Debian package).
const PROGRAMS: [(&str, &str); 3] = [("cc", "gcc"), ("make", "make"), ("logger", "bsdutils")];

/// Installs what is missing where we are root on a Debian; else says what to install.
fn setup() -> Result<()> {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !installed(program))
        .map(|&(_, package)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if !(root && installed("apt-get")) {
        bail!("please install: {}", missing.join(" "));
    }
    run_it(Command::new("apt-get").args(["update", "--quiet"]))?;
    run_it(
        Command::new("apt-get")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

fn installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Coverage feedback for libFuzzer with the stable compiler.
const FUZZ_FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

fn fuzz(seconds: u32) -> Result<()> {
    let fuzz = root().join("fuzz");
    let target_dir = target_dir().join("fuzz");
    // The flags must not reach build scripts and macros, which have no fuzzer to link with.
    let host = host()?;
    run_it(
        Command::new("cargo")
            .args(["build", "--release", "--quiet", "--target", &host])
            .current_dir(&fuzz)
            .env("RUSTFLAGS", FUZZ_FLAGS)
            .env("CARGO_TARGET_DIR", &target_dir),
    )?;
    let mut targets: Vec<_> = std::fs::read_dir(fuzz.join("fuzz_targets"))
        .context("fuzz/fuzz_targets")?
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    targets.sort();
    for target in targets {
        let work = target_dir.join("work").join(&target);
        std::fs::create_dir_all(&work)?;
        run_it(
            Command::new(target_dir.join(&host).join("release").join(&target))
                .arg(format!("-max_total_time={seconds}"))
                .args([
                    "-max_len=4096",
                    "-rss_limit_mb=1024",
                    "-print_final_stats=0",
                    "-verbosity=0",
                ])
                .current_dir(&work),
        )
        .with_context(|| format!("{target} found something; see {}", work.display()))?;
    }
    Ok(())
}

/// The compiler's own platform.
fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("rustc -vV")?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .context("rustc -vV names no host")
}

/// Generated pages: (page, arguments of `mutt`).
const PAGES: [(&str, &[&str]); 1] = [("docs/configuration.md", &["config", "docs"])];

fn docs(check: bool) -> Result<()> {
    run_it(&mut cargo(&["build", "--quiet", "--package", "mutt"]))?;
    for (page, arguments) in PAGES {
        let output = Command::new(target_dir().join("debug/mutt"))
            .args(arguments)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("mutt {}", arguments.join(" ")))?;
        if !output.status.success() {
            bail!("mutt {} failed", arguments.join(" "));
        }
        let path = root().join(page);
        if std::fs::read(&path).unwrap_or_default() == output.stdout {
            continue;
        }
        if check {
            bail!("{page} is out of date; run `cargo muttdev docs`");
        }
        std::fs::write(&path, output.stdout).with_context(|| page.to_owned())?;
        eprintln!("{page} written");
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate is in crates/muttdev")
        .to_owned()
}

fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(root());
    command
}

fn run_it(command: &mut Command) -> Result<()> {
    let shown = format!(
        "{} {}",
        Path::new(command.get_program())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy(),
        command
            .get_args()
            .map(|argument| argument.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    );
    eprintln!("+ {shown}");
    let status = command.status().with_context(|| shown.clone())?;
    if !status.success() {
        bail!("`{shown}` failed");
    }
    Ok(())
}
