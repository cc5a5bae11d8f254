//! `POST /notes`: creates a note.

use std::process::ExitCode;

use api::{Request, StatusCode};
use dynamodb::Dynamodb;
use function::StartError;
use idempotency::{Idempotency, IdempotencyTable, Scope, http::once};
use notes::{
    controller::{self, Draft, Plan},
    http,
    note::UserId,
    service::ReadServices,
};

struct Services {
    read: ReadServices,
    idempotency: Idempotency<IdempotencyTable>,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let dynamodb = Dynamodb::new(&aws);
    Ok(Services {
        idempotency: Idempotency::new(IdempotencyTable::from_env(&dynamodb)?),
        read: ReadServices::new(&aws, &dynamodb).await?,
    })
}

async fn handle(services: &Services, request: Request) -> api::Result {
    let ReadServices {
        notes,
        records,
        urls,
    } = &services.read;
    let user: UserId = request.caller()?;
    let draft = request.json::<Draft>()?.resolve(&user)?;
    let scope = Scope::of("POST /notes", user.as_str());
    let work = |plan| controller::create(notes, records, &user, &draft, plan);
    let created = once(
        &services.idempotency,
        &request,
        scope,
        Plan::generate(),
        work,
    )
    .await?;
    let note = created.into_note(&user, &draft);
    let view = controller::show(records, urls, note, draft.file_key()).await?;
    http::note(StatusCode::CREATED, &view)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(init, handle).await
}
