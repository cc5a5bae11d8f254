//! SNS NotePurchased: tells the owner by SMS

mod controller;
mod service;

use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

use aws_lambda_events::sns::SnsEvent;
use controller::Error;
use dynamodb::Dynamodb;
use function::StartError;
use idempotency::{Idempotency, IdempotencyTable};
use service::Phone;

/// How long a purchase is remembered that the owner was told of: longer than the table's stream and
/// SNS can go on delivering it, which is a day and 23 days.
/// <https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html>
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

struct Services {
    phone: Phone,
    idempotency: Idempotency<IdempotencyTable>,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let idempotency = Idempotency::new(IdempotencyTable::from_env(&Dynamodb::new(&aws))?);
    let (phone, (), ()) = tokio::join!(
        Phone::from_env(&aws),
        aws.warm_up("dynamodb"),
        aws.warm_up("sns")
    );
    Ok(Services {
        phone: phone?,
        idempotency: idempotency.with_time_to_live(REMEMBERED),
    })
}

async fn handle(services: &Services, event: SnsEvent, deadline: SystemTime) -> Result<(), Error> {
    let Services { phone, idempotency } = services;
    // SNS sends one at a time.
    for record in event.records {
        let news = serde_json::from_str(&record.sns.message).map_err(Error::Unreadable)?;
        controller::notify(phone, idempotency, &news, deadline).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    function::serve(init, handle).await
}
