//! The functions: each invocation runs the real controllers over the services of the world.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use billing::{
    controller::{self, Error, Receipt},
    payment::{IntentId, Outcome},
    purchase::{PurchaseId, PurchaseKey, Timestamp},
    service::stream::Change,
};
use idempotency::{ClaimOutcome, Idempotency, IdempotencyKey, Scope};

use crate::{call::Port, world};

#[derive(Clone)]
pub(crate) enum Function {
    Purchase {
        client: usize,
        id: PurchaseId,
        source: &'static str,
        key: &'static str,
    },
    Webhook {
        intent: IntentId,
        purchase: PurchaseKey,
        copy: u8,
    },
    PurchasePaid {
        number: usize,
        change: Arc<Change>,
    },
    Reconcile {
        step: u8,
    },
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Purchase { client, source, .. } => write!(f, "purchase {client} ({source})"),
            Self::Webhook { intent, copy, .. } => {
                write!(f, "webhook ({} succeeded, delivery {copy})", intent.as_str())
            }
            Self::PurchasePaid { number, .. } => write!(f, "purchase-paid (record {number})"),
            Self::Reconcile { step } => write!(f, "reconcile {step}"),
        }
    }
}

/// How an invocation ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Done,
    Receipt(Receipt),
    RequiresAction,
    InProgress,
    Failed(String),
    Crashed,
}

/// Starts an invocation.
pub(crate) fn start(
    port: Port,
    function: Function,
    now: Timestamp,
) -> Pin<Box<dyn Future<Output = End> + Send>> {
    Box::pin(async move {
        match function {
            Function::Purchase { id, source, key, .. } => purchase(&port, id, source, key, now).await,
            Function::Webhook { intent, purchase, .. } => {
                let outcome = Outcome::Paid { intent };
                end(controller::settle(&port, &purchase, &outcome, now)
                    .await
                    .map_err(Error::from))
            }
            Function::PurchasePaid { change, .. } => {
                end(controller::purchase_paid(&port, &change).await)
            }
            Function::Reconcile { .. } => end(controller::reconcile(&port, &port, now, 10).await),
        }
    })
}

fn end<T>(result: Result<T, Error>) -> End {
    match result {
        Ok(_) => End::Done,
        Err(error) => End::Failed(error.to_string()),
    }
}

async fn purchase(
    port: &Port,
    id: PurchaseId,
    source: &str,
    key: &str,
    now: Timestamp,
) -> End {
    let time = std::time::UNIX_EPOCH + Duration::from_millis(now.as_millis());
    let idempotency = Idempotency::new(port.clone()).with_clock(move || time);
    let key: IdempotencyKey = key.parse().unwrap();
    let operation = Scope::of("POST /billing", "ada").operation(&key, source.as_bytes());
    let deadline = time + Duration::from_secs(10);
    let claim = idempotency.claim(&operation, deadline, id).await;
    let (guard, id) = match claim {
        Ok(ClaimOutcome::Start { guard, plan }) => (guard, plan),
        Ok(ClaimOutcome::Replay(receipt)) => return End::Receipt(receipt),
        Ok(ClaimOutcome::InProgress { .. }) => return End::InProgress,
        Ok(ClaimOutcome::PayloadMismatch) => return End::Done,
        Err(error) => return End::Failed(error.to_string()),
    };
    let result = controller::purchase(port, port, world::buyer(), id, world::order(source), now);
    match result.await {
        Ok(receipt) => {
            let _ = guard.complete(&receipt).await;
            End::Receipt(receipt)
        }
        Err(error) => {
            let _ = guard.release().await;
            match error {
                Error::RequiresAction { .. } => End::RequiresAction,
                error => End::Failed(error.to_string()),
            }
        }
    }
}
