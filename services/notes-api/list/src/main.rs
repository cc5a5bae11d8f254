//! GET /notes

use std::process::ExitCode;

use api::Request;
use notes::{controller, http, service::Viewing};

async fn handle(services: &Viewing, request: Request) -> api::Result {
    let Viewing {
        notes,
        records,
        urls,
    } = services;
    let user = request.caller()?;
    let limit = http::limit(&request)?;
    let cursor = http::cursor(&request, &user)?;
    let listed = controller::list(notes, records, urls, &user, cursor, limit).await?;
    http::page(&listed, &user, limit)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(Viewing::from_env, handle).await
}
