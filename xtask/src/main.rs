//! `cargo xtask`: the one developer tool.

mod bench;
mod build;
mod cloud;
mod cost;
mod deploy;
mod dev;
mod invoke;
mod local_accounts;
mod logs;
mod mail;
mod package;
mod process;
mod release;
mod stage;
mod stripe;
mod test;
mod tools;
mod ui;
mod web;
mod workspace;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use release::{Architecture, Infrastructure, StageName};

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
        architecture: Architecture,
    },
    /// Run all tests, or some tiers of them
    Test {
        #[command(flatten)]
        tiers: test::Tiers,
    },
    /// Show what a deploy would do to a stage, and why
    Plan {
        #[command(flatten)]
        of: Of,
    },
    /// Make a stage what the sources say
    Deploy {
        #[command(flatten)]
        of: Of,
        /// A table, bucket or user pool that may be replaced or removed, with all that is in it
        #[arg(long, value_name = "RESOURCE")]
        allow_replacement: Vec<String>,
    },
    /// Show what was deployed to a stage
    Releases {
        /// Its name
        #[arg(long)]
        stage: StageName,
    },
    /// Put the release that a stage runs on the next, as it is
    Promote {
        /// The stage that runs it
        #[arg(long)]
        from: StageName,
        /// The stage that gets it
        #[arg(long)]
        to: StageName,
        /// The release, if not the one that it runs now
        #[arg(long)]
        release: Option<u32>,
        #[command(flatten)]
        consent: release::Consent,
    },
    /// Put an earlier release back
    Rollback {
        /// The stage
        #[arg(long)]
        stage: StageName,
        /// The release; the one before otherwise
        #[arg(long, value_name = "RELEASE")]
        to: Option<u32>,
        #[command(flatten)]
        consent: release::Consent,
    },
    /// Remove a stage, with all that it has
    Remove {
        /// Its name
        #[arg(long)]
        stage: StageName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show all stages of all accounts
    Stages {
        /// Those alone that nothing was deployed to for so long: 7d
        #[arg(long, value_name = "AGE")]
        older_than: Option<release::Age>,
        /// Remove them, but for those with a row in serverless.yml
        #[arg(long, requires = "older_than")]
        remove: bool,
    },
    /// Give a stage its secrets
    Secrets {
        #[command(subcommand)]
        what: release::Secret,
    },
    /// Make what the account of a stage has once: the bucket for releases, the budget, the roles of workflows
    Bootstrap {
        /// The stage
        #[arg(long)]
        stage: StageName,
    },
    /// Play the accounts of the stage table on this machine, to try there what is done to stages in the cloud
    LocalAccounts {
        /// Begin with nothing in them
        #[arg(long)]
        fresh: bool,
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

/// A stage to deploy.
#[derive(clap::Args)]
struct Of {
    /// Its name
    #[arg(long)]
    stage: StageName,
    /// Whether it has tables, bucket and users of its own, or links to dev's
    #[arg(long)]
    infrastructure: Option<Infrastructure>,
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
        Command::Plan { of } => release::plan(&of.stage, of.infrastructure).await,
        Command::Deploy {
            of,
            allow_replacement,
        } => release::deploy(&of.stage, of.infrastructure, &allow_replacement).await,
        Command::Releases { stage } => release::releases(&stage).await,
        Command::Promote {
            from,
            to,
            release,
            consent,
        } => release::promote(&from, &to, release, &consent).await,
        Command::Rollback { stage, to, consent } => release::rollback(&stage, to, &consent).await,
        Command::Remove { stage, yes } => release::remove(&stage, yes).await,
        Command::Stages { older_than, remove } => release::stages(older_than, remove).await,
        Command::Secrets { what } => release::secrets(what).await,
        Command::Bootstrap { stage } => release::bootstrap(&stage).await,
        Command::LocalAccounts { fresh } => local_accounts::local_accounts(fresh).await,
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
