//! `cargo xtask soak`: load on a stage of its own, with faults, and a comparison of what the stage acknowledged with what it
//! has stored.
//!
//! | module | contents |
//! |---|---|
//! | [`user`] | a user, who signs up, writes notes and attaches files |
//! | [`client`] | a client that repeats requests until they are acknowledged |
// part: billing {
//! | [`payments`] | orders, what happens to them outside the API, and what becomes of them |
// part: billing }
//! | [`ledger`] | the intents and acknowledgements, in a file outside the stage |
//! | [`faults`] | the schedule of faults, and their injection |
//! | [`quiet`] | the end of a run: the stage does the work that is left |
//! | [`stored`] | what the stage has stored |
//! | [`compare`] | the comparison of the ledger with the stored data |
//! | [`alarms`] | the comparison of the alarms with the faults |
//! | [`processes`] | the memory and file descriptors of the functions |
//! | [`report`] | the report |

// As in test-support: a choice among constants cannot be out of bounds.
#![allow(clippy::indexing_slicing)]

mod alarms;
mod client;
mod compare;
mod faults;
mod ledger;
mod payments; // part: billing
mod processes;
mod quiet;
mod report;
mod stored;
mod user;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Client;
use test_support::stage::Stage;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet, LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use crate::alarms::Change;
use crate::client::Shared;
use crate::faults::{Fault, Table}; // part: notify
use crate::faults::{Injected, Injector};
use crate::ledger::Ledger;
use crate::payments::Owner; // part: billing
use crate::payments::compare::Interruption; // part: notify
use crate::processes::Samples;
use crate::report::Report;

/// Runs load on the stage whose stage.json is named by the environment variable SCRATCHPAD_STAGE.
#[derive(Debug, Parser)]
struct Options {
    /// How long the load lasts
    #[arg(long, value_name = "MINUTES")]
    minutes: f64,
    /// Inject faults
    #[arg(long)]
    faults: bool,
    /// The number of concurrent users
    #[arg(long, default_value_t = 8)]
    users: usize,
    /// The seed of all random choices [default: a random one]
    #[arg(long)]
    seed: Option<u64>,
    /// The path of the report as JSON
    #[arg(long)]
    report: PathBuf,
}

/// The share of responses that clients do not see if faults are injected.
const LOST_RESPONSES: f64 = 0.01;

// part: notify {
/// How long notify-send may still work on a message that it had received before a fault began, in milliseconds.
const IN_PROGRESS: u64 = 10_000;
// part: notify }

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // The helpers of the tests are not Send.
    match LocalSet::new().run_until(run(&Options::parse())).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the load, prints the report, and returns whether the run succeeded.
async fn run(options: &Options) -> Result<bool> {
    let length = Duration::try_from_secs_f64(options.minutes * 60.0)?;
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    eprintln!("seed {seed}");
    let stage = Stage::shared().await;
    let stage = stage.for_task();
    log_panics(&stage.folder().join("soak.log"))?;
    let owner = Owner::new(stage).await; // part: billing
    let injector = Injector {
        stage,
        owner: owner.clone(), // part: billing
        client: Client::new(),
    };
    let path = stage.folder().join("ledger.jsonl");
    let ledger = Ledger::create(&path)?;
    let lost = if options.faults { LOST_RESPONSES } else { 0.0 };
    let shared = Shared::new(stage, lost);
    let mut random = Rng::with_seed(seed);
    let mut users = JoinSet::new();
    for _ in 0..options.users {
        let (shared, random) = (Arc::clone(&shared), random.fork());
        users.spawn_local(user::run(
            shared,
            ledger.clone(),
            owner.clone(), // part: billing
            random,
        ));
    }
    let planned = match options.faults {
        true => faults::schedule(length, &mut random),
        false => Vec::new(),
    };
    let started = Instant::now();
    let injected = Arc::new(Mutex::new(Vec::new()));
    let samples = Arc::new(Mutex::new(Samples::default()));
    let changes = Arc::new(Mutex::new(BTreeSet::new()));
    let background = [
        sample(stage, &samples),
        watch_alarms(stage, &changes),
        payments::reconcile_regularly(stage), // part: billing
        show_progress(&shared, &injected, length),
    ];
    let load = inject_faults(&injector, &shared, planned, random, &injected, started);
    let end = async {
        tokio::select! {
            () = sleep(length) => {}
            () = interrupted() => eprintln!("stopping; press Ctrl-C again to stop without a report"),
        }
        shared.end();
        Ok(())
    };
    tokio::try_join!(load, end)?;
    let seconds = started.elapsed().as_secs_f64();
    tokio::select! {
        result = finish(users) => result?,
        () = interrupted() => bail!("stopped without a report"),
    }
    injector.clear().await?;
    injector.wait_for_cloud().await;
    let [sampling, watching, others @ ..] = background;
    others.iter().for_each(JoinHandle::abort);
    eprintln!("the load has ended; waiting until the stage has no work left");
    let injected = lock(&injected).clone();
    let minute = minute()?;
    let has_alarms = !lock(&changes).is_empty();
    if let (Some(last), true) = (injected.last(), has_alarms) {
        let deadline = last.until + u64::try_from((minute * (alarms::NOTICE + 1)).as_millis())?;
        let left = deadline.saturating_sub(ledger::now());
        sleep(Duration::from_millis(left)).await;
    }
    watching.abort();
    let emails = shared.users().clone();
    let interruptions = interruptions(&injected); // part: notify
    let settle = quiet::settle_and_compare(
        stage,
        &owner, // part: billing
        &path,
        &emails,
        &interruptions, // part: notify
    );
    let comparison = tokio::select! {
        result = settle => result?,
        () = interrupted() => bail!("stopped without a report"),
    };
    sampling.abort();
    let counts = shared.counts().clone();
    let changes = lock(&changes).clone();
    let report = Report {
        seed,
        users: emails.len(),
        seconds,
        requests: counts.requests(),
        requests_per_second: counts.requests() as f64 / seconds,
        kinds: report::kinds(&counts),
        given_up: counts.given_up,
        comparison,
        alarms: (!changes.is_empty()).then(|| alarms::judge(&injected, &changes, minute)),
        faults: injected,
        functions: lock(&samples).usage(),
    };
    println!("{report}");
    fs::write(&options.report, serde_json::to_vec_pretty(&report)?)?;
    println!("the report as JSON: {}", options.report.display());
    Ok(report.failures().is_empty())
}

