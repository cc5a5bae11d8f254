//! Tests the API over plain HTTP, without a Stripe client.

#![allow(clippy::unwrap_used)] // Helper functions need this: clippy exempts only tests

use std::time::Duration;

use local_stripe::{Failure, Settings, Stripe};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const PAY: &str = "amount=4000&currency=usd&confirm=true&payment_method=pm_card_visa\
                   &allowed_payment_method_types[]=card";

async fn start() -> Stripe {
    Stripe::start(0, Settings::default()).await.unwrap()
}

fn post(stripe: &Stripe, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    Client::new()
        .post(format!("{}{path}", stripe.url()))
        .bearer_auth(stripe.secret_key())
        .body(body)
}

fn create_with_key(stripe: &Stripe, key: &str, body: &str) -> RequestBuilder {
    post(stripe, "/v1/payment_intents", body.to_owned()).header("Idempotency-Key", key)
}

async fn send(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}

fn paid_charges(stripe: &Stripe) -> usize {
    stripe.charges().iter().filter(|charge| charge.paid).count()
}

/// Waits until `condition` returns true. Other tasks run during the wait.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_response_has_the_request_id_and_the_api_version() {
    let stripe = start().await;
    let default = post(&stripe, "/v1/payment_intents", PAY)
        .send()
        .await
        .unwrap();
    assert!(header(&default, "request-id").unwrap().starts_with("req_"));
    assert_eq!(
        header(&default, "stripe-version"),
        Some(local_stripe::API_VERSION)
    );
    let versioned =
        post(&stripe, "/v1/payment_intents", PAY).header("Stripe-Version", "2024-06-20");
    let versioned = versioned.send().await.unwrap();
    assert_eq!(header(&versioned, "stripe-version"), Some("2024-06-20"));
    for invalid in ["", "today", "2024-6-20", "2024-06-20.", "2024-06-20.X"] {
        let refused = post(&stripe, "/v1/payment_intents", PAY).header("Stripe-Version", invalid);
        assert_eq!(send(refused).await.0, 400, "{invalid}");
    }
}

#[tokio::test]
async fn a_call_without_the_secret_key_is_rejected() {
    let stripe = start().await;
    let url = format!("{}/v1/payment_intents", stripe.url());
    for request in [
        Client::new().post(&url).body(PAY),
        Client::new()
            .post(&url)
            .body(PAY)
            .bearer_auth("sk_test_other"),
        Client::new()
            .post(&url)
            .body(PAY)
            .header("Authorization", "Bearer"),
    ] {
        let (status, body) = send(request).await;
        assert_eq!(status, 401);
        assert!(!body.to_string().contains("sk_test_other"));
    }
    assert!(stripe.payment_intents().is_empty());
}

/// Invalid requests to create a PaymentIntent. Each entry contains the body of the request, and the
/// expected code and parameter of the error.
const INVALID: [(&str, &str, &str); 12] = [
    ("currency=usd", "parameter_missing", "amount"),
    ("amount=50", "parameter_missing", "currency"),
    (
        "amount=x&currency=usd",
        "parameter_invalid_integer",
        "amount",
    ),
    (
        "amount=1.5&currency=usd",
        "parameter_invalid_integer",
        "amount",
    ),
    (
        "amount=-1&currency=usd",
        "parameter_invalid_integer",
        "amount",
    ),
    ("amount=49&currency=usd", "amount_too_small", "amount"),
    (
        "amount=100000000&currency=usd",
        "amount_too_large",
        "amount",
    ),
    (
        "amount=99999999999999999999999&currency=usd",
        "amount_too_large",
        "amount",
    ),
    (
        "amount=50&currency=usd&payment_method=pm_none",
        "resource_missing",
        "payment_method",
    ),
    (
        "amount=50&currency=usd&payment_method_data[type]=card\
         &payment_method_data[card][token]=tok_none",
        "resource_missing",
        "payment_method_data[card][token]",
    ),
    (
        "amount=50&currency=usd&source=tok_visa",
        "parameter_unknown",
        "source",
    ),
    (
        "amount=50&currency=usd&confirm=1",
        "parameter_invalid_boolean",
        "confirm",
    ),
];

