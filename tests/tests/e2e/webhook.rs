//! Tests of POST /billing/webhook: Stripe events with valid and with invalid signatures.

use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use test_support::http::{Method, Response};
use test_support::prices::{currency, price};
use test_support::stage::{Person, Stage, wait_for, wait_for_up_to};
use test_support::stripe::{Stripe, unique_storage};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::billing::assert_paid;

/// A request body, the secret that signs the body, and the time of the signature, in seconds relative to now.
type Signed<'a> = (&'a str, &'a str, i64);

/// The programs that sign bodies with Stripe's libraries, and the scripts that they run.
const SIGNERS: [(&str, &str); 2] = [("node", "sign.mjs"), (".venv/bin/python", "sign.py")];

/// Signs each of the bodies with Stripe's Node library. Returns the values of the header `Stripe-Signature`.
async fn sign(signed: &[Signed<'_>]) -> Vec<String> {
    sign_with(SIGNERS[0], signed).await
}

/// Signs each of the bodies with one of Stripe's libraries. Returns the values of the header `Stripe-Signature`.
async fn sign_with((program, script): (&str, &str), signed: &[Signed<'_>]) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let deliveries = signed.iter().map(|(payload, secret, offset)| {
        json!({"payload": payload, "secret": secret, "timestamp": now + offset})
    });
    let input = Value::from_iter(deliveries).to_string();
    let root = test_support::root();
    let program = match program.contains('/') {
        true => root.join(program),
        false => program.into(),
    };
    let mut signer = Command::new(program)
        .arg(root.join("tests/tests/e2e").join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = signer.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = signer.wait_with_output().await.unwrap();
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
    let intent = stage.stripe().intent_of(purchase.as_str().unwrap()).await;
    let intent = succeeded(intent);
    (purchase, event("payment_intent.succeeded", &intent))
}

/// Returns the PaymentIntent as it is after its payment has succeeded.
fn succeeded(mut intent: Value) -> Value {
    intent["status"] = json!("succeeded");
    intent["amount_received"] = intent["amount"].clone();
    intent
}

/// Asserts that `event` is in the queue of events that contradict what is known.
async fn assert_in_queue(stage: &Stage, event: &str) {
    wait_for("the event in the queue", async || {
        let events = stage.dead_letters_of("billing-webhook").await;
        events.iter().any(|found| found == event).then_some(())
    })
    .await;
}

/// A webhook secret that is not the secret of this stage.
const OTHER_SECRET: &str = "whsec_of_another_stage";

/// A currency in which nothing is sold.
fn other_currency() -> &'static str {
    if currency() == "eur" { "usd" } else { "eur" }
}

