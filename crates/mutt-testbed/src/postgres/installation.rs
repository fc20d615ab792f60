//! The PostgreSQL that is installed: its programs, the user it runs as, and the data directory
//! that each server starts from.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{Lifetime, Process, User, run};
use crate::workspace::{base, lock_file};

/// Directory of `postgres`, `initdb` and `psql`.
pub(super) fn programs() -> Result<PathBuf> {
    let mut candidates: Vec<PathBuf> = Vec::new();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<(u32, PathBuf)> = versions
            .flatten()
            .filter_map(|entry| {
                let version = entry.file_name().to_str()?.parse().ok()?;
                Some((version, entry.path().join("bin")))
            })
            .collect();
        versions.sort_unstable_by(|left, right| right.cmp(left));
        candidates.extend(versions.into_iter().map(|(_, path)| path));
    }
    if let Ok(path) = run(Command::new("pg_config").arg("--bindir")) {
        candidates.push(PathBuf::from(path.trim()));
    }
    candidates.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    candidates
        .into_iter()
        .find(|dir| {
            ["postgres", "initdb", "psql"]
                .iter()
                .all(|program| dir.join(program).is_file())
        })
        .context(
            "PostgreSQL is not installed: no postgres, initdb and psql in /usr/lib/postgresql/*/bin, \
             `pg_config --bindir` or PATH; `cargo muttdev setup` installs it",
        )
}

/// Whom the server runs as: nobody else where this process is not root.
pub(super) fn server_user() -> Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let find = |name: &str| {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then_some(())?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(User { uid, gid })
        })
    };
    find("postgres")
        .or_else(|| find("nobody"))
        .map(Some)
        .context("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

/// Makes `user` the owner of a file.
pub(super) fn give(path: &Path, user: Option<User>) -> Result<()> {
    if let Some(user) = user {
        chown(path, Some(user.uid), Some(user.gid))
            .with_context(|| format!("cannot give {} to another user", path.display()))?;
    }
    Ok(())
}

/// The data directory that `initdb` makes, made once per version of PostgreSQL.
pub(super) fn template(programs: &Path, user: Option<User>) -> Result<PathBuf> {
    let version = run(Command::new(programs.join("postgres")).arg("--version"))?;
    let key: String = version
        .trim()
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() || letter == '.' {
                letter
            } else {
                '-'
            }
        })
        .collect();
    let owner = user.map_or(String::new(), |user| format!("-{}", user.uid));
    let home = base()?.join("templates");
    fs::create_dir_all(&home)?;
    let finished = home.join(format!("{key}{owner}"));
    let lock = lock_file(&home.join("lock"))?;
    lock.lock()?;
    if finished.exists() {
        return Ok(finished);
    }
    let work = home.join("work");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir(&work)?;
    fs::set_permissions(&work, fs::Permissions::from_mode(0o700))?;
    let password = work.join("password");
    fs::write(&password, super::PASSWORD)?;
    give(&work, user)?;
    give(&password, user)?;
    let data = work.join("data");
    let process = Process::new("initdb", work.join("initdb.log"), Lifetime::Owned);
    run(process
        .command(programs.join("initdb"), user)
        .arg("-D")
        .arg(&data)
        .args(["--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"])
        .args([
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--no-sync",
        ])
        .arg("--pwfile")
        .arg(&password)
        .env("LC_ALL", "C.UTF-8")
        .current_dir(&work))?;
    let file = data.join("postgresql.conf");
    let mut settings = fs::read_to_string(&file)?;
    settings.push_str("\ninclude_if_exists = 'testbed.conf'\n");
    fs::write(&file, settings)?;
    fs::rename(&data, &finished)?;
    fs::remove_dir_all(&work)?;
    Ok(finished)
}
