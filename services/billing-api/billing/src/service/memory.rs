//! Test doubles: one struct implements all services of the controllers in memory. It counts the
//! calls, and can make a call fail.

use std::{
    collections::{BTreeMap, HashMap},
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use domain::Page;

use super::{
    Buyer, ChargeError, DueKey, DuePage, Error, NotePurchased, Opened, OrderStore, Payments,
    Publisher, PurchaseStore, SettleIf, Settled, stream::Change,
};
use crate::{
    payment::{Decline, IntentId, Outcome, Payment},
    purchase::{
        Currency, Notice, PaymentSource, Purchase, PurchaseId, PurchaseKey, RECONCILE_DELAY, Shard,
        Status, Sub, Timestamp, UserId,
    },
    report::{PaymentDetails, RefundedCharge},
};

/// The services of the controllers, in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<State>);

/// How a simulated failure of a call affects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The call has no effect, and the caller gets an error.
    Unsent,
    /// The call takes effect, but the caller gets an error.
    ResponseLost,
}

#[derive(Debug, Default, Clone)]
struct State {
    purchases: BTreeMap<PurchaseKey, Purchase>,
    /// The `sub` that is stored in each purchase.
    subs: HashMap<PurchaseId, Sub>,
    buyers: HashMap<UserId, Buyer>,
    /// The items of the index that are not valid purchases.
    unreadable: Vec<(Shard, DueKey)>,
    stream: Vec<Change>,
    intents: Vec<Intent>,
    /// The responses that Stripe has stored, keyed by the idempotency key (the id of the purchase).
    /// The value None is a response with the status 500.
    stored_responses: HashMap<PurchaseId, Option<Payment>>,
    charges: Vec<(PurchaseId, u32)>,
    published: Vec<NotePurchased>,
    calls: Vec<&'static str>,
    /// The calls that fail. None if all calls succeed.
    failing: Option<Failing>,
}

#[derive(Debug, Clone)]
struct Failing {
    name: &'static str,
    after: usize,
    times: usize,
    failure: Failure,
}

/// A PaymentIntent in the simulated Stripe.
#[derive(Debug, Clone)]
struct Intent {
    id: IntentId,
    purchase: Option<PurchaseKey>,
    amount: u32,
    currency: Currency,
    refunded: u32,
    payment: Payment,
    /// Why the last attempt failed.
    last_error: Option<Decline>,
}

/// The `number`th PaymentIntent of the simulated Stripe, from 0.
fn intent(number: usize) -> Result<IntentId, Error> {
    IntentId::try_from(format!("pi_{number}")).map_err(|error| Error::Failed(error.into()))
}

