//! DELETE /notes/{id}

use std::process::ExitCode;

use api::{Request, Response};
use notes::{controller, service::Editing};

async fn handle(services: &Editing, request: Request) -> api::Result {
    let Editing {
        notes,
        records,
        files,
    } = services;
    let user = request.caller()?;
    let id = request.path("id")?;
    controller::delete(notes, records, files, &user, id).await?;
    Ok(Response::done())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(Editing::from_env, handle).await
}
