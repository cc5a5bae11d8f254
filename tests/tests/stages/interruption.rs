//! Kills xtask commands at many moments, and tests that a second run of the same command completes.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::account::Account;
use crate::checkout::{Checkout, Output, Running};

/// How many times the test kills each command, at moments that are evenly spread over the run time
/// of the command.
const POINTS: u32 = 20;

/// Runs an xtask command that must succeed. Returns how long the command ran.
async fn run_time(checkout: &Checkout, arguments: &str) -> Duration {
    let started = Instant::now();
    checkout.run(arguments).await.success();
    started.elapsed()
}

/// Starts an xtask command, kills it and its child processes after the time `after`, and runs the
/// same command again. Returns the result of the second run.
async fn kill_and_rerun(checkout: &Checkout, arguments: &str, after: Duration) -> Output {
    let running = Running::start(checkout, arguments);
    sleep(after).await;
    running.signal(Signal::KILL);
    running.wait().await;
    checkout.run(arguments).await
}

#[tokio::test]
async fn a_killed_deploy_or_removal_completes_when_run_again() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    let (deploy, remove) = ("deploy --stage feature-1", "remove --stage feature-1 --yes");
    checkout.run(deploy).await.success();
    let deployed = account.fingerprints("feature-1").await;
    checkout.run(remove).await.success();
    let removed = account.inventory().await;
    let deploy_time = run_time(checkout, deploy).await;
    let remove_time = run_time(checkout, remove).await;

    for point in 0..POINTS {
        let at = |run_time: Duration| run_time * point / POINTS;
        kill_and_rerun(checkout, deploy, at(deploy_time))
            .await
            .success();
        assert_eq!(
            account.fingerprints("feature-1").await,
            deployed,
            "killed after {:?}",
            at(deploy_time)
        );
        for (name, stack) in account.stacks_of("feature-1").await {
            let status = stack.stack_status.unwrap();
            assert!(
                ["CREATE_COMPLETE", "UPDATE_COMPLETE"].contains(&status.as_str()),
                "{name} is {status:?}"
            );
        }
        let rerun = kill_and_rerun(checkout, remove, at(remove_time)).await;
        if !rerun.succeeded {
            // The first run had completed before it was killed.
            assert!(rerun.failure().contains("has no stage feature-1"));
        }
        let after = account.inventory().await;
        let left: Vec<_> = after.symmetric_difference(&removed).collect();
        assert!(
            left.is_empty(),
            "killed after {:?}: {left:#?}",
            at(remove_time)
        );
    }
    checkout.run(deploy).await.success();
    let history = account.history().await;
    let output = checkout.run(deploy).await.success();
    assert!(output.contains("of these sources"), "{output}");
    assert_eq!(account.history().await, history);
}
