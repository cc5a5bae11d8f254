//! A test of the metrics of stages on which other tests have run: each metric that an alarm or the dashboard reads has
//! values. `cargo xtask test --alarms` runs it after the other tests.

// Clippy does not treat helpers outside test functions as test code.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;

use test_support::monitoring::Metric;
use test_support::stage::Stage;

/// Whether no test causes values of the metric: the tests of alarms throttle only the table Notes. It stands for all tables,
/// whose alarms differ only in the name of the table.
fn is_of_another_throttled_table(metric: &Metric) -> bool {
    let table = metric.dimensions.get("TableName");
    let is_notes = table.is_some_and(|table| table.ends_with("-Notes"));
    let is_index = metric.dimensions.contains_key("GlobalSecondaryIndexName");
    metric.name.ends_with("ThrottleEvents") && (!is_notes || is_index)
}

#[tokio::test]
async fn each_metric_that_an_alarm_or_the_dashboard_reads_has_values() {
    let files = std::env::var("SCRATCHPAD_STAGES").expect("SCRATCHPAD_STAGES has the stage files");
    let (mut read, mut observed) = (BTreeSet::new(), BTreeSet::new());
    for stage in files.split(':').map(Stage::read) {
        read.append(&mut stage.read_metrics().await);
        observed.append(&mut stage.observed_metrics().await);
    }
    let missing = read.difference(&observed);
    let missing: Vec<_> = missing
        .filter(|metric| !is_of_another_throttled_table(metric))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
