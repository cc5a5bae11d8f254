//! The command `cargo xtask new`: generates a service, a resource, a route, a job, a subscriber or a field, or undoes it.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use scaffold::{
    Tree,
    new::{Direction, Request, change},
};

use crate::{tools, ui, workspace::Workspace};

/// The options of `cargo xtask new`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
    /// Print the changes as a diff, and write nothing
    #[arg(long, global = true)]
    dry_run: bool,
    /// Remove what the same command has generated
    #[arg(long, global = true)]
    undo: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// A service: a manifest on the shared API, a library crate with the three layers, and a stack for its tables
    Service {
        /// The name, for example library
        name: String,
    },
    /// A table with five routes, their tests, and a page in the app
    Resource {
        /// The name, for example books
        name: String,
        /// The fields, as NAME:TYPE[:required][:unique][:max=N][:default=VALUE]. The types are string, integer, decimal,
        /// boolean, date, time (milliseconds since the Unix epoch), url and email. `max=N` limits a string to N
        /// characters, and a number to the range from -N to N. `default` is the value of the field in items that were stored
        /// without it; clients must still send a required field. A field cannot have the name of a reserved word of DynamoDB,
        /// such as `length`
        #[arg(required_unless_present = "undo", value_name = "FIELD:TYPE")]
        fields: Vec<String>,
        /// The service that gets the resource
        #[arg(long)]
        service: String,
    },
    /// A function for a route
    Route {
        /// GET, POST, PUT or DELETE
        method: String,
        /// The path, for example /books/{id}/cover
        path: String,
        /// The service that gets the route
        #[arg(long)]
        service: String,
    },
    /// A function that runs regularly
    Job {
        /// The name, for example reminders
        name: String,
        /// The pause between two runs, for example 5m, 1h or 1d
        #[arg(long, required_unless_present = "undo")]
        every: Option<String>,
        /// The service that gets the function [default: a new one with the name of the job]
        #[arg(long)]
        service: Option<String>,
    },
    /// A function that handles the messages of an SNS topic
    Subscriber {
        /// The name, for example receipts
        name: String,
        /// The topic, for example purchases
        #[arg(long = "of", value_name = "TOPIC", required_unless_present = "undo")]
        topic: Option<String>,
        /// The service that gets the function [default: a new one with the name of the subscriber]
        #[arg(long)]
        service: Option<String>,
    },
    /// A field of a resource that this command has generated
    Field {
        /// The field, for example pages:integer:max=5000
        #[arg(value_name = "FIELD:TYPE")]
        field: String,
        /// The resource
        #[arg(long = "of", value_name = "RESOURCE")]
        resource: String,
    },
}

impl From<What> for Request {
    fn from(what: What) -> Self {
        match what {
            What::Service { name } => Self::Service { name },
            What::Resource {
                name,
                fields,
                service,
            } => Self::Resource {
                name,
                fields,
                service,
            },
            What::Route {
                method,
                path,
                service,
            } => Self::Route {
                method,
                path,
                service,
            },
            What::Job {
                name,
                every,
                service,
            } => Self::Job {
                name,
                every,
                service,
            },
            What::Subscriber {
                name,
                topic,
                service,
            } => Self::Subscriber {
                name,
                topic,
                service,
            },
            What::Field { field, resource } => Self::Field { field, resource },
        }
    }
}

/// Runs `cargo xtask new`.
///
/// # Errors
/// Fails if the request is invalid, or if changes by hand block it. Nothing is written then.
pub(crate) async fn new(options: Options) -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?; // the formatter of TypeScript
    let root = workspace.root();
    let mut tree = Tree::open(root);
    let direction = if options.undo {
        Direction::Undo
    } else {
        Direction::Do
    };
    let format = |path: &str, content| scaffold::format(root, path, content);
    change(&mut tree, &options.what.into(), direction, &format)?;
    let changed: Vec<String> = tree.changed()?.into_iter().map(Into::into).collect();
    if changed.is_empty() {
        ui::success("nothing to change");
        return Ok(());
    }
    if options.dry_run {
        print!("{}", tree.diff()?);
        return Ok(());
    }
    let mut lines = Vec::new();
    for path in &changed {
        let sign = match (root.join(path).exists(), tree.read(path)?.is_some()) {
            (false, _) => '+',
            (_, false) => '-',
            _ => '~',
        };
        lines.push(format!("  {sign} {path}"));
    }
    tree.apply()?;
    lock(&workspace).await?;
    for line in lines {
        ui::say(line);
    }
    let files = ui::count(changed.len(), "file");
    ui::success(format!(
        "changed {files}; `cargo xtask dev` deploys them to the local stage"
    ));
    Ok(())
}

/// Updates Cargo.lock to the workspace's crates.
async fn lock(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo
        .args(["metadata", "--format-version", "1"])
        .stdout(Stdio::null());
    let status = cargo.status().await.context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo cannot update Cargo.lock; its output above says why");
    }
    Ok(())
}
