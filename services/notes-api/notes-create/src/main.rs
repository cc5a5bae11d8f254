//! `POST /notes`: creates a note.

use std::process::ExitCode;

use api::{Request, StatusCode};
use dynamodb::Dynamodb;
use function::StartError;
use idempotency::{Idempotency, IdempotencyTable, Scope, http::once};
use notes::{
    controller::{self, Draft, Plan},
    http,
    note::Author,
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
    let author = Author {
        id: request.caller()?,
        sub: request.sub(),
    };
    let draft = request.json::<Draft>()?.resolve(&author.id)?;
    let scope = Scope::of("POST /notes", author.id.as_str());
    let work = |plan| controller::create(notes, records, &author, &draft, plan);
    let created = once(
        &services.idempotency,
        &request,
        scope,
        Plan::generate(),
        work,
    )
    .await?;
    let note = created.into_note(&author.id, &draft);
    let view = controller::show(records, urls, note, draft.file_key()).await?;
    http::note(StatusCode::CREATED, &view)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(init, handle).await
}
