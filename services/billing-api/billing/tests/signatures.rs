//! Tests that events are accepted whose signatures come from Stripe's libraries or from the Stripe
//! test double, and that the events of the double are understood.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)] // Helper functions need this: clippy exempts only tests

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use billing::{
    event::{Event, VerifyError},
    purchase::Timestamp,
    report::Report,
};
use domain::stripe::WEBHOOK_EVENTS;
use local_stripe::{Authentication, Settings, Stripe};
use serde_json::{Value, json};

const SECRET: &str = "whsec_test";
const NOW: u64 = 1_800_000_000;

/// An event with characters that JSON libraries escape in different ways.
const PAYLOAD: &str = "{\n  \"id\": \"evt_1\", \"type\": \"ping\", \"created\": 1, \"livemode\": true,\n  \
                       \"data\": {\"object\": {\"text\": \"\u{1f600} é \\u00e9 / \\/\"}}\n}";

/// Signs `PAYLOAD` with each of `secrets` and a script of the end-to-end tests, which uses one of
/// Stripe's libraries. Returns the values of the header `Stripe-Signature`.
fn sign(program: &str, script: &str, secrets: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let program = match program {
        "python" => root.join(".venv/bin/python"),
        other => other.into(),
    };
    let mut child = Command::new(program)
        .arg(root.join("tests/tests/e2e").join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let delivery = |secret: &&str| json!({"payload": PAYLOAD, "secret": secret, "timestamp": NOW});
    let deliveries = Value::from_iter(secrets.iter().map(delivery)).to_string();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(deliveries.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn verify(payload: &str, header: &str, now: u64) -> Result<Event, VerifyError> {
    let secrets = [SECRET.to_owned().into(), "whsec_next".to_owned().into()];
    let now = Timestamp::from_millis(now * 1000);
    Event::verify(payload.as_bytes(), header, &secrets, now)
}

#[test]
fn signatures_of_stripes_node_and_python_libraries_are_accepted() {
    for (program, script) in [("node", "sign.mjs"), ("python", "sign.py")] {
        let headers = sign(program, script, &[SECRET, "whsec_next", "whsec_other"]);
        for header in &headers[..2] {
            assert!(verify(PAYLOAD, header, NOW + 300).is_ok(), "{header}");
            let stale = verify(PAYLOAD, header, NOW + 301);
            assert_eq!(stale, Err(VerifyError::OutsideTolerance));
            let changed = PAYLOAD.replace("true", "false");
            let changed = verify(&changed, header, NOW);
            assert_eq!(changed, Err(VerifyError::SignatureMismatch));
        }
        let other = verify(PAYLOAD, &headers[2], NOW);
        assert_eq!(other, Err(VerifyError::SignatureMismatch));
    }
}

/// Calls the API of the double. Returns the response.
async fn post(double: &Stripe, path: &str, body: &str) -> Value {
    let request = reqwest::Client::new().post(format!("{}/v1/{path}", double.url()));
    let request = request.bearer_auth(double.secret_key());
    let response = request.body(body.to_owned()).send().await.unwrap();
    response.json().await.unwrap()
}

/// Pays with a test card for a purchase. Returns the PaymentIntent.
async fn pay(double: &Stripe, card: &str) -> Value {
    let purchase = billing::purchase::PurchaseId::generate();
    let body = format!(
        "amount=4000&currency=usd&confirm=true&payment_method=pm_card_{card}\
         &allowed_payment_method_types[]=card\
         &metadata[userId]=us-east-1:ada&metadata[purchaseId]={purchase}"
    );
    post(double, "payment_intents", &body).await
}

fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap()
}

/// Waits until the double has emitted an event of the type `kind`.
async fn until_event(double: &Stripe, kind: &str) {
    while !double.events().iter().any(|event| event["type"] == kind) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn exactly_the_subscribed_events_of_the_double_are_reported() {
    let settings = Settings {
        bank_delay: Duration::ZERO,
        ..Settings::default()
    };
    let double = Stripe::start(0, settings).await.unwrap();
    for (card, last) in [
        ("pendingRefund", "refund.updated"),
        ("refundFail", "refund.failed"),
    ] {
        let paid = pay(&double, card).await;
        post(&double, "refunds", &format!("payment_intent={}", id(&paid))).await;
        until_event(&double, last).await;
    }
    pay(&double, "chargeDeclined").await;
    let open = pay(&double, "threeDSecure2Required").await;
    post(
        &double,
        &format!("payment_intents/{}/cancel", id(&open)),
        "",
    )
    .await;
    let open = pay(&double, "threeDSecure2Required").await;
    double.hold_payments(true);
    double
        .authenticate(id(&open), Authentication::Succeeds)
        .unwrap();
    double.process(id(&open)).unwrap();
    double.hold_payments(false);
    pay(&double, "createDispute").await;
    until_event(&double, "charge.dispute.funds_withdrawn").await;
    let path = format!("disputes/{}", id(&double.disputes()[0]));
    let evidence = "evidence[uncategorized_text]=winning_evidence";
    post(&double, &path, evidence).await;
    until_event(&double, "charge.dispute.funds_reinstated").await;

    let events = double.events();
    for kind in WEBHOOK_EVENTS {
        assert!(events.iter().any(|event| event["type"] == kind), "{kind}");
    }
    let now = SystemTime::now();
    let seconds = Timestamp::of(now).as_millis() / 1000;
    for event in events {
        let body = event.to_string();
        let header = local_stripe::signature(body.as_bytes(), now, &[SECRET]);
        let kind = event["type"].as_str().unwrap();
        let parsed = verify(&body, &header, seconds).unwrap();
        let is_reported = *parsed.report() != Report::Other;
        assert_eq!(is_reported, WEBHOOK_EVENTS.contains(&kind), "{event}");
        assert!(!parsed.is_live());
        let created = event["created"].as_u64().unwrap();
        assert_eq!(parsed.created(), Timestamp::from_millis(created * 1000));
    }
}
