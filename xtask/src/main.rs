//! The developer tool `cargo xtask`, which runs, tests, deploys and measures Scratchpad.

mod bench;
mod build;
mod cloud;
mod cost;
mod dev;
mod init;
mod invoke;
mod lint;
mod local_accounts;
mod local_deploy;
mod logs;
mod mail;
mod new;
mod package;
mod process;
mod redrive;
mod release;
mod request;
mod shop; // part: billing
mod soak;
mod stage;
mod status;
mod stripe; // part: billing
mod test;
mod tools;
mod ui;
mod web; // part: web
mod workspace;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use release::{Architecture, Infrastructure, StageName};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Run, test and deploy Scratchpad")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the product on this machine, and redeploy it on every change
    Dev {
        /// Run in the background, and return when the product is ready
        #[arg(long)]
        detach: bool,
        /// Delete the data of earlier runs first
        #[arg(long)]
        fresh: bool,
    },
    /// Stop the product that `dev` runs
    Stop,
    /// Make this checkout your own product: change its name, prefix, accounts, domains, prices and other answers
    Init {
        #[command(flatten)]
        options: init::Options,
    },
    /// Invoke one function on this machine, without tracing
    Invoke {
        /// The name of the function's crate
        function: String,
        /// The path of the JSON file with the event
        #[arg(long)]
        event: PathBuf,
    },
    /// Send a signed request to the API of the stage local, as a local user
    Request {
        #[command(flatten)]
        options: request::Options,
    },
    /// Show the functions' logs, or everything about one request, note or user
    Logs {
        #[command(flatten)]
        options: logs::Options,
    },
    /// Build the functions in the release profile and pack each into a zip in target/lambda
    Package {
        /// The names of the functions' crates [default: all functions]
        functions: Vec<String>,
        /// The processor architecture of the Lambda functions
        #[arg(long, default_value = "arm64")]
        architecture: Architecture,
    },
    /// Check formatting, lints, and the licenses and sources of dependencies
    Lint,
    /// Run all tests, or only some tiers
    Test {
        #[command(flatten)]
        tiers: test::Tiers,
    },
    /// Generate a service, a resource, a route, a job, a subscriber or a field
    New {
        #[command(flatten)]
        options: new::Options,
    },
    /// Run load and faults on a stage of its own, and check that nothing that was acknowledged is lost or done twice
    Soak {
        #[command(flatten)]
        options: soak::Options,
    },
    /// Show what a deploy would change on a stage, and why
    Plan {
        #[command(flatten)]
        options: StageOptions,
    },
    /// Build what a later deploy needs: functions and templates. Needs no AWS credentials
    Build {
        #[command(flatten)]
        options: StageOptions,
    },
    /// Build the sources and deploy them to a stage
    Deploy {
        #[command(flatten)]
        options: StageOptions,
        /// Allow the deploy to replace or remove this table, bucket, user pool or identity pool and delete its data; can be repeated
        #[arg(long, value_name = "RESOURCE")]
        allow_replacement: Vec<String>,
    },
    /// List the releases that were deployed to a stage
    Releases {
        /// The name of the stage
        #[arg(long)]
        stage: StageName,
    },
    /// Deploy a release of one stage to another stage without a new build
    Promote {
        /// The name of the stage that has the release
        #[arg(long)]
        from: StageName,
        /// The name of the stage to deploy to
        #[arg(long)]
        to: StageName,
        /// The number of the release [default: the current release]
        #[arg(long)]
        release: Option<u32>,
        #[command(flatten)]
        consent: release::Consent,
        #[command(flatten)]
        approval: release::Approval,
    },
    /// Deploy an earlier release of a stage again
    Rollback {
        /// The name of the stage
        #[arg(long)]
        stage: StageName,
        /// The number of the release [default: the previous release]
        #[arg(long, value_name = "RELEASE")]
        to: Option<u32>,
        #[command(flatten)]
        consent: release::Consent,
    },
    /// Delete a stage and all its data
    Remove {
        /// The name of the stage
        #[arg(long)]
        stage: StageName,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// List the stages of all accounts
    Stages {
        /// List only stages whose latest deploy is older than this age, for example 7d
        #[arg(long, value_name = "AGE")]
        older_than: Option<release::Age>,
        /// Delete the listed stages, except those with a row in serverless.yml
        #[arg(long, requires = "older_than")]
        remove: bool,
    },
    /// Set, list or copy the secrets of a stage
    Secrets {
        #[command(subcommand)]
        what: release::Secret,
    },
    /// Change the stored data of a stage to fit a release. Without NAME, list the migrations
    Migrate {
        /// The migration to run
        name: Option<release::Migration>,
        /// The name of the stage
        #[arg(long)]
        stage: StageName,
        #[command(flatten)]
        options: release::MigrateOptions,
    },
    /// Copy the state that a table had at an earlier time into a stage, by DynamoDB's point-in-time recovery
    Restore {
        #[command(flatten)]
        options: release::RestoreOptions,
    },
    /// Process the messages of a dead-letter queue again, and delete those that succeed
    Redrive {
        /// The name of a function or of its dead-letter queue
        queue: String,
        /// The name of the stage
        #[arg(long)]
        stage: StageName,
        /// List the messages without processing them
        #[arg(long)]
        dry_run: bool,
    },
    // part: billing {
    /// Find, show and refund purchases, and announce them again
    Shop {
        #[command(subcommand)]
        what: shop::Command,
    },
    // part: billing }
    /// Show whether a stage is well. Exits with 0 if it is, with 1 if an alarm is raised, an error budget is exhausted or a
    /// dead-letter queue has messages, and with 2 if this is not known
    Status {
        /// The name of the stage
        #[arg(long)]
        stage: StageName,
        /// Print the status as JSON
        #[arg(long)]
        json: bool,
    },
    /// Report what a stage's account lacks, and how to get it, in the order in which to fix it
    Doctor {
        #[command(flatten)]
        options: StageOptions,
    },
    /// Create an account's shared resources: the bucket for releases, the budget, and the roles for GitHub workflows
    Bootstrap {
        /// The name of a stage in the account
        #[arg(long)]
        stage: StageName,
        /// Delete the shared resources of an account without stages
        #[arg(long)]
        remove: bool,
    },
    /// Emulate the AWS accounts of serverless.yml on this machine, to try deploys without AWS
    LocalAccounts {
        /// Delete the data of earlier runs first
        #[arg(long)]
        fresh: bool,
    },
    /// Measure the deployed builds of the functions, and write bench/RESULTS.md
    Bench {
        #[command(flatten)]
        options: bench::Options,
    },
    /// Estimate the monthly cost on AWS from the latest measurements
    Cost {
        #[command(flatten)]
        options: cost::Options,
    },
    /// Redeploy the stage `local` on every change. `dev --detach` runs this command in the background
    #[command(hide = true)]
    Watch,
}

