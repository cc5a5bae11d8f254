//! The sweep: every call of every life fails in every way.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::sync::Semaphore;

use crate::broken::Broken;
use crate::failure::{Failure, Fault};
use crate::invariants::{Breach, breaches};
use crate::life::Life;
use crate::place::Place;
use crate::world::{Ran, World};

/// Lives that use the CPU at the same time.
static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(12)));

/// Lives that are begun, most of which wait: each has processes, connections and a database.
static BEGUN: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(64)));

/// A call of a function in a life, which fails in some way in each of its cells.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) life: &'static Life,
    pub(crate) function: &'static str,
    /// In which run of the function.
    pub(crate) run: usize,
    /// Which of the run's calls, from 1.
    pub(crate) k: usize,
    pub(crate) call: String,
    /// Which of the run's calls of that name, from 1.
    nth: usize,
}

/// What is left at the end of a life.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) breaches: Vec<Breach>,
    /// What led there.
    pub(crate) story: Vec<String>,
}

/// What became of a life in which only fails what always does, and of each of its rows, in the
/// order of [`Failure::ALL`].
pub(crate) struct Swept {
    pub(crate) life: &'static Life,
    pub(crate) unfailing: End,
    pub(crate) rows: Vec<(Row, Vec<End>)>,
}

/// What a sweep found.
pub(crate) struct Sweep {
    pub(crate) lives: Vec<Swept>,
    pub(crate) took: Duration,
}

/// Lives these lives, and again with each of the calls that `keeps` takes failing in every way.
/// `tell` hears how many cells are done.
pub(crate) async fn sweep(
    broken: Broken,
    lives: &'static [Life],
    keeps: fn(&Row) -> bool,
    tell: fn(usize),
) -> Sweep {
    let begun = Instant::now();
    let sweeping = Arc::new(Sweeping {
        broken,
        keeps,
        tell,
        client: Client::new(),
        done: AtomicUsize::new(0),
    });
    let swept = lives.iter().map(|life| Arc::clone(&sweeping).sweep(life));
    Sweep {
        lives: all(swept).await,
        took: begun.elapsed(),
    }
}

/// Does all of this at the same time.
async fn all<T: Send + 'static>(
    work: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut done = Vec::new();
    for task in work.map(tokio::spawn).collect::<Vec<_>>() {
        done.push(task.await.unwrap());
    }
    done
}

struct Sweeping {
    broken: Broken,
    keeps: fn(&Row) -> bool,
    tell: fn(usize),
    client: Client,
    done: AtomicUsize,
}

impl Sweeping {
    async fn sweep(self: Arc<Self>, life: &'static Life) -> Swept {
        let (unfailing, ran) = self.live(life, None).await;
        let mut rows = rows(life, &ran);
        rows.retain(self.keeps);
        let mut cells: Vec<_> = (0..rows.len() * Failure::ALL.len()).collect();
        let fault = |cell: usize| {
            let failure = Failure::ALL[cell % Failure::ALL.len()];
            (rows[cell / Failure::ALL.len()].fault(failure), failure)
        };
        // Those that wait longest begin first.
        let is_late = |cell: &usize| matches!(fault(*cell).1, Failure::Late | Failure::LateOnce);
        cells.sort_by_key(|cell| !is_late(cell));
        let lived = cells.iter().map(|cell| {
            let (sweeping, (fault, _)) = (Arc::clone(&self), fault(*cell));
            async move {
                let (end, _) = sweeping.live(life, Some(fault)).await;
                (sweeping.tell)(sweeping.done.fetch_add(1, Relaxed) + 1);
                end
            }
        });
        let mut ends: Vec<_> = cells.iter().zip(all(lived).await).collect();
        ends.sort_by_key(|(cell, _)| **cell);
        let mut ends = ends.into_iter().map(|(_, end)| end);
        let rows = rows.into_iter().map(|row| {
            let ends = ends.by_ref().take(Failure::ALL.len()).collect();
            (row, ends)
        });
        Swept {
            life,
            unfailing,
            rows: rows.collect(),
        }
    }

    /// Lives a life with this fault in it. Says also what ran.
    async fn live(&self, life: &'static Life, fault: Option<Fault>) -> (End, Vec<Ran>) {
        let _begun = BEGUN.acquire().await.unwrap();
        let place = Place::among(&PLACES);
        let client = self.client.clone();
        let mut world = World::new(*life, self.broken, fault.clone(), place, client).await;
        world.live().await;
        let mut breaches = breaches(&world, fault.as_ref());
        breaches.extend(world.wire.unmet().into_iter().map(|unmet| Breach {
            invariant: "the call that was to fail was made",
            found: format!("{unmet:?}"),
        }));
        let story = world.story.iter().chain(&world.log).cloned().collect();
        let runs = std::mem::take(&mut world.runs);
        (End { breaches, story }, runs)
    }
}

/// The calls that are to fail in a life: of each function all that its runs make, each where it
/// comes first; those that only tell it where to begin in the first of the lives alone.
fn rows(life: &'static Life, ran: &[Ran]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (function, first) in life.sweeps {
        let mut known = HashSet::new();
        let runs = ran.iter();
        let runs = runs.filter(|ran| ran.function == *function && ran.number >= *first);
        for Ran { number, calls, .. } in runs {
            for (at, call) in calls.iter().enumerate() {
                let nth = calls[..=at].iter().filter(|other| *other == call).count();
                let is_new = life.is_first_of(function) || !tells_where_to_begin(call);
                if is_new && known.insert((call, nth)) {
                    rows.push(Row {
                        life,
                        function,
                        run: *number,
                        k: at + 1,
                        call: call.clone(),
                        nth,
                    });
                }
            }
        }
    }
    rows
}

/// Whether a call reads a function's secrets, or the list of what is to be done. It changes nothing,
/// and comes before what differs from life to life.
fn tells_where_to_begin(call: &str) -> bool {
    call.starts_with("SSM ") || call.starts_with("DynamoDB Query ")
}

impl Row {
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

impl End {
    pub(crate) fn held(&self) -> bool {
        self.breaches.is_empty()
    }
}

impl Sweep {
    pub(crate) fn rows(&self) -> impl Iterator<Item = &(Row, Vec<End>)> {
        self.lives.iter().flat_map(|swept| &swept.rows)
    }

    /// All ends, each with what failed.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (String, &End)> {
        let unfailing = self.lives.iter();
        let unfailing = unfailing.map(
            |Swept {
                 life, unfailing, ..
             }| { (format!("{}: nothing else fails", life.name), unfailing) },
        );
        let cells = self.rows().flat_map(|(row, ends)| {
            let ends = Failure::ALL.into_iter().zip(ends);
            ends.map(move |(failure, end)| {
                let Row {
                    life,
                    function,
                    run,
                    k,
                    call,
                    ..
                } = row;
                let failed = format!("{function} {run}.{k} {call}: {}", failure.name());
                (format!("{}: {failed}", life.name), end)
            })
        });
        unfailing.chain(cells)
    }

    /// The invariants that do not hold at some end.
    pub(crate) fn breached(&self) -> HashSet<&'static str> {
        let breaches = self.ends().flat_map(|(_, end)| &end.breaches);
        breaches.map(|breach| breach.invariant).collect()
    }

    /// How many cells there are.
    pub(crate) fn cells(&self) -> usize {
        self.rows().map(|(_, ends)| ends.len()).sum()
    }
}
