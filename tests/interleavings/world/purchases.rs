//! The tables Purchases and Buyers, and the topic Purchases.

use billing::{
    payment::{IntentId, Outcome},
    purchase::{
        Notice, Purchase, PurchaseId, PurchaseKey, RECONCILE_DELAY, Shard, Status, Sub, Timestamp,
        UserId,
    },
    service::{
        Buyer, DueKey, DuePage, Error, NotePurchased, Opened, OrderStore, Publisher, PurchaseStore,
        SettleIf, Settled, stream::Change,
    },
};
use domain::Page;

use super::{Hashed, World, error};
use crate::{
    bugs::Bug,
    call::{Port, Response},
};

impl World {
    /// Writes a purchase, and adds the change to the stream.
    fn write(&mut self, purchase: Purchase) {
        let key = purchase.key.clone();
        let before = self.data.purchases.get(&key).cloned();
        if let Some(before) = &before {
            if **before == purchase {
                return;
            }
            let may_follow = match &before.status {
                Status::Pending { .. } => true,
                Status::Failed { .. } => matches!(purchase.status, Status::Failed { .. }),
                _ => before.paid_by() == purchase.paid_by(),
            };
            if !may_follow {
                self.break_rule("a settled purchase keeps its outcome");
            }
            if before.revision > purchase.revision {
                self.break_rule("the revision of a purchase does not decrease");
            }
        }
        let after = Hashed::new(purchase);
        let change = Change {
            before: before.as_deref().cloned(),
            after: Some(Purchase::clone(&after)),
        };
        let delivers = self.setting.stream;
        let data = self.data();
        data.before.insert(key.clone(), before);
        data.purchases.insert(key, after);
        if delivers {
            data.stream.push_back(Hashed::new(change));
            if data.stream.len() == 1 {
                self.deliver_record();
            }
        }
    }

    pub(super) fn open(&mut self, purchase: &Purchase, replaced: Option<&Buyer>) -> Opened {
        if let Some(stored) = self.data.purchases.get(&purchase.key) {
            return Opened::Existing(Purchase::clone(stored));
        }
        let user = purchase.key.user_id.as_str();
        let id = purchase.key.purchase_id;
        let buyer = self.data.buyers.get(user);
        let holds = match (buyer, replaced) {
            (None, None) => true,
            (Some(buyer), None) => buyer.open_order == id,
            (Some(buyer), Some(replaced)) => buyer.open_order == replaced.open_order,
            (None, Some(_)) => false,
        };
        if let Some(buyer) = buyer
            && !holds
            && !self.has(Bug::OrderWithoutCondition)
        {
            return Opened::Other(Buyer::clone(buyer));
        }
        let declines = match replaced {
            Some(replaced) => replaced.declines.clone(),
            None => buyer.map_or(Vec::new(), |buyer| buyer.declines.clone()),
        };
        let buyer = Hashed::new(Buyer {
            open_order: id,
            declines,
        });
        let user = user.to_owned();
        self.data().buyers.insert(user, buyer);
        self.write(purchase.clone());
        Opened::Created
    }

    pub(super) fn settle(
        &mut self,
        key: &PurchaseKey,
        outcome: &Outcome,
        condition: SettleIf,
        now: Timestamp,
    ) -> Settled {
        let Some(stored) = self.data.purchases.get(key) else {
            return Settled::Missing;
        };
        let stored = Purchase::clone(stored);
        let known = match &stored.status {
            Status::Pending {
                payment_intent_id, ..
            } => payment_intent_id.clone(),
            _ if self.has(Bug::SettleWithoutCondition) => None,
            _ => return Settled::Unchanged(stored),
        };
        let matches = match (condition, outcome) {
            (SettleIf::Pending, Outcome::Paid { .. }) => true,
            (SettleIf::Pending, Outcome::Failed { intent, .. }) => {
                known.is_none() || known == *intent || self.has(Bug::FailWithoutComparison)
            }
            (SettleIf::Matches { amount, currency }, Outcome::Paid { intent }) => {
                known.as_ref() == Some(intent)
                    && amount == stored.amount.get()
                    && currency == stored.currency
            }
            (SettleIf::Matches { .. }, Outcome::Failed { .. }) => false,
        };
        if !matches {
            return Settled::Unchanged(stored);
        }
        let mut settled = stored;
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
                    payment_intent_id: intent.or(known),
                    decline,
                };
                settled.due_at = None;
            }
        }
        self.write(settled.clone());
        Settled::Done(settled)
    }

    fn revise(&mut self, changed: &Purchase, revision: u64) -> bool {
        let Some(stored) = self.data.purchases.get(&changed.key) else {
            return false;
        };
        let holds = stored.revision == revision && !stored.is_pending();
        if holds || self.has(Bug::ReviseWithoutRevision) {
            self.write(changed.clone());
            return true;
        }
        false
    }

    fn announced(&mut self, key: &PurchaseKey, revision: u64) {
        if let Some(stored) = self.data.purchases.get(key)
            && (stored.revision == revision || self.has(Bug::OutboxClearedWithoutRevision))
        {
            let mut announced = Purchase::clone(stored);
            announced.outbox = None;
            announced.due_at = None;
            self.write(announced);
        }
    }

    fn postpone(
        &mut self,
        key: &PurchaseKey,
        due_at: Timestamp,
        intent: Option<&IntentId>,
    ) -> bool {
        let Some(stored) = self.data.purchases.get(key) else {
            return false;
        };
        let mut postponed = Purchase::clone(stored);
        match (&mut postponed.status, intent) {
            (
                Status::Pending {
                    payment_intent_id, ..
                },
                Some(intent),
            ) => *payment_intent_id = Some(intent.clone()),
            (_, Some(_)) => return self.has(Bug::PostponeWithoutCondition),
            (_, None) if postponed.due_at.is_none() => return false,
            (_, None) => (),
        }
        postponed.due_at = Some(due_at);
        self.write(postponed);
        true
    }

    fn due(&self, now: Timestamp) -> Vec<Purchase> {
        let purchases = self.data.purchases.iter();
        let images = purchases.filter_map(|(key, stored)| match self.outdated {
            true => self.data.before.get(key).cloned().flatten(),
            false => Some(stored.clone()),
        });
        let is_due = |purchase: &Hashed<Purchase>| purchase.due_at.is_some_and(|due| due <= now);
        let due = images.filter(is_due);
        due.map(|purchase| Purchase::clone(&purchase)).collect()
    }
}