#[tokio::test]
async fn an_invalid_parameter_is_rejected_with_code_and_param() {
    let stripe = start().await;
    for (body, code, param) in INVALID {
        let (status, response) = send(post(&stripe, "/v1/payment_intents", body)).await;
        let error = &response["error"];
        assert_eq!(
            (status, &error["type"]),
            (400, &json!("invalid_request_error")),
            "{body}"
        );
        assert_eq!(
            (&error["code"], &error["param"]),
            (&json!(code), &json!(param)),
            "{body}"
        );
    }
    assert!(stripe.payment_intents().is_empty());
}

#[tokio::test]
async fn a_confirmation_that_could_redirect_needs_a_return_url() {
    let stripe = start().await;
    let body = "amount=50&currency=usd&confirm=true&payment_method=pm_card_visa";
    let (status, response) = send(post(&stripe, "/v1/payment_intents", body)).await;
    assert_eq!(status, 400);
    assert!(
        response["error"]["message"]
            .as_str()
            .unwrap()
            .contains("return_url")
    );
    let with_return_url = format!("{body}&return_url=https://example.com");
    assert_eq!(
        send(post(&stripe, "/v1/payment_intents", with_return_url))
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn malformed_requests_do_not_stop_the_server() {
    let stripe = start().await;
    for path in [
        "/",
        "/v1",
        "/v1/payment_intents/",
        "/v1/payment_intents/x/y/z",
        "/_double/",
        "/_double/failures",
    ] {
        for body in [
            vec![],
            vec![0xff; 100],
            vec![b'['; 10_000],
            vec![b'a'; 2 << 20],
        ] {
            let response = post(&stripe, path, body)
                .header("Idempotency-Key", "\u{e9}")
                .send()
                .await;
            // If the body is too long, the server may close the connection before it has read it
            // all.
            if let Ok(response) = response {
                assert!(response.status().is_client_error(), "{path}");
            }
        }
    }
    assert_eq!(send(post(&stripe, "/v1/payment_intents", PAY)).await.0, 200);
}

#[tokio::test]
async fn lists_are_newest_first_and_paginated() {
    let stripe = start().await;
    for _ in 0..3 {
        send(post(&stripe, "/v1/payment_intents", PAY)).await;
    }
    let get = |query: &str| {
        let url = format!("{}/v1/payment_intents{query}", stripe.url());
        Client::new().get(url).bearer_auth(stripe.secret_key())
    };
    let (_, first) = send(get("?limit=2")).await;
    let ids: Vec<_> = stripe
        .payment_intents()
        .iter()
        .map(|intent| intent["id"].clone())
        .collect();
    assert_eq!(first["has_more"], true);
    assert_eq!(
        [&first["data"][0]["id"], &first["data"][1]["id"]],
        [&ids[2], &ids[1]]
    );
    let after = format!("?limit=2&starting_after={}", ids[1].as_str().unwrap());
    let (_, last) = send(get(&after)).await;
    assert_eq!(
        (&last["has_more"], &last["data"][0]["id"]),
        (&json!(false), &ids[0])
    );
    assert_eq!(send(get("?limit=101")).await.0, 400);
}

#[tokio::test]
async fn the_list_of_calls_contains_no_request_parameters() {
    let stripe = start().await;
    let list = format!("{}/v1/payment_intents?query=x", stripe.url());
    send(create_with_key(&stripe, "a", PAY)).await;
    send(Client::new().get(list).bearer_auth(stripe.secret_key())).await;
    let listed = Client::new().get(format!("{}/_double/calls", stripe.url()));
    assert_eq!(
        send(listed).await.1,
        json!({"data": [
            {"method": "POST", "path": "/v1/payment_intents", "idempotency_key": "a", "status": 200},
            {"method": "GET", "path": "/v1/payment_intents", "idempotency_key": null, "status": 400},
        ]})
    );
}

#[tokio::test]
async fn a_response_is_replayed_for_24_hours() {
    let stripe = start().await;
    let (_, first) = send(create_with_key(&stripe, "a", PAY)).await;
    let replayed = create_with_key(&stripe, "a", PAY).send().await.unwrap();
    assert_eq!(header(&replayed, "idempotent-replayed"), Some("true"));
    assert_eq!(replayed.json::<Value>().await.unwrap(), first);
    assert_eq!(paid_charges(&stripe), 1);
    stripe.advance(DAY);
    let (_, second) = send(create_with_key(&stripe, "a", PAY)).await;
    assert_ne!(second["id"], first["id"]);
    assert_eq!(paid_charges(&stripe), 2);
}

#[tokio::test]
async fn a_decline_is_replayed() {
    let stripe = start().await;
    let decline = PAY.replace("visa", "chargeDeclined");
    let first = send(create_with_key(&stripe, "a", &decline)).await;
    assert_eq!(first.0, 402);
    assert_eq!(send(create_with_key(&stripe, "a", &decline)).await, first);
    assert_eq!(stripe.charges().len(), 1);
}

#[tokio::test]
async fn an_injected_500_is_replayed_whether_or_not_the_call_was_executed() {
    for effect in [true, false] {
        let stripe = start().await;
        let failure = Failure::on("POST", "/v1/payment_intents")
            .times(1)
            .respond_with(500);
        stripe.inject(if effect {
            failure
        } else {
            failure.without_effect()
        });
        let first = send(create_with_key(&stripe, "a", PAY)).await;
        assert_eq!(
            (first.0, &first.1["error"]["type"]),
            (500, &json!("api_error"))
        );
        assert_eq!(send(create_with_key(&stripe, "a", PAY)).await, first);
        assert_eq!(paid_charges(&stripe), usize::from(effect));
    }
}

#[tokio::test]
async fn a_call_that_was_not_executed_does_not_use_up_its_idempotency_key() {
    let stripe = start().await;
    let failure = || {
        Failure::on("POST", "/v1/payment_intents")
            .times(1)
            .without_effect()
    };
    stripe.inject(failure().respond_with(429));
    assert_eq!(send(create_with_key(&stripe, "a", PAY)).await.0, 429);
    stripe.inject(failure().drop_response());
    assert!(create_with_key(&stripe, "a", PAY).send().await.is_err());
    assert_eq!(
        send(create_with_key(&stripe, "a", "amount=1&currency=usd"))
            .await
            .0,
        400
    );
    assert_eq!(send(create_with_key(&stripe, "a", PAY)).await.0, 200);
    assert_eq!(paid_charges(&stripe), 1);
}

#[tokio::test]
async fn an_idempotency_key_is_bound_to_its_path_and_parameters() {
    let stripe = start().await;
    let (_, intent) = send(create_with_key(&stripe, "a", PAY)).await;
    let other_amount = PAY.replace("4000", "5000");
    let path = format!(
        "/v1/payment_intents/{}/cancel",
        intent["id"].as_str().unwrap()
    );
    let other_path = post(&stripe, &path, "").header("Idempotency-Key", "a");
    for request in [create_with_key(&stripe, "a", &other_amount), other_path] {
        let (status, response) = send(request).await;
        assert_eq!(
            (status, &response["error"]["type"]),
            (400, &json!("idempotency_error"))
        );
    }
    let reordered: Vec<_> = PAY.split('&').rev().collect();
    assert_eq!(
        send(create_with_key(&stripe, "a", &reordered.join("&"))).await,
        (200, intent)
    );
    assert_eq!(paid_charges(&stripe), 1);
}

#[tokio::test]
async fn an_idempotency_key_has_1_to_255_visible_ascii_characters() {
    let stripe = start().await;
    assert_eq!(
        send(create_with_key(&stripe, &"k".repeat(255), PAY))
            .await
            .0,
        200
    );
    assert_eq!(
        send(create_with_key(&stripe, &"k".repeat(256), PAY))
            .await
            .0,
        400
    );
    assert_eq!(send(create_with_key(&stripe, "", PAY)).await.0, 400);
    assert_eq!(send(create_with_key(&stripe, "\u{e9}", PAY)).await.0, 400);
}

#[tokio::test]
async fn a_delayed_call_reserves_its_key_and_is_executed_after_its_caller_disconnects() {
    let stripe = start().await;
    let hour = Duration::from_secs(3600);
    stripe.inject(
        Failure::on("POST", "/v1/payment_intents")
            .times(1)
            .delay(hour),
    );
    tokio::select! {
        response = create_with_key(&stripe, "a", PAY).send() => panic!("unexpected response: {response:?}"),
        () = until(|| !stripe.calls().is_empty()) => {}
    }
    let second = create_with_key(&stripe, "a", PAY).send().await.unwrap();
    assert_eq!(second.status(), 409);
    assert_eq!(header(&second, "stripe-should-retry"), Some("true"));
    let error = second.json::<Value>().await.unwrap();
    assert_eq!(error["error"]["code"], "idempotency_key_in_use");
    assert_eq!(paid_charges(&stripe), 0);
    stripe.advance(hour);
    until(|| paid_charges(&stripe) == 1).await;
    let third = create_with_key(&stripe, "a", PAY).send().await.unwrap();
    assert_eq!(header(&third, "idempotent-replayed"), Some("true"));
    assert_eq!(paid_charges(&stripe), 1);
}

#[tokio::test]
async fn only_one_of_100_concurrent_calls_with_the_same_key_charges_the_card() {
    let stripe = start().await;
    let calls: Vec<_> = (0..100)
        .map(|_| tokio::spawn(create_with_key(&stripe, "a", PAY).send()))
        .collect();
    for call in calls {
        let status = call.await.unwrap().unwrap().status();
        assert!([200, 409].contains(&status.as_u16()), "{status}");
    }
    assert_eq!(paid_charges(&stripe), 1);
    assert_eq!(stripe.calls().len(), 100);
}

#[tokio::test]
async fn an_injected_fault_affects_the_given_number_of_calls_to_the_given_route() {
    let stripe = start().await;
    stripe.inject(
        Failure::on("GET", "/v1/*")
            .without_effect()
            .respond_with(503),
    );
    stripe.inject(
        Failure::on("POST", "/v1/payment_intents")
            .times(2)
            .without_effect()
            .respond_with(429),
    );
    for status in [429, 429, 200] {
        assert_eq!(
            send(post(&stripe, "/v1/payment_intents", PAY)).await.0,
            status
        );
    }
    let list = || {
        let url = format!("{}/v1/events", stripe.url());
        Client::new().get(url).bearer_auth(stripe.secret_key())
    };
    assert_eq!(send(list()).await.0, 503);
    stripe.clear_failures();
    assert_eq!(send(list()).await.0, 200);
    let statuses: Vec<_> = stripe
        .calls()
        .iter()
        .map(|call| call.status.unwrap())
        .collect();
    assert_eq!(statuses, [429, 429, 200, 503, 200]);
}

#[tokio::test]
async fn the_same_calls_with_the_same_run_number_create_the_same_ids() {
    let mut ids = Vec::new();
    for run in [0, 0, 1] {
        let settings = Settings {
            run,
            ..Settings::default()
        };
        let stripe = Stripe::start(0, settings).await.unwrap();
        send(post(&stripe, "/v1/payment_intents", PAY)).await;
        ids.push(stripe.events()[0]["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}

async fn control(stripe: &Stripe, method: &str, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/_double/{path}", stripe.url());
    let method = method.parse().unwrap();
    send(Client::new().request(method, url).body(body.to_string())).await
}

#[tokio::test]
async fn the_control_api_injects_failures() {
    let stripe = start().await;
    let failure =
        json!({"method": "POST", "path": "/v1/*", "effect": false, "end": {"status": 429}});
    let (status, _) = control(&stripe, "POST", "failures", failure).await;
    assert_eq!(status, 200);
    assert_eq!(send(post(&stripe, "/v1/payment_intents", PAY)).await.0, 429);
    let (status, _) = control(&stripe, "DELETE", "failures", json!(null)).await;
    assert_eq!(status, 200);
    assert_eq!(send(post(&stripe, "/v1/payment_intents", PAY)).await.0, 200);
}

#[tokio::test]
async fn the_control_api_advances_the_clock() {
    let stripe = start().await;
    let before = stripe.now();
    let hour = json!({"seconds": 3600});
    assert_eq!(control(&stripe, "POST", "clock/advance", hour).await.0, 200);
    assert!(stripe.now() >= before + Duration::from_secs(3600));
}

#[tokio::test]
async fn the_control_api_completes_a_challenge_once_and_lists_the_objects() {
    let stripe = start().await;
    let challenged = PAY.replace("visa", "authenticationRequired");
    let (_, intent) = send(post(&stripe, "/v1/payment_intents", challenged)).await;
    let id = intent["id"].as_str().unwrap();
    let path = format!("payment_intents/{id}/authenticate");
    let fails = json!({"authentication": "fails"});
    let (_, settled) = control(&stripe, "POST", &path, fails.clone()).await;
    assert_eq!(
        settled["last_payment_error"]["code"],
        "payment_intent_authentication_failure"
    );
    assert_eq!(control(&stripe, "POST", &path, fails).await.0, 409);
    for (list, length) in [
        ("payment_intents", 1),
        ("charges", 0),
        ("refunds", 0),
        ("disputes", 0),
        ("events", 3),
        ("calls", 1),
        ("deliveries", 0),
    ] {
        let (_, found) = control(&stripe, "GET", list, json!(null)).await;
        assert_eq!(found["data"].as_array().unwrap().len(), length, "{list}");
    }
}

#[tokio::test]
async fn the_control_api_rejects_invalid_requests() {
    let stripe = start().await;
    for (method, path, body, status) in [
        (
            "POST",
            "failures",
            json!({"method": "POST", "path": "/", "ends": "close"}),
            400,
        ),
        (
            "PUT",
            "webhook",
            json!({"url": "https://example.com", "secrets": ["whsec"]}),
            400,
        ),
        ("POST", "events/evt_none/redeliver", json!(null), 404),
        ("GET", "unknown", json!(null), 404),
    ] {
        let (found, _) = control(&stripe, method, path, body).await;
        assert_eq!(found, status, "{path}");
    }
}

#[tokio::test]
async fn the_control_api_holds_payments_and_sets_the_bank_delay() {
    let stripe = start().await;
    let held = control(&stripe, "PUT", "hold", json!({"payments": true})).await;
    assert_eq!(held.0, 200);
    let (_, intent) = send(post(&stripe, "/v1/payment_intents", PAY)).await;
    assert_eq!(intent["status"], "processing");
    let path = format!("payment_intents/{}/process", intent["id"].as_str().unwrap());
    let (_, processed) = control(&stripe, "POST", &path, json!(null)).await;
    assert_eq!(processed["status"], "succeeded");
    assert_eq!(
        control(&stripe, "POST", &path, json!(null)).await.0,
        409,
        "it is processed once"
    );
    control(&stripe, "PUT", "hold", json!({"payments": false})).await;
    let delay = json!({"seconds": 0});
    assert_eq!(control(&stripe, "PUT", "bank_delay", delay).await.0, 200);
    let disputed = PAY.replace("visa", "createDispute");
    send(post(&stripe, "/v1/payment_intents", disputed)).await;
    until(|| stripe.disputes().len() == 1).await;
    let (_, disputes) = control(&stripe, "GET", "disputes", json!(null)).await;
    assert_eq!(disputes["data"], json!(stripe.disputes()));
}