/// The options of the commands `plan` and `deploy`, which select a stage.
#[derive(clap::Args)]
struct StageOptions {
    /// The name of the stage
    #[arg(long)]
    stage: StageName,
    /// Use the tables, bucket and users of the stage itself or of dev. Only for stages without a row in serverless.yml
    #[arg(long)]
    infrastructure: Option<Infrastructure>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Dev { detach, fresh } => dev::dev(detach, fresh).await,
        Command::Stop => dev::stop().await,
        Command::Init { options } => init::init(options).await,
        Command::Invoke { function, event } => invoke::invoke(&function, &event).await,
        Command::Request { options } => request::request(options).await,
        Command::Logs { options } => logs::logs(&options).await,
        Command::Package {
            functions,
            architecture,
        } => package::package(&functions, architecture).await,
        Command::Lint => lint::lint().await,
        Command::Test { tiers } => test::test(tiers).await,
        Command::New { options } => new::new(options).await,
        Command::Soak { options } => soak::soak(options).await,
        Command::Plan { options } => release::plan(&options.stage, options.infrastructure).await,
        Command::Build { options } => release::build(&options.stage, options.infrastructure).await,
        Command::Deploy {
            options,
            allow_replacement,
        } => release::deploy(&options.stage, options.infrastructure, &allow_replacement).await,
        Command::Releases { stage } => release::releases(&stage).await,
        Command::Promote {
            from,
            to,
            release,
            consent,
            approval,
        } => release::promote(&from, &to, release, &consent, &approval).await,
        Command::Rollback { stage, to, consent } => release::rollback(&stage, to, &consent).await,
        Command::Remove { stage, yes } => release::remove(&stage, yes).await,
        Command::Stages { older_than, remove } => release::stages(older_than, remove).await,
        Command::Secrets { what } => release::secrets(what).await,
        Command::Migrate {
            name,
            stage,
            options,
        } => release::migrate(name, &stage, options).await,
        Command::Restore { options } => release::restore(&options).await,
        Command::Redrive {
            queue,
            stage,
            dry_run,
        } => redrive::redrive(&queue, &stage, dry_run).await,
        Command::Shop { what } => shop::shop(what).await, // part: billing
        Command::Status { stage, json } => return status::status(&stage, json).await,
        Command::Doctor { options } => {
            release::doctor(&options.stage, options.infrastructure).await
        }
        Command::Bootstrap { stage, remove } => release::bootstrap(&stage, remove).await,
        Command::LocalAccounts { fresh } => local_accounts::local_accounts(fresh).await,
        Command::Bench { options } => bench::bench(options).await,
        Command::Cost { options } => cost::cost(&options).await,
        Command::Watch => dev::watch().await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<test::TestsFailed>() {
                ui::failure(&error);
                if let Some(advice) = release::advice(&error) {
                    ui::say(advice);
                }
            }
            ExitCode::FAILURE
        }
    }
}