#[tokio::test]
async fn an_event_signed_by_stripes_node_or_python_library_settles_its_purchase() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let secret = stage.secret("stripe-webhook-secret").await;
    // The timestamps are within the tolerance. The header has two signatures, as during a rotation of the secret.
    for (offset, signer) in [(0, 0), (-290, 0), (240, 0), (0, 1), (-290, 1)] {
        let storage = unique_storage();
        let (purchase, event) = pending_purchase(&stage, &ada, storage).await;
        let signed = [(&*event, &*secret, offset), (&event, OTHER_SECRET, offset)];
        let signatures = sign_with(SIGNERS[signer], &signed).await;
        let (_, other) = signatures[1].split_once(',').unwrap();
        let rotated = format!("{},{other}", signatures[0]);
        deliver(&ada, event, Some(&rotated)).await.json(200);
        assert_paid(&ada, &purchase, storage).await;
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
    assert_paid(&ada, &purchase, storage).await;
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
        // Half of the largest accepted size.
        event("unknown.type", &json!("x".repeat(1 << 17))),
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
    let (long, deep) = ("x".repeat(1 << 17), "[".repeat(1 << 17));
    let bodies = [
        "",
        "x",
        "{}",
        "[]",
        "null",
        "\u{0}",
        "\u{feff}{}",
        &long,
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
    for body in [vec![0xff, 0xfe], vec![0xc3], vec![0x80; 1 << 16]] {
        let response = deliver(&ada, body, Some(signature)).await;
        response.problem(400);
    }
    let too_large = deliver(&ada, vec![b'x'; (1 << 18) + 1], Some(signature)).await;
    too_large.problem(413);
    let storage = unique_storage();
    let receipt = ada.buy(storage, "tok_visa").await.json(200);
    assert_paid(&ada, &receipt["purchaseId"], storage).await;
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
    let settled = assert_paid(&ada, &purchase, storage).await;

    let intent = stripe.intent_of(purchase.as_str().unwrap()).await;
    for event in stripe.events_of(&intent).await.iter().rev() {
        assert_eq!(stripe.redeliver(event).await, 200);
    }
    assert_eq!(ada.purchase(&purchase).await, settled);
    // If there were a second announcement of the first purchase, it would arrive before the one of this purchase.
    let later = unique_storage();
    let receipt = ada.buy(later, "tok_visa").await.json(200);
    assert_paid(&ada, &receipt["purchaseId"], later).await;
    assert_paid(&ada, &purchase, storage).await;
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
    let settled = assert_paid(&ada, &receipt["purchaseId"], storage).await;
    let declined = ada.buy(10, "tok_chargeDeclined").await.problem(402);
    let failed = ada.purchase(&declined["purchaseId"]).await;
    for purchase in [&settled, &failed] {
        let id = purchase["purchaseId"].as_str().unwrap();
        let intent = stripe.intent_of(id).await;
        let events = stripe.events_around(&intent).await;
        assert!(events.len() > 2);
        redeliver(&stage, &events).await;
        assert_eq!(ada.purchase(&purchase["purchaseId"]).await, *purchase);
    }
    assert_paid(&ada, &receipt["purchaseId"], storage).await;
}

#[tokio::test]
async fn a_failed_purchase_stays_failed_after_a_false_success_event() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let secret = stage.secret("stripe-webhook-secret").await;
    let declined = ada.buy(10, "tok_chargeDeclined").await.problem(402);
    let failed = ada.purchase(&declined["purchaseId"]).await;
    let id = declined["purchaseId"].as_str().unwrap();
    let intent = succeeded(stage.stripe().intent_of(id).await);
    let event = event("payment_intent.succeeded", &intent);
    let signature = &sign(&[(&event, &secret, 0)]).await[0];
    deliver(&ada, &*event, Some(signature)).await.json(200);
    assert_eq!(ada.purchase(&declined["purchaseId"]).await, failed);
    assert_in_queue(&stage, &event).await;
}

/// Changes an event so that it contradicts what is known.
type Contradiction = fn(&mut Value);