/// Lets other futures run, as a call over a network does.
async fn pause() {
    let mut is_first = true;
    poll_fn(|context| {
        if std::mem::take(&mut is_first) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

fn decline(code: &str) -> Decline {
    Decline {
        code: code.into(),
        decline_code: None,
        message: "No.".into(),
    }
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores `purchase`, as if an earlier release had written it.
    pub(crate) fn store(&self, purchase: Purchase) {
        self.state().write(purchase);
    }

    /// Stores an item that is due at `due_at` in `shard`, and is not a valid purchase.
    pub(crate) fn store_unreadable(&self, shard: Shard, key: DueKey) {
        self.state().unreadable.push((shard, key));
    }

    /// Makes calls with the name `name` fail: the next `after` ones succeed, and then `times` ones
    /// fail.
    pub(crate) fn fail(&self, name: &'static str, failure: Failure, after: usize, times: usize) {
        self.state().failing = Some(Failing {
            name,
            after,
            times,
            failure,
        });
    }

    /// Completes the 3-D Secure authentication of every payment that requires it.
    pub(crate) fn authenticate(&self) {
        let mut state = self.state();
        for index in 0..state.intents.len() {
            let intent = state.intents.get(index);
            if intent.is_some_and(|intent| matches!(intent.payment, Payment::RequiresAction { .. }))
            {
                state.succeed(index);
            }
        }
    }

    /// Makes the 3-D Secure authentication of every payment that requires it fail.
    pub(crate) fn fail_authentication(&self) {
        for intent in &mut self.state().intents {
            if let Payment::RequiresAction { intent: id, .. } = &intent.payment {
                let decline = decline("payment_intent_authentication_failure");
                intent.last_error = Some(decline.clone());
                intent.payment = Payment::Declined {
                    intent: Some(id.clone()),
                    decline,
                };
            }
        }
    }

    /// Adds a succeeded PaymentIntent with the metadata, the amount and the currency of `purchase`,
    /// which no call of [`Payments::charge`] has made. Returns its id.
    ///
    /// # Errors
    /// Fails if no id can be created.
    pub(crate) fn charge_again(&self, purchase: &Purchase) -> Result<IntentId, Error> {
        let mut state = self.state();
        let index = state.intents.len();
        let id = intent(index)?;
        let payment = Payment::Processing { intent: id.clone() };
        state.add_intent(purchase, id.clone(), payment);
        state.succeed(index);
        Ok(id)
    }

    /// Changes the PaymentIntent `id` so that it belongs to no purchase.
    pub(crate) fn remove_metadata(&self, id: &IntentId) {
        let mut state = self.state();
        let intent = state.intents.iter_mut().find(|intent| intent.id == *id);
        if let Some(intent) = intent {
            intent.purchase = None;
        }
    }

    /// Sets the sum of the refunds of the PaymentIntent `id`, as refunds in Stripe's Dashboard do. A
    /// smaller sum than before means that a refund failed.
    pub(crate) fn set_refunded(&self, id: &IntentId, amount: u32) {
        let mut state = self.state();
        let intent = state.intents.iter_mut().find(|intent| intent.id == *id);
        if let Some(intent) = intent {
            intent.refunded = amount;
        }
    }

    /// The refunded amount of the PaymentIntent `id`.
    pub(crate) fn refunded(&self, id: &IntentId) -> u32 {
        let state = self.state();
        let intent = state.intents.iter().find(|intent| intent.id == *id);
        intent.map_or(0, |intent| intent.refunded)
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

    /// The number of all calls.
    pub(crate) fn calls(&self) -> usize {
        self.state().calls.len()
    }

    /// The number of calls with the name `name`.
    pub(crate) fn calls_of(&self, name: &str) -> usize {
        let state = self.state();
        state.calls.iter().filter(|call| **call == name).count()
    }

    /// The ids of all PaymentIntents.
    pub(crate) fn intents(&self) -> Vec<IntentId> {
        let state = self.state();
        let ids = state.intents.iter().map(|intent| intent.id.clone());
        ids.collect()
    }

    /// The ids of the purchases whose card was charged, with the amounts.
    pub(crate) fn charges(&self) -> Vec<(PurchaseId, u32)> {
        self.state().charges.clone()
    }

    /// The published messages.
    pub(crate) fn published(&self) -> Vec<NotePurchased> {
        self.state().published.clone()
    }

    /// The records of the stream of the table Purchases.
    pub(crate) fn stream(&self) -> Vec<Change> {
        self.state().stream.clone()
    }

    /// All purchases, in the order of their keys.
    pub(crate) fn purchases(&self) -> Vec<Purchase> {
        self.state().purchases.values().cloned().collect()
    }

    /// The `sub` that is stored in the purchase `id`.
    pub(crate) fn sub_of(&self, id: PurchaseId) -> Option<Sub> {
        self.state().subs.get(&id).copied()
    }

    async fn try_call<T>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut State) -> T,
    ) -> Result<T, Failure> {
        pause().await;
        let mut state = self.state();
        state.calls.push(name);
        let mut failure = None;
        if let Some(failing) = &mut state.failing
            && failing.name == name
        {
            if failing.after > 0 {
                failing.after -= 1;
            } else if failing.times > 0 {
                failing.times -= 1;
                failure = Some(failing.failure);
            }
        }
        if failure == Some(Failure::Unsent) {
            return Err(Failure::Unsent);
        }
        let response = work(&mut state);
        failure.map_or(Ok(response), Err)
    }

    async fn call<T>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut State) -> T,
    ) -> Result<T, Error> {
        let response = self.try_call(name, work).await;
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
        condition: SettleIf,
        now: Timestamp,
    ) -> Settled {
        let Some(stored) = self.purchases.get(key).cloned() else {
            return Settled::Missing;
        };
        let Status::Pending {
            payment_intent_id, ..
        } = &stored.status
        else {
            return Settled::Unchanged(stored);
        };
        let meets_condition = match (condition, outcome) {
            (SettleIf::Pending, Outcome::Paid { .. }) => true,
            (SettleIf::Pending, Outcome::Failed { intent, .. }) => {
                payment_intent_id.is_none() || payment_intent_id == intent
            }
            (SettleIf::Matches { amount, currency }, Outcome::Paid { intent }) => {
                payment_intent_id.as_ref() == Some(intent)
                    && amount == stored.amount.get()
                    && currency == stored.currency
            }
            (SettleIf::Matches { .. }, Outcome::Failed { .. }) => false,
        };
        if !meets_condition {
            return Settled::Unchanged(stored);
        }
        let mut settled = stored.clone();
        settled.updated_at = now;
        match outcome.clone() {
            Outcome::Paid { intent } => {
                settled.status = Status::Paid {
                    payment_intent_id: intent,
                };
                settled.revision = 1;
                settled.outbox = Some(vec![Notice::Paid]);
                settled.due_at = Some(now.after(RECONCILE_DELAY));
            }
            Outcome::Failed { intent, decline } => {
                settled.status = Status::Failed {
                    payment_intent_id: intent.or_else(|| payment_intent_id.clone()),
                    decline,
                };
                settled.due_at = None;
            }
        }
        self.write(settled.clone());
        Settled::Done(settled)
    }

    fn add_intent(&mut self, purchase: &Purchase, id: IntentId, payment: Payment) {
        let last_error = match &payment {
            Payment::Declined { decline, .. } => Some(decline.clone()),
            _ => None,
        };
        self.intents.push(Intent {
            id,
            purchase: Some(purchase.key.clone()),
            amount: purchase.amount.get(),
            currency: purchase.currency,
            refunded: 0,
            payment,
            last_error,
        });
    }

    fn succeed(&mut self, index: usize) {
        let Some(intent) = self.intents.get_mut(index) else {
            return;
        };
        intent.payment = Payment::Succeeded {
            intent: intent.id.clone(),
        };
        if let Some(purchase) = &intent.purchase {
            let charge = (purchase.purchase_id, intent.amount);
            self.charges.push(charge);
        }
    }

    /// Executes a charge in the simulated Stripe. Returns None for a response with the status 500.
    fn charge(&mut self, purchase: &Purchase, source: &PaymentSource) -> Option<Payment> {
        let index = self.intents.len();
        let id = intent(index).ok()?;
        let payment = match source.as_str() {
            "tok_nobody" => {
                return Some(Payment::Declined {
                    intent: None,
                    decline: decline("resource_missing"),
                });
            }
            "tok_error500NoEffect" => return None,
            "pm_threeDSecure" => Payment::RequiresAction {
                intent: id.clone(),
                client_secret: format!("pi_{index}_secret_x").into(),
            },
            "pm_slow" => Payment::Processing { intent: id.clone() },
            "tok_chargeDeclined" => Payment::Declined {
                intent: Some(id.clone()),
                decline: decline("card_declined"),
            },
            "tok_stolen" => Payment::Declined {
                intent: Some(id.clone()),
                decline: Decline {
                    decline_code: Some("stolen_card".into()),
                    ..decline("card_declined")
                },
            },
            _ => Payment::Succeeded { intent: id.clone() },
        };
        self.add_intent(purchase, id, payment.clone());
        if let Payment::Succeeded { .. } = payment {
            self.succeed(index);
        }
        (source.as_str() != "tok_error500").then_some(payment)
    }

    fn find(&mut self, id: &IntentId) -> Option<&mut Intent> {
        self.intents.iter_mut().find(|intent| intent.id == *id)
    }
}