/// Makes panics of the tests' helpers, which are caught, go to a file.
fn log_panics(path: &Path) -> Result<()> {
    let log = fs::File::create(path).context("cannot create the log")?;
    std::panic::set_hook(Box::new(move |panic| {
        // There is no better place for an error of the log.
        let _ = writeln!(&log, "{panic}");
    }));
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for SIGINT (Ctrl-C) or SIGTERM.
async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// How long a minute of the stage's CloudWatch lasts.
fn minute() -> Result<Duration> {
    let minute = std::env::var("SCRATCHPAD_MINUTE_MS").unwrap_or_else(|_| "60000".into());
    Ok(Duration::from_millis(minute.parse()?))
}

/// Waits until all users have finished their last operation.
async fn finish(mut users: JoinSet<Result<()>>) -> Result<()> {
    while let Some(user) = users.join_next().await {
        user.context("a user failed")??;
    }
    Ok(())
}

/// Injects the planned faults one after another.
async fn inject_faults(
    injector: &Injector,
    shared: &Shared,
    planned: Vec<faults::Planned>,
    mut random: Rng,
    injected: &Mutex<Vec<Injected>>,
    started: Instant,
) -> Result<()> {
    for planned in planned {
        shared
            .pause(planned.at.saturating_sub(started.elapsed()))
            .await;
        if shared.has_ended() {
            break;
        }
        let fault = injector.inject(&planned, shared, &mut random).await?;
        lock(injected).push(fault);
    }
    Ok(())
}

// part: notify {
/// Returns the periods in which notify-send may have been interrupted between sending an SMS and recording it.
fn interruptions(injected: &[Injected]) -> Vec<Interruption> {
    let interrupting = injected.iter().filter(|injected| {
        matches!(
            injected.fault,
            Fault::KilledCloud
                | Fault::KilledFunction("notify-send")
                | Fault::ThrottledTable(Table::Idempotency)
        )
    });
    interrupting
        .map(|injected| (injected.from.saturating_sub(IN_PROGRESS), injected.until))
        .collect()
}
// part: notify }

/// Samples the functions' processes until the task is aborted.
fn sample(stage: &'static Stage, samples: &Arc<Mutex<Samples>>) -> JoinHandle<()> {
    let samples = Arc::clone(samples);
    spawn_local(async move {
        loop {
            lock(&samples).take(stage);
            sleep(processes::INTERVAL).await;
        }
    })
}

/// Collects the history of the alarms until the task is aborted. The local cloud keeps only the latest entries.
fn watch_alarms(stage: &'static Stage, changes: &Arc<Mutex<BTreeSet<Change>>>) -> JoinHandle<()> {
    let changes = Arc::clone(changes);
    spawn_local(async move {
        loop {
            // The call fails while the local cloud is killed.
            if let Ok(history) = spawn_local(alarms::history(stage)).await {
                lock(&changes).extend(history);
            }
            sleep(Duration::from_secs(5)).await;
        }
    })
}

/// Shows a line with the progress until the task is aborted. Prints it every 30 s if there is no terminal.
fn show_progress(
    shared: &Arc<Shared>,
    injected: &Arc<Mutex<Vec<Injected>>>,
    length: Duration,
) -> JoinHandle<()> {
    let (shared, injected) = (Arc::clone(shared), Arc::clone(injected));
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg}") {
        bar.set_style(style);
    }
    let started = Instant::now();
    spawn_local(async move {
        for second in 0.. {
            let elapsed = started.elapsed();
            let requests = shared.counts().requests();
            let rate = requests as f64 / elapsed.as_secs_f64().max(1.0);
            let line = format!(
                "{} s left, {requests} requests, {rate:.1} per second, {} faults injected",
                length.saturating_sub(elapsed).as_secs(),
                lock(&injected).len(),
            );
            if bar.is_hidden() && second % 30 == 0 {
                eprintln!("{line}");
            }
            bar.set_message(line);
            bar.tick();
            sleep(Duration::from_secs(1)).await;
        }
    })
}
