//! `POST /billing/webhook`: receives Stripe's events. If an event reports a succeeded payment,
//! settles the purchase of this payment as PAID.

use std::process::ExitCode;

use api::{Request, Response};
use billing::{controller, event::Event, purchase::Timestamp, service::PurchasesTable};
use dynamodb::Dynamodb;
use function::{StartError, setting};
use secrets::Secrets;

struct Services {
    purchases: PurchasesTable,
    secrets: Secrets<1>,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let prefix = setting("SECRETS_PREFIX")?;
    let purchases = PurchasesTable::from_env(&Dynamodb::new(&aws))?;
    let secrets = Secrets::load(&aws, &prefix, ["stripe-webhook-secret"]);
    let (secrets, ()) = tokio::join!(secrets, aws.warm_up("dynamodb"));
    Ok(Services {
        purchases,
        secrets: secrets?,
    })
}

async fn handle(services: &Services, request: Request) -> api::Result {
    let Services { purchases, secrets } = services;
    let signature: Option<String> = request.header("Stripe-Signature")?;
    let (signature, now) = (signature.unwrap_or_default(), Timestamp::now());
    let event = Event::verify(request.body(), &signature, &secrets.current(), now)?;
    controller::webhook(purchases, &event, now).await?;
    Ok(Response::done())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(init, handle).await
}
