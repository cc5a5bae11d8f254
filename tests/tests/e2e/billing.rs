//! POST and GET /billing: what is charged, what is not, and what is said of it.

use e2e::http::{Answer, Method};
use e2e::stage::{Person, Stage, until};
use e2e::stripe::{own_storage, text_of};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::bad_input::assert_bodies_are_read_with_care;

/// What is the same when an answer comes again.
fn content(answer: &Answer) -> (u16, Value) {
    let mut content: Value = serde_json::from_slice(&answer.body).unwrap();
    content.as_object_mut().unwrap().remove("requestId");
    (answer.status, content)
}

/// The id of the purchase that an answer is about.
fn id(answer: &Value) -> &str {
    answer["purchaseId"].as_str().unwrap()
}

/// Waits until a purchase is PAID, and the owner was told of it, once.
pub(crate) async fn paid(stage: &Stage, person: &Person<'_>, id: &Value, storage: u32) -> Value {
    let paid = until("the payment", async || {
        let purchase = person.purchase(id).await;
        (purchase["status"] == "PAID").then_some(purchase)
    })
    .await;
    until("the SMS", async || {
        let told = stage.told(&text_of(storage)).await;
        (told > 0).then_some(told)
    })
    .await;
    assert_eq!(stage.told(&text_of(storage)).await, 1);
    paid
}

#[tokio::test]
async fn a_purchase_is_charged_its_price_and_listed_and_the_owner_is_told() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let mut bought = Vec::new();
    for (storage, cents, source) in [
        (10, 4_000, "tok_visa"),
        (100, 20_000, "tok_visa"),
        (101, 10_100, "tok_visa"),
        (10, 4_000, "pm_card_visa"),
    ] {
        let description = format!("storage for {storage} notes");
        let text = format!("Charged {cents} for {description}");
        let told = stage.told(&text).await;
        let answer = ada.buy(storage, source).await.json(200);
        let expected = json!({"status": true, "purchaseId": id(&answer), "amount": cents});
        assert_eq!(answer, expected);

        let intent = stripe.intent_of(id(&answer)).await;
        assert_eq!(intent["status"], "succeeded");
        assert_eq!(intent["description"], description.as_str());
        assert_eq!(intent["metadata"]["userId"], ada.id.as_str());
        assert_eq!(stripe.charged(&intent).await, [cents]);
        until(&text, async || {
            (stage.told(&text).await == told + 1).then_some(())
        })
        .await;
        bought.insert(
            0,
            (answer["purchaseId"].clone(), storage, cents, description),
        );
    }
    let listed = ada.purchases().await;
    assert_eq!(listed.len(), bought.len());
    for (listed, (id, storage, cents, description)) in listed.iter().zip(bought) {
        let at = listed["createdAt"].as_u64().unwrap();
        assert!(listed["updatedAt"].as_u64().unwrap() >= at);
        let expected = json!({
            "userId": ada.id, "purchaseId": id, "storage": storage, "amount": cents,
            "description": description, "status": "PAID",
            "createdAt": at, "updatedAt": listed["updatedAt"],
        });
        assert_eq!(*listed, expected);
    }
}

/// Stripe's cards that are declined: their name, and the codes that Stripe says.
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
    ("chargeDeclinedLostCard", "card_declined", "lost_card"),
    ("visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
    ("chargeDeclinedStolenCard", "card_declined", "stolen_card"),
    (
        "visa_chargeDeclinedStolenCard",
        "card_declined",
        "stolen_card",
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
    ("radarBlock", "card_declined", "fraudulent"),
    ("chargeDeclinedFraudulent", "card_declined", "fraudulent"),
    // Its owner is asked first: see below.
    (
        "authenticationRequiredChargeDeclinedInsufficientFunds",
        "card_declined",
        "insufficient_funds",
    ),
];

/// Whether a text is a sentence for a person.
fn is_sentence(text: &Value) -> bool {
    let text = text.as_str().unwrap();
    let begins = text.chars().next().is_some_and(char::is_uppercase);
    begins && text.contains(' ') && text.ends_with('.') && !text.contains('_')
}

/// Checks the answer to an order whose card was declined, and what is left of it.
async fn assert_declined(person: &Person<'_>, stage: &Stage, answer: &Answer, codes: (&str, &str)) {
    let problem = answer.problem(402);
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
    assert!(stripe.charged(&intent).await.is_empty());
}

#[tokio::test]
async fn a_declined_card_is_a_402_with_stripes_codes_and_leaves_nothing_that_could_charge_it() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let declined = DECLINES
        .iter()
        .filter(|(card, ..)| !card.contains("authentication"));
    for (card, code, decline_code) in declined {
        for source in [format!("tok_{card}"), format!("pm_card_{card}")] {
            let answer = ada.buy(10, &source).await;
            assert_declined(&ada, &stage, &answer, (code, decline_code)).await;
        }
    }
}