#[tokio::test]
async fn an_event_that_contradicts_what_is_known_changes_nothing_and_reaches_the_queue() {
    let contradictions: [(&str, Contradiction); 8] = [
        ("mode", |event| event["livemode"] = json!(true)),
        ("amount", |event| {
            let amount = event["data"]["object"]["amount_received"].as_u64();
            event["data"]["object"]["amount_received"] = json!(amount.unwrap() + 1);
        }),
        ("smaller amount", |event| {
            event["data"]["object"]["amount_received"] = json!(50);
        }),
        ("currency", |event| {
            event["data"]["object"]["currency"] = json!(other_currency());
        }),
        ("malformed currency", |event| {
            event["data"]["object"]["currency"] = json!("US$");
        }),
        ("PaymentIntent", |event| {
            event["data"]["object"]["id"] = json!("pi_unknown");
        }),
        ("purchase", |event| {
            let unknown = Uuid::now_v7().to_string();
            event["data"]["object"]["metadata"]["purchaseId"] = json!(unknown);
        }),
        ("person", |event| {
            let unknown = format!("us-east-1:{}", Uuid::now_v7());
            event["data"]["object"]["metadata"]["userId"] = json!(unknown);
        }),
    ];
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let secret = stage.secret("stripe-webhook-secret").await;
    for signer in SIGNERS {
        let storage = unique_storage();
        let (purchase, event) = pending_purchase(&stage, &ada, storage).await;
        let before = ada.purchase(&purchase).await;
        for (what, contradict) in contradictions {
            let mut changed: Value = serde_json::from_str(&event).unwrap();
            changed["id"] = json!(format!("evt_{}", Uuid::now_v7().simple()));
            contradict(&mut changed);
            // The queue must contain the bytes that Stripe has signed.
            let changed = serde_json::to_string_pretty(&changed).unwrap();
            let signature = &sign_with(signer, &[(&changed, &secret, 0)]).await[0];
            deliver(&ada, &*changed, Some(signature)).await.json(200);
            assert_eq!(ada.purchase(&purchase).await, before, "{what}");
            assert_in_queue(&stage, &changed).await;
        }
        // The event itself does not contradict anything.
        let signature = &sign_with(signer, &[(&event, &secret, 0)]).await[0];
        deliver(&ada, &*event, Some(signature)).await.json(200);
        assert_paid(&ada, &purchase, storage).await;
        let waiting = stage.dead_letters_of("billing-webhook").await;
        assert!(!waiting.contains(&event));
    }
}

#[tokio::test]
async fn a_contradicting_refund_or_dispute_changes_nothing_and_reaches_the_queue() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let secret = stage.secret("stripe-webhook-secret").await;
    let storage = unique_storage();
    let receipt = ada.buy(storage, "tok_visa").await.json(200);
    let paid = assert_paid(&ada, &receipt["purchaseId"], storage).await;
    let stripe = stage.stripe();
    let id = receipt["purchaseId"].as_str().unwrap();
    let intent = &stripe.intent_of(id).await["id"];
    let charge = json!({
        "id": "ch_1", "payment_intent": intent, "amount_refunded": paid["amount"], "currency": currency(),
    });
    let dispute = json!({
        "id": "du_1", "payment_intent": intent, "amount": paid["amount"], "currency": currency(),
        "reason": "fraudulent", "status": "lost", "created": 1_700_000_000,
    });
    for (kind, object) in [
        ("charge.refunded", charge),
        ("charge.dispute.closed", dispute),
    ] {
        for (field, value) in [
            ("payment_intent", json!("pi_unknown")),
            ("currency", json!(other_currency())),
            ("livemode", json!(true)),
        ] {
            let mut object = object.clone();
            let is_live = field == "livemode";
            if !is_live {
                object[field] = value;
            }
            let mut changed: Value = serde_json::from_str(&event(kind, &object)).unwrap();
            changed["livemode"] = json!(is_live);
            changed["id"] = json!(format!("evt_{}", Uuid::now_v7().simple()));
            let changed = changed.to_string();
            let signature = &sign(&[(&changed, &secret, 0)]).await[0];
            deliver(&ada, &*changed, Some(signature)).await.json(200);
            assert_in_queue(&stage, &changed).await;
            let after = ada.purchase(&receipt["purchaseId"]).await;
            assert_eq!(after, paid, "{kind} {field}");
        }
    }
}

/// Reads the purchase `id` of a person until `condition` is true for it. Returns the purchase.
async fn purchase_when(
    person: &Person<'_>,
    id: &Value,
    condition: impl Fn(&Value) -> bool,
) -> Value {
    wait_for("the change of the purchase", async || {
        let purchase = person.purchase(id).await;
        condition(&purchase).then_some(purchase)
    })
    .await
}

/// Waits until the person may keep `allowed` notes.
async fn assert_allowed(person: &Person<'_>, allowed: u64) {
    wait_for_up_to(Duration::from_secs(5), "the storage", async || {
        let storage = person.get("/storage").await.json(200);
        (storage["allowed"] == allowed).then_some(())
    })
    .await;
}

