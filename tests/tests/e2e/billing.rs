//! Tests of POST /billing and GET /billing: charges and declined cards, and the responses to the client.

use serde_json::{Value, json};
use test_support::http::{Method, Response};
use test_support::prices::{currency, price};
use test_support::stage::{Person, Stage, wait_for};
use test_support::stripe::unique_storage;
use tokio::task::JoinSet;

use crate::bad_input::assert_unreadable_bodies_are_rejected;

/// Returns the status of a response, and the JSON body without the field `requestId`.
fn content(response: &Response) -> (u16, Value) {
    let mut content: Value = serde_json::from_slice(&response.body).unwrap();
    content.as_object_mut().unwrap().remove("requestId");
    (response.status, content)
}

/// Returns the purchase ID in the body of a response.
fn id(response: &Value) -> &str {
    response["purchaseId"].as_str().unwrap()
}

/// Waits until a purchase is PAID. Returns the purchase.
// part: notify {
/// Asserts that exactly one SMS was sent about the purchase.
// part: notify }
pub(crate) async fn assert_paid(person: &Person<'_>, id: &Value, storage: u32) -> Value {
    let paid = wait_for("the payment", async || {
        let purchase = person.purchase(id).await;
        (purchase["status"] == "PAID").then_some(purchase)
    })
    .await;
    assert_eq!(paid["storage"], storage);
    person.assert_one_sms(id, storage).await; // part: notify
    paid
}

#[tokio::test]
async fn a_purchase_is_charged_and_listed() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let mut bought = Vec::new();
    for (storage, source) in [
        (10, "tok_visa"),
        (100, "tok_visa"),
        (101, "tok_visa"),
        (10, "pm_card_visa"),
    ] {
        let amount = price(storage);
        let description = format!("storage for {storage} notes");
        let response = ada.buy(storage, source).await.json(200);
        let expected = json!({"status": true, "purchaseId": id(&response), "amount": amount});
        assert_eq!(response, expected);

        let intent = stripe.intent_of(id(&response)).await;
        assert_eq!(intent["status"], "succeeded");
        assert_eq!(intent["description"], description.as_str());
        assert_eq!(intent["metadata"]["userId"], ada.id.as_str());
        assert_eq!(stripe.charged_amounts(&intent).await, [u64::from(amount)]);
        bought.insert(
            0,
            (response["purchaseId"].clone(), storage, amount, description),
        );
    }
    let listed = ada.purchases().await;
    assert_eq!(listed.len(), bought.len());
    for (listed, (id, storage, amount, description)) in listed.iter().zip(bought) {
        let at = listed["createdAt"].as_u64().unwrap();
        assert!(listed["updatedAt"].as_u64().unwrap() >= at);
        let expected = json!({
            "userId": ada.id, "purchaseId": id, "storage": storage, "amount": amount,
            "currency": currency(), "description": description, "status": "PAID",
            "createdAt": at, "updatedAt": listed["updatedAt"],
        });
        assert_eq!(*listed, expected);
    }
}

/// The test cards that Stripe declines. Each element has the end of the test token's name, and the error code and the
/// decline code that the customer gets: a lost or stolen card and a suspicion of fraud look like a generic decline.
/// <https://docs.stripe.com/testing#declined-payments>
const DECLINES: [(&str, &str, &str); 15] = [
    ("chargeDeclined", "card_declined", "generic_decline"),
    ("visa_chargeDeclined", "card_declined", "generic_decline"),
    (
        "chargeDeclinedInsufficientFunds",
        "card_declined",
        "insufficient_funds",
    ),
    (
        "visa_chargeDeclinedInsufficientFunds",
        "card_declined",
        "insufficient_funds",
    ),
    ("chargeDeclinedLostCard", "card_declined", "generic_decline"),
    (
        "visa_chargeDeclinedLostCard",
        "card_declined",
        "generic_decline",
    ),
    (
        "chargeDeclinedStolenCard",
        "card_declined",
        "generic_decline",
    ),
    (
        "visa_chargeDeclinedStolenCard",
        "card_declined",
        "generic_decline",
    ),
    (
        "visa_chargeDeclinedVelocityLimitExceeded",
        "card_declined",
        "card_velocity_exceeded",
    ),
    ("chargeDeclinedExpiredCard", "expired_card", "expired_card"),
    (
        "chargeDeclinedIncorrectCvc",
        "incorrect_cvc",
        "incorrect_cvc",
    ),
    (
        "chargeDeclinedProcessingError",
        "processing_error",
        "processing_error",
    ),
    ("radarBlock", "card_declined", "generic_decline"),
    (
        "chargeDeclinedFraudulent",
        "card_declined",
        "generic_decline",
    ),
    // This card requires authentication first.
    (
        "authenticationRequiredChargeDeclinedInsufficientFunds",
        "card_declined",
        "insufficient_funds",
    ),
];

