//! Runs every five minutes: compares PENDING purchases with their payments in Stripe, settles the
//! purchases whose outcome is final, and announces settled purchases that still have an outbox.

use std::{process::ExitCode, time::SystemTime};

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

/// A check failed, or an item is unreadable. The other checks were made. The error makes the
/// invocation fail, so that the alarm on errors fires.
#[derive(Debug, thiserror::Error)]
#[error("not all purchases were reconciled: {0:?}")]
struct Incomplete(ReconcileSummary);

async fn handle(
    services: &Services,
    _event: IgnoredAny,
    deadline: SystemTime,
) -> Result<ReconcileSummary, Incomplete> {
    let Services {
        stripe,
        purchases,
        topic,
    } = services;
    let stripe = &stripe.until(deadline);
    let deadline = Timestamp::of(deadline);
    let summary = controller::reconcile(stripe, purchases, topic, &Timestamp::now, deadline).await;
    if summary.errors + summary.unreadable > 0 {
        return Err(Incomplete(summary));
    }
    Ok(summary)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    function::serve(init, handle).await
}
