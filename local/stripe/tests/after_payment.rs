//! Tests what happens after a payment over plain HTTP: charges, refunds and disputes.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)] // Helper functions need this: clippy exempts only tests

use std::time::Duration;

use local_stripe::{Settings, Stripe};
use reqwest::Client;
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);

/// Starts a test double whose banks act only when a test advances the clock.
async fn start() -> Stripe {
    start_with_key("sk_test_double").await
}

async fn start_with_key(key: &str) -> Stripe {
    let settings = Settings {
        secret_key: key.to_owned(),
        bank_delay: HOUR,
        ..Settings::default()
    };
    Stripe::start(0, settings).await.unwrap()
}

async fn get(stripe: &Stripe, path: &str) -> (u16, Value) {
    let request = Client::new().get(format!("{}/v1/{path}", stripe.url()));
    let response = request.bearer_auth(stripe.secret_key()).send().await;
    let response = response.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn post(stripe: &Stripe, path: &str, body: &str) -> (u16, Value) {
    let request = Client::new().post(format!("{}/v1/{path}", stripe.url()));
    let request = request.bearer_auth(stripe.secret_key());
    let response = request.body(body.to_owned()).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Pays 4000 cents with the test card `card`. Returns the PaymentIntent.
async fn pay(stripe: &Stripe, card: &str) -> Value {
    let body = format!(
        "amount=4000&currency=usd&confirm=true&payment_method=pm_card_{card}\
         &allowed_payment_method_types[]=card&metadata[order]=1"
    );
    let (status, intent) = post(stripe, "payment_intents", &body).await;
    assert_eq!(status, 200, "{intent}");
    intent
}

async fn refund(stripe: &Stripe, intent: &Value, amount: Option<u32>) -> (u16, Value) {
    let id = intent["id"].as_str().unwrap();
    let amount = amount.map_or_else(String::new, |amount| format!("&amount={amount}"));
    let body = format!("payment_intent={id}{amount}");
    post(stripe, "refunds", &body).await
}

async fn charge_of(stripe: &Stripe, intent: &Value) -> Value {
    let charge = intent["latest_charge"].as_str().unwrap();
    get(stripe, &format!("charges/{charge}")).await.1
}

/// Lets the banks act, and waits until an event of the type `kind` was emitted.
async fn until_event(stripe: &Stripe, kind: &str) {
    loop {
        stripe.advance(HOUR);
        if stripe.events().iter().any(|event| event["type"] == kind) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// The types of the events after the first `skipped` events.
fn kinds(stripe: &Stripe, skipped: usize) -> Vec<String> {
    let events = stripe.events();
    let kinds = events[skipped..].iter().map(|event| &event["type"]);
    kinds
        .map(|kind| kind.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_charge_has_the_metadata_of_its_payment_intent_and_is_listed() {
    let stripe = start().await;
    let intent = pay(&stripe, "visa").await;
    pay(&stripe, "visa").await;
    let charge = charge_of(&stripe, &intent).await;
    assert_eq!(charge["metadata"], json!({"order": "1"}));
    assert_eq!(charge["payment_intent"], intent["id"]);
    assert_eq!(
        (&charge["status"], &charge["paid"]),
        (&json!("succeeded"), &json!(true))
    );
    let id = intent["id"].as_str().unwrap();
    let (_, listed) = get(&stripe, &format!("charges?payment_intent={id}")).await;
    assert_eq!(listed["data"], json!([charge]));
    let expanded = format!("payment_intents/{id}?expand[]=latest_charge");
    assert_eq!(get(&stripe, &expanded).await.1["latest_charge"], charge);
    let refused = format!("payment_intents/{id}?expand[]=customer");
    assert_eq!(get(&stripe, &refused).await.0, 400);
    assert_eq!(get(&stripe, "charges/ch_none").await.0, 404);
}

#[tokio::test]
async fn a_declined_payment_has_a_failed_charge() {
    let stripe = start().await;
    let body = "amount=4000&currency=usd&confirm=true&payment_method=pm_card_chargeDeclined\
                &allowed_payment_method_types[]=card";
    assert_eq!(post(&stripe, "payment_intents", body).await.0, 402);
    let (_, charges) = get(&stripe, "charges").await;
    let charge = &charges["data"][0];
    assert_eq!(charge["failure_code"], "card_declined");
    assert_eq!(
        (&charge["status"], &charge["captured"]),
        (&json!("failed"), &json!(false))
    );
    let body = format!("charge={}", charge["id"].as_str().unwrap());
    let (status, response) = post(&stripe, "refunds", &body).await;
    assert_eq!(
        (status, &response["error"]["param"]),
        (400, &json!("charge"))
    );
    let expected = [
        "payment_intent.created",
        "payment_intent.payment_failed",
        "charge.failed",
    ];
    assert_eq!(kinds(&stripe, 0), expected);
}

#[tokio::test]
async fn partial_refunds_add_up_to_the_amount_of_the_charge() {
    let stripe = start().await;
    let intent = pay(&stripe, "visa").await;
    let before = stripe.events().len();
    let (status, first) = refund(&stripe, &intent, Some(1_000)).await;
    assert_eq!((status, &first["status"]), (200, &json!("succeeded")));
    let charge = charge_of(&stripe, &intent).await;
    assert_eq!(
        (&charge["amount_refunded"], &charge["refunded"]),
        (&json!(1_000), &json!(false))
    );

    let (status, too_much) = refund(&stripe, &intent, Some(3_001)).await;
    assert_eq!(
        (status, &too_much["error"]["param"]),
        (400, &json!("amount"))
    );
    assert_eq!(
        too_much["error"]["message"],
        "Refund amount ($30.01) is greater than unrefunded amount on charge ($30.00)"
    );

    let (_, second) = refund(&stripe, &intent, None).await;
    assert_eq!(second["amount"], 3_000);
    let charge = charge_of(&stripe, &intent).await;
    assert_eq!(
        (&charge["amount_refunded"], &charge["refunded"]),
        (&json!(4_000), &json!(true))
    );

    let (status, again) = refund(&stripe, &intent, None).await;
    assert_eq!(
        (status, &again["error"]["code"]),
        (400, &json!("charge_already_refunded"))
    );
    let expected = ["refund.created", "charge.refunded"];
    assert_eq!(kinds(&stripe, before), [expected, expected].concat());
    let refunded: Vec<_> = stripe.events()[before..]
        .iter()
        .filter(|event| event["type"] == "charge.refunded")
        .map(|event| event["data"]["object"]["amount_refunded"].clone())
        .collect();
    assert_eq!(refunded, [1_000, 4_000]);
    let id = intent["id"].as_str().unwrap();
    let (_, listed) = get(&stripe, &format!("refunds?payment_intent={id}")).await;
    assert_eq!(listed["data"], json!([second, first]));
    let path = format!("refunds/{}", first["id"].as_str().unwrap());
    assert_eq!(get(&stripe, &path).await, (200, first));
}

#[tokio::test]
async fn an_invalid_refund_is_rejected() {
    let stripe = start().await;
    let (_, open) = post(&stripe, "payment_intents", "amount=50&currency=usd").await;
    let open = format!("payment_intent={}", open["id"].as_str().unwrap());
    for (body, status, param) in [
        ("", 400, json!(null)),
        ("charge=ch_none", 404, json!("id")),
        ("payment_intent=pi_none", 404, json!("intent")),
        ("payment_intent=pi_1&charge=ch_1", 400, json!(null)),
        (&open, 400, json!("payment_intent")),
        ("charge=ch_1&amount=0", 400, json!("amount")),
        ("charge=ch_1&amount=-1", 400, json!("amount")),
        ("charge=ch_1&reason=bored", 400, json!("reason")),
        (
            "charge=ch_1&refund_application_fee=true",
            400,
            json!("refund_application_fee"),
        ),
    ] {
        let (found, response) = post(&stripe, "refunds", body).await;
        assert_eq!(
            (found, &response["error"]["param"]),
            (status, &param),
            "{body}"
        );
    }
    assert!(stripe.refunds().is_empty());
}

#[tokio::test]
async fn a_refund_with_the_same_idempotency_key_is_made_once() {
    let stripe = start().await;
    let intent = pay(&stripe, "visa").await;
    let body = format!("payment_intent={}&amount=1", intent["id"].as_str().unwrap());
    for _ in 0..3 {
        let request = Client::new().post(format!("{}/v1/refunds", stripe.url()));
        let request = request.bearer_auth(stripe.secret_key()).body(body.clone());
        let sent = request.header("Idempotency-Key", "a").send().await;
        assert_eq!(sent.unwrap().status(), 200);
    }
    assert_eq!(stripe.charges()[0].amount_refunded, 1);
}

#[tokio::test]
async fn the_test_cards_for_refunds_settle_or_fail_later() {
    for (card, statuses, last, refunded) in [
        (
            "pendingRefund",
            ["pending", "succeeded"],
            "refund.updated",
            4_000,
        ),
        ("refundFail", ["succeeded", "failed"], "refund.failed", 0),
    ] {
        let stripe = start().await;
        let intent = pay(&stripe, card).await;
        let (_, created) = refund(&stripe, &intent, None).await;
        assert_eq!(created["status"], statuses[0], "{card}");
        assert_eq!(charge_of(&stripe, &intent).await["amount_refunded"], 4_000);
        until_event(&stripe, last).await;
        assert_eq!(stripe.refunds()[0]["status"], statuses[1], "{card}");
        let charge = charge_of(&stripe, &intent).await;
        assert_eq!(charge["amount_refunded"], refunded, "{card}");
        assert_eq!(charge["refunded"], refunded == 4_000, "{card}");
    }
}

#[tokio::test]
async fn a_chargeback_withdraws_the_amount_and_blocks_refunds() {
    let stripe = start().await;
    for (card, reason) in [
        ("createDispute", "fraudulent"),
        ("createDisputeProductNotReceived", "product_not_received"),
    ] {
        let before = stripe.disputes().len();
        let events = stripe.events().len();
        let intent = pay(&stripe, card).await;
        while stripe.disputes().len() == before {
            stripe.advance(HOUR);
            tokio::task::yield_now().await;
        }
        let expected = [
            "payment_intent.created",
            "payment_intent.succeeded",
            "charge.succeeded",
            "charge.dispute.created",
            "charge.dispute.funds_withdrawn",
        ];
        assert_eq!(kinds(&stripe, events), expected);
        let dispute = stripe.disputes()[before].clone();
        assert_eq!(
            (&dispute["status"], &dispute["reason"]),
            (&json!("needs_response"), &json!(reason))
        );
        assert_eq!(dispute["payment_intent"], intent["id"]);
        assert_eq!(dispute["metadata"], json!({}), "{card}");
        assert_eq!(dispute["balance_transactions"][0]["net"], -5_500);
        assert_eq!(charge_of(&stripe, &intent).await["disputed"], true);
        let (status, refused) = refund(&stripe, &intent, None).await;
        assert_eq!(
            (status, &refused["error"]["code"]),
            (400, &json!("charge_disputed"))
        );
        let id = intent["id"].as_str().unwrap();
        let (_, listed) = get(&stripe, &format!("disputes?payment_intent={id}")).await;
        assert_eq!(listed["data"], json!([dispute]));
    }
}

/// A card, a text of evidence (None for the acceptance of the dispute), the status of the dispute
/// after the bank's decision, and the types of the events from the response to the decision.
type Outcome<'a> = (&'a str, Option<&'a str>, &'a str, &'a [&'a str]);

#[tokio::test]
async fn evidence_forces_the_decision_about_a_dispute() {
    const UPDATED: &str = "charge.dispute.updated";
    const CLOSED: &str = "charge.dispute.closed";
    let outcomes: [Outcome<'_>; 6] = [
        (
            "createDispute",
            Some("winning_evidence"),
            "won",
            &[UPDATED, CLOSED, "charge.dispute.funds_reinstated"],
        ),
        (
            "createDispute",
            Some("losing_evidence"),
            "lost",
            &[UPDATED, CLOSED],
        ),
        ("createDispute", None, "lost", &[CLOSED]),
        (
            "createDisputeInquiry",
            Some("winning_evidence"),
            "warning_closed",
            &[UPDATED, CLOSED],
        ),
        (
            "createDisputeInquiry",
            Some("losing_evidence"),
            "warning_closed",
            &[UPDATED, CLOSED],
        ),
        (
            "createDisputeInquiry",
            Some("escalate_inquiry_evidence"),
            "needs_response",
            &[UPDATED, UPDATED, "charge.dispute.funds_withdrawn"],
        ),
    ];
    for (card, evidence, status, expected) in outcomes {
        let stripe = start().await;
        let intent = pay(&stripe, card).await;
        until_event(&stripe, "charge.dispute.created").await;
        let events = stripe.events().len();
        let id = stripe.disputes()[0]["id"].as_str().unwrap().to_owned();
        let (sent, response) = match evidence {
            Some(text) => {
                let body = format!("evidence[uncategorized_text]={text}&metadata[case]=1");
                post(&stripe, &format!("disputes/{id}"), &body).await
            }
            None => post(&stripe, &format!("disputes/{id}/close"), "").await,
        };
        assert_eq!(sent, 200, "{response}");
        until_event(&stripe, expected.last().unwrap()).await;
        let dispute = stripe.disputes()[0].clone();
        assert_eq!(dispute["status"], status, "{card} {evidence:?}");
        assert_eq!(kinds(&stripe, events), expected, "{card} {evidence:?}");
        let withdrawn = dispute["balance_transactions"].as_array().unwrap();
        let net: i64 = withdrawn
            .iter()
            .map(|funds| funds["net"].as_i64().unwrap())
            .sum();
        let lost = ["lost", "needs_response"].contains(&status);
        assert_eq!(net, if lost { -5_500 } else { 0 }, "{card} {evidence:?}");
        let (refundable, _) = refund(&stripe, &intent, None).await;
        assert_eq!(
            refundable,
            if lost { 400 } else { 200 },
            "{card} {evidence:?}"
        );
    }
}

#[tokio::test]
async fn evidence_is_staged_until_it_is_submitted() {
    let stripe = start().await;
    pay(&stripe, "createDispute").await;
    until_event(&stripe, "charge.dispute.created").await;
    let id = stripe.disputes()[0]["id"].as_str().unwrap().to_owned();
    let path = format!("disputes/{id}");
    let staged = "evidence[uncategorized_text]=winning_evidence&submit=false";
    let (_, dispute) = post(&stripe, &path, staged).await;
    assert_eq!(dispute["status"], "needs_response");
    assert_eq!(dispute["evidence_details"]["has_evidence"], true);
    let (_, dispute) = post(&stripe, &path, "").await;
    assert_eq!(dispute["status"], "under_review");
    assert_eq!(post(&stripe, &path, "").await.0, 400);
    assert_eq!(post(&stripe, &format!("{path}/close"), "").await.0, 400);
    until_event(&stripe, "charge.dispute.closed").await;
    assert_eq!(get(&stripe, &path).await.1["status"], "won");
    assert_eq!(get(&stripe, "disputes/du_none").await.0, 404);
}

#[tokio::test]
async fn a_held_payment_is_processing_until_it_is_processed() {
    let stripe = start().await;
    stripe.hold_payments(true);
    let intent = pay(&stripe, "visa").await;
    let id = intent["id"].as_str().unwrap();
    assert_eq!(intent["status"], "processing");
    assert!(stripe.charges().is_empty());
    for path in ["cancel", "confirm"] {
        let (status, refused) = post(&stripe, &format!("payment_intents/{id}/{path}"), "").await;
        let code = &refused["error"]["code"];
        assert_eq!(
            (status, code),
            (400, &json!("payment_intent_unexpected_state")),
            "{path}"
        );
    }
    let declined = pay(&stripe, "chargeDeclined").await;
    let declined = stripe.process(declined["id"].as_str().unwrap()).unwrap();
    assert_eq!(declined["last_payment_error"]["code"], "card_declined");
    assert_eq!(stripe.process(id).unwrap()["status"], "succeeded");
    assert!(stripe.process(id).is_err());
    assert_eq!(kinds(&stripe, 0)[1], "payment_intent.processing");
}

#[tokio::test]
async fn the_prefix_of_the_key_determines_live_mode() {
    for (key, live) in [
        ("sk_test_1", false),
        ("rk_test_1", false),
        ("sk_live_1", true),
        ("rk_live_1", true),
    ] {
        let stripe = start_with_key(key).await;
        let intent = pay(&stripe, "createDispute").await;
        until_event(&stripe, "charge.dispute.created").await;
        let charge = charge_of(&stripe, &intent).await;
        for object in [&intent, &charge, &stripe.disputes()[0]] {
            assert_eq!(object["livemode"], live, "{key}: {object}");
        }
        assert!(
            stripe
                .events()
                .iter()
                .all(|event| event["livemode"] == live)
        );
    }
}

#[tokio::test]
async fn lists_select_objects_by_creation_time_and_type() {
    let stripe = start().await;
    for _ in 0..3 {
        pay(&stripe, "visa").await;
        stripe.advance(HOUR);
    }
    let intents = stripe.payment_intents();
    let created = |index: usize| intents[index]["created"].as_u64().unwrap();
    let ids = |list: &Value| {
        let ids = list["data"].as_array().unwrap().iter();
        ids.map(|object| object["id"].clone()).collect::<Vec<_>>()
    };
    let range = format!("created[gte]={}&created[lte]={}", created(1), created(2));
    let (_, found) = get(&stripe, &format!("payment_intents?{range}&limit=1")).await;
    assert_eq!(
        (ids(&found), &found["has_more"]),
        (vec![intents[2]["id"].clone()], &json!(true))
    );
    let next = found["data"][0]["id"].as_str().unwrap();
    let next = format!("payment_intents?{range}&limit=1&starting_after={next}");
    let (_, found) = get(&stripe, &next).await;
    assert_eq!(
        (ids(&found), &found["has_more"]),
        (vec![intents[1]["id"].clone()], &json!(false))
    );
    let succeeded = |query: &str| {
        let path = format!("events?{query}");
        let stripe = &stripe;
        async move {
            let (_, events) = get(stripe, &path).await;
            let kinds = events["data"].as_array().unwrap().iter();
            kinds
                .filter(|event| event["type"] == "charge.succeeded")
                .count()
        }
    };
    let after = created(0);
    assert_eq!(succeeded("type=charge.succeeded").await, 3);
    assert_eq!(succeeded(&format!("created[gt]={after}")).await, 2);
    assert_eq!(
        succeeded("types[]=charge.succeeded&types[]=charge.failed").await,
        3
    );
    assert_eq!(succeeded("type=charge.failed").await, 0);
    let event = stripe.events()[0].clone();
    let path = format!("events/{}", event["id"].as_str().unwrap());
    assert_eq!(get(&stripe, &path).await, (200, event));
    for query in [
        "created=x",
        "created[gte]=-1",
        "created[since]=1",
        "customer=cus_1",
    ] {
        assert_eq!(
            get(&stripe, &format!("payment_intents?{query}")).await.0,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_used_token_is_rejected_without_a_parameter() {
    let stripe = start().await;
    let request = Client::new().post(format!("{}/v1/tokens", stripe.url()));
    let card =
        "key=pk_test_double&card[number]=4242424242424242&card[exp_month]=12&card[exp_year]=40";
    let token: Value = request
        .body(card)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let body = format!(
        "amount=50&currency=usd&confirm=true&allowed_payment_method_types[]=card\
         &payment_method_data[type]=card&payment_method_data[card][token]={}",
        token["id"].as_str().unwrap()
    );
    assert_eq!(post(&stripe, "payment_intents", &body).await.0, 200);
    let (status, refused) = post(&stripe, "payment_intents", &body).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (400, &json!("token_already_used"))
    );
    assert_eq!(refused["error"].get("param"), None);
}
