//! In-memory services for the tests of the controllers. One struct implements all services. It
//! counts the calls, can make a call fail, and can have a deliberate bug that the tests must
//! detect.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
};

use domain::Page;

use super::{
    ChargeError, Error, NotePurchased, Payments, Publisher, PurchaseStore, stream::Change,
};
use crate::{
    event::SucceededPayment,
    fixtures::{NOON, intent, pending},
    payment::{Decline, IntentId, Outcome, Payment},
    purchase::{
        PaymentSource, Purchase, PurchaseId, PurchaseKey, Shard, Status, Sub, Timestamp, UserId,
    },
};

#[derive(Default)]
pub(crate) struct Memory {
    state: Mutex<State>,
    bug: SeededBug,
}

/// A deliberate bug in the in-memory services. The crash sweep must detect each of these bugs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeededBug {
    #[default]
    None,
    /// Requests that charge a card have no idempotency key.
    NoIdempotencyKey,
    /// `settle` overwrites a purchase that is already settled.
    UnconditionalSettle,
    /// `cancel` reports a success, but does not cancel the payment.
    NoCancel,
}

/// How a call to a service fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The call has no effect, and the caller gets an error.
    Unsent,
    /// The call takes effect, but the caller gets an error.
    ResponseLost,
    /// The invocation is killed before the call.
    KilledBefore,
    /// The invocation is killed after the call took effect.
    KilledAfter,
}

#[derive(Default)]
struct State {
    purchases: BTreeMap<PurchaseKey, Purchase>,
    /// The `sub` that is stored in each purchase.
    subs: HashMap<PurchaseId, Sub>,
    stream: Vec<Change>,
    intents: Vec<Intent>,
    /// The responses that Stripe has stored, keyed by the idempotency key (the id of the purchase).
    /// The value None is a response with the status 500.
    stored_responses: HashMap<PurchaseId, Option<Payment>>,
    charges: Vec<(PurchaseId, u32)>,
    succeeded: Vec<SucceededPayment>,
    published: Vec<NotePurchased>,
    calls: Vec<&'static str>,
    /// The index of the call to make fail, and the kind of its failure. None if no call is to fail.
    failing: Option<(usize, Failure)>,
    /// Whether the current invocation was killed. If so, all further calls of this invocation fail.
    killed: bool,
    /// How many of the next searches for a payment find nothing.
    hidden_searches: usize,
    /// The succeeded payment of a webhook event that arrives during the next search for a payment.
    /// The event settles the purchase as PAID.
    success_during_search: Option<SucceededPayment>,
}

struct Intent {
    purchase: PurchaseKey,
    amount: u32,
    payment: Payment,
}

fn decline(code: &str) -> Decline {
    Decline {
        code: code.into(),
        decline_code: None,
        message: "No.".into(),
    }
}

