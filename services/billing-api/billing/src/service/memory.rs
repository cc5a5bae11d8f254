//! All services in memory, for the controllers' tests: one struct, which counts calls, can be told
//! to fail, and can be broken on purpose.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
};

use domain::Page;

use super::{
    ChargeError, Error, NotePurchased, Payments, Publisher, PurchaseStore, stream::Change,
};
use crate::{
    controller::LOOK_AFTER,
    event::Paid,
    payment::{Decline, End, IntentId, Payment},
    purchase::{
        Order, PaymentSource, Purchase, PurchaseId, PurchaseKey, Shard, Status, Storage, Timestamp,
        UserId,
    },
};

#[derive(Default)]
pub(crate) struct Memory {
    state: Mutex<State>,
    broken: Broken,
}

/// What is not as it should be.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    #[default]
    Nothing,
    /// Charges carry no idempotency key.
    StripeKey,
    /// Settle writes over whatever is there.
    SettleCondition,
    /// A payment that is to be cancelled is not.
    Cancel,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It is never carried out.
    Unsent,
    /// It is carried out, and nobody hears of it.
    AnswerLost,
    /// The function is killed before it.
    KilledBefore,
    /// The function is killed after it.
    KilledAfter,
}

#[derive(Default)]
struct State {
    purchases: BTreeMap<PurchaseKey, Purchase>,
    stream: Vec<Change>,
    intents: Vec<Intent>,
    answers: HashMap<PurchaseId, Option<Payment>>,
    charges: Vec<(PurchaseId, u32)>,
    succeeded: Vec<Paid>,
    announced: Vec<NotePurchased>,
    calls: Vec<&'static str>,
    failing: Option<(usize, Failure)>,
    killed: bool,
    unseen: usize,
    meanwhile: Option<Paid>,
}

struct Intent {
    purchase: PurchaseKey,
    amount: u32,
    payment: Payment,
}

pub(crate) const NOON: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn ada() -> UserId {
    "us-east-1:ada".parse().unwrap()
}

pub(crate) fn key() -> PurchaseKey {
    PurchaseKey {
        user_id: ada(),
        purchase_id: PurchaseId::generate(),
    }
}

pub(crate) fn order(source: &str) -> Order {
    Order {
        storage: Storage::try_from(10).unwrap(),
        source: PaymentSource::try_from(source.to_owned()).unwrap(),
    }
}

fn intent(number: usize) -> IntentId {
    IntentId::try_from(format!("pi_{number}")).unwrap()
}

pub(crate) fn paid() -> End {
    End::Paid { intent: intent(1) }
}

pub(crate) fn failed() -> End {
    End::Failed {
        intent: Some(intent(1)),
        decline: Decline::unfinished(),
    }
}

fn decline(code: &str) -> Decline {
    Decline {
        code: code.into(),
        decline_code: None,
        message: "No.".into(),
    }
}

impl Memory {
    pub(crate) fn broken(broken: Broken) -> Self {
        Self {
            broken,
            ..Self::default()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A purchase that was written down, and not charged.
    pub(crate) async fn ordered(&self, source: &str) -> Purchase {
        let due_at = NOON.after(LOOK_AFTER);
        let purchase = Purchase::ordered(key(), order(source), NOON, due_at);
        self.open(&purchase).await.unwrap()
    }

    /// Has one call fail, after that many more.
    pub(crate) fn fail(&self, failure: Failure, after: usize) {
        let mut state = self.state();
        state.failing = Some((state.calls.len() + after, failure));
    }

    /// Starts a function anew after it was killed.
    pub(crate) fn revive(&self) {
        self.state().killed = false;
    }

    /// Lets Stripe find nothing, that many times.
    pub(crate) fn hide_payments(&self, times: usize) {
        self.state().unseen = times;
    }

    /// Has the webhook settle a purchase while somebody asks Stripe where its payment stands.
    pub(crate) fn pay_while_asked(&self, paid: Paid) {
        self.state().meanwhile = Some(paid);
    }

    /// The cards' owners show that the cards are theirs.
    pub(crate) fn authenticate(&self) {
        let mut state = self.state();
        for place in 0..state.intents.len() {
            if let Payment::RequiresAction { .. } = state.intents[place].payment {
                state.succeed(place);
            }
        }
    }

    /// Whether anything could charge a card from now on.
    pub(crate) fn can_still_charge(&self) -> bool {
        let ended = |intent: &Intent| {
            matches!(
                intent.payment,
                Payment::Succeeded { .. } | Payment::Canceled { .. }
            )
        };
        !self.state().intents.iter().all(ended)
    }

    pub(crate) fn calls(&self) -> usize {
        self.state().calls.len()
    }

    /// The call that was told to fail, if it came to it.
    pub(crate) fn failed_call(&self) -> Option<&'static str> {
        let state = self.state();
        let (at, _) = state.failing?;
        state.calls.get(at).copied()
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

    pub(crate) fn succeeded(&self) -> Vec<Paid> {
        self.state().succeeded.clone()
    }

    pub(crate) fn announced(&self) -> Vec<NotePurchased> {
        self.state().announced.clone()
    }

    pub(crate) fn stream(&self) -> Vec<Change> {
        self.state().stream.clone()
    }

    pub(crate) fn purchases(&self) -> Vec<Purchase> {
        self.state().purchases.values().cloned().collect()
    }

    /// The one purchase that there is.
    pub(crate) fn only(&self) -> Purchase {
        let [purchase] = self.purchases().try_into().unwrap();
        purchase
    }

    /// Begins a call: `Ok(Some(_))` if it is to be carried out and its answer lost.
    pub(crate) fn begin(&self, name: &'static str) -> Result<Option<Failure>, Failure> {
        let mut state = self.state();
        let number = state.calls.len();
        state.calls.push(name);
        if state.killed {
            return Err(Failure::KilledBefore);
        }
        let failure = state.failing.filter(|(at, _)| *at == number);
        let failure = failure.map(|(_, failure)| failure);
        state.killed = matches!(failure, Some(Failure::KilledBefore | Failure::KilledAfter));
        match failure {
            Some(failure @ (Failure::Unsent | Failure::KilledBefore)) => Err(failure),
            answer_lost => Ok(answer_lost),
        }
    }

    fn try_call<T>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut State) -> T,
    ) -> Result<T, Failure> {
        let lost = self.begin(name)?;
        let answer = work(&mut self.state());
        lost.map_or(Ok(answer), Err)
    }

