//! Tests of the functions that call Stripe, and of those that Stripe calls.

use local_aws::Cloud;
use local_tls::{CertificateAuthority, Server};
use serde_json::Value;
use test_support::functions::{self, Function};

use crate::responses::problem;
use crate::tls::PatchedFunction;
use crate::{DEADLINE, response, start};

#[tokio::test]
async fn an_event_whose_signature_does_not_match_is_refused_and_counted_in_a_metric() {
    let webhook = functions::named("billing-webhook");
    let cloud = Cloud::start().await.unwrap();
    let before = cloud.snapshot().unwrap();
    let mut host = start(&webhook, &cloud.url(), &[]).await;
    // The signature of the sample event is not that of the signing secret.
    let event = webhook.event().to_string();
    let invocation = host.invoke(event, DEADLINE, None).await;
    problem(&response(&webhook, invocation), 400);
    assert_eq!(cloud.snapshot().unwrap(), before);
    let log = host.stop().await;
    let lines = log.iter().map(|line| serde_json::from_str(line).unwrap());
    let metrics: Vec<Value> = lines
        .filter(|line: &Value| line.get("_aws").is_some())
        .collect();
    let [metric] = &metrics[..] else {
        panic!("the event is counted once: {log:#?}")
    };
    assert_eq!(metric["RejectedEvents"], 1);
    assert_eq!(metric["Rejected"], 1);
}

#[tokio::test]
async fn an_event_of_more_than_256_kilobytes_is_refused_before_its_signature_is_checked() {
    let webhook = functions::named("billing-webhook");
    let cloud = Cloud::start().await.unwrap();
    let mut host = start(&webhook, &cloud.url(), &[]).await;
    for (size, status) in [(256 * 1024, 400), (256 * 1024 + 1, 413)] {
        let mut event = webhook.event();
        event["body"] = "x".repeat(size).into();
        let invocation = host.invoke(event.to_string(), DEADLINE, None).await;
        problem(&response(&webhook, invocation), status);
    }
    let log = host.stop().await;
    let rejected = log.iter().filter(|line| line.contains("RejectedEvents"));
    assert_eq!(rejected.count(), 1, "{log:#?}");
}

#[tokio::test]
async fn functions_that_call_stripe_reject_untrusted_certificates() {
    let untrusted = CertificateAuthority::new("untrusted").unwrap();
    let server = Server::start(untrusted.issue("localhost", crate::tls::VALID).unwrap());
    let server = server.await.unwrap();
    let all = functions::with_template().into_iter();
    let calls_stripe =
        |function: &Function| function.variables.iter().any(|name| name == "STRIPE_URL");
    let mut tested = 0;
    for function in all.filter(calls_stripe) {
        // The authority is trusted for AWS, but must not be trusted for Stripe.
        let patched = PatchedFunction::new(&function, &untrusted);
        let cloud = Cloud::start().await.unwrap();
        let (_, log) = patched.succeeds(&cloud.url(), &server.url()).await;
        assert_eq!(server.requests(), 0, "{}: {log}", function.name);
        // The sample event of billing-webhook needs no call to Stripe.
        if function.name != "billing-webhook" {
            assert!(log.contains("UnknownIssuer"), "{}: {log}", function.name);
            tested += 1;
        }
    }
    assert!(tested > 0);
}
