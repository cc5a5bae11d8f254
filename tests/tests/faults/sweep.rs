//! The sweep: for each scenario, each call and each kind of failure, one simulation in which the call fails in this
//! way.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::sync::Semaphore;

use crate::cpu_slot::CpuSlot;
use crate::failure::{Failure, Fault};
use crate::invariants::{Violation, violations};
use crate::mutation::Mutation;
use crate::scenario::{From, Scenario};
use crate::simulation::{FunctionRun, Simulation};

/// Limits how many simulations use the CPU at the same time.
static CPU_SLOTS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(12)));

/// Limits how many simulations run at the same time, because each has processes, connections and a database. Most of
/// them only wait.
static RUNNING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(64)));

/// A row of the report: a call that a function makes in a scenario. In each cell of the row, the call fails in a
/// different way.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) scenario: &'static Scenario,
    pub(crate) function: &'static str,
    /// The number of the function's invocation that makes the call: 1 for the first invocation.
    pub(crate) run: usize,
    /// The position of the call among all calls of the invocation: 1 for the first.
    pub(crate) k: usize,
    pub(crate) call: String,
    /// The position of the call among the calls with the same name in the invocation: 1 for the first.
    nth: usize,
}

/// The result of one simulation.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    /// The invocations and waits of the simulation, and the log lines of the functions, as text for the report.
    pub(crate) history: Vec<String>,
}

/// The results of all simulations of a scenario: the outcome without an injected failure, and the outcomes of each row,
/// in the order of [`Failure::ALL`].
pub(crate) struct SweptScenario {
    pub(crate) scenario: &'static Scenario,
    pub(crate) baseline: Outcome,
    /// The functions and the names of all calls in the simulation without an injected failure.
    pub(crate) calls: BTreeSet<(&'static str, String)>,
    pub(crate) rows: Vec<(Row, Vec<Outcome>)>,
}

/// The results of all simulations of a sweep.
pub(crate) struct Sweep {
    pub(crate) scenarios: Vec<SweptScenario>,
    pub(crate) duration: Duration,
}

/// Simulates each scenario once without a failure, and then once for each selected call and each kind of failure.
/// Whenever a simulation with a failure finishes, calls `on_progress` with the number of those that have finished, and
/// with a text that names the failure if an invariant is violated.
pub(crate) async fn sweep(
    mutation: Mutation,
    scenarios: &'static [Scenario],
    is_selected: fn(&Row) -> bool,
    on_progress: fn(usize, Option<String>),
) -> Sweep {
    let started = Instant::now();
    let sweeping = Arc::new(Sweeping {
        mutation,
        is_selected,
        on_progress,
        client: Client::new(),
        done: AtomicUsize::new(0),
    });
    let swept = scenarios
        .iter()
        .map(|scenario| Arc::clone(&sweeping).sweep(scenario));
    Sweep {
        scenarios: join_all(swept).await,
        duration: started.elapsed(),
    }
}

/// Runs the futures as concurrent tasks. Returns their results in the order of the futures.
async fn join_all<T: Send + 'static>(
    work: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut done = Vec::new();
    for task in work.map(tokio::spawn).collect::<Vec<_>>() {
        done.push(task.await.unwrap());
    }
    done
}

struct Sweeping {
    mutation: Mutation,
    is_selected: fn(&Row) -> bool,
    on_progress: fn(usize, Option<String>),
    client: Client,
    done: AtomicUsize,
}

impl Sweeping {
    async fn sweep(self: Arc<Self>, scenario: &'static Scenario) -> SweptScenario {
        let (baseline, runs) = self.simulate(scenario, None).await;
        let mut rows = rows(scenario, &runs);
        rows.retain(self.is_selected);
        let calls = runs.iter().flat_map(|run| {
            let calls = run.calls.iter();
            calls.map(|call| (run.function, call.clone()))
        });
        let calls = calls.collect();
        let mut cells: Vec<_> = (0..rows.len() * Failure::ALL.len()).collect();
        let fault = |cell: usize| {
            let failure = Failure::ALL[cell % Failure::ALL.len()];
            (rows[cell / Failure::ALL.len()].fault(failure), failure)
        };
        // Start the simulations with long waits first.
        let is_late = |cell: &usize| matches!(fault(*cell).1, Failure::Late | Failure::LateOnce);
        cells.sort_by_key(|cell| !is_late(cell));
        let runs = cells.iter().map(|cell| {
            let (sweeping, (fault, failure)) = (Arc::clone(&self), fault(*cell));
            let name = rows[*cell / Failure::ALL.len()].name(failure);
            async move {
                let (outcome, _) = sweeping.simulate(scenario, Some(fault)).await;
                let done = sweeping.done.fetch_add(1, Relaxed) + 1;
                (sweeping.on_progress)(done, (!outcome.held()).then_some(name));
                outcome
            }
        });
        let mut outcomes: Vec<_> = cells.iter().zip(join_all(runs).await).collect();
        outcomes.sort_by_key(|(cell, _)| **cell);
        let mut outcomes = outcomes.into_iter().map(|(_, outcome)| outcome);
        let rows = rows.into_iter().map(|row| {
            let outcomes = outcomes.by_ref().take(Failure::ALL.len()).collect();
            (row, outcomes)
        });
        SweptScenario {
            scenario,
            baseline,
            calls,
            rows: rows.collect(),
        }
    }

