//! `PUT /specimens/{id}`: replaces the fields of a specimen.

use std::process::ExitCode;

use api::{Request, Response};
use museum::specimens::{
    controller::update,
    service::{SpecimensTable, connect},
};
use resources::http::{author, precondition};

async fn handle(specimens: &SpecimensTable, request: Request) -> api::Result {
    let author = author(&request)?;
    let id = request.path("id")?;
    let expected = precondition(&request)?;
    let version = update(specimens, &author, id, request.json()?, &expected).await?;
    Response::done().etag(version)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(connect, handle).await
}
