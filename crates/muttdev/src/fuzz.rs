//! Fuzzing of every parser with the stable compiler.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell::{root, run_it, target_dir};

/// Coverage feedback for libFuzzer with the stable compiler.
const FUZZ_FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Fuzzes every target for so many seconds.
pub fn run(seconds: u32) -> Result<()> {
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
        let mut command = Command::new(target_dir.join(&host).join("release").join(&target));
        command
            .arg(format!("-max_total_time={seconds}"))
            .args([
                "-max_len=4096",
                "-rss_limit_mb=1024",
                "-print_final_stats=0",
                "-verbosity=0",
            ])
            .current_dir(&work);
        let dictionary = fuzz.join("dictionaries").join(format!("{target}.dict"));
        if dictionary.exists() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        let seed = match target.as_str() {
            "syslog" => Some(seed_with_corpus as fn(&Path) -> Result<()>),
            "snmp" => Some(seed_with_datagrams as fn(&Path) -> Result<()>),
            _ => None,
        };
        if let Some(seed) = seed {
            // What is found goes to the first directory, the others are only read.
            let (found, seeds) = (work.join("found"), work.join("seeds"));
            std::fs::create_dir_all(&found)?;
            std::fs::create_dir_all(&seeds)?;
            seed(&seeds)?;
            command.arg(found).arg(seeds);
        }
        run_it(&mut command)
            .with_context(|| format!("{target} found something; see {}", work.display()))?;
    }
    Ok(())
}

/// Writes the lines of `tests/corpus`, each a file of its own, behind the byte with which the target
/// chooses zone and limit.
fn seed_with_corpus(seeds: &Path) -> Result<()> {
    let mut number = 0;
    for entry in std::fs::read_dir(root().join("tests/corpus"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        // Literal strings of TOML: what stands there is what is meant.
        let written = text.lines().filter_map(|line| {
            let line = line.strip_prefix("text = '")?;
            line.strip_suffix('\'')
        });
        for line in written {
            std::fs::write(
                seeds.join(number.to_string()),
                [b"\0", line.as_bytes()].concat(),
            )?;
            number += 1;
        }
    }
    anyhow::ensure!(number > 0, "tests/corpus has no lines");
    Ok(())
}

/// Writes the datagrams of `fuzz/seeds/snmp.hex`, each a file of its own.
fn seed_with_datagrams(seeds: &Path) -> Result<()> {
    let text = std::fs::read_to_string(root().join("fuzz/seeds/snmp.hex"))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    for (number, line) in lines.enumerate() {
        let octets: Vec<u8> = (0..line.len())
            .step_by(2)
            .map(|at| {
                let digits = line.get(at..at + 2).context("half an octet")?;
                u8::from_str_radix(digits, 16).context("fuzz/seeds/snmp.hex")
            })
            .collect::<Result<_>>()?;
        std::fs::write(seeds.join(number.to_string()), octets)?;
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