/// The status of a purchase in a few words.
fn status(purchase: &Purchase) -> String {
    let name = purchase.status.name();
    match purchase.revision {
        0 => name.into(),
        revision => format!("{name}, revision {revision}"),
    }
}

impl Response for Opened {
    fn brief(&self) -> String {
        match self {
            Self::Created => "done".into(),
            Self::Existing(purchase) => format!("exists, {}", status(purchase)),
            Self::Other(_) => "the buyer has another order".into(),
        }
    }
}

impl Response for Settled {
    fn brief(&self) -> String {
        match self {
            Self::Done(purchase) => format!("{} now", status(purchase)),
            Self::Unchanged(purchase) => format!("condition failed, {}", status(purchase)),
            Self::Missing => "missing".into(),
        }
    }
}

impl Response for Option<Purchase> {
    fn brief(&self) -> String {
        self.as_ref().map_or("none".into(), status)
    }
}

impl Response for Vec<Purchase> {
    fn brief(&self) -> String {
        let purchases: Vec<_> = self.iter().map(status).collect();
        format!("[{}]", purchases.join(", "))
    }
}

impl OrderStore for Port {
    async fn open(
        &self,
        purchase: &Purchase,
        _: Option<Sub>,
        replaced: Option<&Buyer>,
    ) -> Result<Opened, Error> {
        let opened = self.call("store the order", |world| world.open(purchase, replaced));
        opened.await.map_err(error)
    }
}

impl PurchaseStore for Port {
    async fn get(&self, key: &PurchaseKey) -> Result<Option<Purchase>, Error> {
        let found = self.call("read the purchase", |world| {
            let found = world.data.purchases.get(key);
            found.map(|purchase| Purchase::clone(purchase))
        });
        found.await.map_err(error)
    }

    async fn settle(
        &self,
        key: &PurchaseKey,
        outcome: &Outcome,
        condition: SettleIf,
        now: Timestamp,
    ) -> Result<Settled, Error> {
        let name = match outcome {
            Outcome::Paid { .. } => "settle as PAID",
            Outcome::Failed { .. } => "settle as FAILED",
        };
        let settled = self.call(name, |world| world.settle(key, outcome, condition, now));
        settled.await.map_err(error)
    }

    async fn revise(&self, changed: &Purchase, revision: u64) -> Result<bool, Error> {
        let name = match changed.status {
            Status::Refunded { .. } => "store a refund (REFUNDED)",
            Status::Disputed { .. } => "store a dispute (DISPUTED)",
            _ => "store a new revision",
        };
        let revised = self.call(name, |world| world.revise(changed, revision));
        revised.await.map_err(error)
    }

    async fn announced(&self, key: &PurchaseKey, revision: u64) -> Result<(), Error> {
        let cleared = self.call("empty the outbox", |world| world.announced(key, revision));
        cleared.await.map_err(error)
    }

    async fn postpone(
        &self,
        key: &PurchaseKey,
        due_at: Timestamp,
        intent: Option<&IntentId>,
    ) -> Result<bool, Error> {
        let postponed = self.call("postpone", |world| world.postpone(key, due_at, intent));
        postponed.await.map_err(error)
    }

    async fn set_aside(&self, _: &DueKey, _: Timestamp) -> Result<(), Error> {
        unreachable!("every purchase is valid")
    }

    async fn page(
        &self,
        _: &UserId,
        _: Option<PurchaseId>,
        _: usize,
    ) -> Result<Page<Purchase>, Error> {
        unreachable!("no function lists purchases")
    }

    async fn due(
        &self,
        shard: Shard,
        now: Timestamp,
        _: Option<&DueKey>,
        _: usize,
    ) -> Result<DuePage, Error> {
        // All purchases are in one shard.
        if shard.number() != 0 {
            return Ok(DuePage::default());
        }
        let due = self.call("read due purchases", |world| world.due(now));
        let purchases = due.await.map_err(error)?;
        Ok(DuePage {
            purchases,
            ..DuePage::default()
        })
    }
}

impl Publisher for Port {
    async fn publish(&self, message: &NotePurchased) -> Result<(), Error> {
        let published = self.call("publish", |world| world.publish(message));
        published.await.map_err(error)
    }
}
