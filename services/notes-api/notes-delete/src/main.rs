//! `DELETE /notes/{id}`: deletes a note, and its attached file unless another note refers to the
//! file.

use std::process::ExitCode;

use api::{Request, Response};
use dynamodb::Dynamodb;
use function::StartError;
use notes::{
    controller,
    service::{CountedTables, WriteServices},
};

struct Services {
    write: WriteServices,
    counted: CountedTables,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let dynamodb = Dynamodb::new(&aws);
    Ok(Services {
        counted: CountedTables::from_env(&dynamodb)?,
        write: WriteServices::new(&aws, &dynamodb).await?,
    })
}

async fn handle(services: &Services, request: Request) -> api::Result {
    let Services { write, counted } = services;
    let WriteServices {
        notes,
        records,
        files,
    } = write;
    let user = request.caller()?;
    // If the id cannot be parsed, there is no such note, and the response is the same as for a note
    // that is already deleted.
    if let Ok(id) = request.path("id") {
        controller::delete(notes, counted, records, files, &user, id).await?;
    }
    Ok(Response::done())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(init, handle).await
}
