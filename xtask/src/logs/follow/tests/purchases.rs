//! The search for a purchase.

use super::*;
use crate::logs::purchase::subject;

const PURCHASE: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a";

/// A purchase, its announcement, and a request about it that does not belong to it.
fn purchase() -> Lines {
    [
        access("r1", "/billing", 0),
        invocation("billing-purchase", "a1", 10, json!({
            "message": "request", "request_id": "r1", "purchase_id": PURCHASE, "PurchasesPaid": 1,
        })),
        invocation("billing-list", "a2", 15, json!({"message": "request", "request_id": "r2", "purchase_id": PURCHASE})),
        access("r2", "/billing", 14),
        invocation("billing-purchase-paid", "a3", 20, json!({"purchase_id": ["other", PURCHASE]})),
        invocation("notes-credit", "a4", 30, json!({"purchase_id": PURCHASE})),
        invocation("notes-credit", "a5", 31, json!({"purchase_id": "other"})),
    ]
    .concat()
}

#[tokio::test]
async fn a_request_leads_to_its_effects_and_not_to_other_requests_about_the_same_purchase() {
    let found = found(purchase(), Subject::Request("r1".into())).await;
    assert_eq!(ids(&found), ["a1", "a3", "a4"]);
    assert_eq!(found[0].access.len(), 1);
    // The lines of an invocation that contain no ID belong to it.
    let rows = rows(&found);
    assert_eq!(
        rows.iter().filter(|row| row.contains("a warning")).count(),
        3,
        "{rows:#?}"
    );
}

#[tokio::test]
async fn a_purchase_leads_to_every_request_and_event_about_it() {
    let found = found(purchase(), subject(PURCHASE)).await;
    assert_eq!(ids(&found), ["a1", "a2", "a3", "a4"]);
    assert!(found[1].access[0].text("request_id") == "r2");
}
