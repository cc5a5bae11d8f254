//! `POST /notes/attachments`: creates a presigned URL for the upload of a file.

use std::process::ExitCode;

use api::Request;
use function::StartError;
use notes::{controller, http, service::UrlSigner};

async fn init() -> Result<UrlSigner, StartError> {
    UrlSigner::from_env(&aws::Stack::from_env()?)
}

async fn handle(urls: &UrlSigner, request: Request) -> api::Result {
    let user = request.caller()?;
    let file = request.json()?;
    let upload = controller::upload(urls, &user, file)?;
    http::upload(&upload)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(init, handle).await
}
