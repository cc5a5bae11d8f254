//! The stream of the table Purchases

use std::{process::ExitCode, time::SystemTime};

use aws_lambda_events::dynamodb::Event;
use billing::{
    controller,
    service::{DeadLetterQueue, Topic, stream::Change},
};
use function::StartError;

struct Services {
    topic: Topic,
    failures: DeadLetterQueue,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let services = Services {
        topic: Topic::from_env(&aws)?,
        failures: DeadLetterQueue::from_env(&aws)?,
    };
    aws.warm_up("sns").await;
    Ok(services)
}

async fn handle(
    services: &Services,
    event: Event,
    _deadline: SystemTime,
) -> Result<(), controller::Error> {
    let Services { topic, failures } = services;
    for record in event.records {
        let whole = serde_json::to_string(&record).unwrap_or_default();
        match Change::read(record.change.old_image, record.change.new_image) {
            Ok(change) => controller::purchase_paid(topic, &change).await?,
            // Delivered again it would be no better, and hold up what comes after it.
            Err(unreadable) => failures.keep(whole, &unreadable).await?,
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    function::serve(init, handle).await
}
