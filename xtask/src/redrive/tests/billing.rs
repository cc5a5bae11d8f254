//! The dead-letter queues of billing-api.

use std::time::Duration;

use https::{Https, RootCertStore};
use test_support::proxy::{HttpResponse, listen};

use super::*;
use crate::redrive::billing::{WEBHOOK_TIMEOUT, Webhook};

fn action(function: &str, message: &Value) -> Result<Action> {
    Action::of(function, &message.to_string())
}

#[test]
fn positions_of_the_stream_are_replaced_by_what_the_table_says() {
    let message = json!({
        "version": "1.0", "requestContext": {"condition": "RetryAttemptsExhausted"},
        "DDBStreamBatchInfo": {"shardId": "1", "startSequenceNumber": "1", "batchSize": 2},
    });
    assert_eq!(
        action("billing-purchase-paid", &message).unwrap(),
        Action::Reconcile
    );
    assert!(action("notes-credit", &message).is_err());
}

#[test]
fn a_malformed_record_of_the_stream_is_sent_to_the_function_again() {
    let record = json!({"eventID": "1", "eventName": "MODIFY", "dynamodb": {"NewImage": {}}});
    let expected = Action::Invoke(json!({"Records": [record]}));
    assert_eq!(action("billing-purchase-paid", &record).unwrap(), expected);
}

#[test]
fn an_event_of_stripe_is_delivered_with_exactly_its_bytes() {
    let body = "{ \"object\" : \"event\", \"id\": \"evt_1\" }";
    let expected = Action::Deliver(body.into());
    assert_eq!(Action::of("billing-webhook", body).unwrap(), expected);
}

#[test]
fn a_message_of_the_webhook_that_is_no_event_is_not_processed() {
    for body in ["hello", "{\"object\": \"charge\"}"] {
        assert!(Action::of("billing-webhook", body).is_err(), "{body}");
    }
}

#[tokio::test]
async fn all_positions_of_the_stream_need_one_invocation_of_reconcile() {
    let batch = |number: u32| json!({"DDBStreamBatchInfo": {"startSequenceNumber": number}});
    let test = Test::with(&[batch(1), batch(2), batch(3), batch(4)]).await;
    let summary = test.run("billing-purchase-paid").await;
    assert_eq!((summary.done, summary.remaining()), (4, 0));
    let invocations = &test.cloud.lock().unwrap().invocations;
    assert_eq!(
        *invocations,
        [("scratchpad-dev-billing-reconcile".to_owned(), json!({}))]
    );
}

#[tokio::test]
async fn an_event_of_stripe_is_signed_with_the_secret_of_the_stage() {
    let received = Arc::<Mutex<Vec<(String, String)>>>::default();
    let shared = received.clone();
    let (url, server) = listen(move |head, body| {
        let signature = head.headers["stripe-signature"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = String::from_utf8(body.to_vec()).unwrap();
        shared.lock().unwrap().push((signature, body));
        async { Ok(HttpResponse::default()) }
    })
    .await;
    let webhook = Webhook {
        https: Https::trusting(RootCertStore::empty(), WEBHOOK_TIMEOUT),
        url: Some(url),
        secret: Some("whsec_1".into()),
    };
    let event = r#"{ "object": "event" }"#;
    webhook.deliver(event.into()).await.unwrap();
    let received = received.lock().unwrap();
    let [(signature, body)] = received.as_slice() else {
        panic!("{received:?}");
    };
    assert_eq!(body, event);
    let time = signature
        .strip_prefix("t=")
        .unwrap()
        .split(',')
        .next()
        .unwrap();
    let at = UNIX_EPOCH + Duration::from_secs(time.parse().unwrap());
    assert_eq!(
        *signature,
        local_stripe::signature(body.as_bytes(), at, &["whsec_1"])
    );
    server.abort();
}
