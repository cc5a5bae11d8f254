//! The double over plain HTTP: what callers of any kind can count on.

#![allow(clippy::unwrap_used)] // Also in the helpers, which clippy does not count as tests

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

fn keyed(stripe: &Stripe, key: &str, body: &str) -> RequestBuilder {
    post(stripe, "/v1/payment_intents", body.to_owned()).header("Idempotency-Key", key)
}

async fn read(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}

fn successes(stripe: &Stripe) -> usize {
    stripe.charges().iter().filter(|charge| charge.paid).count()
}

/// Waits, without a clock, for what another task brings about.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_says_which_request_and_version_it_is_of() {
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
    let asked = post(&stripe, "/v1/payment_intents", PAY).header("Stripe-Version", "2024-06-20");
    let asked = asked.send().await.unwrap();
    assert_eq!(header(&asked, "stripe-version"), Some("2024-06-20"));
    for bad in ["", "today", "2024-6-20", "2024-06-20.", "2024-06-20.X"] {
        let refused = post(&stripe, "/v1/payment_intents", PAY).header("Stripe-Version", bad);
        assert_eq!(read(refused).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn nobody_pays_without_the_key() {
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
        let (status, body) = read(request).await;
        assert_eq!(status, 401);
        assert!(!body.to_string().contains("sk_test_other"));
    }
    assert!(stripe.payment_intents().is_empty());
}

#[tokio::test]
async fn what_stripe_would_refuse_is_refused_and_named() {
    let stripe = start().await;
    for (body, code, param) in [
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
    ] {
        let (status, answer) = read(post(&stripe, "/v1/payment_intents", body)).await;
        let error = &answer["error"];
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
async fn a_confirmation_that_could_redirect_needs_somewhere_to_return_to() {
    let stripe = start().await;
    let open = "amount=50&currency=usd&confirm=true&payment_method=pm_card_visa";
    let (status, answer) = read(post(&stripe, "/v1/payment_intents", open)).await;
    assert_eq!(status, 400);
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("return_url")
    );
    let returning = format!("{open}&return_url=https://example.com");
    assert_eq!(
        read(post(&stripe, "/v1/payment_intents", returning))
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn nothing_that_is_sent_ends_it() {
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
            let answer = post(&stripe, path, body)
                .header("Idempotency-Key", "\u{e9}")
                .send()
                .await;
            // A body that is too long may be answered before it is read to its end
            if let Ok(answer) = answer {
                assert!(answer.status().is_client_error(), "{path}");
            }
        }
    }
    assert_eq!(read(post(&stripe, "/v1/payment_intents", PAY)).await.0, 200);
}

#[tokio::test]
async fn lists_come_newest_first_and_in_pages() {
    let stripe = start().await;
    for _ in 0..3 {
        read(post(&stripe, "/v1/payment_intents", PAY)).await;
    }
    let get = |query: &str| {
        let url = format!("{}/v1/payment_intents{query}", stripe.url());
        Client::new().get(url).bearer_auth(stripe.secret_key())
    };
    let (_, first) = read(get("?limit=2")).await;
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
    let (_, last) = read(get(&after)).await;
    assert_eq!(
        (&last["has_more"], &last["data"][0]["id"]),
        (&json!(false), &ids[0])
    );
    assert_eq!(read(get("?limit=101")).await.0, 400);
}

#[tokio::test]
async fn what_is_searched_for_comes_newest_first_and_in_pages() {
    let stripe = start().await;
    stripe.set_search_lag(Duration::ZERO);
    for number in 0..3 {
        let body = format!("{PAY}&metadata[number]={number}&metadata[all]=yes");
        read(post(&stripe, "/v1/payment_intents", body)).await;
    }
    let search = |query: &[(&str, &str)]| {
        let url = format!("{}/v1/payment_intents/search", stripe.url());
        let url = reqwest::Url::parse_with_params(&url, query).unwrap();
        read(Client::new().get(url).bearer_auth(stripe.secret_key()))
    };
    let numbers = |found: &Value| {
        let data = found["data"].as_array().unwrap().iter();
        let numbers = data.map(|intent| intent["metadata"]["number"].as_str().unwrap().to_owned());
        numbers.collect::<Vec<_>>()
    };
    let all = ("query", "metadata['all']:'yes'");
    let (status, first) = search(&[all, ("limit", "2")]).await;
    assert_eq!(
        (status, numbers(&first)),
        (200, vec!["2".into(), "1".into()])
    );
    assert_eq!(first["has_more"], true);
    let page = ("page", first["next_page"].as_str().unwrap());
    let (_, last) = search(&[all, ("limit", "2"), page]).await;
    assert_eq!(numbers(&last), ["0"]);
    let (_, none) = search(&[("query", "metadata['all']:'no'")]).await;
    assert_eq!(
        none,
        json!({
            "object": "search_result",
            "url": "/v1/payment_intents/search",
            "has_more": false,
            "data": [],
            "next_page": null,
        })
    );
    for query in [
        &[][..],
        &[("limit", "2")],
        &[("query", "")],
        &[("query", "metadata['all']")],
        &[("query", "colour:'red'")],
        &[all, ("limit", "0")],
        &[all, ("limit", "101")],
        &[all, ("page", "none")],
        &[all, ("starting_after", "pi_1")],
    ] {
        let (status, answer) = search(query).await;
        let kind = &answer["error"]["type"];
        let refused = [400, 404].contains(&status) && kind == "invalid_request_error";
        assert!(refused, "{query:?}: {answer}");
    }
}

#[tokio::test]
async fn a_call_is_remembered_without_what_it_carried() {
    let stripe = start().await;
    let search = format!("{}/v1/payment_intents/search?query=x", stripe.url());
    read(keyed(&stripe, "a", PAY)).await;
    read(Client::new().get(search).bearer_auth(stripe.secret_key())).await;
    let listed = Client::new().get(format!("{}/_double/calls", stripe.url()));
    assert_eq!(
        read(listed).await.1,
        json!({"data": [
            {"method": "POST", "path": "/v1/payment_intents", "idempotency_key": "a", "status": 200},
            {"method": "GET", "path": "/v1/payment_intents/search", "idempotency_key": null, "status": 400},
        ]})
    );
}

#[tokio::test]
async fn a_key_gives_its_answer_again_for_a_day() {
    let stripe = start().await;
    let (_, first) = read(keyed(&stripe, "a", PAY)).await;
    let again = keyed(&stripe, "a", PAY).send().await.unwrap();
    assert_eq!(header(&again, "idempotent-replayed"), Some("true"));
    assert_eq!(again.json::<Value>().await.unwrap(), first);
    assert_eq!(successes(&stripe), 1);
    stripe.advance(DAY);
    let (_, anew) = read(keyed(&stripe, "a", PAY)).await;
    assert_ne!(anew["id"], first["id"]);
    assert_eq!(successes(&stripe), 2);
}

#[tokio::test]
async fn a_decline_is_an_answer_that_a_key_keeps() {
    let stripe = start().await;
    let decline = PAY.replace("visa", "chargeDeclined");
    let first = read(keyed(&stripe, "a", &decline)).await;
    assert_eq!(first.0, 402);
    assert_eq!(read(keyed(&stripe, "a", &decline)).await, first);
    assert_eq!(stripe.charges().len(), 1);
}

#[tokio::test]
async fn a_stored_500_is_given_again_whether_or_not_the_card_was_charged() {
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
        let first = read(keyed(&stripe, "a", PAY)).await;
        assert_eq!(
            (first.0, &first.1["error"]["type"]),
            (500, &json!("api_error"))
        );
        assert_eq!(read(keyed(&stripe, "a", PAY)).await, first);
        assert_eq!(successes(&stripe), usize::from(effect));
    }
}

#[tokio::test]
async fn what_was_never_carried_out_leaves_its_key_free() {
    let stripe = start().await;
    let failure = || {
        Failure::on("POST", "/v1/payment_intents")
            .times(1)
            .without_effect()
    };
    stripe.inject(failure().respond_with(429));
    assert_eq!(read(keyed(&stripe, "a", PAY)).await.0, 429);
    stripe.inject(failure().drop_response());
    assert!(keyed(&stripe, "a", PAY).send().await.is_err());
    assert_eq!(
        read(keyed(&stripe, "a", "amount=1&currency=usd")).await.0,
        400
    );
    assert_eq!(read(keyed(&stripe, "a", PAY)).await.0, 200);
    assert_eq!(successes(&stripe), 1);
}

#[tokio::test]
async fn a_key_is_for_one_endpoint_and_one_set_of_parameters() {
    let stripe = start().await;
    let (_, intent) = read(keyed(&stripe, "a", PAY)).await;
    let other = PAY.replace("4000", "5000");
    let path = format!(
        "/v1/payment_intents/{}/cancel",
        intent["id"].as_str().unwrap()
    );
    let elsewhere = post(&stripe, &path, "").header("Idempotency-Key", "a");
    for request in [keyed(&stripe, "a", &other), elsewhere] {
        let (status, answer) = read(request).await;
        assert_eq!(
            (status, &answer["error"]["type"]),
            (400, &json!("idempotency_error"))
        );
    }
    let reordered: Vec<_> = PAY.split('&').rev().collect();
    assert_eq!(
        read(keyed(&stripe, "a", &reordered.join("&"))).await,
        (200, intent)
    );
    assert_eq!(successes(&stripe), 1);
}

#[tokio::test]
async fn a_key_has_1_to_255_characters_that_can_be_read() {
    let stripe = start().await;
    assert_eq!(read(keyed(&stripe, &"k".repeat(255), PAY)).await.0, 200);
    assert_eq!(read(keyed(&stripe, &"k".repeat(256), PAY)).await.0, 400);
    assert_eq!(read(keyed(&stripe, "", PAY)).await.0, 400);
    assert_eq!(read(keyed(&stripe, "\u{e9}", PAY)).await.0, 400);
}

#[tokio::test]
async fn a_call_is_carried_out_without_its_caller_and_holds_its_key_until_then() {
    let stripe = start().await;
    let hour = Duration::from_secs(3600);
    stripe.inject(
        Failure::on("POST", "/v1/payment_intents")
            .times(1)
            .delay(hour),
    );
    tokio::select! {
        answer = keyed(&stripe, "a", PAY).send() => panic!("answered: {answer:?}"),
        () = until(|| !stripe.calls().is_empty()) => {}
    }
    let second = keyed(&stripe, "a", PAY).send().await.unwrap();
    assert_eq!(second.status(), 409);
    assert_eq!(header(&second, "stripe-should-retry"), Some("true"));
    let error = second.json::<Value>().await.unwrap();
    assert_eq!(error["error"]["code"], "idempotency_key_in_use");
    assert_eq!(successes(&stripe), 0);
    stripe.advance(hour);
    until(|| successes(&stripe) == 1).await;
    let third = keyed(&stripe, "a", PAY).send().await.unwrap();
    assert_eq!(header(&third, "idempotent-replayed"), Some("true"));
    assert_eq!(successes(&stripe), 1);
}

#[tokio::test]
async fn of_100_calls_at_once_with_one_key_one_charges() {
    let stripe = start().await;
    let calls: Vec<_> = (0..100)
        .map(|_| tokio::spawn(keyed(&stripe, "a", PAY).send()))
        .collect();
    for call in calls {
        let status = call.await.unwrap().unwrap().status();
        assert!([200, 409].contains(&status.as_u16()), "{status}");
    }
    assert_eq!(successes(&stripe), 1);
    assert_eq!(stripe.calls().len(), 100);
}

#[tokio::test]
async fn failures_concern_their_route_and_so_many_calls() {
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
            read(post(&stripe, "/v1/payment_intents", PAY)).await.0,
            status
        );
    }
    let list = || {
        let url = format!("{}/v1/events", stripe.url());
        Client::new().get(url).bearer_auth(stripe.secret_key())
    };
    assert_eq!(read(list()).await.0, 503);
    stripe.clear_failures();
    assert_eq!(read(list()).await.0, 200);
    let statuses: Vec<_> = stripe
        .calls()
        .iter()
        .map(|call| call.status.unwrap())
        .collect();
    assert_eq!(statuses, [429, 429, 200, 503, 200]);
}

