//! A test of the metrics of stages on which other tests have run: each metric that an alarm or the dashboard reads has
//! values. `cargo xtask test --alarms` runs it after the other tests.

// Clippy does not treat helpers outside test functions as test code.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;

use test_support::monitoring::Metric;
use test_support::stage::Stage;

/// Whether the metric has no values for a reason: no function reads the tables Buyers and Idempotency, and the tests of alarms
/// throttle only the table Notes. It stands for all tables, whose alarms differ only in the name of the table.
fn is_expected_to_be_empty(metric: &Metric) -> bool {
    let is_of = |table: &str| {
        let name = metric.dimensions.get("TableName");
        name.is_some_and(|name| name.ends_with(table))
    };
    let is_index = metric.dimensions.contains_key("GlobalSecondaryIndexName");
    match metric.name.as_str() {
        "ConsumedReadCapacityUnits" => is_of("-Buyers") || is_of("-Idempotency"),
        "ReadThrottleEvents" | "WriteThrottleEvents" => is_index || !is_of("-Notes"),
        _ => false,
    }
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
        .filter(|metric| !is_expected_to_be_empty(metric))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
