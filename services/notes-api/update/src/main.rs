//! PUT /notes/{id}

use std::process::ExitCode;

use api::{Request, Response};
use notes::{controller, http, service::Editing};

async fn handle(services: &Editing, request: Request) -> api::Result {
    let Editing {
        notes,
        records,
        files,
    } = services;
    let user = request.caller()?;
    let id = request.path("id")?;
    let expected = http::precondition(&request)?;
    let draft = request.json()?;
    let version = controller::update(notes, records, files, &user, id, draft, &expected).await?;
    Response::done().etag(version)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(Editing::from_env, handle).await
}