/// Whether a text looks like a sentence for users: it starts with a capital letter, ends with a period, and contains a
/// space but no underscore.
fn is_sentence(text: &Value) -> bool {
    let text = text.as_str().unwrap();
    let is_capitalized = text.chars().next().is_some_and(char::is_uppercase);
    is_capitalized && text.contains(' ') && text.ends_with('.') && !text.contains('_')
}

/// Asserts that the response says that the card was declined, that the purchase is FAILED, and that the PaymentIntent
/// is canceled.
async fn assert_declined(
    person: &Person<'_>,
    stage: &Stage,
    response: &Response,
    codes: (&str, &str),
) {
    let problem = response.problem(402);
    assert_eq!(
        (&problem["code"], &problem["declineCode"]),
        (&json!(codes.0), &json!(codes.1)),
        "{problem}"
    );
    assert!(is_sentence(&problem["detail"]), "{problem}");
    let purchase = person.purchase(&problem["purchaseId"]).await;
    assert_eq!(purchase["status"], "FAILED", "{purchase}");
    assert_eq!(purchase["decline"]["code"], codes.0, "{purchase}");
    assert_eq!(purchase["decline"]["declineCode"], codes.1, "{purchase}");
    let stripe = stage.stripe();
    let intent = stripe.intent_of(id(&problem)).await;
    assert_eq!(intent["status"], "canceled");
    assert!(stripe.charged_amounts(&intent).await.is_empty());
}

#[tokio::test]
async fn a_declined_card_returns_402_with_stripes_codes_and_cancels_the_intent() {
    let stage = Stage::shared().await;
    let declined = DECLINES
        .iter()
        .filter(|(card, ..)| !card.contains("authentication"));
    for (card, code, decline_code) in declined {
        // A person with ten declines cannot order again.
        let ada = Person::sign_up(&stage).await;
        for source in [format!("tok_{card}"), format!("pm_card_{card}")] {
            let response = ada.buy(10, &source).await;
            assert_declined(&ada, &stage, &response, (code, decline_code)).await;
        }
    }
}

#[tokio::test]
async fn an_unknown_card_returns_402_and_creates_no_intent() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    for source in ["tok_nobody", "pm_nobody"] {
        let problem = ada.buy(10, source).await.problem(402);
        assert_eq!(problem["code"], "resource_missing");
        assert!(is_sentence(&problem["detail"]), "{problem}");
        let purchase = ada.purchase(&problem["purchaseId"]).await;
        assert_eq!(purchase["status"], "FAILED");
    }
    let intents = stage.stripe().intents_of("userId", &ada.id).await;
    assert_eq!(intents, [json!(null); 0]);
}

/// Places an order with a card that requires authentication. Returns the problem document of the response, and the
/// PaymentIntent.
async fn order_requiring_action(
    person: &Person<'_>,
    stage: &Stage,
    key: &str,
    storage: u32,
    source: &str,
) -> (Value, Value) {
    let problem = person.buy_with_key(key, storage, source).await.problem(402);
    assert_eq!(problem["code"], "requires_action", "{source}");
    assert!(is_sentence(&problem["detail"]), "{problem}");
    let intent = stage.stripe().intent_of(id(&problem)).await;
    assert_eq!(intent["status"], "requires_action");
    assert_eq!(problem["clientSecret"], intent["client_secret"]);
    let purchase = person.purchase(&problem["purchaseId"]).await;
    assert_eq!(purchase["status"], "PENDING");
    (problem, intent)
}

#[tokio::test]
async fn a_card_that_requires_action_is_charged_after_authentication() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    for source in [
        "pm_card_threeDSecure2Required",
        "tok_threeDSecureRequired",
        "pm_card_authenticationRequired",
    ] {
        let storage = unique_storage();
        let (problem, intent) = order_requiring_action(&ada, &stage, source, storage, source).await;
        // Before the authentication, a repeated order gets the same response.
        let (again, _) = order_requiring_action(&ada, &stage, source, storage, source).await;
        assert_eq!(again["purchaseId"], problem["purchaseId"]);
        assert_eq!(again["clientSecret"], problem["clientSecret"]);

        stripe.authenticate(&intent, "succeeds").await;
        assert_paid(&ada, &problem["purchaseId"], storage).await;
        let response = ada.buy_with_key(source, storage, source).await.json(200);
        assert_eq!(response["purchaseId"], problem["purchaseId"]);
        assert_eq!(
            stripe.charged_amounts(&intent).await,
            [u64::from(price(storage))]
        );
    }
    assert_eq!(ada.purchases().await.len(), 3);
}

