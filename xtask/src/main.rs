//! `cargo xtask`: the one developer tool.

mod bench;
mod build;
mod cloud;
mod cost;
mod deploy;
mod dev;
mod graph;
mod invoke;
mod logs;
mod mail;
mod package;
mod process;
mod stage;
mod stripe;
mod test;
mod tools;
mod ui;
mod web;
mod workspace;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Runs, tests and deploys Scratchpad")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole product on this machine, and put every change of the sources live
    Dev {
        /// Return once it is ready, and leave it running
        #[arg(long)]
        detach: bool,
        /// Begin with no data
        #[arg(long)]
        fresh: bool,
    },
    /// End what `dev --detach` left running
    Stop,
    /// Run one function alone on an event, without tracing
    Invoke {
        /// The function, by the name of its crate
        function: String,
        /// A file with the event
        #[arg(long)]
        event: PathBuf,
    },
    /// Show what the functions logged
    Logs {
        /// One function, by the name of its crate; all of them otherwise
        function: Option<String>,
        /// Go on showing what comes
        #[arg(long, short)]
        follow: bool,
    },
    /// Build the functions as they are shipped, each a zip in target/lambda
    Package {
        /// Functions, by the names of their crates; all of them otherwise
        functions: Vec<String>,
        /// The processors that they are for
        #[arg(long, default_value = "arm64")]
        architecture: package::Architecture,
    },
    /// Run all tests, or some tiers of them
    Test {
        #[command(flatten)]
        tiers: test::Tiers,
    },
    /// Measure the functions as they are deployed, beside others, and write bench/RESULTS.md
    Bench {
        #[command(flatten)]
        options: bench::Options,
    },
    /// Say what a month costs on AWS, from what was measured
    Cost {
        #[command(flatten)]
        options: cost::Options,
    },
    /// Keep the stage `local` as the sources are, for as long as it runs: what `dev --detach` leaves
    #[command(hide = true)]
    Watch,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Dev { detach, fresh } => dev::dev(detach, fresh).await,
        Command::Stop => dev::stop().await,
        Command::Invoke { function, event } => invoke::invoke(&function, &event).await,
        Command::Logs { function, follow } => logs::logs(function.as_deref(), follow).await,
        Command::Package {
            functions,
            architecture,
        } => package::package(&functions, architecture).await,
        Command::Test { tiers } => test::test(tiers).await,
        Command::Bench { options } => bench::bench(options).await,
        Command::Cost { options } => cost::cost(&options),
        Command::Watch => dev::watch_in_background().await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::failure(&error);
            ExitCode::FAILURE
        }
    }
}