fn unknown(id: &IntentId) -> Error {
    Error::Failed(format!("No such payment_intent: {}", id.as_str()).into())
}

impl Payments for Memory {
    fn is_live(&self) -> bool {
        false
    }

    async fn charge(
        &self,
        purchase: &Purchase,
        source: &PaymentSource,
    ) -> Result<Payment, ChargeError> {
        let id = purchase.key.purchase_id;
        let response = self
            .try_call("charge", |state| {
                if let Some(response) = state.stored_responses.get(&id) {
                    return response.clone();
                }
                let response = state.charge(purchase, source);
                // Stripe stores no response for a request that it rejects before execution.
                if !matches!(response, Some(Payment::Declined { intent: None, .. })) {
                    state.stored_responses.insert(id, response.clone());
                }
                response
            })
            .await;
        match response {
            Ok(Some(payment)) => Ok(payment),
            Ok(None) => Err(ChargeError::ServerError("500".into())),
            Err(failure) => Err(ChargeError::Unknown(format!("{failure:?}").into())),
        }
    }

    async fn find_payments(&self, purchase: &Purchase) -> Result<Vec<Payment>, Error> {
        self.call("find_payments", |state| {
            let is_for = |intent: &&Intent| intent.purchase.as_ref() == Some(&purchase.key);
            let found = state.intents.iter().filter(is_for);
            found.map(|intent| intent.payment.clone()).collect()
        })
        .await
    }

