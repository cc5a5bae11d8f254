//! `DELETE /notes/{id}`: deletes a note, and its attached file unless another note refers to the
//! file.

use std::process::ExitCode;

use api::{Request, Response};
use notes::{controller, service::WriteServices};

async fn handle(services: &WriteServices, request: Request) -> api::Result {
    let WriteServices {
        notes,
        records,
        files,
    } = services;
    let user = request.caller()?;
    // If the id cannot be parsed, there is no such note, and the response is the same as for a note
    // that is already deleted.
    if let Ok(id) = request.path("id") {
        controller::delete(notes, records, files, &user, id).await?;
    }
    Ok(Response::done())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(WriteServices::from_env, handle).await
}
