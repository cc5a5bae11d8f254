//! Runs every five minutes: compares PENDING purchases with their payments in Stripe, and settles
//! the purchases whose outcome is final.

use std::{process::ExitCode, time::SystemTime};

use billing::{
    controller,
    purchase::Timestamp,
    service::{PurchasesTable, Stripe},
};
use dynamodb::Dynamodb;
use function::StartError;
use serde::de::IgnoredAny;

/// The maximum number of purchases that one invocation checks in each shard of the index
/// `unsettled`. The next invocation checks the remaining purchases.
const LIMIT: usize = 25;

struct Services {
    stripe: Stripe,
    purchases: PurchasesTable,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let purchases = PurchasesTable::from_env(&Dynamodb::new(&aws))?;
    // No warm-up for Stripe, because most invocations do not call Stripe.
    let (stripe, ()) = tokio::join!(Stripe::from_env(&aws), aws.warm_up("dynamodb"));
    Ok(Services {
        stripe: stripe?,
        purchases,
    })
}

async fn handle(
    services: &Services,
    _event: IgnoredAny,
    _deadline: SystemTime,
) -> Result<(), controller::Error> {
    let Services { stripe, purchases } = services;
    controller::reconcile(stripe, purchases, Timestamp::now(), LIMIT).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    function::serve(init, handle).await
}
