//! Handles the messages of the SNS topic NotePurchased: sends an SMS about each paid purchase to
//! the owner of the product.

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

/// The time to live of the idempotency records. It is longer than the time during which the message
/// about a purchase can be delivered: up to 1 day by the stream of the table Purchases, and then up
/// to 23 days by SNS. <https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html>
const RECORD_TIME_TO_LIVE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

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
        idempotency: idempotency.with_time_to_live(RECORD_TIME_TO_LIVE),
    })
}

async fn handle(services: &Services, event: SnsEvent, deadline: SystemTime) -> Result<(), Error> {
    let Services { phone, idempotency } = services;
    // SNS always sends one record per event.
    for record in event.records {
        let purchase =
            serde_json::from_str(&record.sns.message).map_err(Error::MalformedMessage)?;
        controller::notify(phone, idempotency, &purchase, deadline).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    function::serve(init, handle).await
}
