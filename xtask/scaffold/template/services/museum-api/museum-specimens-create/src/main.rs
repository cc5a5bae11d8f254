//! `POST /specimens`: creates a specimen.

use std::process::ExitCode;

use api::{Request, StatusCode};
use idempotency::{Scope, http::once};
use museum::specimens::{
    controller::create,
    http,
    service::CreateServices,
    specimen::{Specimen, SpecimenFields},
};
use resources::{Plan, http::author};

async fn handle(services: &CreateServices, request: Request) -> api::Result {
    let CreateServices {
        specimens,
        idempotency,
    } = services;
    let author = author(&request)?;
    let fields: SpecimenFields = request.json()?;
    let scope = Scope::of("POST /specimens", author.id.as_str());
    let work = |plan| create(specimens, &author, &fields, plan);
    let plan = once(idempotency, &request, scope, Plan::generate(), work).await?;
    http::specimen(
        StatusCode::CREATED,
        &Specimen::new(&author.id, plan, fields),
    )
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(CreateServices::from_env, handle).await
}
