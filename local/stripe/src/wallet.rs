//! What stands for cards: payment methods and tokens. Of a card that somebody typed only what it is
//! good for is kept, never its number or its security code.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::card::{self, Card};
use crate::error::ApiError;
use crate::params::{Params, integer};
use crate::server::Caller;

/// A card as it is offered for a payment.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    card: &'static Card,
    exp_month: u32,
    exp_year: u32,
    name: Option<String>,
    zip: Option<String>,
}

/// What a request says of the card to charge.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A card that is named, as `pm_card_visa` does.
    Test(&'static Card),
    /// A payment method that was made.
    Method(String),
    /// A token that was made, and the parameter that names it.
    Token(String, &'static str),
    /// A card that somebody typed.
    Offered(Offer),
}

/// Whom a card is billed to, as <https://docs.stripe.com/api/payment_methods/object> has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Billing {
    address: Map<String, Value>,
    details: Map<String, Value>,
}

/// What stands for a card.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    pub(crate) id: String,
    offer: Offer,
    billing: Billing,
    /// In seconds since the epoch.
    created: u64,
}

/// What was made in browsers.
#[derive(Debug, Default)]
pub(crate) struct Wallet {
    /// With whether it has been used: without a customer once is all that it can be.
    methods: HashMap<String, (Method, bool)>,
    tokens: HashMap<String, (Offer, bool)>,
}

/// A card of Stripe's as its own payment methods offer it.
pub(crate) fn offered(card: &'static Card) -> Offer {
    Offer {
        card,
        exp_month: 12,
        exp_year: 2040,
        name: None,
        zip: None,
    }
}

impl Offer {
    /// Reads what was typed of a card.
    pub(crate) fn take(caller: Caller, params: &mut Params) -> Result<Self, ApiError> {
        let number = params.required("card[number]")?;
        if caller == Caller::Server {
            return Err(ApiError::refused_number());
        }
        let number: String = number.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        let exp_month = integer("card[exp_month]", &params.required("card[exp_month]")?)?;
        let exp_year = integer("card[exp_year]", &params.required("card[exp_year]")?)?;
        let card = card::of_number(&number).map_err(ApiError::declined)?;
        let digits = if card.brand == "amex" { 3..=4 } else { 3..=3 };
        if let Some(cvc) = params.take("card[cvc]") {
            let numeric = cvc.bytes().all(|byte| byte.is_ascii_digit());
            if !numeric || !digits.contains(&cvc.len()) {
                let message = "Your card's security code is invalid.";
                return Err(ApiError::card("invalid_cvc", "cvc", message));
            }
        }
        Ok(Self {
            card,
            exp_month,
            exp_year: match exp_year {
                0..100 => 2000 + exp_year,
                _ => exp_year,
            },
            name: params.take("card[name]"),
            zip: params.take("card[address_zip]"),
        })
    }

    /// Refuses a card that is past its month, or that never had one.
    pub(crate) fn check(&self, now: u64) -> Result<(), ApiError> {
        let (year, month) = month(now);
        if !(1..=12).contains(&self.exp_month) {
            let message = "Your card's expiration month is invalid.";
            return Err(ApiError::card("invalid_expiry_month", "exp_month", message));
        }
        let ends = u64::from(self.exp_year);
        if !(year..=year + 50).contains(&ends) {
            let message = "Your card's expiration year is invalid.";
            return Err(ApiError::card("invalid_expiry_year", "exp_year", message));
        }
        if (ends, u64::from(self.exp_month)) < (year, month) {
            let message = "Your card's expiration month is invalid.";
            return Err(ApiError::card("invalid_expiry_month", "exp_month", message));
        }
        Ok(())
    }
}

/// The year and the month of a time in seconds since the epoch
/// (<https://howardhinnant.github.io/date_algorithms.html#civil_from_days>).
fn month(seconds: u64) -> (u64, u64) {
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let year = year + era * 400;
    match march {
        0..10 => (year, march + 3),
        _ => (year + 1, march - 9),
    }
}

impl Source {
    /// The card of a token that stands in the parameter `param`.
    pub(crate) fn token(id: String, param: &'static str) -> Self {
        match card::of_token(&id) {
            Some(card) => Self::Test(card),
            None => Self::Token(id, param),
        }
    }

    /// Reads the card that a payment method is to be made of.
    pub(crate) fn offered(caller: Caller, params: &mut Params) -> Result<Self, ApiError> {
        if params.required("type")? != "card" {
            return Err(ApiError::invalid("The double takes cards alone.").param("type"));
        }
        match params.take("card[token]") {
            Some(id) => Ok(Self::token(id, "card[token]")),
            None => Offer::take(caller, params).map(Self::Offered),
        }
    }
}

impl Billing {
    /// Takes the parameters that there are of it.
    pub(crate) fn take(params: &mut Params) -> Self {
        let mut taken = |prefix: &str, names: &[&str]| {
            let entry = |name: &&str| {
                let value = params.take(&format!("{prefix}[{name}]"));
                ((*name).to_owned(), json!(value))
            };
            names.iter().map(entry).collect()
        };
        Self {
            address: taken(
                "billing_details[address]",
                &["city", "country", "line1", "line2", "postal_code", "state"],
            ),
            details: taken("billing_details", &["email", "name", "phone"]),
        }
    }
}