#[tokio::test]
async fn a_card_is_not_charged_if_authentication_fails_or_a_decline_follows_authentication() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let refused = "pm_card_authenticationRequired";
    let (challenge, intent) = order_requiring_action(&ada, &stage, "refused", 10, refused).await;
    stage.stripe().authenticate(&intent, "fails").await;
    let problem = ada.buy_with_key("refused", 10, refused).await.problem(402);
    assert_eq!(problem["code"], "payment_intent_authentication_failure");
    assert_eq!(problem["purchaseId"], challenge["purchaseId"]);
    let purchase = ada.purchase(&challenge["purchaseId"]).await;
    assert_eq!(purchase["status"], "FAILED");
    let intent = stage.stripe().intent_of(id(&challenge)).await;
    assert_eq!(intent["status"], "canceled");

    let (card, code, decline_code) = DECLINES[14];
    let source = format!("pm_card_{card}");
    let (_, intent) = order_requiring_action(&ada, &stage, "declined", 10, &source).await;
    stage.stripe().authenticate(&intent, "succeeds").await;
    let response = ada.buy_with_key("declined", 10, &source).await;
    assert_declined(&ada, &stage, &response, (code, decline_code)).await;
    assert!(is_sentence(&problem["detail"]), "{problem}");
}

#[tokio::test]
async fn an_order_may_contain_the_storage_as_a_string_of_digits() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let order = json!({"storage": "20", "source": "tok_visa"});
    let request = ada.request(Method::POST, "/billing").json(&order);
    let receipt = request.send().await.json(200);
    assert_eq!(receipt["amount"], price(20));
    let purchase = ada.purchase(&receipt["purchaseId"]).await;
    assert_eq!(purchase["storage"], 20);
}

#[tokio::test]
async fn invalid_orders_never_reach_stripe() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let before = stripe.charge_requests().await;
    let request = || ada.request(Method::POST, "/billing");
    let valid = json!({"storage": 10, "source": "tok_visa"});
    let mut invalid = Vec::new();
    for (field, values) in [
        (
            "storage",
            json!([
                0,
                -1,
                1.5,
                "",
                " 20",
                "2e1",
                "-1",
                "20.5",
                1_000_000,
                null,
                true,
                [10],
                {},
                1e300,
                9_007_199_254_740_993_u64
            ]),
        ),
        (
            "source",
            json!([
                null,
                "",
                "card_1",
                "4242424242424242",
                "tok_",
                "tok_vi sa",
                "pm_\u{e9}",
                5,
                ["tok_visa"]
            ]),
        ),
    ] {
        for value in values.as_array().unwrap() {
            let mut order = valid.clone();
            order[field] = value.clone();
            invalid.push((order, vec![field]));
        }
        let mut without = valid.clone();
        without.as_object_mut().unwrap().remove(field);
        invalid.push((without, vec![field]));
    }
    let both = ["storage", "source"];
    invalid.push((
        json!({"storage": 0, "source": "4242424242424242"}),
        both.to_vec(),
    ));
    invalid.push((json!({}), both.to_vec()));
    invalid.push((json!([]), vec![""]));
    invalid.push((json!("tok_visa"), vec![""]));
    for (order, fields) in invalid {
        let response = request().json(&order).send().await;
        response.assert_invalid(&fields);
        assert!(!response.text().contains("4242"), "{}", response.text());
    }
    assert_unreadable_bodies_are_rejected(request, &valid).await;
    assert_eq!(stripe.charge_requests().await, before);
    assert!(stripe.intents_of("userId", &ada.id).await.is_empty());
    assert!(ada.purchases().await.is_empty());
}

#[tokio::test]
async fn a_hundred_concurrent_orders_with_one_key_charge_once() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let storage = unique_storage();
    let order = || {
        ada.order(storage, "tok_visa")
            .header("Idempotency-Key", "once")
    };
    let mut orders = JoinSet::new();
    for _ in 0..100 {
        orders.spawn(order().send());
    }
    let responses = orders.join_all().await;
    let again = order().send().await;
    let receipt = again.json(200);
    for response in responses {
        match response.status {
            200 => assert_eq!(response.body, again.body),
            _ => {
                response.problem(409);
                let seconds = response.header("retry-after").unwrap().parse::<u32>();
                assert!(seconds.is_ok_and(|seconds| seconds > 0));
            }
        }
    }
    assert_paid(&ada, &receipt["purchaseId"], storage).await;
    assert_eq!(ada.purchases().await.len(), 1);
    let [intent] = stripe
        .intents_of("userId", &ada.id)
        .await
        .try_into()
        .unwrap();
    assert_eq!(
        stripe.charged_amounts(&intent).await,
        [u64::from(price(storage))]
    );

    let other = ada.buy_with_key("once", storage + 1, "tok_visa").await;
    other.assert_invalid(&["Idempotency-Key"]);
    assert_eq!(ada.purchases().await.len(), 1);
}

