//! `POST /billing`: charges the caller's card for storage.

use std::process::ExitCode;

use api::{Problem, Request};
use billing::{
    controller, http,
    purchase::{Author, Order, PurchaseId, Timestamp},
    service::{OrderTables, PurchasesTable, Stripe},
};
use dynamodb::Dynamodb;
use function::StartError;
use idempotency::{Idempotency, IdempotencyTable, Scope, http::once};

struct Services {
    stripe: Stripe,
    purchases: PurchasesTable,
    orders: OrderTables,
    idempotency: Idempotency<IdempotencyTable>,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let dynamodb = Dynamodb::new(&aws);
    let purchases = PurchasesTable::from_env(&dynamodb)?;
    let orders = OrderTables::from_env(&dynamodb)?;
    let idempotency = Idempotency::new(IdempotencyTable::from_env(&dynamodb)?);
    let stripe = async {
        let stripe = Stripe::from_env(&aws).await?;
        stripe.warm_up().await;
        Ok::<_, StartError>(stripe)
    };
    let (stripe, ()) = tokio::join!(stripe, aws.warm_up("dynamodb"));
    Ok(Services {
        stripe: stripe?,
        purchases,
        orders,
        idempotency,
    })
}

async fn handle(services: &Services, request: Request) -> api::Result {
    let Services {
        stripe,
        purchases,
        orders,
        idempotency,
    } = services;
    let buyer = Author {
        id: request.caller()?,
        sub: request.sub(),
    };
    let order: Order = request.json()?;
    let scope = Scope::of("POST /billing", buyer.id.as_str());
    let stripe = &stripe.until(request.deadline());
    let work = async |id| {
        let (buyer, now) = (buyer.clone(), Timestamp::now());
        let receipt = controller::purchase(stripe, purchases, orders, buyer, id, order, now);
        receipt.await.map_err(Problem::from)
    };
    let receipt = once(idempotency, &request, scope, PurchaseId::generate(), work).await?;
    http::receipt(receipt)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(init, handle).await
}
