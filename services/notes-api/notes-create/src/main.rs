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
    service::{AttachmentsTable, CountedTables, UrlSigner},
};

struct Services {
    notes: CountedTables,
    records: AttachmentsTable,
    urls: UrlSigner,
    /// The number of notes that every user may have.
    free: u64,
    idempotency: Idempotency<IdempotencyTable>,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let dynamodb = Dynamodb::new(&aws);
    let services = Services {
        notes: CountedTables::from_env(&dynamodb)?,
        records: AttachmentsTable::from_env(&dynamodb)?,
        urls: UrlSigner::from_env(&aws)?,
        free: function::setting("FREE_NOTES")?,
        idempotency: Idempotency::new(IdempotencyTable::from_env(&dynamodb)?),
    };
    aws.warm_up("dynamodb").await;
    Ok(services)
}

async fn handle(services: &Services, request: Request) -> api::Result {
    let Services {
        notes,
        records,
        urls,
        free,
        idempotency,
    } = services;
    let author = Author {
        id: request.caller()?,
        sub: request.sub(),
    };
    let draft = request.json::<Draft>()?.resolve(&author.id)?;
    let scope = Scope::of("POST /notes", author.id.as_str());
    let work = |plan| controller::create(notes, records, *free, &author, &draft, plan);
    let created = once(idempotency, &request, scope, Plan::generate(), work).await?;
    let note = created.into_note(&author.id, &draft);
    let view = controller::show(records, urls, note, draft.file_key()).await?;
    http::note(StatusCode::CREATED, &view)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(init, handle).await
}