    /// Simulates a scenario, with `fault` injected. Returns the outcome, and all invocations (runs) of all functions.
    async fn simulate(
        &self,
        scenario: &'static Scenario,
        fault: Option<Fault>,
    ) -> (Outcome, Vec<FunctionRun>) {
        let _running = RUNNING.acquire().await.unwrap();
        let cpu_slot = CpuSlot::new(&CPU_SLOTS);
        let client = self.client.clone();
        let mut simulation =
            Simulation::new(*scenario, self.mutation, fault.clone(), cpu_slot, client).await;
        simulation.run().await;
        let mut violations = violations(
            &simulation,
            fault.as_ref(), // part: notify
        );
        violations.extend(
            simulation
                .proxy
                .pending_faults()
                .into_iter()
                .map(|fault| Violation {
                    invariant: "the call that is to fail is made",
                    found: format!("{fault:?}"),
                }),
        );
        let history = simulation
            .history
            .iter()
            .chain(&simulation.log)
            .cloned()
            .collect();
        let runs = std::mem::take(&mut simulation.runs);
        (
            Outcome {
                violations,
                history,
            },
            runs,
        )
    }
}

/// Returns the rows of a scenario: the calls in `runs` of the functions in [`Scenario::sweeps`]. A call that occurs in
/// several invocations has one row, for the first of these invocations. If [`is_initial_read`]
/// is true for a call, the call has a row only in the first scenario that sweeps its function.
fn rows(scenario: &'static Scenario, runs: &[FunctionRun]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (function, from) in scenario.sweeps {
        let mut known = HashSet::new();
        let runs = runs.iter().filter(|run| {
            let is_swept = match *from {
                From::Run(first) => run.number >= first,
                From::Step(first) => run.step >= first,
            };
            run.function == *function && is_swept
        });
        for FunctionRun { number, calls, .. } in runs {
            for (index, call) in calls.iter().enumerate() {
                let nth = calls[..=index]
                    .iter()
                    .filter(|other| *other == call)
                    .count();
                let is_new = scenario.is_first_of(function) || !is_initial_read(call);
                if is_new && known.insert((call, nth)) {
                    rows.push(Row {
                        scenario,
                        function,
                        run: *number,
                        k: index + 1,
                        call: call.clone(),
                        nth,
                    });
                }
            }
        }
    }
    rows
}

/// Whether a call reads the secrets or the due purchases. If such a call fails, the function makes no other call for a
/// purchase, as if it were killed before the first of these calls. This failure is part of every scenario.
fn is_initial_read(call: &str) -> bool {
    call.starts_with("SSM ") || call.starts_with("DynamoDB Query ")
}

impl Row {
    /// Returns the name of a cell of this row.
    fn name(&self, failure: Failure) -> String {
        let Self {
            scenario,
            function,
            run,
            k,
            call,
            ..
        } = self;
        let fault = format!("{function} {run}.{k} {call}: {}", failure.name());
        format!("{}: {fault}", scenario.name)
    }

    fn fault(&self, failure: Failure) -> Fault {
        Fault {
            function: self.function,
            run: self.run,
            call: self.call.clone(),
            nth: self.nth,
            failure,
        }
    }
}

impl Outcome {
    /// Whether all invariants held in the simulation.
    pub(crate) fn held(&self) -> bool {
        self.violations.is_empty()
    }
}

impl Sweep {
    pub(crate) fn rows(&self) -> impl Iterator<Item = &(Row, Vec<Outcome>)> {
        self.scenarios.iter().flat_map(|swept| &swept.rows)
    }

    /// Returns the outcomes of all simulations, each with a text that names the scenario and the injected failure.
    pub(crate) fn results(&self) -> impl Iterator<Item = (String, &Outcome)> {
        let baseline = self.scenarios.iter();
        let baseline = baseline.map(
            |SweptScenario {
                 scenario, baseline, ..
             }| {
                (
                    format!("{}: without an added failure", scenario.name),
                    baseline,
                )
            },
        );
        let cells = self.rows().flat_map(|(row, outcomes)| {
            let outcomes = Failure::ALL.into_iter().zip(outcomes);
            outcomes.map(move |(failure, outcome)| (row.name(failure), outcome))
        });
        baseline.chain(cells)
    }

    /// The invariants that at least one simulation violates.
    pub(crate) fn violated(&self) -> HashSet<&'static str> {
        let violations = self.results().flat_map(|(_, outcome)| &outcome.violations);
        violations.map(|violation| violation.invariant).collect()
    }

    /// Returns the functions and the names of the calls that occur in a scenario, but have no row in any.
    pub(crate) fn skipped(&self) -> BTreeSet<(&'static str, String)> {
        let calls = self.scenarios.iter().flat_map(|swept| swept.calls.clone());
        let mut skipped: BTreeSet<_> = calls.collect();
        for (row, _) in self.rows() {
            skipped.remove(&(row.function, row.call.clone()));
        }
        skipped
    }

    /// Returns the number of simulations with an injected failure.
    pub(crate) fn cells(&self) -> usize {
        self.rows().map(|(_, outcomes)| outcomes.len()).sum()
    }
}
