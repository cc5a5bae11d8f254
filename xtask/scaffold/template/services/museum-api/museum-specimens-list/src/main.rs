//! `GET /specimens`: lists the caller's specimens.

use std::process::ExitCode;

use api::Request;
use museum::specimens::{
    controller::list,
    http,
    service::{SpecimensTable, connect},
    specimen::SpecimenId,
};

async fn handle(specimens: &SpecimensTable, request: Request) -> api::Result {
    let user = request.caller()?;
    let page = http::list(&user).page(&request)?;
    let before = page.after.map(SpecimenId::from_bytes);
    let found = list(specimens, &user, before, page.limit).await?;
    http::page(&found, &user, page)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(connect, handle).await
}
