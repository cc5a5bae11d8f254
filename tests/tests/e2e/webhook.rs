//! Tests of POST /billing/webhook: Stripe events with valid and with invalid signatures.

use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use test_support::http::{Method, Response};
use test_support::stage::{Person, Stage};
use test_support::stripe::unique_storage;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::billing::assert_paid;

/// A request body, the secret that signs the body, and the time of the signature, in seconds relative to now.
type Signed<'a> = (&'a str, &'a str, i64);

/// Signs each of the bodies with Stripe's Node library. Returns the values of the header `Stripe-Signature`.
async fn sign(signed: &[Signed<'_>]) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let deliveries = signed.iter().map(|(payload, secret, offset)| {
        json!({"payload": payload, "secret": secret, "timestamp": now + offset})
    });
    let input = Value::from_iter(deliveries).to_string();
    let mut node = Command::new("node")
        .arg(test_support::root().join("tests/tests/e2e/sign.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = node.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = node.wait_with_output().await.unwrap();
    assert!(output.status.success(), "Stripe's library failed to sign");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Sends a request body to the webhook as Stripe does: without an AWS signature, and with the header `Stripe-Signature`
/// if one is given.
async fn deliver(
    person: &Person<'_>,
    body: impl Into<Vec<u8>>,
    signature: Option<&str>,
) -> Response {
    let request = person.unsigned(Method::POST, "/billing/webhook");
    let request = request.header("content-type", "application/json; charset=utf-8");
    let request = request.body(body);
    match signature {
        Some(signature) => request.header("Stripe-Signature", signature).send().await,
        None => request.send().await,
    }
}

/// Returns a Stripe event of the type `kind` about a PaymentIntent, as JSON with the formatting that Stripe uses.
fn event(kind: &str, intent: &Value) -> String {
    let event = json!({
        "id": "evt_1NG8Du2eZvKYlo2CUI79vXWy", "object": "event", "type": kind,
        "api_version": "2026-09-30.endive", "created": 1_700_000_000, "livemode": false,
        "pending_webhooks": 1, "request": {"id": null, "idempotency_key": null},
        "data": {"object": intent},
    });
    serde_json::to_string_pretty(&event).unwrap()
}

/// Creates a purchase that waits for the authentication of the card. Returns the purchase ID, and the event that Stripe
/// sends when the payment succeeds.
async fn pending_purchase(stage: &Stage, person: &Person<'_>, storage: u32) -> (Value, String) {
    let order = person.buy(storage, "pm_card_authenticationRequired").await;
    let purchase = order.problem(402)["purchaseId"].clone();
    let mut intent = stage.stripe().intent_of(purchase.as_str().unwrap()).await;
    intent["status"] = json!("succeeded");
    (purchase, event("payment_intent.succeeded", &intent))
}

/// A webhook secret that is not the secret of this stage.
const OTHER_SECRET: &str = "whsec_of_another_stage";

#[tokio::test]
async fn an_event_signed_by_stripes_library_settles_its_purchase() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let secret = stage.secret("stripe-webhook-secret").await;
    // The timestamps are within the tolerance. The header has two signatures, as during a rotation of the secret.
    for offset in [0, -290, 240] {
        let storage = unique_storage();
        let (purchase, event) = pending_purchase(&stage, &ada, storage).await;
        let signatures = sign(&[(&event, &secret, offset), (&event, OTHER_SECRET, offset)]).await;
        let (_, other) = signatures[1].split_once(',').unwrap();
        let rotated = format!("{},{other}", signatures[0]);
        deliver(&ada, event, Some(&rotated)).await.json(200);
        assert_paid(&stage, &ada, &purchase, storage).await;
    }
}

#[tokio::test]
async fn invalid_signatures_are_rejected_and_change_nothing() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let secret = stage.secret("stripe-webhook-secret").await;
    let storage = unique_storage();
    let (purchase, event) = pending_purchase(&stage, &ada, storage).await;
    let before = ada.purchase(&purchase).await;

    let compact = serde_json::from_str::<Value>(&event).unwrap().to_string();
    let signatures = sign(&[
        (&event, &secret, 0),
        (&event, &secret, -301),
        // More than the tolerance of 300 s, because a few seconds may pass until the function checks the timestamp.
        (&event, &secret, 330),
        (&event, OTHER_SECRET, 0),
        (&compact, &secret, 0),
        (&event.replace("succeeded", "canceled"), &secret, 0),
        ("", &secret, 0),
    ])
    .await;
    let [
        valid,
        stale,
        future,
        other_stage,
        reserialized,
        other_body,
        empty_body,
    ] = signatures.try_into().unwrap();
    let (time, v1) = valid.split_once(',').unwrap();
    let last = if v1.ends_with('0') { "1" } else { "0" };
    let flipped = format!("{}{last}", &valid[..valid.len() - 1]);
    let invalid = [
        ("missing", None),
        ("empty", Some("")),
        ("malformed", Some("x")),
        ("without a signature", Some(time)),
        ("without a timestamp", Some(v1)),
        ("with another scheme", Some(&*valid.replace("v1=", "v0="))),
        ("truncated", Some(&valid[..valid.len() - 2])),
        ("changed", Some(&*flipped)),
        (
            "with another timestamp",
            Some(&*format!("t=1700000000,{v1}")),
        ),
        ("stale", Some(&*stale)),
        ("from the future", Some(&*future)),
        ("of another stage", Some(&*other_stage)),
        ("of the reserialized body", Some(&*reserialized)),
        ("of another body", Some(&*other_body)),
        ("of an empty body", Some(&*empty_body)),
    ]
    .map(|(what, signature)| (what, signature.map(str::to_owned)));
    for (what, signature) in invalid {
        let response = deliver(&ada, &*event, signature.as_deref()).await;
        assert_eq!(response.status, 400, "{what}: {}", response.text());
        let problem = response.problem(400).to_string();
        assert!(!problem.contains("whsec"), "{what}: {problem}");
        assert_eq!(ada.purchase(&purchase).await, before, "{what}");
    }
    deliver(&ada, &*compact, Some(&valid)).await.problem(400);
    assert_eq!(ada.purchase(&purchase).await, before);

    // The same event with a valid signature is accepted.
    deliver(&ada, event, Some(&valid)).await.json(200);
    assert_paid(&stage, &ada, &purchase, storage).await;
}

