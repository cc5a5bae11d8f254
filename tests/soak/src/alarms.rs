//! Compares the alarms that the stage raised with the faults that were injected.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use test_support::stage::Stage;

use crate::faults::{Fault, Injected};

/// A change of the state of an alarm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Change {
    /// The time in milliseconds since the Unix epoch, in whole seconds.
    pub(crate) at: u64,
    /// The name of the alarm, without the name of the stage.
    pub(crate) alarm: String,
    /// Whether the alarm was raised. False if it ended.
    pub(crate) raised: bool,
}

/// Returns the changes in the history of the stage's alarms. Panics if CloudWatch does not respond.
pub(crate) async fn history(stage: &Stage) -> BTreeSet<Change> {
    let (mut changes, mut token) = (BTreeSet::new(), Value::Null);
    let prefix = format!("scratchpad-{}-", stage.name());
    loop {
        let mut input = json!({
            "AlarmTypes": ["MetricAlarm", "CompositeAlarm"],
            "HistoryItemType": "StateUpdate", "MaxRecords": 100,
        });
        if !token.is_null() {
            input["NextToken"] = token;
        }
        let target = "GraniteServiceVersion20100801.DescribeAlarmHistory";
        let mut page = stage.call_as_owner("monitoring", target, &input).await;
        let items = page["AlarmHistoryItems"].take();
        for item in items.as_array().into_iter().flatten() {
            let text = |name: &str| item[name].as_str().unwrap_or_default();
            let (name, summary) = (text("AlarmName"), text("HistorySummary"));
            let Some(alarm) = name.strip_prefix(&prefix) else {
                continue;
            };
            let raised = summary.ends_with("to ALARM");
            if raised || summary.contains("from ALARM") {
                let seconds = item["Timestamp"].as_f64().unwrap_or(0.0);
                changes.insert(Change {
                    at: Duration::from_secs_f64(seconds).as_millis() as u64,
                    alarm: alarm.to_owned(),
                    raised,
                });
            }
        }
        token = page["NextToken"].take();
        if token.is_null() {
            return changes;
        }
    }
}

/// Returns the suffixes of the names of the alarms that a fault may raise, in addition to [`GENERAL`].
fn possible(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::KilledCloud => &[
            "-errors",
            "-lag",
            "reconcile-stopped", // part: billing
            "-dead-letters",
        ],
        Fault::KilledFunction(_) => &["-errors", "-dead-letters"],
        Fault::ThrottledTable(_) => &[
            "-throttles",
            "-errors",
            "-lag",
            "-dead-letters",
            "reconcile-stopped", // part: billing
        ],
        Fault::Payments(fault) => fault.possible_alarms(), // part: billing
    }
}

/// The suffixes of the names of the alarms that every fault may raise: the objectives of a route group with their windows,
/// and the composite alarm of causes.
const GENERAL: [&str; 8] = [
    "-availability",
    "-latency",
    "-5m",
    "-30m",
    "-1h",
    "-6h",
    "causes",
    "gateway-errors",
];

/// Returns the name of the alarm that a fault must raise. `None` if it depends on the load.
fn required(fault: Fault) -> Option<String> {
    match fault {
        Fault::ThrottledTable(table) => Some(format!("{}-throttles", table.id())),
        Fault::Payments(fault) => fault.required_alarm(), // part: billing
        Fault::KilledCloud | Fault::KilledFunction(_) => None,
    }
}

/// The alarms that were raised, and the faults that must have raised one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Judgment {
    /// How often each alarm was raised.
    pub(crate) raised: BTreeMap<String, usize>,
    /// The alarms that no fault explains.
    pub(crate) unexplained: BTreeSet<String>,
    /// The number of faults that had to raise an alarm, and did.
    pub(crate) noticed: usize,
    /// The faults that had to raise an alarm, and did not.
    pub(crate) unnoticed: Vec<String>,
}