/// The number of notes that a person may keep without a purchase.
async fn free(person: &Person<'_>) -> u64 {
    let storage = person.get("/storage").await.json(200);
    storage["free"].as_u64().unwrap()
}

/// Makes the local Stripe deliver all events about a PaymentIntent three times: newest first, oldest first, and all at
/// once.
async fn repeat_events(stage: &Stage, stripe: &Stripe, intent: &Value) {
    let events = stripe.events_around(intent).await;
    for event in events.iter().rev().chain(&events) {
        assert_eq!(stripe.redeliver(event).await, 200);
    }
    redeliver(stage, &events).await;
}

#[tokio::test]
async fn a_refund_revokes_its_share_of_the_storage_once_whatever_the_order_of_events() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let free = free(&ada).await;
    let receipt = ada.buy(10, "tok_visa").await.json(200);
    let purchase = &receipt["purchaseId"];
    assert_allowed(&ada, free + 10).await;
    let intent = stripe.intent_of(purchase.as_str().unwrap()).await;

    stripe.refund(&stage, &intent, Some(1_000)).await;
    let partial = purchase_when(&ada, purchase, |found| found["refundedAmount"] == 1_000).await;
    assert_eq!(partial["status"], "PAID");
    // A quarter of ten notes is refunded, and the rest is rounded up.
    assert_allowed(&ada, free + 8).await;
    repeat_events(&stage, &stripe, &intent).await;
    assert_eq!(ada.purchase(purchase).await, partial);

    stripe.refund(&stage, &intent, None).await;
    let refunded = purchase_when(&ada, purchase, |found| found["status"] == "REFUNDED").await;
    assert_eq!(refunded["refundedAmount"], price(10));
    assert_allowed(&ada, free).await;
    repeat_events(&stage, &stripe, &intent).await;
    assert_eq!(ada.purchase(purchase).await, refunded);
    assert_allowed(&ada, free).await;
}

#[tokio::test]
async fn a_refund_before_the_success_event_pays_and_refunds_the_purchase() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let free = free(&ada).await;
    stripe.unset_webhook().await;
    stripe.inject_failure(json!({"end": "close"})).await;
    let lost = ada.buy(10, "tok_visa").await;
    stripe.clear_failures().await;
    stripe.set_webhook(&stage).await;
    lost.problem(503);
    let [pending] = ada.purchases().await.try_into().unwrap();
    let purchase = &pending["purchaseId"];
    let intent = stripe.intent_of(purchase.as_str().unwrap()).await;
    // The event of the payment was not delivered, and that of the refund is.
    stripe.refund(&stage, &intent, None).await;
    purchase_when(&ada, purchase, |found| found["status"] == "REFUNDED").await;
    repeat_events(&stage, &stripe, &intent).await;
    assert_eq!(ada.purchase(purchase).await["status"], "REFUNDED");
    assert_allowed(&ada, free).await;
}

#[tokio::test]
async fn a_failed_refund_gives_the_storage_back() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let free = free(&ada).await;
    let receipt = ada.buy(10, "tok_refundFail").await.json(200);
    let purchase = &receipt["purchaseId"];
    let intent = stripe.intent_of(purchase.as_str().unwrap()).await;
    let bought = ada.purchase(purchase).await;
    stripe.refund(&stage, &intent, None).await;
    wait_for("the failure of the refund", async || {
        let refunds = stripe.refunds_of(&intent).await;
        (refunds[0]["status"] == "failed").then_some(())
    })
    .await;
    // The purchase was PAID before the refund too, but had another time of its last change.
    purchase_when(&ada, purchase, |found| {
        found["status"] == "PAID" && found["updatedAt"] != bought["updatedAt"]
    })
    .await;
    assert_allowed(&ada, free + 10).await;
    repeat_events(&stage, &stripe, &intent).await;
    assert_eq!(ada.purchase(purchase).await["status"], "PAID");
    assert_allowed(&ada, free + 10).await;
}