#[tokio::test]
async fn a_card_that_stripe_does_not_know_is_a_402_and_leaves_nothing() {
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

/// Orders by a card whose owner has to act, and returns what the answer and Stripe say of it.
async fn challenged(
    person: &Person<'_>,
    stage: &Stage,
    key: &str,
    storage: u32,
    source: &str,
) -> (Value, Value) {
    let problem = person.buy_under(key, storage, source).await.problem(402);
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
async fn a_card_whose_owner_has_to_act_is_charged_once_they_did() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    for source in [
        "pm_card_threeDSecure2Required",
        "tok_threeDSecureRequired",
        "pm_card_authenticationRequired",
    ] {
        let storage = own_storage();
        let (asked, intent) = challenged(&ada, &stage, source, storage, source).await;
        // Until they do, the answer is the same, and so is what it is about.
        let (again, _) = challenged(&ada, &stage, source, storage, source).await;
        assert_eq!(again["purchaseId"], asked["purchaseId"]);
        assert_eq!(again["clientSecret"], asked["clientSecret"]);

        stripe.authenticate(&intent, "succeeds").await;
        paid(&stage, &ada, &asked["purchaseId"], storage).await;
        let answer = ada.buy_under(source, storage, source).await.json(200);
        assert_eq!(answer["purchaseId"], asked["purchaseId"]);
        assert_eq!(stripe.charged(&intent).await, [u64::from(storage) * 100]);
    }
    assert_eq!(ada.purchases().await.len(), 3);
}

#[tokio::test]
async fn a_card_whose_owner_did_not_act_or_that_is_declined_then_is_not_charged() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let refused = "pm_card_authenticationRequired";
    let (asked, intent) = challenged(&ada, &stage, "refused", 10, refused).await;
    stage.stripe().authenticate(&intent, "fails").await;
    let problem = ada.buy_under("refused", 10, refused).await.problem(402);
    assert_eq!(problem["code"], "payment_intent_authentication_failure");
    assert_eq!(problem["purchaseId"], asked["purchaseId"]);
    let purchase = ada.purchase(&asked["purchaseId"]).await;
    assert_eq!(purchase["status"], "FAILED");
    let intent = stage.stripe().intent_of(id(&asked)).await;
    assert_eq!(intent["status"], "canceled");

    let (card, code, decline_code) = DECLINES[14];
    let source = format!("pm_card_{card}");
    let (_, intent) = challenged(&ada, &stage, "declined", 10, &source).await;
    stage.stripe().authenticate(&intent, "succeeds").await;
    let answer = ada.buy_under("declined", 10, &source).await;
    assert_declined(&ada, &stage, &answer, (code, decline_code)).await;
    assert!(is_sentence(&problem["detail"]), "{problem}");
}

#[tokio::test]
async fn storage_can_be_a_string_of_digits_as_the_original_client_sends_it() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let order = json!({"storage": "20", "source": "tok_visa"});
    let request = ada.request(Method::POST, "/billing").json(&order);
    let receipt = request.send().await.json(200);
    assert_eq!(receipt["amount"], 4_000);
    let purchase = ada.purchase(&receipt["purchaseId"]).await;
    assert_eq!(purchase["storage"], 20);
}

#[tokio::test]
async fn an_order_that_cannot_be_never_reaches_stripe() {
    let stage = Stage::alone().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let before = stripe.orders().await;
    let request = || ada.request(Method::POST, "/billing");
    let good = json!({"storage": 10, "source": "tok_visa"});
    let mut bad = Vec::new();
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
            let mut order = good.clone();
            order[field] = value.clone();
            bad.push((order, vec![field]));
        }
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(field);
        bad.push((without, vec![field]));
    }
    let both = ["storage", "source"];
    bad.push((
        json!({"storage": 0, "source": "4242424242424242"}),
        both.to_vec(),
    ));
    bad.push((json!({}), both.to_vec()));
    bad.push((json!([]), vec![""]));
    bad.push((json!("tok_visa"), vec![""]));
    for (order, fields) in bad {
        let answer = request().json(&order).send().await;
        answer.names(&fields);
        assert!(!answer.text().contains("4242"), "{}", answer.text());
    }
    assert_bodies_are_read_with_care(request, &good).await;
    assert_eq!(stripe.orders().await, before);
    assert!(stripe.intents_of("userId", &ada.id).await.is_empty());
    assert!(ada.purchases().await.is_empty());
}

