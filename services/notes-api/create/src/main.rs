//! POST /notes

use std::process::ExitCode;

use api::{Request, StatusCode};
use notes::{controller, http, service::Viewing};

async fn handle(services: &Viewing, request: Request) -> api::Result {
    let Viewing {
        notes,
        records,
        urls,
    } = services;
    let user = request.caller()?;
    let draft = request.json()?;
    let view = controller::create(notes, records, urls, &user, draft).await?;
    http::note(StatusCode::CREATED, &view)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(Viewing::from_env, handle).await
}
