//! Handles the DynamoDB stream of the table Purchases: publishes each new revision of a purchase,
//! such as its payment, to the SNS topic Purchases.

use std::{process::ExitCode, time::SystemTime};

use aws_lambda_events::dynamodb::{Event, EventRecord};
use billing::{
    controller,
    purchase::Timestamp,
    service::{DeadLetterQueue, PurchasesTable, Topic, stream::Change},
};
use dynamodb::Dynamodb;
use function::{StartError, chain};
use futures_util::future::join_all;
use serde::Serialize;

struct Services {
    topic: Topic,
    purchases: PurchasesTable,
    dead_letters: DeadLetterQueue,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let services = Services {
        topic: Topic::from_env(&aws)?,
        purchases: PurchasesTable::from_env(&Dynamodb::new(&aws))?,
        dead_letters: DeadLetterQueue::from_env(&aws)?,
    };
    tokio::join!(aws.warm_up("sns"), aws.warm_up("dynamodb"));
    Ok(services)
}

/// The records that failed. Lambda delivers the first of them and all later records again:
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchResponse {
    batch_item_failures: Vec<BatchItemFailure>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchItemFailure {
    item_identifier: String,
}

async fn handle(
    services: &Services,
    event: Event,
    _deadline: SystemTime,
) -> Result<BatchResponse, controller::Error> {
    let records = event.records.into_iter();
    let failures = join_all(records.map(|record| publish(services, record))).await;
    Ok(BatchResponse {
        batch_item_failures: failures.into_iter().flatten().collect(),
    })
}

/// Handles one record. Returns its sequence number if it must be delivered again.
async fn publish(services: &Services, record: EventRecord) -> Option<BatchItemFailure> {
    let Services {
        topic,
        purchases,
        dead_letters,
    } = services;
    let json = serde_json::to_string(&record).unwrap_or_default();
    let change = record.change;
    let published = match Change::from_images(change.old_image, change.new_image) {
        Ok(change) => controller::purchase_paid(topic, purchases, &change, Timestamp::now()).await,
        // A retry would fail again and block the records that follow in the stream.
        Err(malformed) => {
            let sent = dead_letters.send(json, &chain(&malformed)).await;
            sent.map_err(controller::Error::from)
        }
    };
    let error = chain(published.as_ref().err()?);
    let item_identifier = change.sequence_number.unwrap_or_default();
    tracing::error!(
        sequence_number = item_identifier,
        error,
        "stream record not handled"
    );
    Some(BatchItemFailure { item_identifier })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    function::serve(init, handle).await
}
