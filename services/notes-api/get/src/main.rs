//! GET /notes/{id}

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
    let id = request.path("id")?;
    let view = controller::get(notes, records, urls, &user, id).await?;
    http::note(StatusCode::OK, &view)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(Viewing::from_env, handle).await
}
