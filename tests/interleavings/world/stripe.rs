//! Stripe: PaymentIntents, idempotency keys, refunds, disputes and events.

use std::fmt;

use billing::{
    event::Event,
    payment::{Decline, IntentId, Outcome, Payment},
    purchase::{
        Currency, Dispute, DisputeStatus, Order, PaymentSource, Purchase, PurchaseKey,
        RECONCILE_DELAY, Storage, Timestamp,
    },
    report::{
        DisputeReport, PaymentChange, PaymentDetails, PaymentReport, RefundReport, RefundedCharge,
        Report,
    },
    service::{ChargeError, Error, Payments, SettleIf},
};

use super::{Hashed, World, error};
use crate::{
    bugs::Bug,
    call::{Port, Response},
    functions::Function,
};

/// A PaymentIntent.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    pub(crate) id: IntentId,
    pub(crate) purchase: PurchaseKey,
    pub(crate) amount: u32,
    pub(crate) payment: Payment,
    pub(crate) refunded: u32,
    /// What employees of the shop have refunded.
    pub(crate) refunded_by_owner: u32,
    pub(crate) dispute: Option<DisputeStatus>,
    /// Whether somebody else than the shop's functions created the PaymentIntent.
    pub(crate) by_owner: bool,
    /// Why the last attempt to charge the card failed.
    last_error: Option<Decline>,
    /// Whether a client has the client secret. Without it, the cardholder cannot complete 3-D Secure.
    pub(crate) secret_is_known: bool,
}

impl Intent {
    pub(crate) fn is_charged(&self) -> bool {
        matches!(self.payment, Payment::Succeeded { .. })
    }
}

/// A response to a charge, stored for its idempotency key. None is the status 500.
#[derive(Debug, Clone)]
pub(super) struct Stored(Option<Payment>);

/// What the cardholder, the bank or an employee of the shop does in Stripe, with the number of the PaymentIntent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The cardholder completes 3-D Secure.
    Authenticate(usize),
    /// The bank accepts a payment that it was processing.
    Clear(usize),
    /// An employee refunds an amount in the Stripe Dashboard.
    Refund(usize, u32),
    /// The bank rejects a refund of an employee some time later.
    RefundFails(usize, u32),
    /// The cardholder opens a dispute, or the bank decides it.
    Dispute(usize, DisputeStatus),
    /// A second PaymentIntent of the purchase charges the card.
    ChargeAgain(u8),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authenticate(number) => {
                write!(f, "the cardholder completes 3-D Secure of pi_{number}")
            }
            Self::Clear(number) => write!(f, "the bank accepts pi_{number}"),
            Self::Refund(number, amount) => {
                write!(f, "an employee refunds {amount} of pi_{number}")
            }
            Self::RefundFails(number, amount) => {
                write!(f, "the refund of {amount} of pi_{number} fails")
            }
            Self::Dispute(number, status) => {
                write!(f, "the dispute of pi_{number} is {}", status.name())
            }
            Self::ChargeAgain(number) => {
                write!(
                    f,
                    "another PaymentIntent of purchase {number} charges the card"
                )
            }
        }
    }
}

fn intent_id(number: usize) -> IntentId {
    IntentId::try_from(format!("pi_{number}")).unwrap()
}

fn decline() -> Decline {
    Decline {
        code: "card_declined".into(),
        decline_code: None,
        message: "No.".into(),
    }
}

impl World {
    /// Whether a bank is processing a payment.
    pub(super) fn is_processing(&self) -> bool {
        let mut intents = self.data.intents.iter();
        intents.any(|intent| matches!(intent.payment, Payment::Processing { .. }))
    }

    /// What can happen in Stripe now.
    pub(crate) fn owner_actions(&self) -> Vec<Owner> {
        let intents = self.data.intents.iter().enumerate();
        let mut actions: Vec<_> = intents
            .filter_map(|(number, intent)| match intent.payment {
                Payment::RequiresAction { .. } if intent.secret_is_known => {
                    Some(Owner::Authenticate(number))
                }
                Payment::Processing { .. } => Some(Owner::Clear(number)),
                _ => None,
            })
            .collect();
        let (done, last) = self.data.owner;
        if let Some(next) = self.setting.owner.get(done) {
            let is_charged = |number: &usize| {
                let intent = self.data.intents.get(*number);
                intent.is_some_and(|intent| intent.is_charged())
            };
            let possible = match next {
                Owner::Refund(number, _) | Owner::Dispute(number, _) => is_charged(number),
                Owner::RefundFails(..) => self.step > last,
                Owner::ChargeAgain(number) => {
                    let key = super::purchase_key(*number);
                    self.data.purchases.contains_key(&key)
                }
                Owner::Authenticate(_) | Owner::Clear(_) => false,
            };
            actions.extend(possible.then_some(*next));
        }
        actions
    }