#[tokio::test]
async fn events_of_other_types_or_unknown_purchases_are_acknowledged_and_change_nothing() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let secret = stage.secret("stripe-webhook-secret").await;
    let (purchase, _) = pending_purchase(&stage, &ada, unique_storage()).await;
    let before = ada.purchase(&purchase).await;
    let id = purchase.as_str().unwrap();
    let intent = stage.stripe().intent_of(id).await;
    let mut unknown_user = intent.clone();
    unknown_user["metadata"]["userId"] = json!("us-east-1:00000000-0000-0000-0000-000000000000");
    let mut without_metadata = intent.clone();
    without_metadata["metadata"] = json!({});
    let mut malformed = intent.clone();
    malformed["metadata"]["purchaseId"] = json!("x");
    let events = [
        event("payment_intent.created", &intent),
        event("payment_intent.requires_action", &intent),
        event("payment_intent.payment_failed", &intent),
        event("payment_intent.canceled", &intent),
        event("charge.succeeded", &intent),
        event(
            "unknown.type",
            &json!({"surprise": [null, 1e308, "\u{1f600}"]}),
        ),
        event("payment_intent.succeeded", &unknown_user),
        event("payment_intent.succeeded", &without_metadata),
        event("payment_intent.succeeded", &malformed),
        event("payment_intent.succeeded", &json!("x")),
        // One megabyte of data.
        event("unknown.type", &json!("x".repeat(1 << 20))),
    ];
    let signed: Vec<_> = events.iter().map(|event| (&**event, &*secret, 0)).collect();
    for (event, signature) in events.iter().zip(sign(&signed).await) {
        let response = deliver(&ada, &**event, Some(&signature)).await;
        let shown: String = event.chars().take(300).collect();
        assert_eq!(response.status, 200, "{shown}: {}", response.text());
        assert_eq!(ada.purchase(&purchase).await, before, "{shown}");
    }
    assert_eq!(ada.purchases().await.len(), 1);
}

