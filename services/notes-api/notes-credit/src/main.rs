//! Handles the messages of the SNS topic Purchases: grants the buyer the storage of a purchase, and
//! revokes what was refunded.

use std::{process::ExitCode, time::SystemTime};

use aws_lambda_events::sns::SnsEvent;
use domain::events::NotePurchased;
use dynamodb::Dynamodb;
use function::StartError;
use notes::{controller, credit::Credit, service::StorageTable};

/// The error of a message, for the log.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the message is not about a purchase")]
    MalformedMessage(#[source] serde_json::Error),
    #[error(transparent)]
    Controller(#[from] controller::Error),
}

async fn init() -> Result<StorageTable, StartError> {
    let aws = aws::Stack::from_env()?;
    let storage = StorageTable::from_env(&Dynamodb::new(&aws))?;
    aws.warm_up("dynamodb").await;
    Ok(storage)
}

async fn handle(
    storage: &StorageTable,
    event: SnsEvent,
    _deadline: SystemTime,
) -> Result<(), Error> {
    // SNS always sends one record per event.
    for record in event.records {
        let purchase: NotePurchased =
            serde_json::from_str(&record.sns.message).map_err(Error::MalformedMessage)?;
        let credit = Credit {
            purchase: purchase.purchase_id,
            granted: purchase.granted,
            revision: purchase.revision,
        };
        metrics::log_user(purchase.user_id.as_str());
        controller::credit(storage, &purchase.user_id, &credit).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    function::serve(init, handle).await
}