/// Compares the changes of alarms with the faults. `minute` is how long a minute of the stage's CloudWatch lasts.
pub(crate) fn judge(
    injected: &[Injected],
    changes: &BTreeSet<Change>,
    minute: Duration,
) -> Judgment {
    let minutes = |number: u32| u64::try_from((minute * number).as_millis()).unwrap_or(u64::MAX);
    let mut judgment = Judgment::default();
    for change in changes.iter().filter(|change| change.raised) {
        *judgment.raised.entry(change.alarm.clone()).or_default() += 1;
        let mut faults = injected.iter();
        let is_explained = faults.any(|injected| {
            let possible = possible(injected.fault).iter().chain(&GENERAL);
            let mut possible = possible.copied();
            let lasts = injected.until + minutes(EFFECT);
            // The history has whole seconds.
            change.at + 1_000 >= injected.from
                && change.at <= lasts
                && possible.any(|end| change.alarm.ends_with(end))
        });
        if !is_explained {
            judgment.unexplained.insert(change.alarm.clone());
        }
    }
    for fault in injected.iter().filter(|injected| injected.took_effect) {
        let Some(name) = required(fault.fault) else {
            continue;
        };
        let deadline = fault.until + minutes(NOTICE);
        let is_forgotten = injected.iter().any(|other| {
            other.fault == Fault::KilledCloud && other.from >= fault.from && other.from <= deadline
        });
        if is_forgotten {
            continue; // the metrics of the local cloud are only in its memory
        }
        let mut own = changes.iter().filter(|change| change.alarm == name);
        let is_noticed = own.clone().any(|change| {
            change.raised && change.at + 1_000 >= fault.from && change.at <= deadline
        });
        // The alarm may still be raised because of an earlier fault.
        let before = own.rfind(|change| change.at <= fault.from);
        if is_noticed || before.is_some_and(|change| change.raised) {
            judgment.noticed += 1;
        } else {
            let from = fault.from / 1_000;
            judgment
                .unnoticed
                .push(format!("{:?} at {from}", fault.fault));
        }
    }
    judgment
}

/// How many minutes after its end a fault may raise an alarm.
const EFFECT: u32 = 30;

/// How many minutes after its end a fault must have raised its alarm.
pub(crate) const NOTICE: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Table;

    const MINUTE: Duration = Duration::from_secs(10);

    fn injected(fault: Fault, from: u64) -> Injected {
        Injected {
            fault,
            from,
            until: from + 1_000,
            took_effect: true,
        }
    }

    fn change(at: u64, alarm: &str, raised: bool) -> Change {
        Change {
            at,
            alarm: alarm.into(),
            raised,
        }
    }

    #[test]
    fn a_fault_without_its_alarm_and_an_alarm_without_a_fault_are_reported() {
        let faults = [
            injected(Fault::ThrottledTable(Table::Storage), 100_000),
            injected(Fault::ThrottledTable(Table::Notes), 100_000),
        ];
        let changes = BTreeSet::from([
            change(105_000, "Storage-throttles", true),
            change(105_000, "unknown", true),
            change(105_000, "notes-availability", true),
            change(115_000, "Storage-throttles", false),
        ]);
        let judgment = judge(&faults, &changes, MINUTE);
        assert_eq!(judgment.noticed, 1);
        assert_eq!(judgment.unnoticed, ["ThrottledTable(Notes) at 100"]);
        assert_eq!(judgment.unexplained, BTreeSet::from(["unknown".into()]));
        assert_eq!(judgment.raised.len(), 3);
    }

    #[test]
    fn the_alarm_of_another_table_does_not_count() {
        let faults = [injected(Fault::ThrottledTable(Table::Notes), 100_000)];
        let judge = |alarm| {
            judge(
                &faults,
                &BTreeSet::from([change(105_000, alarm, true)]),
                MINUTE,
            )
        };
        assert_eq!(judge("Notes-throttles").noticed, 1);
        assert_eq!(judge("Storage-throttles").noticed, 0);
    }

    #[test]
    fn an_alarm_that_is_still_raised_counts_for_the_next_fault() {
        let faults = [
            injected(Fault::ThrottledTable(Table::Notes), 100_000),
            injected(Fault::ThrottledTable(Table::Notes), 103_000),
        ];
        let changes = BTreeSet::from([change(102_000, "Notes-throttles", true)]);
        assert_eq!(judge(&faults, &changes, MINUTE).noticed, 2);
        let ended = BTreeSet::from([
            change(50_000, "Notes-throttles", true),
            change(60_000, "Notes-throttles", false),
        ]);
        assert_eq!(judge(&faults, &ended, MINUTE).unnoticed.len(), 2);
    }

    #[test]
    fn a_fault_before_a_kill_of_the_cloud_needs_no_alarm() {
        let faults = [
            injected(Fault::ThrottledTable(Table::Notes), 100_000),
            injected(Fault::KilledCloud, 110_000),
        ];
        let judgment = judge(&faults, &BTreeSet::new(), MINUTE);
        assert_eq!((judgment.noticed, judgment.unnoticed.len()), (0, 0));
    }
}
