//! Handles the S3 event `Object Created`, delivered by EventBridge: records the type and size of
//! the uploaded file.

use std::{process::ExitCode, time::SystemTime};

use aws_lambda_events::eventbridge::EventBridgeEvent;
use dynamodb::Dynamodb;
use function::StartError;
use notes::{
    controller::{self, Error},
    file::FileKey,
    service::{AttachmentsBucket, AttachmentsTable, NotesTable},
};
use serde::{Deserialize, Serialize};

struct Services {
    files: AttachmentsBucket,
    attachments: AttachmentsTable,
    notes: NotesTable,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let dynamodb = Dynamodb::new(&aws);
    let services = Services {
        files: AttachmentsBucket::from_env(&aws)?,
        attachments: AttachmentsTable::from_env(&dynamodb)?,
        notes: NotesTable::from_env(&dynamodb)?,
    };
    aws.warm_up("dynamodb").await;
    Ok(services)
}

/// The part of an `Object Created` event's `detail` that the function reads.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>
#[derive(Deserialize, Serialize)]
struct ObjectCreated {
    object: Object,
}

#[derive(Deserialize, Serialize)]
struct Object {
    key: String,
}

async fn handle(
    services: &Services,
    event: EventBridgeEvent<ObjectCreated>,
    _deadline: SystemTime,
) -> Result<(), Error> {
    let Services {
        files,
        attachments,
        notes,
    } = services;
    match FileKey::parse(&event.detail.object.key) {
        Some(key) => controller::attachment_uploaded(files, attachments, notes, &key).await,
        // The object is not an attachment: the EventBridge rule matches all keys with the prefix
        // `private/`, but the key of this object has no user id after the prefix.
        None => Ok(()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    function::serve(init, handle).await
}