    async fn retrieve(&self, id: &IntentId) -> Result<Option<PaymentDetails>, Error> {
        self.call("retrieve", |state| {
            let intent = state.find(id)?.clone();
            let is_charged = matches!(intent.payment, Payment::Succeeded { .. });
            Some(PaymentDetails {
                amount_received: if is_charged { intent.amount } else { 0 },
                payment: intent.payment,
                amount: intent.amount,
                amount_refunded: intent.refunded,
                currency: Some(intent.currency),
                is_live: false,
                purchase: intent.purchase,
            })
        })
        .await
    }

    async fn cancel(&self, id: &IntentId) -> Result<Payment, Error> {
        self.call("cancel", |state| {
            let intent = state.find(id).ok_or_else(|| unknown(id))?;
            if !matches!(
                intent.payment,
                Payment::Succeeded { .. } | Payment::Processing { .. }
            ) {
                intent.payment = Payment::Canceled {
                    intent: id.clone(),
                    decline: intent.last_error.clone(),
                };
            }
            Ok(intent.payment.clone())
        })
        .await?
    }

    async fn refund(&self, id: &IntentId) -> Result<RefundedCharge, Error> {
        self.call("refund", |state| {
            let intent = state.find(id).ok_or_else(|| unknown(id))?;
            intent.refunded = intent.amount;
            Ok(RefundedCharge {
                amount: intent.refunded,
            })
        })
        .await?
    }
}

impl OrderStore for Memory {
    async fn open(
        &self,
        purchase: &Purchase,
        sub: Option<Sub>,
        replaced: Option<&Buyer>,
    ) -> Result<Opened, Error> {
        self.call("open", |state| {
            let PurchaseKey {
                user_id,
                purchase_id,
            } = &purchase.key;
            if let Some(stored) = state.purchases.get(&purchase.key) {
                return Opened::Existing(stored.clone());
            }
            let buyer = state.buyers.get(user_id);
            let expected = replaced.map_or(*purchase_id, |replaced| replaced.open_order);
            if let Some(buyer) = buyer.filter(|buyer| buyer.open_order != expected) {
                return Opened::Other(buyer.clone());
            }
            let declines = match (replaced, buyer) {
                (Some(replaced), _) => replaced.declines.clone(),
                (None, Some(buyer)) => buyer.declines.clone(),
                (None, None) => Vec::new(),
            };
            let buyer = Buyer {
                open_order: *purchase_id,
                declines,
            };
            state.buyers.insert(user_id.clone(), buyer);
            state.write(purchase.clone());
            state.subs.extend(sub.map(|sub| (*purchase_id, sub)));
            Opened::Created
        })
        .await
    }
}

