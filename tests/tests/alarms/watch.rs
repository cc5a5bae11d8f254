//! Causes a failure, and checks the alarms that it raises.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use test_support::monitoring::AlarmMail;
use test_support::stage::{Stage, wait_for_up_to};
use tokio::time::{Instant, sleep};

/// How long an alarm may take to be raised or to clear. The longest window that must pass is half an hour of the stage's
/// CloudWatch, 15 s. The age of a stream's records counts real time: its alarm is raised after 60 s and five minutes of
/// CloudWatch.
const TIMEOUT: Duration = Duration::from_secs(90);

/// The pause before a failure is caused again, or a state is read again.
const PAUSE: Duration = Duration::from_millis(50);

/// The minimum number of times that a failure is caused. Objectives allow fewer bad requests.
const REPETITIONS: u32 = 10;

/// The cause of a failure that has already happened, and need not be repeated.
pub(crate) async fn done() {}

/// An alarm: its name without the stage, and the section of the runbook that says what to do.
type Alarm = (&'static str, &'static str);

/// Waits until no alarm that sends emails is raised, and no email is pending.
async fn wait_until_calm(stage: &Stage, after: &str) {
    let is_pending = |alarm: &Value| {
        let sends = alarm["AlarmActions"]
            .as_array()
            .is_some_and(|actions| !actions.is_empty());
        sends && (alarm["StateValue"] == "ALARM" || !alarm["ActionsSuppressedBy"].is_null())
    };
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let mut alarms = stage.alarms().await;
        alarms.retain(|_, alarm| is_pending(alarm));
        if alarms.is_empty() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "these alarms are still raised {after}: {alarms:#?}"
        );
        sleep(PAUSE).await;
    }
}

/// Returns the emails since the first `known` ones that say that an alarm was raised.
async fn raised(stage: &Stage, known: usize) -> Vec<AlarmMail> {
    let mut mails = stage.alarm_mails().await.split_off(known);
    mails.retain(|mail| mail.state == "ALARM");
    mails
}

/// Repeats `cause` at least [`REPETITIONS`] times, and until each of the `alarms` is raised by email. Then ends the failure with `fix`, and waits until all
/// alarms have cleared. Asserts that there were emails about each of the alarms and none about another alarm, and that each
/// email names the section of the runbook.
pub(crate) async fn assert_raises(
    stage: &Stage,
    alarms: &[Alarm],
    cause: impl AsyncFn(),
    fix: impl AsyncFn(),
) {
    wait_until_calm(stage, "before the failure").await;
    let known = stage.alarm_mails().await.len();
    let repetitions = Cell::new(0);
    let is_raised = async || {
        let mails = raised(stage, known).await;
        let mut missing = alarms.iter();
        let found = missing.all(|(name, _)| mails.iter().any(|mail| mail.alarm == *name));
        (found && repetitions.get() >= REPETITIONS).then_some(())
    };
    let causing = async {
        loop {
            cause().await;
            repetitions.update(|repetitions| repetitions + 1);
            sleep(PAUSE).await;
        }
    };
    let mails = format!("the emails about {alarms:?}");
    tokio::select! {
        () = wait_for_up_to(TIMEOUT, &mails, is_raised) => (),
        () = causing => (),
    }
    fix().await;
    wait_until_calm(stage, "after the fix").await;

    let mails = raised(stage, known).await;
    let names: BTreeSet<_> = mails.iter().map(|mail| mail.alarm.as_str()).collect();
    let expected = alarms.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, expected);
    for (name, section) in alarms {
        let mail = mails.iter().find(|mail| mail.alarm == *name).unwrap();
        let link = format!("docs/runbook.md#{section}\n");
        assert!(mail.text.contains(&link), "{}", mail.text);
    }
    let cleared = stage.alarm_mails().await.split_off(known);
    for (name, _) in alarms {
        let is_cleared = |mail: &AlarmMail| mail.alarm == *name && mail.state == "OK";
        assert!(
            cleared.iter().any(is_cleared),
            "no email says that {name} has cleared"
        );
    }
}

/// A permission that was removed from the role of a function.
pub(crate) struct RemovedGrant {
    role: String,
    policy: String,
    whole: Value,
}

impl RemovedGrant {
    /// Removes the permission for `action` from a function.
    pub(crate) async fn new(stage: &Stage, function: &str, action: &str) -> Self {
        let role = stage.role_of(function).await;
        let role = role.rsplit('/').next().unwrap().to_owned();
        let [policy] = stage.inline_policies(&role).await.try_into().unwrap();
        let whole = stage.inline_policy(&role, &policy).await;
        let mut rest = whole.clone();
        let statements = rest["Statement"].as_array_mut().unwrap();
        let before = statements.len();
        statements.retain(|statement| !statement["Action"].to_string().contains(action));
        assert!(
            statements.len() < before,
            "{function} has no permission for {action}"
        );
        stage.put_inline_policy(&role, &policy, &rest).await;
        Self {
            role,
            policy,
            whole,
        }
    }

    /// Grants the permission again.
    pub(crate) async fn restore(&self, stage: &Stage) {
        stage
            .put_inline_policy(&self.role, &self.policy, &self.whole)
            .await;
    }
}
