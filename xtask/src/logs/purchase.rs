//! How the functions of purchases cause each other's invocations, and the search for a purchase.

use metrics::Metric;

use super::{follow::Subject, read::SKEW, timeline::Row};

/// The functions that cause invocations of other functions, in the order of cause and effect.
pub(super) const CAUSES: &[Row] = &[
    ("billing-purchase", &[]),
    ("billing-resume", &["billing-purchase"]),
    ("billing-cancel", &["billing-purchase", "billing-resume"]),
    // Stripe's events, and the purchases that are still PENDING.
    (
        "billing-webhook",
        &["billing-purchase", "billing-resume", "billing-cancel"],
    ),
    (
        "billing-reconcile",
        &["billing-purchase", "billing-resume", "billing-cancel"],
    ),
    // The stream of the table Purchases.
    (
        "billing-purchase-paid",
        &[
            "billing-purchase",
            "billing-resume",
            "billing-cancel",
            "billing-webhook",
            "billing-reconcile",
        ],
    ),
    // The topic Purchases.
    (
        "notes-credit",
        &["billing-purchase-paid", "billing-reconcile"],
    ),
    // part: notify {
    (
        "notify-send",
        &["billing-purchase-paid", "billing-reconcile"],
    ),
    // part: notify }
];

/// The functions that handle events.
pub(super) const EVENTS: &[&str] = &[
    "billing-webhook",
    "billing-reconcile",
    "billing-purchase-paid",
    "notes-credit",
    "notify-send", // part: notify
];

/// The metrics that a function counts when it changes a purchase, so that the change is announced.
pub(super) const CHANGES: &[Metric] = &[
    Metric::PurchasesPaid,
    Metric::PurchasesDeclined,
    Metric::PurchasesCanceled,
    Metric::PurchasesNotMade,
    Metric::AmountRefunded,
    Metric::DisputesOpened,
    Metric::SurplusCharges,
];

/// The purchase with this ID.
pub(super) fn subject(id: &str) -> Subject {
    Subject::Item {
        noun: "purchase",
        id: id.to_owned(),
        advice: "cargo xtask shop find lists purchases; if it is in the list, its log lines are deleted already",
    }
}

/// Returns when a purchase was ordered, in milliseconds since the Unix epoch, minus the time by which clocks may
/// differ. Its ID is a UUID of version 7, which begins with the time.
pub(super) fn ordered_at(id: &str) -> Option<u64> {
    let (seconds, nanos) = uuid::Uuid::parse_str(id).ok()?.get_timestamp()?.to_unix();
    Some((seconds * 1000 + u64::from(nanos) / 1_000_000).saturating_sub(SKEW))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_for_a_purchase_starts_shortly_before_its_order() {
        let purchase = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a";
        assert_eq!(ordered_at(purchase), Some(0x019a_a0b4_e100 - SKEW));
        assert_eq!(ordered_at("1"), None);
    }
}
