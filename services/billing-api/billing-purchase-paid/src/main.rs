//! Handles the DynamoDB stream of the table Purchases: when a purchase becomes PAID, publishes the
//! purchase to the SNS topic NotePurchased.

use std::{process::ExitCode, time::SystemTime};

use aws_lambda_events::dynamodb::Event;
use billing::{
    controller,
    service::{DeadLetterQueue, Topic, stream::Change},
};
use function::StartError;

struct Services {
    topic: Topic,
    dead_letters: DeadLetterQueue,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let services = Services {
        topic: Topic::from_env(&aws)?,
        dead_letters: DeadLetterQueue::from_env(&aws)?,
    };
    aws.warm_up("sns").await;
    Ok(services)
}

async fn handle(
    services: &Services,
    event: Event,
    _deadline: SystemTime,
) -> Result<(), controller::Error> {
    let Services {
        topic,
        dead_letters,
    } = services;
    for record in event.records {
        let json = serde_json::to_string(&record).unwrap_or_default();
        match Change::from_images(record.change.old_image, record.change.new_image) {
            Ok(change) => controller::purchase_paid(topic, &change).await?,
            // A retry would fail again and block the records that follow in the stream.
            Err(malformed) => dead_letters.send(json, &malformed).await?,
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    function::serve(init, handle).await
}