    pub(crate) fn happen(&mut self, action: Owner) {
        match action {
            Owner::Authenticate(number) | Owner::Clear(number) => {
                self.succeed(number);
                return;
            }
            Owner::Refund(number, amount) => {
                self.change(number, |intent| {
                    intent.refunded += amount;
                    intent.refunded_by_owner += amount;
                });
                self.refund_event(number, true);
            }
            Owner::RefundFails(number, amount) => {
                self.change(number, |intent| {
                    intent.refunded -= amount;
                    intent.refunded_by_owner -= amount;
                });
                self.refund_event(number, false);
            }
            Owner::Dispute(number, status) => {
                self.change(number, |intent| intent.dispute = Some(status));
                let (now, intent) = (self.now(), self.data.intents[number].clone());
                let dispute = Dispute {
                    id: format!("dp_{number}"),
                    amount: intent.amount,
                    reason: "fraudulent".into(),
                    status,
                    opened_at: self.time(0),
                    as_of: now,
                };
                let report = DisputeReport {
                    intent: intent.id.clone(),
                    dispute,
                    currency: Some(Currency::default()),
                };
                let copies = self.setting.other_events;
                let text = format!("dispute of pi_{number} {}", status.name());
                self.event(text, Report::Dispute(report), copies);
            }
            Owner::ChargeAgain(number) => {
                let key = super::purchase_key(number);
                let purchase = self.data.purchases[&key].clone();
                let number = self.data.intents.len();
                let id = intent_id(number);
                self.add(&purchase, Payment::Processing { intent: id });
                self.change(number, |intent| intent.by_owner = true);
                self.succeed(number);
            }
        }
        self.data().owner = (self.data.owner.0 + 1, self.step);
    }

    /// Records that a client has received a client secret.
    pub(super) fn give_secret(&mut self, secret: &str) {
        let has_secret = |intent: &Hashed<Intent>| secret.starts_with(intent.id.as_str());
        if let Some(number) = self.data.intents.iter().position(has_secret) {
            self.change(number, |intent| intent.secret_is_known = true);
        }
    }

    fn change(&mut self, number: usize, change: impl FnOnce(&mut Intent)) {
        let mut intent = (*self.data.intents[number]).clone();
        change(&mut intent);
        self.data().intents[number] = Hashed::new(intent);
    }

    /// Sends an event to billing-webhook.
    fn event(&mut self, text: String, report: Report, copies: u8) {
        let created = Timestamp::from_millis(self.now().as_millis() / 1000 * 1000);
        let data = self.data();
        data.events += 1;
        let event = Hashed::new(Event::new(text, created, false, report));
        for copy in 0..copies {
            let event = event.clone();
            self.invoke(Function::Webhook { event, copy });
        }
    }

    fn payment_event(&mut self, number: usize, change: PaymentChange, text: &str, copies: u8) {
        let intent = self.data.intents[number].clone();
        let report = PaymentReport {
            intent: intent.id.clone(),
            purchase: intent.purchase.clone(),
            change,
            amount: intent.amount,
            currency: Some(Currency::default()),
        };
        self.event(
            format!("pi_{number} {text}"),
            Report::Payment(report),
            copies,
        );
    }

    /// Sends `charge.refunded`, which contains the refunded amount, or `refund.failed`.
    fn refund_event(&mut self, number: usize, has_amount: bool) {
        let intent = self.data.intents[number].clone();
        let report = RefundReport {
            intent: intent.id.clone(),
            amount_refunded: has_amount.then_some(intent.refunded),
            currency: Some(Currency::default()),
        };
        let text = format!("pi_{number} refunded {}", intent.refunded);
        self.event(text, Report::Refund(report), self.setting.other_events);
    }

