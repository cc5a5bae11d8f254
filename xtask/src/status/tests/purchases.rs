//! The status of purchases.

use super::*;

#[tokio::test]
async fn lag_pending_purchases_and_the_last_run_have_the_last_values() {
    let minute = now() / 60_000 * 60;
    let metric = move |name: &str, dimensions: &str, _: &str| match name {
        "Requests" if dimensions.contains("billing-reconcile") => {
            json!({"at": [minute, minute - 300], "values": [1, 1]})
        }
        "OldestPendingAge" => json!({"at": [minute - 300, minute], "values": [9000, 3000]}),
        "IteratorAge" => json!({"at": [minute], "values": [65_000]}),
        _ => nothing(),
    };
    let (report, _) = reported(metric, json!({}), 2).await;
    assert_eq!(report.streams.unwrap()[0].lag, Some(65));
    let purchases = report.purchases.unwrap();
    assert_eq!(purchases.last_reconcile, Some(minute * 1000));
    assert!((3_000..3_200).contains(&purchases.oldest_pending_age.unwrap()));
}
