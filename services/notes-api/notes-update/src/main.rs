//! `PUT /notes/{id}`: replaces the content and the attachment of a note.

use std::process::ExitCode;

use api::{Request, Response};
use notes::{
    controller::{self, Draft},
    http,
    note::Author,
    service::WriteServices,
};

async fn handle(services: &WriteServices, request: Request) -> api::Result {
    let WriteServices {
        notes,
        records,
        files,
    } = services;
    let author = Author {
        id: request.caller()?,
        sub: request.sub(),
    };
    let id = request.path("id")?;
    let expected = http::precondition(&request)?;
    let draft = request.json::<Draft>()?.resolve(&author.id)?;
    let version = controller::update(notes, records, files, &author, id, draft, &expected).await?;
    Response::done().etag(version)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(WriteServices::from_env, handle).await
}
