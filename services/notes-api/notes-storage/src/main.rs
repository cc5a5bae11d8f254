//! `GET /storage`: reads how many notes the caller has and may have.

use std::process::ExitCode;

use api::Request;
use dynamodb::Dynamodb;
use function::StartError;
use notes::{controller, http, service::StorageTable};

struct Services {
    storage: StorageTable,
    /// The number of notes that every user may have.
    free: u64,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let services = Services {
        storage: StorageTable::from_env(&Dynamodb::new(&aws))?,
        free: function::setting("FREE_NOTES")?,
    };
    aws.warm_up("dynamodb").await;
    Ok(services)
}

async fn handle(services: &Services, request: Request) -> api::Result {
    let Services { storage, free } = services;
    let usage = controller::storage(storage, &request.caller()?).await?;
    http::storage(&usage, *free)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(init, handle).await
}
