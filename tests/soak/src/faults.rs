//! The faults of a run: a schedule that depends only on the seed, and the injection of each fault.

use std::fs;
use std::ops::Range;
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde_json::{Value, json};
use test_support::stage::Stage;

use crate::client::Shared;
use crate::ledger::now;
use crate::payments::{self, Owner, faults::PaymentFault}; // part: billing
use crate::processes;

/// A failure that the stage must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// SIGKILL for the local cloud and all functions, which are then started again. All requests in progress end without a
    /// response. See local/cloud/crash.py.
    KilledCloud,
    /// SIGKILL for all processes of a function.
    KilledFunction(&'static str),
    /// A DynamoDB table throttles all requests.
    ThrottledTable(Table),
    Payments(PaymentFault), // part: billing
}

/// A table of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Table {
    Notes,
    Attachments,
    Storage,
    Purchases, // part: billing
    Buyers,    // part: billing
    Idempotency,
}

impl Table {
    /// The logical ID of the table, which is part of its name.
    pub(crate) fn id(self) -> String {
        format!("{self:?}")
    }
}

const TABLES: &[Table] = &[
    Table::Notes,
    Table::Attachments,
    Table::Storage,
    Table::Purchases, // part: billing
    Table::Buyers,    // part: billing
    Table::Idempotency,
];

/// The functions that are killed.
const FUNCTIONS: &[&str] = &[
    "notes-create",
    "notes-update",
    "notes-delete",
    // part: billing {
    "notes-credit",
    "billing-purchase",
    "billing-webhook",
    "billing-purchase-paid",
    // part: billing }
    "notify-send", // part: notify
];

/// A fault of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planned {
    /// The time from the start of the load.
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) fault: Fault,
}

/// A fault that was injected.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Injected {
    pub(crate) fault: Fault,
    /// The start and the end, in milliseconds since the Unix epoch.
    pub(crate) from: u64,
    pub(crate) until: u64,
    /// Whether it could be injected.
    pub(crate) took_effect: bool,
}

/// The time without faults at the end of the load.
const LAST: Duration = Duration::from_secs(10);

/// Chooses a fault, and returns it with the shortest and the longest time that it lasts, in seconds.
pub(crate) type Kind = fn(&mut Rng) -> (Fault, Range<u64>);

/// The kinds of faults that kill something.
const KILLS: &[Kind] = &[
    |_| (Fault::KilledCloud, 1..2),
    |random| (Fault::KilledFunction(any(random, FUNCTIONS)), 3..8),
];

/// All kinds of faults.
const KINDS: &[&[Kind]] = &[
    KILLS,
    &[|random| (Fault::ThrottledTable(any(random, TABLES)), 4..12)],
    payments::faults::KINDS, // part: billing
];

/// Returns the faults of a run that lasts `run`, one after another. Each kind occurs about equally often. In the last quarter,
/// nothing is killed, so that the growth of the functions' processes is seen.
pub(crate) fn schedule(run: Duration, random: &mut Rng) -> Vec<Planned> {
    let mut planned = Vec::new();
    let mut kinds: Vec<Kind> = Vec::new();
    let mut at = Duration::from_millis(random.u64(4_000..8_000));
    loop {
        if kinds.is_empty() {
            let all = KINDS.iter().copied().flatten();
            // The kinds that kill are the first ones.
            let killing = if at > run * 3 / 4 { KILLS.len() } else { 0 };
            kinds = all.skip(killing).copied().collect();
            random.shuffle(&mut kinds);
        }
        let Some(kind) = kinds.pop() else {
            return planned;
        };
        let (fault, seconds) = kind(random);
        if at > run * 3 / 4 && matches!(fault, Fault::KilledCloud | Fault::KilledFunction(_)) {
            continue;
        }
        let lasts = Duration::from_millis(random.u64(seconds.start * 1_000..seconds.end * 1_000));
        if at + lasts + LAST > run {
            return planned;
        }
        planned.push(Planned { at, lasts, fault });
        at += lasts + Duration::from_millis(random.u64(3_000..9_000));
    }
}

pub(crate) fn any<T: Copy>(random: &mut Rng, all: &[T]) -> T {
    all[random.usize(..all.len())]
}

/// What is needed to inject faults into a stage.
#[derive(Debug)]
pub(crate) struct Injector {
    pub(crate) stage: &'static Stage,
    pub(crate) owner: Owner, // part: billing
    pub(crate) client: Client,
}

