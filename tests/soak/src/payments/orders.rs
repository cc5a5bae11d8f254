//! The orders of a user.

use anyhow::Result;
use serde_json::json;
use test_support::http::Method;
use test_support::prices::price;
use test_support::stage::Person;
use uuid::Uuid;

use super::Owner;
use crate::ledger::{Action, Outcome};
use crate::user::{User, choose};

/// What a card does, with the number of times in 100 orders that a user chooses it.
/// <https://docs.stripe.com/testing>
const CARDS: &[(Card, u32)] = &[
    (Card::Succeeds("pm_card_visa"), 60),
    (Card::Succeeds("tok_visa"), 10),
    // After ten declined orders within an hour, a user cannot order.
    (Card::Succeeds("pm_card_chargeDeclined"), 8),
    (Card::Asks("succeeds"), 12),
    (Card::Asks("fails"), 4),
    (Card::Asks("canceled"), 6),
];

#[derive(Debug, Clone, Copy)]
enum Card {
    /// The bank decides at once.
    Succeeds(&'static str),
    /// The bank asks the cardholder, who confirms, fails or cancels the order.
    Asks(&'static str),
}

/// The card for which the bank always asks the cardholder.
const ASKING: &str = "pm_card_authenticationRequired";

/// What a user knows about their orders.
#[derive(Debug)]
pub(crate) struct Orders {
    owner: Owner,
    /// The purchases that the user has paid for, with their amounts in cents.
    paid: Vec<(String, u64)>,
    /// The amount of storage of the last order.
    storage: u64,
    /// Whether the stage accepts orders of the user.
    pub(crate) may_order: bool,
}

impl Orders {
    /// The orders of a new user. `owner` refunds them.
    pub(crate) fn of(owner: &Owner) -> Self {
        Self {
            owner: owner.clone(),
            paid: Vec::new(),
            storage: 0,
            may_order: true,
        }
    }
}

impl User {
    pub(crate) async fn buy(&mut self) -> Result<()> {
        self.orders.storage += 1;
        let storage = self.orders.storage;
        let card = choose(&mut self.client.random, CARDS);
        let source = match card {
            Card::Succeeds(source) => source,
            Card::Asks(_) => ASKING,
        };
        let amount = price(u32::try_from(storage)?).into();
        let operation = self.intend(Action::Order { storage, amount }).await?;
        let body = json!({"storage": storage, "source": source, "amount": amount});
        let key = Uuid::now_v7().to_string();
        let post = |person: &Person<'_>| {
            let post = person.request(Method::POST, "/billing").json(&body);
            post.header("idempotency-key", &key)
        };
        let mut answer = self.client.send("POST /billing", post).await;
        if let (Some(first), Card::Asks(reaction)) = (&answer, card)
            && first.text("code") == "requires_action"
        {
            let purchase = first.text("purchaseId");
            let client_secret = first.text("clientSecret");
            if reaction == "canceled" {
                return self.cancel(&purchase, Some(operation)).await;
            }
            let intent = client_secret.split("_secret_").next().unwrap_or_default();
            self.orders.owner.authenticate(intent, reaction).await;
            answer = self.client.send("POST /billing", post).await;
        }
        let Some(answer) = answer else {
            return Ok(());
        };
        let id = answer.text("purchaseId");
        let outcome = match (answer.status(), answer.text("code").as_str()) {
            (200, _) => {
                self.orders.paid.push((id.clone(), amount));
                Outcome::Done { id }
            }
            // The intent is still open, because the cardholder's answer did not reach Stripe.
            (402, "requires_action") => return self.cancel(&id, Some(operation)).await,
            (402, _) => Outcome::NotPaid { id },
            (409, "order_open") => {
                self.ledger.acknowledge(operation, Outcome::Refused).await?;
                return self.cancel(&id, None).await;
            }
            (429, _) => {
                self.orders.may_order = false;
                Outcome::Refused
            }
            _ => Outcome::Refused,
        };
        self.ledger.acknowledge(operation, outcome).await?;
        Ok(())
    }

    /// Cancels the open order `purchase`, which `order` has placed if it is known.
    async fn cancel(&mut self, purchase: &str, order: Option<u64>) -> Result<()> {
        let path = format!("/billing/{purchase}");
        let action = Action::Cancel {
            purchase: purchase.to_owned(),
        };
        let operation = self.intend(action).await?;
        let delete = |person: &Person<'_>| person.request(Method::DELETE, &path);
        let Some(answer) = self.client.send("DELETE /billing/{id}", delete).await else {
            return Ok(());
        };
        let id = purchase.to_owned();
        let outcome = match (answer.status(), answer.text("code").as_str()) {
            (200, _) => Outcome::NotPaid { id },
            (409, "already_paid") => Outcome::Done { id },
            _ => return Ok(()),
        };
        if let Some(order) = order {
            self.ledger.acknowledge(order, outcome.clone()).await?;
        }
        self.ledger.acknowledge(operation, outcome).await?;
        Ok(())
    }

    /// Asks the owner to refund a purchase or half of it.
    pub(crate) async fn refund(&mut self) -> Result<()> {
        if self.orders.paid.is_empty() {
            return Ok(());
        }
        let index = self.client.random.usize(..self.orders.paid.len());
        let (purchase, amount) = self.orders.paid.swap_remove(index);
        let amount = self.client.random.bool().then_some(amount / 2);
        let by_command = self.client.random.u32(..4) == 0;
        self.orders
            .owner
            .refund(&purchase, amount, by_command)
            .await;
        Ok(())
    }
}
