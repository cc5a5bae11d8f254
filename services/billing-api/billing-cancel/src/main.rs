//! `DELETE /billing/{id}`: cancels an open order of the caller.

use std::process::ExitCode;

use api::Request;
use billing::{
    controller, http,
    purchase::{PurchaseKey, Timestamp},
    service::{PurchasesTable, Stripe},
};
use dynamodb::Dynamodb;
use function::StartError;

struct Services {
    stripe: Stripe,
    purchases: PurchasesTable,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let purchases = PurchasesTable::from_env(&Dynamodb::new(&aws))?;
    let stripe = async {
        let stripe = Stripe::from_env(&aws).await?;
        stripe.warm_up().await;
        Ok::<_, StartError>(stripe)
    };
    let (stripe, ()) = tokio::join!(stripe, aws.warm_up("dynamodb"));
    Ok(Services {
        stripe: stripe?,
        purchases,
    })
}

async fn handle(services: &Services, request: Request) -> api::Result {
    let Services { stripe, purchases } = services;
    let stripe = stripe.until(request.deadline());
    let key = PurchaseKey {
        user_id: request.caller()?,
        purchase_id: request.path("id")?,
    };
    let canceled = controller::cancel(&stripe, purchases, &key, Timestamp::now()).await?;
    http::purchase(&canceled)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(init, handle).await
}