impl Injector {
    /// Injects a fault for the time that is planned, and removes it. `random` chooses what the fault affects.
    pub(crate) async fn inject(
        &self,
        planned: &Planned,
        shared: &Shared,
        random: &mut Rng,
    ) -> Result<Injected> {
        let from = now();
        let took_effect = match planned.fault {
            // part: billing {
            Fault::Payments(fault) => self.fail_payments(fault, planned, shared, random).await,
            // part: billing }
            Fault::KilledCloud => self.kill_cloud().await,
            Fault::KilledFunction(function) => {
                // The function starts again with the next invocation, so it is killed several times.
                let end = from + u64::try_from(planned.lasts.as_millis())?;
                let mut killed = false;
                while now() < end && !shared.has_ended() {
                    killed |= kill_function(self.stage, function);
                    let pause = Duration::from_millis(random.u64(100..1_000));
                    shared.pause(pause).await;
                }
                killed
            }
            Fault::ThrottledTable(table) => {
                let name = self.table_name(table);
                self.write_faults(&json!({"throttledTables": [name]}))?;
                // The load may not use the table meanwhile.
                let took_effect = self.stage.throttles(&name).await;
                shared.pause(planned.lasts).await;
                took_effect
            }
        };
        self.clear().await?;
        Ok(Injected {
            fault: planned.fault,
            from,
            until: now(),
            took_effect,
        })
    }

    /// Removes all faults.
    pub(crate) async fn clear(&self) -> Result<()> {
        self.write_faults(&json!({}))?;
        self.clear_payments().await; // part: billing
        Ok(())
    }

    /// Writes the file with the faults of the local cloud.
    fn write_faults(&self, faults: &Value) -> Result<()> {
        let state = self.stage.folder().join("data/state");
        fs::create_dir_all(&state)?;
        let (file, next) = (state.join("faults.json"), state.join("faults.json.next"));
        fs::write(&next, faults.to_string())?;
        fs::rename(next, file)?;
        Ok(())
    }

    fn table_name(&self, table: Table) -> String {
        // All names of tables differ only in the logical ID.
        self.stage.notes_table.replace("Notes", &table.id())
    }

    /// Kills the local cloud, and waits until it runs again. Returns whether it was killed.
    async fn kill_cloud(&self) -> bool {
        let before = processes::cloud(self.stage);
        let url = format!("{}/_local/crash", self.stage.cloud_url);
        let crash = self.client.post(url).timeout(Duration::from_secs(60));
        // The cloud ends without a response.
        let _ = crash.send().await;
        self.wait_for_cloud().await;
        before.is_some() && before != processes::cloud(self.stage)
    }

    /// Waits until the local cloud serves requests. Gives up after a minute.
    pub(crate) async fn wait_for_cloud(&self) {
        let url = format!("{}/_ministack/ready", self.stage.cloud_url);
        for _ in 0..600 {
            let ready = self.client.get(&url).timeout(Duration::from_secs(5));
            if ready
                .send()
                .await
                .is_ok_and(|ready| ready.status().is_success())
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Kills all processes of a function. Returns whether there were any.
fn kill_function(stage: &Stage, function: &str) -> bool {
    let mut killed = false;
    for process in processes::functions_of(stage) {
        if process.function == function
            && let Some(pid) = Pid::from_raw(process.pid)
        {
            killed |= kill_process(pid, Signal::KILL).is_ok();
        }
    }
    killed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_depends_only_on_the_seed_and_ends_before_the_load() {
        let run = Duration::from_secs(1_800);
        let planned = |seed| schedule(run, &mut Rng::with_seed(seed));
        assert_eq!(planned(1), planned(1));
        assert_ne!(planned(1), planned(2));
        let mut end = Duration::ZERO;
        for fault in planned(1) {
            assert!(fault.at > end);
            end = fault.at + fault.lasts;
        }
        assert!(end + LAST <= run);
    }

    #[test]
    fn each_kind_of_fault_occurs_in_ten_minutes() {
        let planned = schedule(Duration::from_secs(600), &mut Rng::with_seed(7));
        let kinds = planned.iter().map(|planned| match planned.fault {
            Fault::KilledCloud => "killed-cloud",
            Fault::KilledFunction(_) => "killed-function",
            Fault::ThrottledTable(_) => "throttled-table",
            Fault::Payments(fault) => fault.name(), // part: billing
        });
        let kinds: std::collections::BTreeSet<_> = kinds.collect();
        let all = KINDS.iter().copied().flatten().count();
        assert_eq!(kinds.len(), all, "{kinds:?}");
    }

    #[test]
    fn a_short_run_has_no_faults() {
        assert_eq!(schedule(LAST, &mut Rng::with_seed(1)), []);
    }
}
