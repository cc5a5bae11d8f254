//! `GET /billing`: lists the caller's purchases.

use std::process::ExitCode;

use api::Request;
use billing::{controller, http, purchase::PurchaseId, service::PurchasesTable};
use dynamodb::Dynamodb;
use function::StartError;

async fn init() -> Result<PurchasesTable, StartError> {
    let aws = aws::Stack::from_env()?;
    let purchases = PurchasesTable::from_env(&Dynamodb::new(&aws))?;
    aws.warm_up("dynamodb").await;
    Ok(purchases)
}

async fn handle(purchases: &PurchasesTable, request: Request) -> api::Result {
    let user = request.caller()?;
    let page = http::list(&user).page(&request)?;
    let before = page.after.map(PurchaseId::from_bytes);
    let found = controller::list(purchases, &user, before, page.limit).await?;
    http::page(&found, &user, page)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(init, handle).await
}