#[tokio::test]
async fn the_same_calls_get_the_same_ids_and_another_run_gets_others() {
    let mut ids = Vec::new();
    for run in [0, 0, 1] {
        let settings = Settings {
            run,
            ..Settings::default()
        };
        let stripe = Stripe::start(0, settings).await.unwrap();
        read(post(&stripe, "/v1/payment_intents", PAY)).await;
        ids.push(stripe.events()[0]["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}

#[tokio::test]
async fn all_that_a_test_can_do_in_process_can_be_done_from_outside() {
    let stripe = start().await;
    let call = |method: &str, path: &str, body: Value| {
        let url = format!("{}/_double/{path}", stripe.url());
        let method = method.parse().unwrap();
        read(Client::new().request(method, url).body(body.to_string()))
    };
    let failure =
        json!({"method": "POST", "path": "/v1/*", "effect": false, "end": {"status": 429}});
    assert_eq!(call("POST", "failures", failure).await.0, 200);
    assert_eq!(read(post(&stripe, "/v1/payment_intents", PAY)).await.0, 429);
    assert_eq!(call("DELETE", "failures", json!(null)).await.0, 200);
    let challenged = PAY.replace("visa", "authenticationRequired");
    let (_, intent) = read(post(&stripe, "/v1/payment_intents", challenged)).await;
    let path = format!(
        "payment_intents/{}/authenticate",
        intent["id"].as_str().unwrap()
    );
    let (_, settled) = call("POST", &path, json!({"authentication": "fails"})).await;
    assert_eq!(
        settled["last_payment_error"]["code"],
        "payment_intent_authentication_failure"
    );
    assert_eq!(
        call("POST", &path, json!({"authentication": "fails"}))
            .await
            .0,
        409
    );
    assert_eq!(
        call("PUT", "search_lag", json!({"seconds": 0})).await.0,
        200
    );
    let before = stripe.now();
    assert_eq!(
        call("POST", "clock/advance", json!({"seconds": 3600}))
            .await
            .0,
        200
    );
    assert!(stripe.now() >= before + Duration::from_secs(3600));
    for (list, length) in [
        ("payment_intents", 1),
        ("charges", 0),
        ("events", 3),
        ("calls", 2),
        ("deliveries", 0),
    ] {
        let (_, found) = call("GET", list, json!(null)).await;
        assert_eq!(found["data"].as_array().unwrap().len(), length, "{list}");
    }
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
        ("GET", "nonesuch", json!(null), 404),
    ] {
        assert_eq!(call(method, path, body).await.0, status, "{path}");
    }
}
