//! Tests the API calls that a browser makes with the publishable key.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)] // Helper functions need this: clippy exempts only tests

use local_stripe::{Settings, Stripe};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

const KEY: &str = "pk_test_double";
const VALID: &str = "card[exp_month]=12&card[exp_year]=40&card[cvc]=123";

async fn start() -> Stripe {
    Stripe::start(0, Settings::default()).await.unwrap()
}

async fn send(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn post_as_browser(stripe: &Stripe, path: &str, body: &str) -> (u16, Value) {
    let url = format!("{}{path}", stripe.url());
    send(Client::new().post(url).body(format!("key={KEY}&{body}"))).await
}

async fn post_as_server(stripe: &Stripe, path: &str, body: &str) -> (u16, Value) {
    let url = format!("{}{path}", stripe.url());
    let request = Client::new().post(url).bearer_auth(stripe.secret_key());
    send(request.body(body.to_owned())).await
}

async fn create_payment_method(stripe: &Stripe, number: &str) -> String {
    let body = format!("type=card&card[number]={number}&{VALID}");
    let (status, method) = post_as_browser(stripe, "/v1/payment_methods", &body).await;
    assert_eq!(status, 200, "{method}");
    method["id"].as_str().unwrap().to_owned()
}

async fn pay(stripe: &Stripe, source: &str) -> (u16, Value) {
    let body = format!(
        "amount=4000&currency=usd&confirm=true&allowed_payment_method_types[]=card\
         &metadata[purchaseId]=a&{source}"
    );
    post_as_server(stripe, "/v1/payment_intents", &body).await
}

fn error<'a>(response: &'a Value, name: &str) -> &'a str {
    response["error"][name].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_payment_method_can_be_used_only_once() {
    let stripe = start().await;
    let id = create_payment_method(&stripe, "4242424242424242").await;
    let source = format!("payment_method={id}");
    let (status, paid) = pay(&stripe, &source).await;
    assert_eq!(
        (status, &paid["payment_method"], &paid["status"]),
        (200, &json!(id), &json!("succeeded"))
    );
    let (status, again) = pay(&stripe, &source).await;
    assert_eq!(status, 400);
    assert!(error(&again, "message").contains("It may not be used again"));
    assert_eq!(stripe.charges().len(), 1);
    assert_eq!(stripe.payment_intents().len(), 1);
}

#[tokio::test]
async fn the_card_number_determines_the_decline_code() {
    let stripe = start().await;
    for (number, decline_code) in [
        ("4000000000000002", "generic_decline"),
        ("4000000000009995", "insufficient_funds"),
        ("4000000000000069", "expired_card"),
    ] {
        let id = create_payment_method(&stripe, number).await;
        let (status, declined) = pay(&stripe, &format!("payment_method={id}")).await;
        assert_eq!(
            (status, error(&declined, "decline_code")),
            (402, decline_code)
        );
        assert_eq!(declined["error"]["payment_method"]["id"], json!(id));
        assert_eq!(
            declined["error"]["payment_method"]["card"]["last4"],
            json!(number[12..])
        );
    }
}

#[tokio::test]
async fn invalid_card_details_are_rejected_with_code_and_param() {
    let stripe = start().await;
    for (card, code, param) in [
        (
            "card[number]=4242424242424241&card[exp_month]=12&card[exp_year]=40",
            "incorrect_number",
            "number",
        ),
        (
            "card[number]=4111111111111111&card[exp_month]=12&card[exp_year]=40",
            "card_declined",
            "",
        ),
        (
            "card[number]=4242424242424242&card[exp_month]=13&card[exp_year]=40",
            "invalid_expiry_month",
            "exp_month",
        ),
        (
            "card[number]=4242424242424242&card[exp_month]=12&card[exp_year]=20",
            "invalid_expiry_year",
            "exp_year",
        ),
        (
            "card[number]=4242424242424242&card[exp_month]=12&card[exp_year]=40&card[cvc]=12",
            "invalid_cvc",
            "cvc",
        ),
    ] {
        for path in ["/v1/payment_methods?", "/v1/tokens"] {
            let (path, kind) = match path.strip_suffix('?') {
                Some(path) => (path, "type=card&"),
                None => (path, ""),
            };
            let (status, response) = post_as_browser(&stripe, path, &format!("{kind}{card}")).await;
            assert_eq!((status, error(&response, "type")), (402, "card_error"));
            assert_eq!(
                (error(&response, "code"), error(&response, "param")),
                (code, param)
            );
            assert!(!response.to_string().contains("424242424242"));
        }
    }
}

