//! POST /billing/webhook: what Stripe tells, and what others say that it does.

use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use e2e::http::{Answer, Method};
use e2e::stage::{Person, Stage};
use e2e::stripe::own_storage;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::billing::paid;

/// A body with the secret that signs it, and by how many seconds from now.
type Signed<'a> = (&'a str, &'a str, i64);

/// What Stripe's own library puts into `Stripe-Signature` for each of these.
async fn sign(signed: &[Signed<'_>]) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let deliveries = signed.iter().map(|(payload, secret, later)| {
        json!({"payload": payload, "secret": secret, "timestamp": now + later})
    });
    let input = Value::from_iter(deliveries).to_string();
    let mut node = Command::new("node")
        .arg(e2e::root().join("tests/tests/e2e/sign.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = node.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = node.wait_with_output().await.unwrap();
    assert!(output.status.success(), "Stripe's library signs");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Delivers a body as Stripe would: nobody signs the request.
async fn deliver(person: &Person<'_>, body: impl Into<Vec<u8>>, signature: Option<&str>) -> Answer {
    let request = person.unsigned(Method::POST, "/billing/webhook");
    let request = request.header("content-type", "application/json; charset=utf-8");
    let request = request.body(body);
    match signature {
        Some(signature) => request.header("Stripe-Signature", signature).send().await,
        None => request.send().await,
    }
}

/// An event that tells of an intent, written as Stripe writes it.
fn event(kind: &str, intent: &Value) -> String {
    let event = json!({
        "id": "evt_1NG8Du2eZvKYlo2CUI79vXWy", "object": "event", "type": kind,
        "api_version": "2026-09-30.endive", "created": 1_700_000_000, "livemode": false,
        "pending_webhooks": 1, "request": {"id": null, "idempotency_key": null},
        "data": {"object": intent},
    });
    serde_json::to_string_pretty(&event).unwrap()
}

/// A purchase that waits for its card's owner, and the event that would tell that it is paid.
async fn waiting(stage: &Stage, person: &Person<'_>, storage: u32) -> (Value, String) {
    let order = person.buy(storage, "pm_card_authenticationRequired").await;
    let purchase = order.problem(402)["purchaseId"].clone();
    let mut intent = stage.stripe().intent_of(purchase.as_str().unwrap()).await;
    intent["status"] = json!("succeeded");
    (purchase, event("payment_intent.succeeded", &intent))
}

const OTHER: &str = "whsec_of_another_stage";

#[tokio::test]
async fn an_event_that_stripes_own_library_signed_settles_its_purchase() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let secret = stage.secret("stripe-webhook-secret").await;
    // Long ago, but not too long; and under one of two secrets while they are rolled.
    for later in [0, -290, 240] {
        let storage = own_storage();
        let (purchase, event) = waiting(&stage, &ada, storage).await;
        let signatures = sign(&[(&event, &secret, later), (&event, OTHER, later)]).await;
        let (_, other) = signatures[1].split_once(',').unwrap();
        let rolled = format!("{},{other}", signatures[0]);
        deliver(&ada, event, Some(&rolled)).await.json(200);
        paid(&stage, &ada, &purchase, storage).await;
    }
}

#[tokio::test]
async fn a_signature_that_does_not_hold_is_refused_and_changes_nothing() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let secret = stage.secret("stripe-webhook-secret").await;
    let storage = own_storage();
    let (purchase, event) = waiting(&stage, &ada, storage).await;
    let before = ada.purchase(&purchase).await;

    let compact = serde_json::from_str::<Value>(&event).unwrap().to_string();
    let signatures = sign(&[
        (&event, &secret, 0),
        (&event, &secret, -301),
        // A second may pass on the way.
        (&event, &secret, 330),
        (&event, OTHER, 0),
        (&compact, &secret, 0),
        (&event.replace("succeeded", "canceled"), &secret, 0),
        ("", &secret, 0),
    ])
    .await;
    let [
        good,
        stale,
        future,
        other,
        reserialised,
        of_another,
        of_nothing,
    ] = signatures.try_into().unwrap();
    let (time, v1) = good.split_once(',').unwrap();
    let last = if v1.ends_with('0') { "1" } else { "0" };
    let flipped = format!("{}{last}", &good[..good.len() - 1]);
    let bad = [
        ("none", None),
        ("empty", Some("")),
        ("no header", Some("x")),
        ("without a signature", Some(time)),
        ("without a time", Some(v1)),
        ("of another scheme", Some(&*good.replace("v1=", "v0="))),
        ("cut", Some(&good[..good.len() - 2])),
        ("changed", Some(&*flipped)),
        ("of another moment", Some(&*format!("t=1700000000,{v1}"))),
        ("stale", Some(&*stale)),
        ("of the future", Some(&*future)),
        ("of another stage", Some(&*other)),
        ("over the re-serialised body", Some(&*reserialised)),
        ("over another body", Some(&*of_another)),
        ("over nothing", Some(&*of_nothing)),
    ]
    .map(|(what, signature)| (what, signature.map(str::to_owned)));
    for (what, signature) in bad {
        let answer = deliver(&ada, &*event, signature.as_deref()).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        let said = answer.problem(400).to_string();
        assert!(!said.contains("whsec"), "{what}: {said}");
        assert_eq!(ada.purchase(&purchase).await, before, "{what}");
    }
    deliver(&ada, &*compact, Some(&good)).await.problem(400);
    assert_eq!(ada.purchase(&purchase).await, before);

    // It was not for want of a good event.
    deliver(&ada, event, Some(&good)).await.json(200);
    paid(&stage, &ada, &purchase, storage).await;
}

