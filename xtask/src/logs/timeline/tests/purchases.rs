//! The order of the invocations about purchases.

use super::*;

#[test]
fn an_effect_comes_after_its_cause_although_its_clock_is_a_second_behind() {
    let about = json!({"purchase_id": "p1"});
    let paid = json!({"purchase_id": "p1", "PurchasesPaid": 1});
    for behind in [0, 1_000] {
        let chain = [
            invocation("billing-purchase", NOW + 500, &paid),
            invocation("billing-purchase-paid", NOW + 600 - behind, &about),
            invocation("notes-credit", NOW + 700 - 2 * behind, &about),
            invocation("notify-send", NOW + 710 - 2 * behind, &about), // part: notify
        ];
        let expected: Vec<_> = chain
            .iter()
            .map(|invocation| invocation.id.clone())
            .collect();
        for rotation in 0..chain.len() {
            let mut shuffled = chain.to_vec();
            shuffled.rotate_left(rotation);
            assert_eq!(order(shuffled), expected, "{behind}");
        }
    }
}

#[test]
fn an_announcement_follows_the_invocation_that_changed_the_purchase() {
    let about = json!({"purchase_id": "p1"});
    let changes = |metric: &str| json!({"purchase_id": "p1", metric: 1});
    let refund = NOW + 60_000;
    let order = order(vec![
        invocation("billing-purchase", NOW, &changes("PurchasesPaid")),
        // Stripe's event of the payment changes nothing, and arrives before the announcement.
        invocation("billing-webhook", NOW + 40, &about),
        invocation("billing-purchase-paid", NOW + 50, &about),
        invocation("notes-credit", NOW + 60, &about),
        invocation("billing-webhook", refund, &changes("AmountRefunded")),
        invocation("billing-purchase-paid", refund - 900, &about),
        invocation("notes-credit", refund + 100, &about),
    ]);
    let expected = [
        ("billing-purchase", NOW),
        ("billing-webhook", NOW + 40),
        ("billing-purchase-paid", NOW + 50),
        ("notes-credit", NOW + 60),
        ("billing-webhook", refund),
        ("billing-purchase-paid", refund - 900),
        ("notes-credit", refund + 100),
    ];
    let expected = expected.map(|(function, at)| format!("{function}-{at}"));
    assert_eq!(order, expected);
}

#[test]
fn invocations_about_another_purchase_are_ordered_by_time() {
    let paid = |id: &str| json!({"purchase_id": id, "PurchasesPaid": 1});
    let order = order(vec![
        invocation("billing-purchase", NOW + 500, &paid("p1")),
        invocation(
            "billing-purchase-paid",
            NOW + 100,
            &json!({"purchase_id": "p2"}),
        ),
    ]);
    let first = format!("billing-purchase-paid-{}", NOW + 100);
    assert_eq!(order.first(), Some(&first));
}
