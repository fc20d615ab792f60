//! The `mutt` program: the command line and the wiring of roles. No logic lives here.

mod api;
mod backend;
mod certificates;
mod cli;
mod context;
mod exit;
mod output;
mod serve;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Secrets are in memory: no core dump, and no other process of this user reads along. Where the
    // kernel refuses it, there is nothing better.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // One TLS provider for the whole process; nothing else is linked in.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = cli::Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("mutt")
        .build()
        .expect("the operating system gives threads");
    let code = match runtime.block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    };
    // A read of standard input that never ends must not keep the program.
    runtime.shutdown_background();
    code
}
