//! `POST /billing/{id}`: continues an open order of the caller.

use std::process::ExitCode;

use api::Request;
use billing::{
    controller, http,
    purchase::{PurchaseKey, Timestamp},
    service::PaymentServices,
};

async fn handle(services: &PaymentServices, request: Request) -> api::Result {
    let PaymentServices { stripe, purchases } = services;
    let stripe = stripe.until(request.deadline());
    let key = PurchaseKey {
        user_id: request.caller()?,
        purchase_id: request.path("id")?,
    };
    let receipt = controller::resume(&stripe, purchases, &key, Timestamp::now()).await?;
    http::receipt(receipt)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::serve(PaymentServices::from_env, handle).await
}
