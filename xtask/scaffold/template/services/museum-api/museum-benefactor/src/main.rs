//! Handles the messages of the SNS topic Purchases.

use std::{process::ExitCode, time::SystemTime};

use aws_lambda_events::sns::SnsEvent;
use museum::benefactor::controller::{self, Message};

struct Services;

/// Why the handling of a message failed. Lambda then retries the message, and at last sends it to
/// the dead-letter queue.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The message is not a JSON object.
    #[error("the SNS message is not a JSON object")]
    MalformedMessage(#[source] serde_json::Error),
}

async fn handle(_: &Services, event: SnsEvent, _deadline: SystemTime) -> Result<(), Error> {
    // SNS always sends one record per event.
    for record in event.records {
        let message: Message =
            serde_json::from_str(&record.sns.message).map_err(Error::MalformedMessage)?;
        controller::benefactor(&message).await;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    function::serve(async || Ok(Services), handle).await
}