impl Method {
    pub(crate) fn new(id: String, offer: Offer, created: u64) -> Self {
        Self {
            id,
            offer,
            billing: Billing::default(),
            created,
        }
    }

    pub(crate) fn billed(self, billing: Billing) -> Self {
        Self { billing, ..self }
    }

    pub(crate) fn card(&self) -> &'static Card {
        self.offer.card
    }

    /// As <https://docs.stripe.com/api/payment_methods/object> has it.
    pub(crate) fn object(&self) -> Value {
        let mut billing = json!({"email": null, "name": null, "phone": null});
        if let Value::Object(billing) = &mut billing {
            billing.extend(self.billing.details.clone());
            billing.insert("address".to_owned(), self.billing.address.clone().into());
        }
        json!({
            "id": self.id,
            "object": "payment_method",
            "billing_details": billing,
            "card": {
                "brand": self.offer.card.brand,
                "checks": {},
                "country": "US",
                "exp_month": self.offer.exp_month,
                "exp_year": self.offer.exp_year,
                "funding": "credit",
                "last4": self.offer.card.last4(),
            },
            "created": self.created,
            "customer": null,
            "livemode": false,
            "metadata": {},
            "type": "card",
        })
    }
}

impl Wallet {
    pub(crate) fn keep(&mut self, method: Method) -> Method {
        let id = method.id.clone();
        self.methods.insert(id, (method.clone(), false));
        method
    }

    /// Keeps a token, and gives it as <https://docs.stripe.com/api/tokens/object> has it.
    pub(crate) fn keep_token(&mut self, id: String, offer: Offer, created: u64) -> Value {
        let token = json!({
            "id": id,
            "object": "token",
            "card": {
                "object": "card",
                "address_zip": offer.zip,
                "brand": offer.card.brand,
                "country": "US",
                "exp_month": offer.exp_month,
                "exp_year": offer.exp_year,
                "funding": "credit",
                "last4": offer.card.last4(),
                "name": offer.name,
            },
            "created": created,
            "livemode": false,
            "type": "card",
            "used": false,
        });
        self.tokens.insert(id, (offer, false));
        token
    }

    pub(crate) fn method(&self, id: &str) -> Result<Method, ApiError> {
        match self.methods.get(id) {
            Some((method, _)) => Ok(method.clone()),
            None => Err(ApiError::no_such("PaymentMethod", id, "payment_method")),
        }
    }

    /// Uses a token for good (<https://docs.stripe.com/error-codes#token-already-used>).
    pub(crate) fn spend_token(&mut self, id: &str, param: &str) -> Result<Offer, ApiError> {
        match self.tokens.get_mut(id) {
            None => Err(ApiError::no_such("token", id, param)),
            Some((_, true)) => Err(ApiError::invalid(format!(
                "You cannot use a Stripe token more than once: {id}."
            ))
            .code("token_already_used")
            .param(param)),
            Some((offer, used)) => {
                *used = true;
                Ok(offer.clone())
            }
        }
    }

    /// Refuses a payment method that was used already, as Stripe does one that no customer has
    /// (<https://docs.stripe.com/api/payment_methods/attach>). Stripe's own can be used for ever.
    pub(crate) fn is_unspent(&self, id: &str) -> Result<(), ApiError> {
        match self.methods.get(id) {
            Some((_, true)) => Err(ApiError::invalid(
                "The provided PaymentMethod was previously used with a PaymentIntent without \
                 Customer attachment, shared with a connected account without Customer \
                 attachment, or was detached from a Customer. It may not be used again. To use a \
                 PaymentMethod multiple times, you must attach it to a Customer first.",
            )),
            _ => Ok(()),
        }
    }

    /// Uses a payment method for good.
    pub(crate) fn spend(&mut self, id: &str) -> Result<(), ApiError> {
        self.is_unspent(id)?;
        if let Some((_, used)) = self.methods.get_mut(id) {
            *used = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_that_of_its_first_and_last_second() {
        for (seconds, expected) in [
            (0, (1970, 1)),
            (951_782_400, (2000, 2)), // the 29th
            (951_868_800, (2000, 3)),
            (1_767_225_599, (2025, 12)),
            (1_767_225_600, (2026, 1)),
        ] {
            assert_eq!(month(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn a_card_is_good_until_the_end_of_its_month() {
        let until = |exp_year, exp_month| Offer {
            exp_month,
            exp_year,
            ..offered(card::of_token("tok_visa").unwrap())
        };
        let now = 1_767_225_600; // the first second of 2026
        assert!(until(2026, 1).check(now).is_ok());
        assert!(until(2025, 12).check(now).is_err());
        assert!(until(2026, 13).check(now).is_err());
        assert!(until(2077, 1).check(now).is_err());
        assert!(until(2026, 1).check(now + 31 * 86_400).is_err());
    }
}
