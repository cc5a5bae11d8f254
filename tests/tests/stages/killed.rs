//! The tool killed at any moment: run again, it does what it was to do.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::account::Account;
use crate::checkout::{Checkout, Running, Told};

/// At how many moments each command is killed, from its beginning to its end.
const MOMENTS: u32 = 20;

/// How long a command takes that is left alone.
async fn timed(checkout: &Checkout, arguments: &str) -> Duration {
    let begun = Instant::now();
    checkout.run(arguments).await.did();
    begun.elapsed()
}

/// Begins a command, kills it after a time, with all that it has started, and runs it again.
async fn killed(checkout: &Checkout, arguments: &str, after: Duration) -> Told {
    let running = Running::start(checkout, arguments);
    sleep(after).await;
    running.signal(Signal::KILL);
    running.end().await;
    checkout.run(arguments).await
}

#[tokio::test]
async fn killed_at_any_moment_a_deploy_and_a_removal_do_the_rest_when_they_are_run_again() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    let (deploy, remove) = ("deploy --stage pr-1", "remove --stage pr-1 --yes");
    checkout.run(deploy).await.did();
    let whole = account.fingerprints("pr-1").await;
    checkout.run(remove).await.did();
    let without = account.inventory().await;
    let to_deploy = timed(checkout, deploy).await;
    let to_remove = timed(checkout, remove).await;

    for moment in 0..MOMENTS {
        let at = |whole: Duration| whole * moment / MOMENTS;
        killed(checkout, deploy, at(to_deploy)).await.did();
        assert_eq!(
            account.fingerprints("pr-1").await,
            whole,
            "killed at {:?}",
            at(to_deploy)
        );
        for (name, stack) in account.stacks_of("pr-1").await {
            let status = stack.stack_status.unwrap();
            assert!(
                ["CREATE_COMPLETE", "UPDATE_COMPLETE"].contains(&status.as_str()),
                "{name} is {status:?}"
            );
        }
        let again = killed(checkout, remove, at(to_remove)).await;
        if !again.succeeded {
            // It was over before it was killed.
            assert!(again.refused().contains("has no stage pr-1"));
        }
        let after = account.inventory().await;
        let left: Vec<_> = after.symmetric_difference(&without).collect();
        assert!(left.is_empty(), "killed at {:?}: {left:#?}", at(to_remove));
    }
    checkout.run(deploy).await.did();
    let history = account.history().await;
    let said = checkout.run(deploy).await.did();
    assert!(said.contains("of these sources"), "{said}");
    assert_eq!(account.history().await, history);
}
