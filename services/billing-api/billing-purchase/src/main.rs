//! `POST /billing`: charges the caller's card for storage.

use std::process::ExitCode;

use api::{Problem, Request};
use billing::{
    controller, http,
    purchase::{Author, Order, PurchaseId, Timestamp},
    service::{OrderTables, PaymentServices},
};
use dynamodb::Dynamodb;
use function::StartError;
use idempotency::{Idempotency, IdempotencyTable, Scope, http::once};

struct Services {
    payment: PaymentServices,
    orders: OrderTables,
    idempotency: Idempotency<IdempotencyTable>,
}

async fn init() -> Result<Services, StartError> {
    let aws = aws::Stack::from_env()?;
    let dynamodb = Dynamodb::new(&aws);
    Ok(Services {
        orders: OrderTables::from_env(&dynamodb)?,
        idempotency: Idempotency::new(IdempotencyTable::from_env(&dynamodb)?),
        payment: PaymentServices::new(&aws, &dynamodb).await?,
    })
}

async fn handle(services: &Services, request: Request) -> api::Result {
    let Services {
        payment: PaymentServices { stripe, purchases },
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
