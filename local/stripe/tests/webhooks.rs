//! Tests the webhook deliveries that an endpoint receives.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)] // Helper functions need this: clippy exempts only tests

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use local_stripe::{Authentication, Failure, Settings, Stripe, Webhook, signature};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const SECRET: &str = "whsec_test";

type Received = Arc<Mutex<Vec<(Bytes, String)>>>;

/// A webhook endpoint that responds with the given statuses in order. After the last of them, it
/// responds with 200.
struct Endpoint {
    url: String,
    received: Received,
    server: JoinHandle<()>,
}

impl Endpoint {
    async fn start(statuses: impl IntoIterator<Item = u16>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/billing/webhook", listener.local_addr().unwrap());
        let received = Received::default();
        let statuses: VecDeque<u16> = statuses.into_iter().collect();
        let statuses = Arc::new(Mutex::new(statuses));
        let shared = Arc::clone(&received);
        let server = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (received, statuses) = (Arc::clone(&shared), Arc::clone(&statuses));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (received, statuses) = (Arc::clone(&received), Arc::clone(&statuses));
                    async move {
                        assert_eq!(request.uri().path(), "/billing/webhook");
                        let header = &request.headers()["stripe-signature"];
                        let header = header.to_str().unwrap().to_owned();
                        let body = request.collect().await.unwrap().to_bytes();
                        received.lock().unwrap().push((body, header));
                        let status = statuses.lock().unwrap().pop_front().unwrap_or(200);
                        let response = Response::builder().status(status);
                        Ok::<_, Infallible>(response.body(Empty::<Bytes>::new()).unwrap())
                    }
                });
                let connection = TokioIo::new(connection);
                tokio::spawn(http1::Builder::new().serve_connection(connection, service));
            }
        });
        Self {
            url,
            received,
            server,
        }
    }

    fn received(&self) -> Vec<(Bytes, String)> {
        self.received.lock().unwrap().clone()
    }

    fn kinds(&self) -> Vec<String> {
        let event = |(body, _): &(Bytes, String)| serde_json::from_slice::<Value>(body).unwrap();
        let received = self.received();
        let mut kinds: Vec<_> = received
            .iter()
            .map(|delivery| event(delivery)["type"].as_str().unwrap().to_owned())
            .collect();
        kinds.sort();
        kinds
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn start(endpoint: &Endpoint, retries: &[Duration]) -> Stripe {
    let settings = Settings {
        webhook: Some(Webhook::new(&endpoint.url, [SECRET]).unwrap()),
        retries: retries.to_vec(),
        ..Settings::default()
    };
    Stripe::start(0, settings).await.unwrap()
}

async fn post(stripe: &Stripe, path: &str, body: String) -> reqwest::Result<Value> {
    let request = reqwest::Client::new().post(format!("{}/v1/{path}", stripe.url()));
    let request = request.bearer_auth(stripe.secret_key()).body(body);
    request.send().await?.json().await
}

async fn create(stripe: &Stripe, card: &str, confirm: bool) -> reqwest::Result<Value> {
    let body = format!(
        "amount=4000&currency=usd&confirm={confirm}&payment_method=pm_card_{card}\
         &allowed_payment_method_types[]=card"
    );
    post(stripe, "payment_intents", body).await
}

/// Waits until `condition` returns true. Other tasks run during the wait.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_change_of_a_payment_intent_emits_an_event() {
    for (card, authentication, kinds) in [
        (
            "visa",
            None,
            vec![
                "charge.succeeded",
                "payment_intent.created",
                "payment_intent.succeeded",
            ],
        ),
        (
            "chargeDeclined",
            None,
            vec![
                "charge.failed",
                "payment_intent.created",
                "payment_intent.payment_failed",
            ],
        ),
        (
            "threeDSecure2Required",
            None,
            vec!["payment_intent.created", "payment_intent.requires_action"],
        ),
        (
            "threeDSecure2Required",
            Some(Authentication::Succeeds),
            vec![
                "charge.succeeded",
                "payment_intent.created",
                "payment_intent.requires_action",
                "payment_intent.succeeded",
            ],
        ),
        (
            "threeDSecure2Required",
            Some(Authentication::Fails),
            vec![
                "payment_intent.created",
                "payment_intent.payment_failed",
                "payment_intent.requires_action",
            ],
        ),
    ] {
        let endpoint = Endpoint::start([]).await;
        let stripe = start(&endpoint, &[]).await;
        create(&stripe, card, true).await.unwrap();
        if let Some(authentication) = authentication {
            let intents = stripe.payment_intents();
            let id = intents[0]["id"].as_str().unwrap();
            stripe.authenticate(id, authentication).unwrap();
        }
        until(|| stripe.deliveries().len() == kinds.len()).await;
        assert_eq!(endpoint.kinds(), kinds);
    }
    let endpoint = Endpoint::start([]).await;
    let stripe = start(&endpoint, &[]).await;
    let intent = create(&stripe, "visa", false).await.unwrap();
    let path = format!("payment_intents/{}/cancel", intent["id"].as_str().unwrap());
    post(&stripe, &path, String::new()).await.unwrap();
    until(|| stripe.deliveries().len() == 2).await;
    assert_eq!(
        endpoint.kinds(),
        ["payment_intent.canceled", "payment_intent.created"]
    );
}