impl Memory {
    pub(crate) fn with_bug(bug: SeededBug) -> Self {
        Self {
            bug,
            ..Self::default()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Stores a new PENDING purchase without charging the card, and returns the purchase.
    pub(crate) async fn with_pending(&self, source: &str) -> Purchase {
        self.get_or_create(&pending(source), None).await.unwrap()
    }

    /// Injects `failure` into one call: the next `after` calls succeed, and the call after them
    /// fails.
    pub(crate) fn fail(&self, failure: Failure, after: usize) {
        let mut state = self.state();
        state.failing = Some((state.calls.len() + after, failure));
    }

    /// Starts a new invocation. If the previous invocation was killed, calls succeed again.
    pub(crate) fn start_invocation(&self) {
        self.state().killed = false;
    }

    /// Makes the next `times` searches for a payment find nothing, as if Stripe's search index
    /// lagged.
    pub(crate) fn hide_payments(&self, times: usize) {
        self.state().hidden_searches = times;
    }

    /// Simulates a webhook event that arrives during the next search for a payment, and settles the
    /// purchase of `payment` as PAID.
    pub(crate) fn succeed_during_search(&self, payment: SucceededPayment) {
        self.state().success_during_search = Some(payment);
    }

    /// Completes the 3-D Secure authentication of every payment that requires it.
    pub(crate) fn authenticate(&self) {
        let mut state = self.state();
        for index in 0..state.intents.len() {
            if let Payment::RequiresAction { .. } = state.intents[index].payment {
                state.succeed(index);
            }
        }
    }

    /// Whether at least one payment is not final, so that it can still charge a card.
    pub(crate) fn can_still_charge(&self) -> bool {
        let is_final = |intent: &Intent| {
            matches!(
                intent.payment,
                Payment::Succeeded { .. } | Payment::Canceled { .. }
            )
        };
        !self.state().intents.iter().all(is_final)
    }

    pub(crate) fn calls(&self) -> usize {
        self.state().calls.len()
    }

    /// The name of the call into which the failure was injected. None if no failure was injected,
    /// or the call was never made.
    pub(crate) fn failed_call(&self) -> Option<&'static str> {
        let state = self.state();
        let (index, _) = state.failing?;
        state.calls.get(index).copied()
    }

    pub(crate) fn calls_of(&self, name: &str) -> usize {
        let state = self.state();
        state.calls.iter().filter(|call| **call == name).count()
    }

    pub(crate) fn intents(&self) -> usize {
        self.state().intents.len()
    }

    pub(crate) fn charges(&self) -> Vec<(PurchaseId, u32)> {
        self.state().charges.clone()
    }

    pub(crate) fn succeeded(&self) -> Vec<SucceededPayment> {
        self.state().succeeded.clone()
    }

    pub(crate) fn published(&self) -> Vec<NotePurchased> {
        self.state().published.clone()
    }

    pub(crate) fn stream(&self) -> Vec<Change> {
        self.state().stream.clone()
    }

    pub(crate) fn purchases(&self) -> Vec<Purchase> {
        self.state().purchases.values().cloned().collect()
    }

    /// The `sub` that is stored in the purchase `id`.
    pub(crate) fn sub_of(&self, id: PurchaseId) -> Option<Sub> {
        self.state().subs.get(&id).copied()
    }

    /// Returns the only purchase. Panics if there is not exactly one purchase.
    pub(crate) fn only_purchase(&self) -> Purchase {
        let [purchase] = self.purchases().try_into().unwrap();
        purchase
    }

    /// Records a call with the name `name`, and determines whether it fails. Returns `Ok(None)` if
    /// the call succeeds, `Ok(Some(_))` if the call takes effect but the caller gets an error, and
    /// `Err(_)` if the call fails without an effect.
    pub(crate) fn begin(&self, name: &'static str) -> Result<Option<Failure>, Failure> {
        let mut state = self.state();
        let index = state.calls.len();
        state.calls.push(name);
        if state.killed {
            return Err(Failure::KilledBefore);
        }
        let failure = state.failing.filter(|(failing, _)| *failing == index);
        let failure = failure.map(|(_, failure)| failure);
        state.killed = matches!(failure, Some(Failure::KilledBefore | Failure::KilledAfter));
        match failure {
            Some(failure @ (Failure::Unsent | Failure::KilledBefore)) => Err(failure),
            response_lost => Ok(response_lost),
        }
    }

    fn try_call<T>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut State) -> T,
    ) -> Result<T, Failure> {
        let lost = self.begin(name)?;
        let response = work(&mut self.state());
        lost.map_or(Ok(response), Err)
    }

    fn call<T>(&self, name: &'static str, work: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        let response = self.try_call(name, work);
        response.map_err(|failure| Error::Unavailable(format!("{failure:?}").into()))
    }
}

impl State {
    fn write(&mut self, purchase: Purchase) {
        let key = purchase.key.clone();
        let before = self.purchases.insert(key, purchase.clone());
        if before.as_ref() != Some(&purchase) {
            self.stream.push(Change {
                before,
                after: Some(purchase),
            });
        }
    }

    fn settle(
        &mut self,
        key: &PurchaseKey,
        outcome: &Outcome,
        now: Timestamp,
        bug: SeededBug,
    ) -> Option<Purchase> {
        let unconditional = bug == SeededBug::UnconditionalSettle;
        let mut purchase = self.purchases.get(key)?.clone();
        if unconditional || matches!(purchase.status, Status::Pending { .. }) {
            purchase.status = outcome.clone().into();
            purchase.updated_at = now;
            self.write(purchase.clone());
        }
        Some(purchase)
    }

    fn succeed(&mut self, index: usize) {
        let made = &mut self.intents[index];
        let intent = intent(index);
        made.payment = Payment::Succeeded {
            intent: intent.clone(),
        };
        self.charges.push((made.purchase.purchase_id, made.amount));
        self.succeeded.push(SucceededPayment {
            intent,
            purchase: made.purchase.clone(),
        });
    }

    /// Executes a charge in the simulated Stripe. Returns None for a response with the status 500.
    fn charge(&mut self, purchase: &Purchase, source: &PaymentSource) -> Option<Payment> {
        let index = self.intents.len();
        let intent = intent(index);
        let payment = match source.as_str() {
            "tok_nobody" => {
                return Some(Payment::Declined {
                    intent: None,
                    decline: decline("resource_missing"),
                });
            }
            "pm_threeDSecure" => Payment::RequiresAction {
                intent,
                client_secret: format!("pi_{index}_secret_x").into(),
            },
            "pm_slow" => Payment::Processing { intent },
            "tok_chargeDeclined" => Payment::Declined {
                intent: Some(intent),
                decline: decline("card_declined"),
            },
            _ => Payment::Succeeded { intent },
        };
        self.intents.push(Intent {
            purchase: purchase.key.clone(),
            amount: purchase.amount.get(),
            payment: payment.clone(),
        });
        if let Payment::Succeeded { .. } = payment {
            self.succeed(index);
        }
        (source.as_str() != "tok_error500").then_some(payment)
    }
}

