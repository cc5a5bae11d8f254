//! The tier of fault tests.

use anyhow::Result;

use super::{Counts, STAGES, cargo_test, heading, run_tests, stages};
use crate::{build, workspace::Workspace};

/// The Cargo test target of the fault tests, and the name of their tier.
pub(super) const FAULTS: &str = "faults";

/// Runs the fault tests, and beside them the tests of stages if `with_stages` is true. The tests of stages run one at a time
/// and use little CPU. The tests of the tier e2e wait for a browser with a timeout, so they do not run beside others.
pub(super) async fn beside_stages(
    workspace: &Workspace,
    with_stages: bool,
) -> Result<Vec<(&'static str, Counts)>> {
    if !with_stages {
        heading(FAULTS);
        return Ok(vec![(FAULTS, faults(workspace).await?)]);
    }
    heading("faults and stages");
    let mut held = Vec::new();
    let (faults, stages) = tokio::join!(faults(workspace), stages(workspace, Some(&mut held)));
    heading("output of the tier stages");
    held.iter().for_each(|line| println!("{line}"));
    Ok(vec![(FAULTS, faults?), (STAGES, stages?)])
}

async fn faults(workspace: &Workspace) -> Result<Counts> {
    build::build(workspace).await?;
    let mut tests = cargo_test(workspace);
    tests
        // The tests print a table of all failures.
        .args(["--test", FAULTS, "--", "--nocapture"])
        .env("SCRATCHPAD_FUNCTIONS", workspace.binaries());
    run_tests(&mut tests).await
}
