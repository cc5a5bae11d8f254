//! A test of the metrics of stages on which other tests have run: each metric that an alarm or the dashboard reads has
//! values. `cargo xtask test --alarms` runs it after the other tests.

// Clippy does not treat helpers outside test functions as test code.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;

use test_support::monitoring::Metric;
use test_support::stage::Stage;

/// Whether no test can cause values of the metric: an index is throttled separately from its table, and the local cloud
/// throttles whole tables.
fn is_out_of_reach(metric: &Metric) -> bool {
    metric.name.ends_with("ThrottleEvents")
        && metric.dimensions.contains_key("GlobalSecondaryIndexName")
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
    let missing: Vec<_> = missing.filter(|metric| !is_out_of_reach(metric)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