    fn add(&mut self, purchase: &Purchase, payment: Payment) {
        let id = payment.intent().unwrap().clone();
        let last_error = match &payment {
            Payment::Declined { decline, .. } => Some(decline.clone()),
            _ => None,
        };
        let intent = Intent {
            id,
            purchase: purchase.key.clone(),
            amount: purchase.amount.get(),
            payment,
            refunded: 0,
            refunded_by_owner: 0,
            dispute: None,
            by_owner: false,
            last_error,
            secret_is_known: false,
        };
        self.data().intents.push(Hashed::new(intent));
    }

    fn succeed(&mut self, number: usize) {
        self.change(number, |intent| {
            let intent_id = intent.id.clone();
            intent.payment = Payment::Succeeded { intent: intent_id };
        });
        let copies = self.setting.successes;
        self.payment_event(number, PaymentChange::Succeeded, "succeeded", copies);
    }

    /// Executes a charge. Returns None for the status 500.
    fn charge(&mut self, purchase: &Purchase, source: &PaymentSource) -> Option<Payment> {
        let number = self.data.intents.len();
        let intent = intent_id(number);
        let payment = match source.as_str() {
            "tok_nobody" => {
                return Some(Payment::Declined {
                    intent: None,
                    decline: decline(),
                });
            }
            "tok_error500NoEffect" => return None,
            "pm_threeDSecure" => Payment::RequiresAction {
                intent,
                client_secret: format!("pi_{number}_secret_x").into(),
            },
            "pm_slow" => Payment::Processing { intent },
            "tok_chargeDeclined" => Payment::Declined {
                intent: Some(intent),
                decline: decline(),
            },
            _ => Payment::Succeeded { intent },
        };
        self.add(purchase, payment.clone());
        match payment {
            Payment::Succeeded { .. } => self.succeed(number),
            Payment::Declined { .. } => {
                let copies = self.setting.other_events;
                self.payment_event(number, PaymentChange::Failed, "failed", copies);
            }
            _ => (),
        }
        (source.as_str() != "tok_error500").then_some(payment)
    }

    fn number(&self, id: &IntentId) -> Option<usize> {
        self.data.intents.iter().position(|intent| intent.id == *id)
    }

    fn cancel(&mut self, id: &IntentId) -> Payment {
        let number = self.number(id).unwrap();
        let intent = self.data.intents[number].clone();
        let canceled = Payment::Canceled {
            intent: id.clone(),
            decline: intent.last_error.clone(),
        };
        if self.has(Bug::NoCancel) {
            return canceled;
        }
        match &intent.payment {
            Payment::Succeeded { .. } if self.has(Bug::CancelIgnoresSuccess) => canceled,
            payment @ (Payment::Succeeded { .. }
            | Payment::Processing { .. }
            | Payment::Canceled { .. }) => payment.clone(),
            Payment::Declined { .. } | Payment::RequiresAction { .. } => {
                self.change(number, |intent| intent.payment = canceled.clone());
                let copies = self.setting.other_events;
                self.payment_event(number, PaymentChange::Canceled, "canceled", copies);
                canceled
            }
        }
    }

    fn refund(&mut self, id: &IntentId) -> u32 {
        let number = self.number(id).unwrap();
        let intent = self.data.intents[number].clone();
        if self.has(Bug::SurplusNotRefunded) {
            return intent.amount;
        }
        let refunded = if self.has(Bug::RefundWithoutKey) {
            // Each request refunds the charge.
            intent.refunded + intent.amount
        } else {
            intent.amount
        };
        if refunded != intent.refunded {
            self.change(number, |intent| intent.refunded = refunded);
            self.refund_event(number, true);
        }
        refunded
    }
}