#[tokio::test]
async fn a_second_order_with_the_key_of_an_order_in_progress_returns_409() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let order = || {
        let order = ada.order(10, "tok_visa");
        order.header("Idempotency-Key", "slow").send()
    };
    let before = stripe.charge_requests().await;
    stripe
        .inject_failure(json!({"times": 1, "delay_ms": 4_000}))
        .await;
    let first = tokio::spawn(order());
    wait_for("the call to Stripe", async || {
        (stripe.charge_requests().await > before).then_some(())
    })
    .await;
    let second = order().await;
    let first = first.await.unwrap();
    stripe.clear_failures().await;
    second.problem(409);
    assert!(second.header("retry-after").is_some());
    first.json(200);
    assert_eq!(order().await.body, first.body);
    assert_eq!(stripe.intents_of("userId", &ada.id).await.len(), 1);
}

#[tokio::test]
async fn a_repeated_order_gets_the_same_decline() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let order = || ada.buy_with_key("declined", 10, "tok_chargeDeclined");
    let first = order().await;
    assert_declined(&ada, &stage, &first, ("card_declined", "generic_decline")).await;
    for _ in 0..3 {
        assert_eq!(content(&order().await), content(&first));
    }
    assert_eq!(ada.purchases().await.len(), 1);
    let intents = stage.stripe().intents_of("userId", &ada.id).await;
    assert_eq!(intents.len(), 1);
}

#[tokio::test]
async fn idempotency_keys_are_per_user_and_orders_without_a_key_are_separate() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    let hers = ada.buy_with_key("key", 10, "tok_visa").await.json(200);
    let his = bob.buy_with_key("key", 10, "tok_visa").await.json(200);
    assert_ne!(hers["purchaseId"], his["purchaseId"]);
    for _ in 0..2 {
        ada.buy(10, "tok_visa").await.json(200);
    }
    assert_eq!(ada.purchases().await.len(), 3);
    assert_eq!(bob.purchases().await.len(), 1);
    for malformed in ["", &"x".repeat(256)] {
        ada.buy_with_key(malformed, 10, "tok_visa")
            .await
            .problem(400);
    }
    assert_eq!(ada.purchases().await.len(), 3);
}

#[tokio::test]
async fn a_failed_stripe_call_is_retried_and_charges_once() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    for failure in [
        json!({"times": 1, "end": "close"}),
        json!({"times": 1, "end": "close", "effect": false}),
        json!({"times": 1, "end": {"status": 429}, "effect": false}),
        json!({"times": 1, "end": {"status": 409}, "effect": false}),
    ] {
        stripe.inject_failure(failure.clone()).await;
        let response = ada.buy(10, "tok_visa").await;
        stripe.clear_failures().await;
        let receipt = response.json(200);
        let intent = stripe.intent_of(id(&receipt)).await;
        assert_eq!(
            stripe.charged_amounts(&intent).await,
            [u64::from(price(10))],
            "{failure}"
        );
    }
}

#[tokio::test]
async fn an_order_for_which_stripe_replays_a_500_returns_503_and_completes_later() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let storage = unique_storage();
    // Stripe stores the 500 under the idempotency key and returns it to every retry, although the card is charged.
    stripe
        .inject_failure(json!({"times": 1, "end": {"status": 500}}))
        .await;
    let first = ada.buy_with_key("lost", storage, "tok_visa").await;
    stripe.clear_failures().await;
    let problem = first.problem(503);
    assert!(first.header("retry-after").is_some());
    assert!(is_sentence(&problem["detail"]), "{problem}");
    let [intent] = stripe
        .intents_of("userId", &ada.id)
        .await
        .try_into()
        .unwrap();
    let purchase = &intent["metadata"]["purchaseId"];
    assert_paid(&ada, purchase, storage).await;
    let receipt = ada
        .buy_with_key("lost", storage, "tok_visa")
        .await
        .json(200);
    assert_eq!(receipt["purchaseId"], *purchase);
    assert_eq!(stripe.charged_amounts(&intent).await.len(), 1);
}
