//! Handles the messages of the SNS topic Purchases: sends an SMS about each notice of a purchase
//! to the owner of the product.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

use aws_lambda_events::sns::SnsEvent;
use dynamodb::Dynamodb;
use function::StartError;
use idempotency::{Idempotency, IdempotencyTable};
use notify::{controller, service::Phone, text::StageName};

/// The time to live of the idempotency records. It is longer than the time during which a message
/// can be delivered after its first delivery: SNS retries for up to 23 days, and then a developer
/// can send the message again from the dead-letter queue, which keeps it for 14 days.
/// <https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html>
const RECORD_TIME_TO_LIVE: Duration = Duration::from_secs(40 * 24 * 60 * 60);

struct Services {
    phone: Phone,
    idempotency: Idempotency<IdempotencyTable>,
    stage: StageName,
}

/// Why the handling of a message failed. Lambda then retries the message.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The message is not the JSON of a purchase. Retries fail too, and then Lambda sends the
    /// message to the dead-letter queue.
    #[error("the SNS message is not the JSON of a purchase")]
    MalformedMessage(#[source] serde_json::Error),
    #[error(transparent)]
    Notify(#[from] controller::Error),
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let idempotency = Idempotency::new(IdempotencyTable::from_env(&Dynamodb::new(&aws))?);
    let stage = function::setting("STAGE")?;
    let (phone, (), ()) = tokio::join!(
        Phone::from_env(&aws),
        aws.warm_up("dynamodb"),
        aws.warm_up("sns")
    );
    Ok(Services {
        phone: phone?,
        idempotency: idempotency.with_time_to_live(RECORD_TIME_TO_LIVE),
        stage,
    })
}

async fn handle(services: &Services, event: SnsEvent, deadline: SystemTime) -> Result<(), Error> {
    let Services {
        phone,
        idempotency,
        stage,
    } = services;
    // SNS always sends one record per event.
    for record in event.records {
        let message = serde_json::from_str(&record.sns.message).map_err(Error::MalformedMessage)?;
        controller::send(phone, idempotency, stage, &message, deadline).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    function::serve(init, handle).await
}
