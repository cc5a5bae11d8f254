//! `GET /specimens/{id}`: reads a specimen.

use std::process::ExitCode;

use api::{Request, StatusCode};
use museum::specimens::{
    controller::get,
    http,
    service::{SpecimensTable, connect},
};

async fn handle(specimens: &SpecimensTable, request: Request) -> api::Result {
    let user = request.caller()?;
    let specimen = get(specimens, &user, request.path("id")?).await?;
    http::specimen(StatusCode::OK, &specimen)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(connect, handle).await
}
