//! Tests of `cargo xtask logs` about a purchase.

use test_support::http::Method;
use test_support::stage::{Person, Stage};
use test_support::stripe::unique_storage;

use crate::billing::assert_paid;
use crate::operations::position; // part: notify
use crate::operations::{assert_order, rows};

#[tokio::test]
async fn one_request_id_leads_to_the_lines_the_calls_and_the_events_of_a_purchase_in_order() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let storage = unique_storage();
    let bought = ada.buy(storage, "tok_visa").await;
    let purchase = bought.json(200)["purchaseId"].clone();
    assert_paid(&ada, &purchase, storage).await;
    let other = ada.request(Method::GET, "/billing").send().await;

    let request = bought.header("x-amzn-requestid").unwrap();
    let chain = [
        ("gateway", "POST /billing 200"),
        ("billing-purchase", "purchase"),
        ("billing-purchase", "DynamoDB"),
        ("billing-purchase", "Stripe charge 200"),
        ("billing-purchase", "POST /billing 200"),
        ("billing-purchase-paid", "SNS Publish"),
        ("billing-purchase-paid", "event handled"),
    ];
    let credit = [
        ("notes-credit", "DynamoDB"),
        ("notes-credit", "event handled"),
    ];
    // part: notify {
    let sms = [
        ("notify-send", "SNS Publish"),
        ("notify-send", "event handled"),
    ];
    // part: notify }
    let webhook = [("billing-webhook", "POST /billing/webhook 200")];
    let effects = vec![&credit[..]];
    // part: notify {
    let effects = [effects, vec![&sms[..]]].concat();
    // part: notify }
    let all = [&chain[..], &effects.concat(), &webhook].concat();
    let found = rows(&["--request", request], &all).await;
    for effects in effects {
        assert_order(&found, &[&chain[..], effects].concat());
    }
    assert_order(&found, &[&chain[..5], &webhook].concat());
    // The output is plain, because it goes to a pipe.
    let text = found.join("\n");
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(
        text.contains(&format!("purchase_id={}", purchase.as_str().unwrap())),
        "{text}"
    );
    assert!(
        !text.contains(other.header("x-amzn-requestid").unwrap()),
        "{text}"
    );

    let id = purchase.as_str().unwrap();
    let by_purchase = rows(&["--purchase", id], &all).await;
    assert_order(&by_purchase, &[&chain[..], &credit].concat());
    let requests = [
        ("gateway", "POST /billing 200"),
        ("gateway", "GET /billing 200"),
    ];
    let by_user = rows(&["--user", &ada.id], &requests).await;
    assert_order(&by_user, &requests);
    assert_eq!(position(&by_user, ("notify-send", "")), None); // part: notify
}