impl Payments for Memory {
    async fn charge(
        &self,
        purchase: &Purchase,
        source: &PaymentSource,
    ) -> Result<Payment, ChargeError> {
        let id = purchase.key.purchase_id;
        let response = self.try_call("charge", |state| {
            let stored = state.stored_responses.get(&id).cloned();
            if let Some(response) = stored.filter(|_| self.bug != SeededBug::NoIdempotencyKey) {
                return response;
            }
            let response = state.charge(purchase, source);
            // Stripe stores no response for a request that it rejects before execution.
            if !matches!(response, Some(Payment::Declined { intent: None, .. })) {
                state.stored_responses.insert(id, response.clone());
            }
            response
        });
        match response {
            Ok(Some(payment)) => Ok(payment),
            Ok(None) => Err(ChargeError("500".into())),
            Err(failure) => Err(ChargeError(format!("{failure:?}").into())),
        }
    }

    async fn find_payment(&self, purchase: &PurchaseKey) -> Result<Option<Payment>, Error> {
        self.call("find_payment", |state| {
            if let Some(payment) = state.success_during_search.take() {
                let SucceededPayment { intent, purchase } = payment;
                state.settle(&purchase, &Outcome::Paid { intent }, NOON, self.bug);
            }
            if state.hidden_searches > 0 {
                state.hidden_searches -= 1;
                return None;
            }
            let mut intents = state.intents.iter();
            let found = intents.find(|intent| intent.purchase == *purchase);
            found.map(|intent| intent.payment.clone())
        })
    }

    async fn cancel(&self, id: &IntentId) -> Result<Payment, Error> {
        self.call("cancel", |state| {
            let canceled = Payment::Canceled { intent: id.clone() };
            if self.bug == SeededBug::NoCancel {
                return canceled;
            }
            let index = (0..state.intents.len()).find(|index| intent(*index) == *id);
            let payment = &mut state.intents[index.unwrap()].payment;
            if !matches!(payment, Payment::Succeeded { .. }) {
                *payment = canceled;
            }
            payment.clone()
        })
    }
}

impl PurchaseStore for Memory {
    async fn get_or_create(
        &self,
        purchase: &Purchase,
        sub: Option<Sub>,
    ) -> Result<Purchase, Error> {
        self.call("get_or_create", |state| {
            match state.purchases.get(&purchase.key) {
                Some(stored) => stored.clone(),
                None => {
                    state.write(purchase.clone());
                    let id = purchase.key.purchase_id;
                    state.subs.extend(sub.map(|sub| (id, sub)));
                    purchase.clone()
                }
            }
        })
    }

    async fn settle(
        &self,
        key: &PurchaseKey,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<Option<Purchase>, Error> {
        self.call("settle", |state| state.settle(key, outcome, now, self.bug))
    }

    async fn postpone(&self, key: &PurchaseKey, due: Timestamp) -> Result<(), Error> {
        self.call("postpone", |state| {
            let Some(mut purchase) = state.purchases.get(key).cloned() else {
                return;
            };
            if let Status::Pending { due_at, .. } = &mut purchase.status {
                *due_at = due;
                state.write(purchase);
            }
        })
    }

    async fn page(
        &self,
        user: &UserId,
        before: Option<PurchaseId>,
        limit: usize,
    ) -> Result<Page<Purchase>, Error> {
        self.call("page", |state| {
            let older = state.purchases.values().rev().filter(|purchase| {
                let PurchaseKey {
                    user_id,
                    purchase_id,
                } = &purchase.key;
                user_id == user && before.is_none_or(|before| *purchase_id < before)
            });
            Page::cut(older.cloned().collect(), limit)
        })
    }

    async fn due(
        &self,
        shard: Shard,
        now: Timestamp,
        last: Option<&Purchase>,
        limit: usize,
    ) -> Result<Page<Purchase>, Error> {
        let sort_key = |purchase: &Purchase| match purchase.status {
            Status::Pending {
                unsettled_shard,
                due_at,
                ..
            } if unsettled_shard == shard && due_at <= now => Some((due_at, purchase.key.clone())),
            _ => None,
        };
        let last = last.and_then(sort_key);
        self.call("due", |state| {
            let mut due: Vec<_> = state.purchases.values().cloned().collect();
            due.retain(|purchase| sort_key(purchase).is_some_and(|key| Some(key) > last));
            due.sort_by_key(sort_key);
            Page::cut(due, limit)
        })
    }
}

impl Publisher for Memory {
    async fn publish(&self, message: &NotePurchased) -> Result<(), Error> {
        self.call("publish", |state| state.published.push(message.clone()))
    }
}
