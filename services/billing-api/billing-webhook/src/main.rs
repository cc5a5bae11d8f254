//! `POST /billing/webhook`: receives Stripe's events. Settles the purchase of a payment that is final,
//! and records refunds and disputes. Sends events that contradict the stored purchase or Stripe's data
//! to a dead-letter queue.

use std::{process::ExitCode, sync::Arc};

use api::{Problem, Request, Response};
use billing::{
    controller::{self, Verdict},
    event::{Event, VerifyError},
    purchase::Timestamp,
    service::{BaseUrl, DeadLetterQueue, PurchasesTable, Stripe},
};
use dynamodb::Dynamodb;
use function::{StartError, setting};
use secrets::Secrets;

/// The maximum size of an event, in bytes. Events of payments have a few kilobytes. A larger body is refused before its
/// signature is verified.
const EVENT_LIMIT: usize = 256 * 1024;

struct Services {
    stripe: Stripe,
    purchases: PurchasesTable,
    secrets: Arc<Secrets<2>>,
    contradictions: DeadLetterQueue,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let prefix = setting("SECRETS_PREFIX")?;
    let purchases = PurchasesTable::from_env(&Dynamodb::new(&aws))?;
    let url = setting::<BaseUrl>("STRIPE_URL")?;
    let contradictions = DeadLetterQueue::from_env(&aws)?;
    let secrets = Secrets::load(
        &aws,
        &prefix,
        ["stripe-webhook-secret", "stripe-secret-key"],
    );
    let (secrets, ()) = tokio::join!(secrets, aws.warm_up("dynamodb"));
    let secrets = Arc::new(secrets?);
    let shared = Arc::clone(&secrets);
    let secret_key = move || {
        let [_, key] = shared.current();
        key
    };
    // No warm-up for Stripe, because most events need no call to it.
    let stripe = Stripe::with_url(url, secret_key)?;
    Ok(Services {
        stripe,
        purchases,
        secrets,
        contradictions,
    })
}

async fn handle(services: &Services, request: Request) -> api::Result {
    let Services {
        stripe,
        purchases,
        secrets,
        contradictions,
    } = services;
    if request.body().len() > EVENT_LIMIT {
        return Err(Problem::too_large(EVENT_LIMIT));
    }
    let signature: Option<String> = request.header("Stripe-Signature")?;
    let (signature, now) = (signature.unwrap_or_default(), Timestamp::now());
    let [signing_secret, _] = secrets.current();
    let event = Event::verify(request.body(), &signature, &[signing_secret], now);
    // A wrong signing secret makes all signatures mismatch. Requests without a signature are not from Stripe.
    let event = event.inspect_err(|error| {
        if !matches!(error, VerifyError::MalformedHeader) {
            metrics::REJECTED_EVENTS.add(1);
        }
    })?;
    let stripe = stripe.until(request.deadline());
    let verdict = controller::webhook(&stripe, purchases, &event, now).await?;
    if let Verdict::Contradiction(reason) = verdict {
        // The queue gets the event as Stripe signed it.
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let sent = contradictions.send(body, reason).await;
        sent.map_err(controller::Error::from)?;
    }
    Ok(Response::done())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(init, handle).await
}