impl PurchaseStore for Memory {
    async fn get(&self, key: &PurchaseKey) -> Result<Option<Purchase>, Error> {
        self.call("get", |state| state.purchases.get(key).cloned())
            .await
    }

    async fn settle(
        &self,
        key: &PurchaseKey,
        outcome: &Outcome,
        condition: SettleIf,
        now: Timestamp,
    ) -> Result<Settled, Error> {
        self.call("settle", |state| state.settle(key, outcome, condition, now))
            .await
    }

    async fn revise(&self, changed: &Purchase, revision: u64) -> Result<bool, Error> {
        self.call("revise", |state| {
            let stored = state.purchases.get(&changed.key);
            let is_current =
                |stored: &&Purchase| stored.revision == revision && !stored.is_pending();
            let is_stored = stored.filter(is_current).is_some();
            if is_stored {
                state.write(changed.clone());
            }
            is_stored
        })
        .await
    }

    async fn announced(&self, key: &PurchaseKey, revision: u64) -> Result<(), Error> {
        self.call("announced", |state| {
            let stored = state.purchases.get(key).cloned();
            if let Some(mut purchase) = stored.filter(|stored| stored.revision == revision) {
                purchase.outbox = None;
                purchase.due_at = None;
                state.write(purchase);
            }
        })
        .await
    }

    async fn postpone(
        &self,
        key: &PurchaseKey,
        due_at: Timestamp,
        intent: Option<&IntentId>,
    ) -> Result<bool, Error> {
        self.call("postpone", |state| {
            let Some(mut purchase) = state.purchases.get(key).cloned() else {
                return false;
            };
            match (intent, &mut purchase.status) {
                (
                    Some(intent),
                    Status::Pending {
                        payment_intent_id, ..
                    },
                ) => *payment_intent_id = Some(intent.clone()),
                (None, _) if purchase.due_at.is_some() => (),
                _ => return false,
            }
            purchase.due_at = Some(due_at);
            state.write(purchase);
            true
        })
        .await
    }

    async fn set_aside(&self, key: &DueKey, due_at: Timestamp) -> Result<(), Error> {
        self.call("set_aside", |state| {
            for (_, item) in &mut state.unreadable {
                if item == key {
                    item.due_at = due_at.as_millis().to_string();
                }
            }
        })
        .await
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
        .await
    }

    async fn due(
        &self,
        shard: Shard,
        now: Timestamp,
        after: Option<&DueKey>,
        limit: usize,
    ) -> Result<DuePage, Error> {
        self.call("due", |state| {
            let due = state.purchases.values().filter_map(|purchase| {
                let PurchaseKey {
                    user_id,
                    purchase_id,
                } = &purchase.key;
                let due_at = purchase.due_at?;
                let key = DueKey {
                    due_at: due_at.as_millis().to_string(),
                    user_id: user_id.as_str().to_owned(),
                    purchase_id: purchase_id.to_string(),
                };
                let is_in = Shard::of(*purchase_id) == shard && due_at <= now;
                is_in.then(|| (key, Some(purchase.clone())))
            });
            let unreadable = state.unreadable.iter().filter(|(of, key)| {
                let due_at = key.due_at.parse().unwrap_or_default();
                *of == shard && Timestamp::from_millis(due_at) <= now
            });
            let unreadable = unreadable.map(|(_, key)| (key.clone(), None));
            let mut due: Vec<_> = due.chain(unreadable).collect();
            due.retain(|(key, _)| after.is_none_or(|after| key > after));
            due.sort_by(|(one, _), (other, _)| one.cmp(other));
            let Page { items, more } = Page::cut(due, limit);
            let mut page = DuePage {
                next: items.last().map(|(key, _)| key.clone()).filter(|_| more),
                ..DuePage::default()
            };
            for (key, purchase) in items {
                match purchase {
                    Some(purchase) => page.purchases.push(purchase),
                    None => page.unreadable.push(key),
                }
            }
            page
        })
        .await
    }
}

impl Publisher for Memory {
    async fn publish(&self, message: &NotePurchased) -> Result<(), Error> {
        self.call("publish", |state| state.published.push(message.clone()))
            .await
    }
}