#[tokio::test]
async fn a_delivered_event_is_signed_and_equals_the_listed_event() {
    let endpoint = Endpoint::start([]).await;
    let stripe = start(&endpoint, &[]).await;
    let intent = create(&stripe, "visa", true).await.unwrap();
    until(|| stripe.deliveries().len() == 3).await;
    for (body, header) in endpoint.received() {
        let t = header
            .split_once(',')
            .unwrap()
            .0
            .strip_prefix("t=")
            .unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(t.parse().unwrap());
        assert_eq!(header, signature(&body, at, &[SECRET]));
        let event: Value = serde_json::from_slice(&body).unwrap();
        assert!(stripe.events().contains(&event));
        assert_eq!(event["livemode"], false);
        assert_eq!(event["api_version"], local_stripe::API_VERSION);
    }
    assert_eq!(stripe.events()[1]["data"]["object"], intent);
}

#[tokio::test]
async fn a_failed_delivery_is_retried_after_the_delay() {
    let minute = Duration::from_secs(60);
    let endpoint = Endpoint::start([500, 302]).await;
    let stripe = start(&endpoint, &[minute, minute]).await;
    stripe.set_webhook(None);
    let intent = create(&stripe, "visa", false).await.unwrap();
    stripe.set_webhook(Some(Webhook::new(&endpoint.url, [SECRET]).unwrap()));
    let path = format!("payment_intents/{}/cancel", intent["id"].as_str().unwrap());
    post(&stripe, &path, String::new()).await.unwrap();
    for attempts in 1..=3 {
        until(|| stripe.deliveries().len() == attempts).await;
        stripe.advance(minute);
    }
    let deliveries = stripe.deliveries();
    let statuses: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery.status.unwrap())
        .collect();
    assert_eq!(statuses, [500, 302, 200]);
    assert!(deliveries[2].at - deliveries[0].at >= 120);
    let received = endpoint.received();
    assert_eq!(received[0].0, received[2].0);
    assert_ne!(received[0].1, received[2].1);
}

#[tokio::test]
async fn an_event_can_be_redelivered_any_number_of_times() {
    let endpoint = Endpoint::start([]).await;
    let stripe = start(&endpoint, &[]).await;
    create(&stripe, "visa", true).await.unwrap();
    until(|| stripe.deliveries().len() == 3).await;
    let event = stripe.events()[1]["id"].as_str().unwrap().to_owned();
    for _ in 0..10 {
        assert!(stripe.redeliver(&event).await.unwrap().succeeded());
    }
    assert_eq!(endpoint.received().len(), 13);
    assert!(stripe.redeliver("evt_none").await.is_none());
}

#[tokio::test]
async fn a_delivery_to_an_unreachable_endpoint_fails() {
    let endpoint = Endpoint::start([]).await;
    let stripe = start(&endpoint, &[]).await;
    drop(endpoint);
    create(&stripe, "visa", true).await.unwrap();
    until(|| stripe.deliveries().len() == 3).await;
    assert!(
        stripe
            .deliveries()
            .iter()
            .all(|delivery| delivery.error.is_some() && !delivery.succeeded())
    );
}

#[tokio::test]
async fn an_event_is_delivered_even_if_the_response_is_dropped() {
    let endpoint = Endpoint::start([]).await;
    let stripe = start(&endpoint, &[]).await;
    stripe.inject(Failure::on("POST", "/v1/payment_intents").drop_response());
    assert!(create(&stripe, "visa", true).await.is_err());
    until(|| stripe.deliveries().len() == 3).await;
    assert_eq!(
        endpoint.kinds(),
        [
            "charge.succeeded",
            "payment_intent.created",
            "payment_intent.succeeded"
        ]
    );
}

#[tokio::test]
async fn delivery_stops_after_the_last_retry() {
    let minute = Duration::from_secs(60);
    let endpoint = Endpoint::start([500; 10]).await;
    let stripe = start(&endpoint, &[minute]).await;
    create(&stripe, "visa", false).await.unwrap();
    until(|| stripe.deliveries().len() == 1).await;
    stripe.advance(minute);
    until(|| stripe.deliveries().len() == 2).await;
    stripe.advance(100 * minute);
    // If there were another retry, it would be delivered before this later event.
    create(&stripe, "visa", false).await.unwrap();
    until(|| stripe.deliveries().len() == 3).await;
    assert_eq!(stripe.deliveries()[2].event, stripe.events()[1]["id"]);
}
