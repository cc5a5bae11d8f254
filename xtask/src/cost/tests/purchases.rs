//! The bill of a product that sells storage.

use super::*;

#[test]
fn bill_for_100_000_people_equals_a_manual_calculation() {
    let prices = prices();
    let bill = Bill::new(&prices, &measurements(&prices), 30e6, 100_000.0).unwrap();
    // 30 million requests, and for 60,000 purchases 1.17 webhooks, resumed orders and canceled orders each, at 3.50 USD
    // per million.
    close(bill.services["API Gateway"], 30.0702 * 3.5);
    // 30,000,000 + 4.17 × 60,000 for purchases + 300,000 uploads + 8,640 reconciliations; the first million is free.
    close(bill.services["Lambda, requests"], (30.55884 - 1.0) * 0.2);
    // 5 for the web ACL, 1 for its rule, and 0.60 per million requests.
    close(bill.services["WAF"], 6.0 + 30.0702 * 0.6);
    // 213 metrics, of which 10 are free, and 8 composite alarms.
    close(bill.services["CloudWatch alarms"], 203.0 * 0.1 + 8.0 * 0.5);
    // 208 metrics, of which 10 are free, and the dashboard.
    close(bill.services["CloudWatch metrics"], 198.0 * 0.3 + 3.0);
    // 90,000 people; the first 10,000 are free.
    close(bill.services["Cognito"], 1350.0);
    // One per second and 5 % of the others; the first 100,000 are free.
    close(bill.services["X-Ray"], (2.592 + 27.408 * 0.05 - 0.1) * 5.0);
    // In millions: notes-create 2.4 × 6.1, notes-update 3.3 × 1.2, notes-delete 0.9 × 4.1, notes-attachment-uploaded
    // 0.3 × 2, and for 0.06 purchases: billing-purchase 11.5, billing-resume 0.05 × 4, billing-cancel 0.02 × 2,
    // billing-webhook 1.1, billing-purchase-paid 2, notes-credit 4, notify-send 2.
    let per_purchase = 11.5 + 0.2 + 0.04 + 1.1 + 2.0 + 4.0 + 2.0;
    let writes = 14.64 + 3.96 + 3.69 + 0.6 + 0.06 * per_purchase;
    close(bill.services["DynamoDB, writes"], writes * 0.625);
    // In millions: notes-get 10.5, notes-list 10.5 × 8, notes-delete 0.9, notes-storage 1.5, billing-list 0.54,
    // billing-reconcile 8,640 × 2, and for 0.06 purchases: billing-purchase 0.5, billing-resume 0.05, billing-cancel
    // 0.02, notes-credit 1.
    let reads = 10.5 + 84.0 + 0.9 + 1.5 + 0.54 + 0.01728 + 0.06 * (0.5 + 0.05 + 0.02 + 1.0);
    close(bill.services["DynamoDB, reads"], reads * 0.125);
    let functions: f64 = bill.functions.values().map(|(_, dollars)| dollars).sum();
    assert!(functions < bill.total());
}
