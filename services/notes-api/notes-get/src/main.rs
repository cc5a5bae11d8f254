//! `GET /notes/{id}`: reads a note.

use std::process::ExitCode;

use api::{Request, StatusCode};
use notes::{controller, http, service::ReadServices};

async fn handle(services: &ReadServices, request: Request) -> api::Result {
    let ReadServices {
        notes,
        records,
        urls,
    } = services;
    let user = request.caller()?;
    let id = request.path("id")?;
    let view = controller::get(notes, records, urls, &user, id).await?;
    http::note(StatusCode::OK, &view)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(ReadServices::from_env, handle).await
}
