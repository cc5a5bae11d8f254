//! `DELETE /specimens/{id}`: deletes a specimen.

use std::process::ExitCode;

use api::{Request, Response};
use museum::specimens::{
    controller::delete,
    service::{SpecimensTable, connect},
};
use resources::http::precondition;

async fn handle(specimens: &SpecimensTable, request: Request) -> api::Result {
    let user = request.caller()?;
    let expected = precondition(&request)?;
    // If the id cannot be parsed, there is no such specimen, and the response is the same as for a specimen that is
    // already deleted.
    if let Ok(id) = request.path("id") {
        delete(specimens, &user, id, &expected).await?;
    }
    Ok(Response::done())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(connect, handle).await
}