    fn call<T>(&self, name: &'static str, work: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        let answer = self.try_call(name, work);
        answer.map_err(|failure| Error::Unavailable(format!("{failure:?}").into()))
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
        end: &End,
        now: Timestamp,
        whatever_is_there: bool,
    ) -> Option<Purchase> {
        let mut purchase = self.purchases.get(key)?.clone();
        if whatever_is_there || matches!(purchase.status, Status::Pending { .. }) {
            purchase.status = end.clone().into();
            purchase.updated_at = now;
            self.write(purchase.clone());
        }
        Some(purchase)
    }

    fn succeed(&mut self, place: usize) {
        let made = &mut self.intents[place];
        let intent = intent(place);
        made.payment = Payment::Succeeded {
            intent: intent.clone(),
        };
        self.charges.push((made.purchase.purchase_id, made.amount));
        self.succeeded.push(Paid {
            intent,
            purchase: made.purchase.clone(),
        });
    }

    /// A charge that Stripe takes up. None is an error 500.
    fn charge(&mut self, purchase: &Purchase, source: &PaymentSource) -> Option<Payment> {
        let place = self.intents.len();
        let intent = intent(place);
        let payment = match source.as_str() {
            "tok_nobody" => {
                return Some(Payment::Declined {
                    intent: None,
                    decline: decline("resource_missing"),
                });
            }
            "pm_threeDSecure" => Payment::RequiresAction {
                intent,
                client_secret: format!("pi_{place}_secret_x").into(),
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
            self.succeed(place);
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
        let answer = self.try_call("charge", |state| {
            let known = state.answers.get(&id).cloned();
            if let Some(answer) = known.filter(|_| self.broken != Broken::StripeKey) {
                return answer;
            }
            let answer = state.charge(purchase, source);
            // What Stripe does not take up it does not remember.
            if !matches!(answer, Some(Payment::Declined { intent: None, .. })) {
                state.answers.insert(id, answer.clone());
            }
            answer
        });
        match answer {
            Ok(Some(payment)) => Ok(payment),
            Ok(None) => Err(ChargeError("500".into())),
            Err(failure) => Err(ChargeError(format!("{failure:?}").into())),
        }
    }

    async fn status_of(&self, purchase: &PurchaseKey) -> Result<Option<Payment>, Error> {
        self.call("status_of", |state| {
            if let Some(Paid { intent, purchase }) = state.meanwhile.take() {
                let broken = self.broken == Broken::SettleCondition;
                state.settle(&purchase, &End::Paid { intent }, NOON, broken);
            }
            if state.unseen > 0 {
                state.unseen -= 1;
                return None;
            }
            let made = &mut state.intents.iter();
            let found = made.find(|intent| intent.purchase == *purchase);
            found.map(|intent| intent.payment.clone())
        })
    }

    async fn cancel(&self, id: &IntentId) -> Result<Payment, Error> {
        self.call("cancel", |state| {
            let canceled = Payment::Canceled { intent: id.clone() };
            if self.broken == Broken::Cancel {
                return canceled;
            }
            let place = (0..state.intents.len()).find(|place| intent(*place) == *id);
            let payment = &mut state.intents[place.unwrap()].payment;
            if !matches!(payment, Payment::Succeeded { .. }) {
                *payment = canceled;
            }
            payment.clone()
        })
    }
}

impl PurchaseStore for Memory {
    async fn open(&self, purchase: &Purchase) -> Result<Purchase, Error> {
        self.call("open", |state| match state.purchases.get(&purchase.key) {
            Some(there) => there.clone(),
            None => {
                state.write(purchase.clone());
                purchase.clone()
            }
        })
    }

    async fn settle(
        &self,
        key: &PurchaseKey,
        end: &End,
        now: Timestamp,
    ) -> Result<Option<Purchase>, Error> {
        let broken = self.broken == Broken::SettleCondition;
        self.call("settle", |state| state.settle(key, end, now, broken))
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
        let place = |purchase: &Purchase| match purchase.status {
            Status::Pending {
                unsettled_shard,
                due_at,
                ..
            } if unsettled_shard == shard && due_at <= now => Some((due_at, purchase.key.clone())),
            _ => None,
        };
        let last = last.and_then(place);
        self.call("due", |state| {
            let mut due: Vec<_> = state.purchases.values().cloned().collect();
            due.retain(|purchase| place(purchase).is_some_and(|place| Some(place) > last));
            due.sort_by_key(place);
            Page::cut(due, limit)
        })
    }
}

impl Publisher for Memory {
    async fn announce(&self, news: &NotePurchased) -> Result<(), Error> {
        self.call("announce", |state| state.announced.push(news.clone()))
    }
}