/// The situation at the start of a scenario.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Start {
    /// No purchase.
    #[default]
    Empty,
    /// Purchase 1 is PENDING: the invocation ended before it charged this source.
    Pending(&'static str),
    /// Purchase 1 is PENDING: the invocation ended after it charged this source.
    Charged(&'static str),
    /// Purchase 1 is PAID.
    Paid,
    /// Purchase 1 is FAILED: its payment was never made.
    Failed,
}

impl World {
    /// Brings the world into the situation `start`.
    pub(super) fn start(&mut self, start: Start) {
        let source = match start {
            Start::Empty => return,
            Start::Pending(source) | Start::Charged(source) => source,
            Start::Paid | Start::Failed => "tok_visa",
        };
        let now = self.now();
        let source = PaymentSource::try_from(source.to_owned()).unwrap();
        let order = Order {
            storage: Storage::try_from(10).unwrap(),
            source: source.clone(),
            amount: None,
        };
        let key = super::purchase_key(1);
        let purchase = Purchase::pending(key.clone(), order, now, now.after(RECONCILE_DELAY));
        self.open(&purchase, None);
        if matches!(start, Start::Charged(_) | Start::Paid) {
            let response = self.charge(&purchase, &source);
            let stored = Hashed::new(Stored(response));
            let id = key.purchase_id;
            self.data().stored_responses.insert(id, stored);
        }
        let outcome = match start {
            Start::Paid => Outcome::Paid {
                intent: intent_id(0),
            },
            Start::Failed => Outcome::Failed {
                intent: None,
                decline: Decline::not_made(),
            },
            _ => return,
        };
        self.settle(&key, &outcome, SettleIf::Pending, now);
    }
}

fn brief(payment: &Payment) -> &'static str {
    match payment {
        Payment::Succeeded { .. } => "succeeded",
        Payment::Canceled { .. } => "canceled",
        Payment::Declined { .. } => "declined",
        Payment::RequiresAction { .. } => "requires 3-D Secure",
        Payment::Processing { .. } => "processing",
    }
}

impl Response for Payment {
    fn brief(&self) -> String {
        let id = self.intent().map(IntentId::as_str).unwrap_or_default();
        format!("{id} {}", brief(self))
    }
}

impl Response for Option<Payment> {
    fn brief(&self) -> String {
        self.as_ref().map_or("status 500".into(), Response::brief)
    }
}

impl Response for Vec<Payment> {
    fn brief(&self) -> String {
        let payments: Vec<_> = self.iter().map(Response::brief).collect();
        format!("[{}]", payments.join(", "))
    }
}

impl Response for Option<PaymentDetails> {
    fn brief(&self) -> String {
        let details = self.as_ref().map(|details| details.payment.brief());
        details.unwrap_or("none".into())
    }
}

impl Response for u32 {}

impl Payments for Port {
    fn is_live(&self) -> bool {
        false
    }

    async fn charge(
        &self,
        purchase: &Purchase,
        source: &PaymentSource,
    ) -> Result<Payment, ChargeError> {
        let id = purchase.key.purchase_id;
        let response = self.call("charge the card", |world| {
            if !world.has(Bug::NoIdempotencyKey)
                && let Some(stored) = world.data.stored_responses.get(&id)
            {
                return stored.0.0.0.clone();
            }
            let response = world.charge(purchase, source);
            // Stripe stores no response for a request that it rejects before execution.
            if !matches!(response, Some(Payment::Declined { intent: None, .. })) {
                let stored = Hashed::new(Stored(response.clone()));
                world.data().stored_responses.insert(id, stored);
            }
            response
        });
        match response.await {
            Ok(Some(payment)) => Ok(payment),
            Ok(None) => Err(ChargeError::ServerError("500".into())),
            Err(_) => Err(ChargeError::Unknown("simulated failure".into())),
        }
    }

    async fn find_payments(&self, purchase: &Purchase) -> Result<Vec<Payment>, Error> {
        let found = self.call("list payments", |world| {
            let intents = world.data.intents.iter();
            let found = intents.filter(|intent| intent.purchase == purchase.key);
            found
                .map(|intent| intent.payment.clone())
                .collect::<Vec<_>>()
        });
        found.await.map_err(error)
    }

    async fn retrieve(&self, id: &IntentId) -> Result<Option<PaymentDetails>, Error> {
        let details = self.call("retrieve the payment", |world| {
            let intent = &world.data.intents[world.number(id)?];
            Some(PaymentDetails {
                payment: intent.payment.clone(),
                amount: intent.amount,
                amount_received: if intent.is_charged() {
                    intent.amount
                } else {
                    0
                },
                amount_refunded: intent.refunded,
                currency: Some(Currency::default()),
                is_live: false,
                purchase: Some(intent.purchase.clone()),
            })
        });
        details.await.map_err(error)
    }

    async fn cancel(&self, id: &IntentId) -> Result<Payment, Error> {
        let canceled = self.call("cancel the payment", |world| world.cancel(id));
        canceled.await.map_err(error)
    }

    async fn refund(&self, id: &IntentId) -> Result<RefundedCharge, Error> {
        let refunded = self.call("refund the charge", |world| world.refund(id));
        let amount = refunded.await.map_err(error)?;
        Ok(RefundedCharge { amount })
    }
}
