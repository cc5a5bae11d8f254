//! `GET /notes`: lists the caller's notes.

use std::process::ExitCode;

use api::Request;
use notes::{controller, http, note::NoteId, service::ReadServices};

async fn handle(services: &ReadServices, request: Request) -> api::Result {
    let ReadServices {
        notes,
        records,
        urls,
    } = services;
    let user = request.caller()?;
    let page = http::list(&user).page(&request)?;
    let before = page.after.map(NoteId::from_bytes);
    let found = controller::list(notes, records, urls, &user, before, page.limit).await?;
    http::page(&found, &user, page)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(ReadServices::from_env, handle).await
}
