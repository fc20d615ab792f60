//! The web interface: built by Node into web/dist, which the next build of MUTT takes in; tested in
//! a real browser against a real MUTT.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use crate::shell::{cargo, installed, root, run_it, target_dir};

/// The oldest Node that builds it: what Vite 8 and React's compiler need.
const NODE: (u32, u32) = (20, 19);

/// What to do without one.
pub const NODE_HINT: &str = "Node 20.19 or newer is needed, with npm: Debian 13 has it (packages nodejs \
     and npm), for Debian 12 see https://nodejs.org/en/download";

/// Builds what is older than its sources.
pub fn build() -> Result<()> {
    if !has_node() {
        bail!("the web interface cannot be built: {NODE_HINT}");
    }
    let web = root().join("web");
    // What npm itself notes of what it installed.
    let lock = modified(&web.join("package-lock.json"));
    if lock > modified(&web.join("node_modules/.package-lock.json")) {
        run_it(&mut npm(&["ci", "--no-audit", "--no-fund"]))?;
    }
    let sources = newest(&web, &["dist", "node_modules", "e2e", "screenshots"])?
        .max(modified(&root().join("docs/openapi.json")));
    if sources > modified(&web.join("dist/index.html")) {
        run_it(&mut npm(&["run", "build"]))?;
    }
    Ok(())
}

/// Checks types, lints and sizes, and goes through the pages in a browser, on both engines.
pub fn test() -> Result<()> {
    build()?;
    run_it(&mut npm(&["run", "check"]))?;
    // The check wrote the types of the API anew: a build that is older would be made during a test.
    build()?;
    run_it(&mut cargo(&[
        "build",
        "--quiet",
        "--package",
        "mutt",
        "--package",
        "muttdev",
    ]))?;
    let debug = target_dir().join("debug");
    run_it(
        npm(&["run", "e2e"])
            .env("E2E_MUTT", debug.join("mutt"))
            .env("E2E_MUTTDEV", debug.join("muttdev")),
    )?;
    run_it(&mut npm(&["run", "budget"]))
}

/// An npm command where the sources of the web interface are.
fn npm(arguments: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command.args(arguments).current_dir(root().join("web"));
    command
}

/// As [`build`], for those who want MUTT also without: says why where it cannot be built.
pub fn build_if_possible() {
    if !root().join("web/package.json").is_file() {
        return;
    }
    if let Err(error) = build() {
        let there = root().join("web/dist/index.html").is_file();
        let which = if there { "an earlier" } else { "no" };
        eprintln!("MUTT gets {which} web interface: {error:#}.");
    }
}

/// Whether Node and npm are here and new enough.
pub fn has_node() -> bool {
    let version = Command::new("node")
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success());
    let text = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    installed("npm") && text.is_some_and(|text| is_new_enough(&text))
}

/// Of a version as `node --version` prints it: v20.19.2.
fn is_new_enough(text: &str) -> bool {
    let mut parts = text
        .trim()
        .trim_start_matches('v')
        .split('.')
        .map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= NODE,
        _ => false,
    }
}

/// When a file was changed; before everything else where there is none.
fn modified(path: &Path) -> SystemTime {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The newest change in a directory, of files and of what there is, without these at its top.
fn newest(directory: &Path, without: &[&str]) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let entry = entry?;
        if without.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let path = entry.path();
        newest = newest.max(modified(&path));
        if entry.file_type()?.is_dir() {
            newest = newest.max(self::newest(&path, &[])?);
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn old_versions_of_node_are_told_from_new_ones() {
        for new in ["v20.19.0\n", "v22.12.0", "v100.0.0"] {
            assert!(is_new_enough(new), "{new}");
        }
        for old in [
            "v18.20.4\n",
            "v20.18.9",
            "v9.99.0",
            "",
            "v",
            "node: not found",
        ] {
            assert!(!is_new_enough(old), "{old}");
        }
    }

    #[test]
    fn the_newest_source_counts_and_what_is_made_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let touch = |name: &str, seconds| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = File::create(path).unwrap();
            file.set_modified(at(seconds)).unwrap();
        };
        touch("src/pages/rule.tsx", 2_000);
        touch("dist/index.html", 9_000);
        touch("src/main.tsx", 1_000);
        for name in ["src/pages", "src", "dist"] {
            let directory = File::open(dir.path().join(name)).unwrap();
            directory.set_modified(at(500)).unwrap();
        }
        assert_eq!(newest(dir.path(), &["dist"]).unwrap(), at(2_000));
        assert_eq!(newest(dir.path(), &[]).unwrap(), at(9_000));
        assert_eq!(modified(&dir.path().join("gone")), at(0));
    }
}
