//! `GET /museum/vernissage`

use std::process::ExitCode;

use api::{Request, Response};
use museum::vernissage::controller;

struct Services;

async fn handle(_: &Services, request: Request) -> api::Result {
    let user = request.caller()?;
    controller::vernissage(&user).await;
    Ok(Response::done())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(async || Ok(Services), handle).await
}