#[tokio::test]
async fn of_100_orders_at_once_under_one_key_one_is_charged() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let storage = own_storage();
    let order = || {
        ada.order(storage, "tok_visa")
            .header("Idempotency-Key", "once")
    };
    let mut orders = JoinSet::new();
    for _ in 0..100 {
        orders.spawn(order().send());
    }
    let answers = orders.join_all().await;
    let again = order().send().await;
    let receipt = again.json(200);
    for answer in answers {
        match answer.status {
            200 => assert_eq!(answer.body, again.body),
            _ => {
                answer.problem(409);
                let wait = answer.header("retry-after").unwrap().parse::<u32>();
                assert!(wait.is_ok_and(|wait| wait > 0));
            }
        }
    }
    paid(&stage, &ada, &receipt["purchaseId"], storage).await;
    assert_eq!(ada.purchases().await.len(), 1);
    let [intent] = stripe
        .intents_of("userId", &ada.id)
        .await
        .try_into()
        .unwrap();
    assert_eq!(stripe.charged(&intent).await, [u64::from(storage) * 100]);

    let other = ada.buy_under("once", storage + 1, "tok_visa").await;
    other.names(&["Idempotency-Key"]);
    assert_eq!(ada.purchases().await.len(), 1);
}

#[tokio::test]
async fn while_an_order_is_worked_on_its_key_is_taken() {
    let stage = Stage::alone().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let order = || {
        let order = ada.order(10, "tok_visa");
        order.header("Idempotency-Key", "slow").send()
    };
    let before = stripe.orders().await;
    stripe.fail(json!({"times": 1, "delay_ms": 4_000})).await;
    let first = tokio::spawn(order());
    until("the call to Stripe", async || {
        (stripe.orders().await > before).then_some(())
    })
    .await;
    let second = order().await;
    let first = first.await.unwrap();
    stripe.heal().await;
    second.problem(409);
    assert!(second.header("retry-after").is_some());
    first.json(200);
    assert_eq!(order().await.body, first.body);
    assert_eq!(stripe.intents_of("userId", &ada.id).await.len(), 1);
}

#[tokio::test]
async fn a_decline_is_the_same_when_its_order_is_repeated() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let order = || ada.buy_under("declined", 10, "tok_chargeDeclined");
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
async fn a_key_is_one_persons_and_orders_without_one_are_orders_each() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    let hers = ada.buy_under("key", 10, "tok_visa").await.json(200);
    let his = bob.buy_under("key", 10, "tok_visa").await.json(200);
    assert_ne!(hers["purchaseId"], his["purchaseId"]);
    for _ in 0..2 {
        ada.buy(10, "tok_visa").await.json(200);
    }
    assert_eq!(ada.purchases().await.len(), 3);
    assert_eq!(bob.purchases().await.len(), 1);
    for malformed in ["", &"x".repeat(256)] {
        ada.buy_under(malformed, 10, "tok_visa").await.problem(400);
    }
    assert_eq!(ada.purchases().await.len(), 3);
}

#[tokio::test]
async fn a_call_to_stripe_that_goes_wrong_once_is_made_again_and_charges_once() {
    let stage = Stage::alone().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    for failure in [
        json!({"times": 1, "end": "close"}),
        json!({"times": 1, "end": "close", "effect": false}),
        json!({"times": 1, "end": {"status": 429}, "effect": false}),
        json!({"times": 1, "end": {"status": 409}, "effect": false}),
    ] {
        stripe.fail(failure.clone()).await;
        let answer = ada.buy(10, "tok_visa").await;
        stripe.heal().await;
        let receipt = answer.json(200);
        let intent = stripe.intent_of(id(&receipt)).await;
        assert_eq!(stripe.charged(&intent).await, [4_000], "{failure}");
    }
}

#[tokio::test]
async fn an_order_whose_answer_stripe_lost_for_good_is_not_an_error_of_the_card_and_is_completed() {
    let stage = Stage::alone().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let storage = own_storage();
    // Stripe gives a stored 500 to every repetition, though the card is charged.
    stripe
        .fail(json!({"times": 1, "end": {"status": 500}}))
        .await;
    let first = ada.buy_under("lost", storage, "tok_visa").await;
    stripe.heal().await;
    let problem = first.problem(503);
    assert!(first.header("retry-after").is_some());
    assert!(is_sentence(&problem["detail"]), "{problem}");
    let [intent] = stripe
        .intents_of("userId", &ada.id)
        .await
        .try_into()
        .unwrap();
    let purchase = &intent["metadata"]["purchaseId"];
    paid(&stage, &ada, purchase, storage).await;
    let receipt = ada.buy_under("lost", storage, "tok_visa").await.json(200);
    assert_eq!(receipt["purchaseId"], *purchase);
    assert_eq!(stripe.charged(&intent).await.len(), 1);
}