#[tokio::test]
async fn a_body_that_is_not_an_event_is_rejected_even_with_a_valid_signature() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let secret = stage.secret("stripe-webhook-secret").await;
    let (megabyte, deep) = ("x".repeat(1 << 20), "[".repeat(1 << 20));
    let bodies = [
        "",
        "x",
        "{}",
        "[]",
        "null",
        "\u{0}",
        "\u{feff}{}",
        &megabyte,
        &deep,
    ];
    let signed: Vec<_> = bodies.iter().map(|body| (*body, &*secret, 0)).collect();
    for (body, signature) in bodies.iter().zip(sign(&signed).await) {
        for signature in [Some(&*signature), None] {
            let response = deliver(&ada, *body, signature).await;
            let shown: String = body.chars().take(9).collect();
            assert_eq!(response.status, 400, "{shown:?}: {}", response.text());
            response.problem(400);
        }
    }
    let signature = &sign(&[("", &secret, 0)]).await[0];
    for body in [vec![0xff, 0xfe], vec![0xc3], vec![0x80; 1 << 20]] {
        let response = deliver(&ada, body, Some(signature)).await;
        response.problem(400);
    }
    let storage = unique_storage();
    let receipt = ada.buy(storage, "tok_visa").await.json(200);
    assert_paid(&stage, &ada, &receipt["purchaseId"], storage).await;
}

#[tokio::test]
async fn ten_concurrent_deliveries_of_an_event_settle_the_purchase_once() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let secret = stage.secret("stripe-webhook-secret").await;
    let storage = unique_storage();
    let (purchase, event) = pending_purchase(&stage, &ada, storage).await;
    let signatures = sign(&[(&*event, &*secret, 0); 10]).await;
    let mut deliveries = JoinSet::new();
    for signature in signatures {
        let request = ada.unsigned(Method::POST, "/billing/webhook");
        let request = request.body(event.clone());
        deliveries.spawn(request.header("Stripe-Signature", &signature).send());
    }
    for response in deliveries.join_all().await {
        response.json(200);
    }
    let settled = assert_paid(&stage, &ada, &purchase, storage).await;

    let intent = stripe.intent_of(purchase.as_str().unwrap()).await;
    for event in stripe.events_of(&intent).await.iter().rev() {
        assert_eq!(stripe.redeliver(event).await, 200);
    }
    assert_eq!(ada.purchase(&purchase).await, settled);
    // If there were a second SMS about the first purchase, it would arrive before the SMS about this purchase.
    let later = unique_storage();
    let receipt = ada.buy(later, "tok_visa").await.json(200);
    assert_paid(&stage, &ada, &receipt["purchaseId"], later).await;
    assert_paid(&stage, &ada, &purchase, storage).await;
}

/// Makes the local Stripe deliver each of the events ten times, all concurrently. Asserts that all deliveries succeed.
pub(crate) async fn redeliver(stage: &Stage, events: &[String]) {
    let mut deliveries = JoinSet::new();
    for event in events.iter().cycle().take(events.len() * 10) {
        let (stripe, event) = (stage.stripe(), event.clone());
        deliveries.spawn(async move { stripe.redeliver(&event).await });
    }
    for status in deliveries.join_all().await {
        assert_eq!(status, 200);
    }
}

#[tokio::test]
async fn concurrent_redeliveries_of_all_events_change_nothing() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let storage = unique_storage();
    let receipt = ada.buy(storage, "tok_visa").await.json(200);
    let settled = assert_paid(&stage, &ada, &receipt["purchaseId"], storage).await;
    let declined = ada.buy(10, "tok_chargeDeclined").await.problem(402);
    let failed = ada.purchase(&declined["purchaseId"]).await;
    for purchase in [&settled, &failed] {
        let id = purchase["purchaseId"].as_str().unwrap();
        let intent = stripe.intent_of(id).await;
        let events = stripe.events_of(&intent).await;
        assert!(events.len() > 1);
        redeliver(&stage, &events).await;
        assert_eq!(ada.purchase(&purchase["purchaseId"]).await, *purchase);
    }
    assert_paid(&stage, &ada, &receipt["purchaseId"], storage).await;
}

#[tokio::test]
async fn a_failed_purchase_stays_failed_after_a_late_success_event() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let secret = stage.secret("stripe-webhook-secret").await;
    let declined = ada.buy(10, "tok_chargeDeclined").await.problem(402);
    let failed = ada.purchase(&declined["purchaseId"]).await;
    let id = declined["purchaseId"].as_str().unwrap();
    let mut intent = stage.stripe().intent_of(id).await;
    intent["status"] = json!("succeeded");
    let event = event("payment_intent.succeeded", &intent);
    let signature = &sign(&[(&event, &secret, 0)]).await[0];
    deliver(&ada, event, Some(signature)).await.json(200);
    assert_eq!(ada.purchase(&declined["purchaseId"]).await, failed);
}
