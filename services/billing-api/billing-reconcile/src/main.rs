//! Runs every five minutes: compares PENDING purchases with their payments in Stripe, settles the
//! purchases whose outcome is final, and announces settled purchases that still have an outbox.

use std::{
    convert::Infallible,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use billing::{
    controller::{self, ReconcileSummary},
    purchase::Timestamp,
    service::{PurchasesTable, Stripe, Topic},
};
use dynamodb::Dynamodb;
use function::StartError;
use serde::de::IgnoredAny;

struct Services {
    stripe: Stripe,
    purchases: PurchasesTable,
    topic: Topic,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let purchases = PurchasesTable::from_env(&Dynamodb::new(&aws))?;
    let topic = Topic::from_env(&aws)?;
    // No warm-up for Stripe and SNS, because most invocations do not call them.
    let (stripe, ()) = tokio::join!(Stripe::from_env(&aws), aws.warm_up("dynamodb"));
    Ok(Services {
        stripe: stripe?,
        purchases,
        topic,
    })
}

async fn handle(
    services: &Services,
    _event: IgnoredAny,
    deadline: SystemTime,
) -> Result<ReconcileSummary, Infallible> {
    let Services {
        stripe,
        purchases,
        topic,
    } = services;
    let stripe = &stripe.until(deadline);
    let deadline = Timestamp::of(deadline);
    let summary = controller::reconcile(stripe, purchases, topic, &Timestamp::now, deadline).await;
    // A failed check does not fail the invocation, because Lambda would then run it again after a minute. An alarm
    // watches the number of errors.
    record(summary);
    Ok(summary)
}

fn record(summary: ReconcileSummary) {
    let ReconcileSummary {
        settled,
        pending,
        announced,
        errors,
        unreadable,
        unfinished,
        oldest_pending,
    } = summary;
    for (metric, count) in [
        (metrics::RECONCILE_SETTLED, settled),
        (metrics::RECONCILE_PENDING, pending),
        (metrics::RECONCILE_ANNOUNCED, announced),
        (metrics::RECONCILE_ERRORS, errors),
        (metrics::UNREADABLE_PURCHASES, unreadable),
        (metrics::RECONCILE_UNFINISHED, unfinished),
    ] {
        metric.add(count as u64);
    }
    metrics::OLDEST_PENDING_AGE.set(Duration::from_secs(oldest_pending));
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    function::serve(init, handle).await
}
