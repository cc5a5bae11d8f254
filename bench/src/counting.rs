//! Counts the instructions of each variant of each function, over plain HTTP and over TLS.

use std::collections::{BTreeMap, btree_map::Entry};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use test_support::functions::Function;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::callgrind::{self, Repetition};
use crate::fixture::{self, Fixture};
use crate::progress;
use crate::report::{Instructions, Row};
use crate::variants::{Case, Paths, Transport, Variant};

/// The variants whose instructions are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Only the deployed variant of each function, because only this variant has gates.
    Deployed,
    /// Every variant in Rust.
    AllRust,
}

impl Scope {
    fn includes(self, variant: Variant) -> bool {
        match self {
            Self::Deployed => variant == Variant::Rust,
            Self::AllRust => variant != Variant::Node,
        }
    }
}

/// Counts the instructions of the functions' variants that `scope` includes, over each transport. Returns one row per
/// variant of a function. Counts as many variants in parallel as the machine has CPU cores, because a count does not
/// depend on the load of the machine. If a count fails, leaves it out and appends the reason to `failures`.
///
/// # Errors
/// Fails if valgrind is not installed or the file of a deployment package cannot be read.
pub(crate) async fn count(
    functions: &[Function],
    paths: &Paths,
    scope: Scope,
    repetition: Repetition,
    failures: &mut Vec<String>,
) -> Result<Vec<Row>> {
    let valgrind: Arc<Path> = fixture::program("valgrind")?.into();
    let permits = Arc::new(Semaphore::new(std::thread::available_parallelism()?.get()));
    let cases = functions
        .iter()
        .flat_map(|function| Case::all(function, paths));
    let mut counts = JoinSet::new();
    for case in cases.filter(|case| scope.includes(case.variant)) {
        let (permits, valgrind, paths) =
            (Arc::clone(&permits), Arc::clone(&valgrind), paths.clone());
        counts.spawn(async move {
            let counted = async {
                let _permit = permits.acquire().await?;
                let fixture = Fixture::start().await?;
                let subject = fixture.subject(&case, &paths)?;
                callgrind::count(
                    &subject,
                    &fixture.cloud,
                    &valgrind,
                    &paths.scratch,
                    repetition,
                )
                .await
            };
            let counted: Result<Instructions> = counted.await;
            (case, counted)
        });
    }
    let bar = progress::bar("count instructions", counts.len());
    let mut rows = BTreeMap::new();
    while let Some(counted) = counts.join_next().await {
        let (case, counted) = counted?;
        bar.set_message(case.label());
        bar.inc(1);
        let counted = match counted {
            Ok(counted) => counted,
            Err(error) => {
                failures.push(format!("cannot count {}: {error:#}", case.label()));
                continue;
            }
        };
        let row = match rows.entry((case.function.name.clone(), case.variant.name())) {
            Entry::Occupied(row) => row.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(case.row(paths)?),
        };
        match case.transport {
            Transport::Http => row.instructions = Some(counted),
            Transport::Tls => row.tls_instructions = Some(counted),
        }
    }
    bar.finish_and_clear();
    Ok(rows.into_values().collect())
}
