//! `mutt mibs`: what MIB files and the names file say, without a server.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mutt_ingest::trap_names::{LoadedNames, NameFiles};
use mutt_snmp::mibs::{Level, Problem};
use mutt_snmp::names::{Entry, Kind, LineError, Names, Origin};
use mutt_snmp::{Oid, OidError};
use serde_json::json;

use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output::{self, Style, Table};

/// Names of SNMP traps: MIB files, the names file, and MUTT's own table.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  mutt mibs                                   the modules of SNMP_MIB_DIR\n  mutt mibs check /etc/mutt/mibs              what is wrong with the files there\n  mutt mibs name 1.3.6.1.6.3.1.1.5.3 ifDescr  what a number is called, and a name's number"
)]
pub struct Mibs {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the modules, with how many notifications and variables each has
    List,
    /// Say what is wrong with the files, by line; exit code 3 where something has no name for it
    Check {
        /// Look at the MIB files here instead of `SNMP_MIB_DIR` and `SNMP_NAMES_FILE`
        dir: Option<PathBuf>,
    },
    /// Translate numbers to names and names to numbers
    Name {
        /// OIDs, or names with or without a module and an instance
        #[arg(required = true, value_name = "OID")]
        oids: Vec<String>,
    },
}

impl Mibs {
    /// Runs the command.
    pub fn run(self, context: &Context) -> Outcome {
        let settings = &context.loaded.settings;
        let files = NameFiles {
            names_file: settings.snmp_names_file.clone(),
            mib_dir: settings.snmp_mib_dir.clone(),
        };
        match self.command.unwrap_or(Command::List) {
            Command::List => list(context, &files),
            Command::Check { dir: Some(dir) } => check(
                context,
                &NameFiles {
                    names_file: None,
                    mib_dir: Some(dir),
                },
            ),
            Command::Check { dir: None } => check(context, &files),
            Command::Name { oids } => name(context, &files, &oids),
        }
    }
}

fn load(files: &NameFiles) -> Outcome<LoadedNames> {
    files.load().map_err(Failure::failed)
}

fn list(context: &Context, files: &NameFiles) -> Outcome {
    let loaded = load(files)?;
    let errors = loaded.mibs.errors() + loaded.line_errors.len();
    let own = Names::builtin().entries().len();
    if context.json {
        let modules: Vec<_> = loaded
            .mibs
            .modules
            .iter()
            .map(|module| {
                json!({
                    "module": module.name,
                    "notifications": module.notifications,
                    "objects": module.objects,
                    "file": module.file,
                })
            })
            .collect();
        output::json(&json!({
            "modules": modules,
            "names": loaded.names.entries().len(),
            "names_of_mutt": own,
            "names_of_file": loaded.lines,
            "errors": errors,
        }));
        return Ok(());
    }
    let mut table = Table::new(&["MODULE", "NOTIFICATIONS", "OBJECTS", "FILE"]);
    for module in &loaded.mibs.modules {
        table.row([
            module.name.clone(),
            module.notifications.to_string(),
            module.objects.to_string(),
            module.file.display().to_string(),
        ]);
    }
    if !table.is_empty() {
        table.print();
    }
    eprintln!(
        "{} names: {own} of MUTT's own, {} modules of {}, {} lines of {}.",
        loaded.names.entries().len(),
        loaded.mibs.modules.len(),
        shown("SNMP_MIB_DIR", files.mib_dir.as_deref()),
        loaded.lines,
        shown("SNMP_NAMES_FILE", files.names_file.as_deref()),
    );
    if errors > 0 {
        eprintln!("{errors} errors; `mutt mibs check` tells them.");
    }
    Ok(())
}

fn shown(setting: &str, path: Option<&std::path::Path>) -> String {
    match path {
        Some(path) => path.display().to_string(),
        None => format!("{setting} (not set)"),
    }
}

fn check(context: &Context, files: &NameFiles) -> Outcome {
    if files.mib_dir.is_none() && files.names_file.is_none() {
        return Err(Failure::usage(
            "neither SNMP_MIB_DIR nor SNMP_NAMES_FILE is set; name a directory: mutt mibs check DIR",
        ));
    }
    let loaded = load(files)?;
    let file = files.names_file.as_deref();
    let problems: Vec<Problem> = loaded
        .line_errors
        .iter()
        .map(|error| of_line(error, file))
        .chain(loaded.mibs.problems.iter().cloned())
        .collect();
    let errors = loaded.mibs.errors() + loaded.line_errors.len();
    if context.json {
        let problems: Vec<_> = problems
            .iter()
            .map(|problem| {
                json!({
                    "file": problem.file,
                    "line": problem.line,
                    "level": problem.level.name(),
                    "module": problem.module,
                    "text": problem.text,
                })
            })
            .collect();
        output::json(&json!({
            "files": loaded.mibs.files,
            "modules": loaded.mibs.modules.len(),
            "errors": errors,
            "problems": problems,
        }));
    } else {
        let colour = output::colour();
        for problem in &problems {
            let style = match problem.level {
                Level::Error => Style::Red,
                Level::Warning => Style::Yellow,
            };
            output::line(&output::paint(
                colour,
                style,
                &output::harmless(&problem.to_string()),
            ));
        }
        eprintln!(
            "{} files, {} modules, {} names: {errors} errors, {} warnings.",
            loaded.mibs.files,
            loaded.mibs.modules.len(),
            loaded.names.entries().len() - Names::builtin().entries().len(),
            problems.len() - errors,
        );
    }
    if errors > 0 {
        return Err(Failure::problem(""));
    }
    Ok(())
}

fn of_line(error: &LineError, file: Option<&std::path::Path>) -> Problem {
    Problem {
        file: file.map(Into::into),
        line: Some(error.line),
        level: Level::Error,
        module: None,
        text: error.reason.clone(),
    }
}

fn name(context: &Context, files: &NameFiles, words: &[String]) -> Outcome {
    let loaded = load(files)?;
    let mut unknown = Vec::new();
    let mut table = Table::new(&["OID", "NAME", "KIND", "FROM"]);
    let mut rows = Vec::new();
    for word in words {
        let Some((oid, name, entry)) = translate(&loaded.names, word) else {
            unknown.push(word.as_str());
            continue;
        };
        rows.push(json!({
            "oid": oid.to_string(),
            "name": name,
            "kind": kind(entry),
            "from": from(entry),
        }));
        table.row([
            oid.to_string(),
            name,
            kind(entry).to_owned(),
            from(entry).to_owned(),
        ]);
    }
    if context.json {
        output::json(&rows);
    } else if !table.is_empty() {
        table.print();
    }
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(Failure::problem(format!(
            "no name is known for: {}",
            unknown.join(", ")
        )))
    }
}

/// The number, its name and what names it, for a number or a name.
fn translate<'n>(names: &'n Names, word: &str) -> Option<(Oid<'static>, String, &'n Entry)> {
    let read: Result<Oid<'static>, OidError> = word.parse();
    let oid = match read {
        Ok(oid) => oid,
        Err(_) => names.oid(word)?,
    };
    let found = names.find_trap(&oid)?;
    let mut name = String::new();
    found.write_name(&oid, &mut name);
    Some((oid, name, found.entry))
}

fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        Kind::Trap => "notification",
        Kind::Object => "object",
        Kind::Node => "node",
    }
}

fn from(entry: &Entry) -> &str {
    match (entry.origin, &entry.module) {
        (Origin::Mib, Some(module)) => module,
        (Origin::Mib, None) => "MIB file",
        (Origin::NamesFile, _) => "names file",
        (Origin::BuiltIn, _) => "MUTT",
    }
}