#[tokio::test]
async fn a_token_can_be_used_only_once() {
    let stripe = start().await;
    let body = format!("card[number]=5555555555554444&{VALID}");
    let (status, token) = post_as_browser(&stripe, "/v1/tokens", &body).await;
    assert_eq!((status, &token["card"]["last4"]), (200, &json!("4444")));
    let token = token["id"].as_str().unwrap();
    let source = format!("payment_method_data[type]=card&payment_method_data[card][token]={token}");
    assert_eq!(pay(&stripe, &source).await.0, 200);
    let (status, again) = pay(&stripe, &source).await;
    assert_eq!((status, error(&again, "code")), (400, "token_already_used"));
    let body = format!("type=card&card[token]={token}");
    let (_, again) = post_as_browser(&stripe, "/v1/payment_methods", &body).await;
    assert_eq!(error(&again, "code"), "token_already_used");
    assert_eq!(stripe.charges().len(), 1);
}

#[tokio::test]
async fn a_challenge_can_be_completed_only_with_the_client_secret() {
    let stripe = start().await;
    for (authentication, expected) in [
        ("succeeds", "succeeded"),
        ("fails", "requires_payment_method"),
    ] {
        let id = create_payment_method(&stripe, "4000002760003184").await;
        let (_, intent) = pay(&stripe, &format!("payment_method={id}")).await;
        assert_eq!(intent["status"], "requires_action");
        let [id, secret] = ["id", "client_secret"].map(|name| intent[name].as_str().unwrap());
        let url = format!("/v1/payment_intents/{id}/authenticate");
        for wrong in [
            format!("authentication={authentication}"),
            format!("authentication={authentication}&client_secret={id}_secret_x"),
            format!("authentication=maybe&client_secret={secret}"),
        ] {
            assert_eq!(post_as_browser(&stripe, &url, &wrong).await.0, 400);
        }
        let body = format!("authentication={authentication}&client_secret={secret}");
        let (status, seen) = post_as_browser(&stripe, &url, &body).await;
        assert_eq!((status, &seen["status"]), (200, &json!(expected)));
        assert!(seen.get("metadata").is_none());
        assert_eq!(post_as_browser(&stripe, &url, &body).await.0, 400);
    }
}

#[tokio::test]
async fn a_browser_receives_only_public_fields_of_a_payment_intent() {
    let stripe = start().await;
    let (_, paid) = pay(&stripe, "payment_method=pm_card_visa").await;
    let [id, secret] = ["id", "client_secret"].map(|name| paid[name].as_str().unwrap());
    let url = format!("{}/v1/payment_intents/{id}", stripe.url());
    let get = |query: &[(&str, &str)]| {
        let url = reqwest::Url::parse_with_params(&url, query).unwrap();
        send(Client::new().get(url))
    };
    let (status, seen) = get(&[("key", KEY), ("client_secret", secret)]).await;
    assert_eq!((status, &seen["status"]), (200, &json!("succeeded")));
    for hidden in ["metadata", "latest_charge", "customer"] {
        assert!(seen.get(hidden).is_none(), "{hidden}");
    }
    assert_eq!(get(&[("key", KEY)]).await.0, 400);
    let wrong = [("key", KEY), ("client_secret", "pi_1_secret_2")];
    assert_eq!(get(&wrong).await.0, 400);
    assert_eq!(get(&[("client_secret", secret)]).await.0, 401);
}

#[tokio::test]
async fn routes_for_servers_reject_the_publishable_key() {
    let stripe = start().await;
    let (_, paid) = pay(&stripe, "payment_method=pm_card_visa").await;
    let cancel = format!(
        "/v1/payment_intents/{}/cancel",
        paid["id"].as_str().unwrap()
    );
    for path in ["/v1/payment_intents", &cancel, "/v1/charges"] {
        let (status, response) = post_as_browser(&stripe, path, "amount=4000&currency=usd").await;
        assert_eq!(
            (status, error(&response, "code")),
            (401, "secret_key_required"),
            "{path}"
        );
    }
    for path in [
        "",
        "/../events",
        "/../refunds",
        "/../disputes",
        "/../charges",
    ] {
        let url = format!("{}/v1/payment_intents{path}", stripe.url());
        let (status, _) = send(Client::new().get(url).bearer_auth(KEY)).await;
        assert_eq!(status, 401, "{path}");
    }
    assert_eq!(stripe.payment_intents().len(), 1);
}

#[tokio::test]
async fn a_card_number_from_a_server_is_rejected() {
    let stripe = start().await;
    let body = format!("type=card&card[number]=4242424242424242&{VALID}");
    let (status, response) = post_as_server(&stripe, "/v1/payment_methods", &body).await;
    assert_eq!(status, 402);
    assert!(error(&response, "message").contains("unsafe"));
}

#[tokio::test]
async fn stripe_js_and_its_frames_are_served() {
    let stripe = start().await;
    for (path, kind) in [
        ("/v3", "text/javascript"),
        ("/v3/", "text/javascript"),
        ("/v3/card.html", "text/html"),
        ("/v3/challenge.html", "text/html"),
    ] {
        let url = format!("{}{path}", stripe.url());
        let served = Client::new().get(url).send().await.unwrap();
        let found = served.headers()["content-type"].to_str().unwrap();
        assert!(found.starts_with(kind), "{path}");
    }
    assert!(stripe.calls().is_empty());
}