#[tokio::test]
async fn an_event_of_another_kind_or_of_nothing_of_ours_is_taken_and_changes_nothing() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let secret = stage.secret("stripe-webhook-secret").await;
    let (purchase, _) = waiting(&stage, &ada, own_storage()).await;
    let before = ada.purchase(&purchase).await;
    let id = purchase.as_str().unwrap();
    let intent = stage.stripe().intent_of(id).await;
    let mut nobodys = intent.clone();
    nobodys["metadata"]["userId"] = json!("us-east-1:00000000-0000-0000-0000-000000000000");
    let mut strangers = intent.clone();
    strangers["metadata"] = json!({});
    let mut malformed = intent.clone();
    malformed["metadata"]["purchaseId"] = json!("x");
    let events = [
        event("payment_intent.created", &intent),
        event("payment_intent.requires_action", &intent),
        event("payment_intent.payment_failed", &intent),
        event("payment_intent.canceled", &intent),
        event("charge.succeeded", &intent),
        event(
            "never.heard.of",
            &json!({"surprise": [null, 1e308, "\u{1f600}"]}),
        ),
        event("payment_intent.succeeded", &nobodys),
        event("payment_intent.succeeded", &strangers),
        event("payment_intent.succeeded", &malformed),
        event("payment_intent.succeeded", &json!("x")),
        // A megabyte of it.
        event("never.heard.of", &json!("x".repeat(1 << 20))),
    ];
    let signed: Vec<_> = events.iter().map(|event| (&**event, &*secret, 0)).collect();
    for (event, signature) in events.iter().zip(sign(&signed).await) {
        let answer = deliver(&ada, &**event, Some(&signature)).await;
        let shown: String = event.chars().take(300).collect();
        assert_eq!(answer.status, 200, "{shown}: {}", answer.text());
        assert_eq!(ada.purchase(&purchase).await, before, "{shown}");
    }
    assert_eq!(ada.purchases().await.len(), 1);
}

#[tokio::test]
async fn a_body_that_is_no_event_is_refused_whoever_signed_it_and_nothing_breaks() {
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
            let answer = deliver(&ada, *body, signature).await;
            let shown: String = body.chars().take(9).collect();
            assert_eq!(answer.status, 400, "{shown:?}: {}", answer.text());
            answer.problem(400);
        }
    }
    let signature = &sign(&[("", &secret, 0)]).await[0];
    for body in [vec![0xff, 0xfe], vec![0xc3], vec![0x80; 1 << 20]] {
        let answer = deliver(&ada, body, Some(signature)).await;
        answer.problem(400);
    }
    let storage = own_storage();
    let receipt = ada.buy(storage, "tok_visa").await.json(200);
    paid(&stage, &ada, &receipt["purchaseId"], storage).await;
}

#[tokio::test]
async fn an_event_that_comes_ten_times_at_once_and_late_is_as_if_it_came_once() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let secret = stage.secret("stripe-webhook-secret").await;
    let storage = own_storage();
    let (purchase, event) = waiting(&stage, &ada, storage).await;
    let signatures = sign(&[(&*event, &*secret, 0); 10]).await;
    let mut deliveries = JoinSet::new();
    for signature in signatures {
        let request = ada.unsigned(Method::POST, "/billing/webhook");
        let request = request.body(event.clone());
        deliveries.spawn(request.header("Stripe-Signature", &signature).send());
    }
    for answer in deliveries.join_all().await {
        answer.json(200);
    }
    let settled = paid(&stage, &ada, &purchase, storage).await;

    let intent = stripe.intent_of(purchase.as_str().unwrap()).await;
    for event in stripe.events_of(&intent).await.iter().rev() {
        assert_eq!(stripe.redeliver(event).await, 200);
    }
    assert_eq!(ada.purchase(&purchase).await, settled);
    // What comes later is told later: by then, this would have been told again.
    let later = own_storage();
    let receipt = ada.buy(later, "tok_visa").await.json(200);
    paid(&stage, &ada, &receipt["purchaseId"], later).await;
    paid(&stage, &ada, &purchase, storage).await;
}

/// Has Stripe deliver each of these events ten times, all at once, and checks that all are taken.
pub(crate) async fn flood(stage: &Stage, events: &[String]) {
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
async fn every_event_of_a_purchase_comes_ten_times_at_once_and_nothing_changes() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let storage = own_storage();
    let receipt = ada.buy(storage, "tok_visa").await.json(200);
    let settled = paid(&stage, &ada, &receipt["purchaseId"], storage).await;
    let declined = ada.buy(10, "tok_chargeDeclined").await.problem(402);
    let failed = ada.purchase(&declined["purchaseId"]).await;
    for purchase in [&settled, &failed] {
        let id = purchase["purchaseId"].as_str().unwrap();
        let intent = stripe.intent_of(id).await;
        let events = stripe.events_of(&intent).await;
        assert!(events.len() > 1);
        flood(&stage, &events).await;
        assert_eq!(ada.purchase(&purchase["purchaseId"]).await, *purchase);
    }
    paid(&stage, &ada, &receipt["purchaseId"], storage).await;
}

#[tokio::test]
async fn a_purchase_that_has_failed_stays_so_whatever_comes_later() {
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
