//! Pages that `mutt` writes about itself.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::shell::{cargo, root, run_it, target_dir};

/// Generated pages: (page, arguments of `mutt`).
const PAGES: [(&str, &[&str]); 2] = [
    ("docs/configuration.md", &["config", "docs"]),
    ("docs/openapi.json", &["openapi"]),
];

/// Writes the pages, or checks that they are up to date.
pub fn run(check: bool) -> Result<()> {
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
