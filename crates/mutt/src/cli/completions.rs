//! `mutt completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::Cli;

/// Completions for a shell, on standard output.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mutt completions bash > /etc/bash_completion.d/mutt")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Prints them.
    pub fn run(self) {
        clap_complete::generate(
            self.shell,
            &mut Cli::command(),
            "mutt",
            &mut std::io::stdout(),
        );
    }
}
