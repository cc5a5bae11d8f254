//! The functions: each invocation runs the controller of a function over the services of the world.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use billing::{
    controller::{self, Receipt, Verdict},
    event::Event,
    payment::ClientSecret,
    purchase::{Order, PaymentSource, PurchaseId, Storage, Timestamp},
    service::{NotePurchased, stream::Change},
};
use idempotency::{ClaimOutcome, Idempotency, IdempotencyKey, Scope};
use notes::{
    controller::{Draft, Plan},
    credit::Credit,
    note::{Content, NoteId, Version},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    call::Port,
    world::{self, Hashed, NoFiles},
};

/// A request of a client.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) what: What,
    /// How often the client repeats the request after an error.
    pub(crate) retries: u8,
    /// The clock step from which the client sends the request.
    pub(crate) step: u8,
}

/// What a client requests. The numbers stand for ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// `POST /billing` with an idempotency key. The server proposes the id.
    Purchase {
        id: u8,
        source: &'static str,
        key: &'static str,
    },
    /// `POST /billing/{id}`
    Resume(u8),
    /// `DELETE /billing/{id}`
    Cancel(u8),
    /// `POST /notes` with an idempotency key. The server proposes the id.
    Create { id: u8, key: &'static str },
    /// `DELETE /notes/{id}`
    Delete(u8),
}

/// A function with its event.
#[derive(Debug, Clone)]
pub(crate) enum Function {
    /// A route of the API.
    Request { number: usize, what: What },
    /// billing-webhook
    Webhook { event: Hashed<Event>, copy: u8 },
    /// billing-purchase-paid
    PurchasePaid {
        number: usize,
        change: Hashed<Change>,
    },
    /// billing-reconcile
    Reconcile { step: u8 },
    // part: notify {
    /// notify-send
    Notify {
        message: Hashed<NotePurchased>,
        copy: u8,
    },
    // part: notify }
    /// notes-credit
    Credit {
        message: Hashed<NotePurchased>,
        copy: u8,
    },
}

impl Function {
    /// The name of the function.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Request { what, .. } => match what {
                What::Purchase { .. } => "purchase",
                What::Resume(_) => "resume",
                What::Cancel(_) => "cancel",
                What::Create { .. } => "create",
                What::Delete(_) => "delete",
            },
            Self::Webhook { .. } => "webhook",
            Self::PurchasePaid { .. } => "purchase-paid",
            Self::Reconcile { .. } => "reconcile",
            Self::Notify { .. } => "notify", // part: notify
            Self::Credit { .. } => "credit",
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [", self.name())?;
        match self {
            Self::Request { number, what } => match what {
                What::Purchase { source, key, .. } => {
                    write!(f, "request {number}, {source}, key {key}")
                }
                What::Create { key, .. } => write!(f, "request {number}, key {key}"),
                What::Resume(id) | What::Cancel(id) => write!(f, "request {number}, order {id}"),
                What::Delete(id) => write!(f, "request {number}, note {id}"),
            },
            Self::Webhook { event, copy } => write!(f, "{}, delivery {copy}", event.id()),
            Self::PurchasePaid { number, .. } => write!(f, "record {number}"),
            Self::Reconcile { step } => write!(f, "run {step}"),
            Self::Notify { message, copy } => delivery(f, message, *copy), // part: notify
            Self::Credit { message, copy } => delivery(f, message, *copy),
        }?;
        f.write_str("]")
    }
}

fn delivery(f: &mut fmt::Formatter<'_>, message: &NotePurchased, copy: u8) -> fmt::Result {
    write!(f, "revision {}, delivery {copy}", message.revision)
}

/// How an invocation ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// The function has handled the event. Contains the response, if it has one.
    Done(Answer),
    /// The function did nothing, because another attempt is in progress.
    InProgress,
    /// The function failed.
    Failed(String),
    /// The invocation was killed.
    Crashed,
}