#[tokio::test]
async fn a_lost_dispute_revokes_the_storage_and_a_won_dispute_keeps_it() {
    let stage = Stage::shared().await;
    let stripe = stage.stripe();
    for (card, evidence, status, dispute_status, kept) in [
        (
            "tok_createDispute",
            "losing_evidence",
            "DISPUTED",
            "lost",
            0,
        ),
        ("tok_createDispute", "winning_evidence", "PAID", "won", 10),
        (
            "tok_createDisputeInquiry",
            "winning_evidence",
            "PAID",
            "won",
            10,
        ),
    ] {
        let ada = Person::sign_up(&stage).await;
        let free = free(&ada).await;
        let receipt = ada.buy(10, card).await.json(200);
        let purchase = &receipt["purchaseId"];
        let intent = stripe.intent_of(purchase.as_str().unwrap()).await;
        let dispute = stripe.dispute_of(&intent).await;
        let open = purchase_when(&ada, purchase, |found| found["status"] == "DISPUTED").await;
        let expected = json!({"status": "open", "amount": price(10), "reason": "fraudulent"});
        assert_eq!(open["dispute"], expected);
        assert_allowed(&ada, free + 10).await;

        stripe.respond(&stage, &dispute, evidence).await;
        let decided = |found: &Value| found["dispute"]["status"] == dispute_status;
        let decided = purchase_when(&ada, purchase, decided).await;
        assert_eq!(decided["status"], status, "{evidence}");
        assert_allowed(&ada, free + kept).await;
        repeat_events(&stage, &stripe, &intent).await;
        assert_eq!(ada.purchase(purchase).await, decided, "{evidence}");
        assert_allowed(&ada, free + kept).await;
    }
}

#[tokio::test]
async fn a_surplus_charge_is_refunded_once_and_shown() {
    let stage = Stage::shared().await;
    let stripe = stage.stripe();
    for (card, status) in [("tok_visa", "PAID"), ("tok_chargeDeclined", "FAILED")] {
        let ada = Person::sign_up(&stage).await;
        ada.buy(10, card).await;
        let [settled] = ada.purchases().await.try_into().unwrap();
        assert_eq!(settled["status"], status);
        let purchase = &settled["purchaseId"];
        let intent = stripe.intent_of(purchase.as_str().unwrap()).await;
        let surplus = stripe.charge_again(&stage, &intent).await;
        let shown = |found: &Value| found["surplusRefunded"] == price(10);
        let shown = purchase_when(&ada, purchase, shown).await;
        assert_eq!(shown["status"], status);
        if status == "FAILED" {
            let message = shown["decline"].to_string();
            assert!(!message.contains("not charged"), "{shown}");
        }
        for intent in [&surplus, &intent] {
            repeat_events(&stage, &stripe, intent).await;
        }
        assert_eq!(ada.purchase(purchase).await, shown);
        assert_eq!(
            stripe.refunded_amounts(&surplus).await,
            [u64::from(price(10))]
        );
        assert_eq!(stripe.refunds_of(&surplus).await.len(), 1);
        assert!(stripe.refunds_of(&intent).await.is_empty());
    }
}

#[tokio::test]
async fn a_payment_that_fails_or_is_canceled_at_stripe_settles_the_purchase() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    for canceled in [true, false] {
        let order = ada.buy(10, "pm_card_authenticationRequired").await;
        let purchase = order.problem(402)["purchaseId"].clone();
        let intent = stripe.intent_of(purchase.as_str().unwrap()).await;
        if canceled {
            let path = format!("payment_intents/{}/cancel", intent["id"].as_str().unwrap());
            stripe.post(&stage, &path, "").await;
        } else {
            stripe.authenticate(&intent, "fails").await;
        }
        purchase_when(&ada, &purchase, |found| found["status"] == "FAILED").await;
        let intent = stripe.intent_of(purchase.as_str().unwrap()).await;
        assert_eq!(intent["status"], "canceled");
    }
}