/// The response of a function.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Nothing,
    Receipt(Receipt),
    /// The cardholder must complete 3-D Secure. Contains the client secret.
    RequiresAction(ClientSecret),
    /// The order is canceled.
    Canceled(PurchaseId),
    /// The client can do nothing with the order, or must wait for its payment.
    Refused(String),
    Created(NoteId),
    StorageFull,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(Answer::Nothing) => f.write_str("ends"),
            Self::Done(Answer::Receipt(receipt)) => match &receipt.declined {
                None => f.write_str("responds: paid"),
                Some(decline) => write!(f, "responds: not paid ({})", decline.code),
            },
            Self::Done(Answer::RequiresAction(secret)) => {
                write!(f, "responds: complete 3-D Secure ({})", secret.expose())
            }
            Self::Done(Answer::Canceled(_)) => f.write_str("responds: canceled"),
            Self::Done(Answer::Refused(why)) => write!(f, "responds: {why}"),
            Self::Done(Answer::Created(_)) => f.write_str("responds: created"),
            Self::Done(Answer::StorageFull) => f.write_str("responds: the storage is full"),
            Self::InProgress => f.write_str("responds: in progress"),
            Self::Failed(error) => write!(f, "fails: {error}"),
            Self::Crashed => f.write_str("crashes"),
        }
    }
}

/// The time for which Lambda lets a function run.
const TIMEOUT: Duration = Duration::from_secs(28);

/// Starts an invocation at the time `now`.
pub(crate) fn start(
    port: Port,
    function: Function,
    now: Timestamp,
) -> Pin<Box<dyn Future<Output = End> + Send>> {
    Box::pin(async move {
        match function {
            Function::Request { what, .. } => request(&port, what, now).await,
            Function::Webhook { event, .. } => {
                match controller::webhook(&port, &port, &event, now).await {
                    Ok(Verdict::Contradiction(reason)) => {
                        let sent = port.put_aside(event.id(), reason).await;
                        sent.map_or(failed("the queue"), |()| done())
                    }
                    result => end(result),
                }
            }
            Function::PurchasePaid { change, .. } => {
                end(controller::purchase_paid(&port, &port, &change, now).await)
            }
            Function::Reconcile { .. } => {
                let deadline = now.after(Duration::from_secs(300));
                let clock = move || now;
                controller::reconcile(&port, &port, &port, &clock, deadline).await;
                done()
            }
            // part: notify {
            Function::Notify { message, .. } => {
                let idempotency = idempotency(&port, now);
                let stage = "test".parse().unwrap();
                let deadline = time(now) + TIMEOUT;
                match notify::controller::send(&port, &idempotency, &stage, &message, deadline)
                    .await
                {
                    Err(notify::controller::Error::InProgress) => End::InProgress,
                    result => end(result),
                }
            }
            // part: notify }
            Function::Credit { message, .. } => {
                let credit = Credit {
                    purchase: message.purchase_id,
                    granted: message.granted,
                    revision: message.revision,
                };
                end(notes::controller::credit(&port, &message.user_id, &credit).await)
            }
        }
    })
}

async fn request(port: &Port, what: What, now: Timestamp) -> End {
    let author = world::author();
    match what {
        What::Purchase { id, source, key } => {
            let order = Order {
                storage: Storage::try_from(10).unwrap(),
                source: PaymentSource::try_from(source.to_owned()).unwrap(),
                amount: None,
            };
            let work = |id| controller::purchase(port, port, port, author, id, order, now);
            let proposed = world::id::<domain::events::PurchaseKind>(id);
            once(port, "POST /billing", key, source, now, proposed, work)
                .await
                .unwrap_or_else(|result| match result {
                    Ok(receipt) => End::Done(Answer::Receipt(receipt)),
                    Err(error) => order_error(error),
                })
        }
        What::Resume(id) => {
            match controller::resume(port, port, &world::purchase_key(id), now).await {
                Ok(receipt) => End::Done(Answer::Receipt(receipt)),
                Err(error) => order_error(error),
            }
        }
        What::Cancel(id) => {
            match controller::cancel(port, port, &world::purchase_key(id), now).await {
                Ok(purchase) => End::Done(Answer::Canceled(purchase.key.purchase_id)),
                Err(error) => order_error(error),
            }
        }
        What::Create { id, key } => {
            let draft = Draft {
                content: Content::try_from("hello".to_owned()).unwrap(),
                attachment: None,
            };
            let draft = draft.resolve(&author.id).unwrap();
            let proposed = plan(id);
            let free = port.free();
            let work = async |plan| {
                notes::controller::create(port, &NoFiles, free, &author, &draft, plan).await
            };
            once(port, "POST /notes", key, "", now, proposed, work)
                .await
                .unwrap_or_else(|result| match result {
                    Ok(created) => {
                        let note = created.into_note(&author.id, &draft);
                        End::Done(Answer::Created(note.note_id))
                    }
                    Err(notes::controller::Error::StorageFull { .. }) => {
                        End::Done(Answer::StorageFull)
                    }
                    Err(error) => failed(error),
                })
        }
        What::Delete(id) => {
            let id = world::id(id);
            end(notes::controller::delete(port, port, &NoFiles, &NoFiles, &author.id, id).await)
        }
    }
}

/// Does the same as [`idempotency::http::once`]. Returns how the request ended if `work` did not run, and the result of
/// `work` otherwise.
async fn once<P, R, E, F>(
    port: &Port,
    scope: &'static str,
    key: &str,
    body: &str,
    now: Timestamp,
    proposed: P,
    work: impl FnOnce(P) -> F,
) -> Result<End, Result<R, E>>
where
    P: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
    F: Future<Output = Result<R, E>>,
{
    let idempotency = idempotency(port, now);
    let key: IdempotencyKey = key.parse().unwrap();
    let user = world::ada();
    let operation = Scope::of(scope, user.as_str()).operation(&key, body.as_bytes());
    let claim = idempotency.claim(&operation, time(now) + TIMEOUT, proposed);
    let (guard, plan) = match claim.await {
        Ok(ClaimOutcome::Start { guard, plan }) => (guard, plan),
        Ok(ClaimOutcome::Replay(response)) => return Err(Ok(response)),
        Ok(ClaimOutcome::InProgress { .. }) => return Ok(End::InProgress),
        Ok(ClaimOutcome::PayloadMismatch) => return Ok(refused("another body")),
        Err(error) => return Ok(failed(error)),
    };
    let result = work(plan).await;
    // As in the routes, a failure does not change the response.
    let _ = match &result {
        Ok(response) => guard.complete(response).await,
        Err(_) => guard.release().await,
    };
    Err(result)
}

fn idempotency(port: &Port, now: Timestamp) -> Idempotency<Port> {
    let now = time(now);
    Idempotency::new(port.clone()).with_clock(move || now)
}

fn time(time: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(time.as_millis())
}

fn plan(number: u8) -> Plan {
    let id: NoteId = world::id(number);
    let version: Version = world::id(number);
    let plan = serde_json::json!({
        "noteId": id, "version": version, "createdAt": 0,
    });
    serde_json::from_value(plan).unwrap()
}

/// Returns how an invocation ends if the client receives this error about an order.
fn order_error(error: controller::Error) -> End {
    match error {
        controller::Error::OutcomeUnknown { .. }
        | controller::Error::Charge { .. }
        | controller::Error::Service(_) => failed(error),
        controller::Error::RequiresAction { client_secret, .. } => {
            End::Done(Answer::RequiresAction(client_secret))
        }
        error => refused(error),
    }
}

fn done() -> End {
    End::Done(Answer::Nothing)
}

fn refused(why: impl ToString) -> End {
    End::Done(Answer::Refused(why.to_string()))
}

fn failed(error: impl ToString) -> End {
    End::Failed(error.to_string())
}

fn end<T>(result: Result<T, impl ToString>) -> End {
    result.map_or_else(failed, |_| done())
}
