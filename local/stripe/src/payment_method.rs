//! Payment methods and tokens. They contain the expiry date, the name, the ZIP code and the
//! matching test card, but never the card number or the security code from the request.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::caller::Caller;
use crate::card::{self, Card};
use crate::error::ApiError;
use crate::params::{Params, integer};

/// A test card, with the details that a cardholder entered.
#[derive(Clone, Debug)]
pub(crate) struct CardDetails {
    card: &'static Card,
    exp_month: u32,
    exp_year: u32,
    name: Option<String>,
    zip: Option<String>,
}

/// The card, token or payment method with which a request pays.
#[derive(Clone, Debug)]
pub(crate) enum PaymentSource {
    /// A test card that is identified by name, such as `pm_card_visa`.
    TestCard(&'static Card),
    /// The id of a payment method that was created through the API.
    PaymentMethod(String),
    /// The id of a token that was created through the API, and the name of the request parameter
    /// that contains this id.
    Token(String, &'static str),
    /// A card that the cardholder entered.
    Card(CardDetails),
}

/// The billing details of a payment method (<https://docs.stripe.com/api/payment_methods/object>).
#[derive(Clone, Debug, Default)]
pub(crate) struct BillingDetails {
    address: Map<String, Value>,
    contact: Map<String, Value>,
}

/// A payment method: a card with its billing details.
#[derive(Clone, Debug)]
pub(crate) struct PaymentMethod {
    pub(crate) id: String,
    details: CardDetails,
    billing: BillingDetails,
    /// The time at which the payment method was created, in seconds since the Unix epoch.
    created: u64,
    livemode: bool,
}

/// The payment methods and tokens that were created through the API, keyed by id. The flag is true
/// if the payment method or token was used. Without a customer, each can be used only once.
#[derive(Debug)]
pub(crate) struct PaymentMethodStore {
    livemode: bool,
    methods: HashMap<String, (PaymentMethod, bool)>,
    tokens: HashMap<String, (CardDetails, bool)>,
}

impl CardDetails {
    /// Returns the card details of a predefined payment method such as `pm_card_visa`.
    pub(crate) fn of_test_card(card: &'static Card) -> Self {
        Self {
            card,
            exp_month: 12,
            exp_year: 2040,
            name: None,
            zip: None,
        }
    }

    /// Reads card details from the parameters `card[…]`. Fails if the caller is a server.
    pub(crate) fn parse(caller: Caller, params: &mut Params) -> Result<Self, ApiError> {
        let number = params.required("card[number]")?;
        if caller == Caller::Server {
            return Err(ApiError::raw_card_number());
        }
        let number: String = number.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        let exp_month = integer("card[exp_month]", &params.required("card[exp_month]")?)?;
        let exp_year = integer("card[exp_year]", &params.required("card[exp_year]")?)?;
        let card = card::by_number(&number).map_err(ApiError::declined)?;
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

    /// Fails if the card's expiry date is invalid or in the past. `now` is in seconds since the
    /// Unix epoch.
    pub(crate) fn check_expiry(&self, now: u64) -> Result<(), ApiError> {
        let (year, month) = year_and_month(now);
        if !(1..=12).contains(&self.exp_month) {
            let message = "Your card's expiration month is invalid.";
            return Err(ApiError::card("invalid_expiry_month", "exp_month", message));
        }
        let exp_year = u64::from(self.exp_year);
        if !(year..=year + 50).contains(&exp_year) {
            let message = "Your card's expiration year is invalid.";
            return Err(ApiError::card("invalid_expiry_year", "exp_year", message));
        }
        if (exp_year, u64::from(self.exp_month)) < (year, month) {
            let message = "Your card's expiration month is invalid.";
            return Err(ApiError::card("invalid_expiry_month", "exp_month", message));
        }
        Ok(())
    }
}

/// Converts a time, in seconds since the Unix epoch, to the year and the month (1 to 12) in UTC
/// (<https://howardhinnant.github.io/date_algorithms.html#civil_from_days>).
fn year_and_month(seconds: u64) -> (u64, u64) {
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day + 2) / 153;
    let year = year + era * 400;
    match month_from_march {
        0..10 => (year, month_from_march + 3),
        _ => (year + 1, month_from_march - 9),
    }
}

impl PaymentSource {
    /// Returns the payment source for the id of a payment method, which may be a predefined id such
    /// as `pm_card_visa`.
    pub(crate) fn payment_method(id: String) -> Self {
        match card::by_payment_method(&id) {
            Some(card) => Self::TestCard(card),
            None => Self::PaymentMethod(id),
        }
    }

    /// Returns the payment source for the id of a token, which may be a predefined id such as
    /// `tok_visa`. `param` is the name of the request parameter that contains the id.
    pub(crate) fn token(id: String, param: &'static str) -> Self {
        match card::by_token(&id) {
            Some(card) => Self::TestCard(card),
            None => Self::Token(id, param),
        }
    }

    /// Reads the source of a new payment method from the parameters: a token or card details.
    pub(crate) fn parse(caller: Caller, params: &mut Params) -> Result<Self, ApiError> {
        if params.required("type")? != "card" {
            let message = "The Stripe test double supports only payment methods of type card.";
            return Err(ApiError::invalid(message).param("type"));
        }
        match params.take("card[token]") {
            Some(id) => Ok(Self::token(id, "card[token]")),
            None => CardDetails::parse(caller, params).map(Self::Card),
        }
    }
}

impl BillingDetails {
    /// Removes the parameters `billing_details[…]` and returns the billing details in them. All of
    /// these parameters are optional.
    pub(crate) fn take(params: &mut Params) -> Self {
        let mut take_all = |prefix: &str, names: &[&str]| {
            let entry = |name: &&str| {
                let value = params.take(&format!("{prefix}[{name}]"));
                ((*name).to_owned(), json!(value))
            };
            names.iter().map(entry).collect()
        };
        Self {
            address: take_all(
                "billing_details[address]",
                &["city", "country", "line1", "line2", "postal_code", "state"],
            ),
            contact: take_all("billing_details", &["email", "name", "phone"]),
        }
    }
}

impl PaymentMethod {
    pub(crate) fn new(id: String, details: CardDetails, created: u64, livemode: bool) -> Self {
        Self {
            id,
            details,
            billing: BillingDetails::default(),
            created,
            livemode,
        }
    }

    pub(crate) fn with_billing(self, billing: BillingDetails) -> Self {
        Self { billing, ..self }
    }

    pub(crate) fn card(&self) -> &'static Card {
        self.details.card
    }

    /// The billing details, as the objects of payment methods and charges show them.
    pub(crate) fn billing_details(&self) -> Value {
        let mut billing = json!({"email": null, "name": null, "phone": null});
        if let Value::Object(billing) = &mut billing {
            billing.extend(self.billing.contact.clone());
            billing.insert("address".to_owned(), self.billing.address.clone().into());
        }
        billing
    }

    /// The card, as the objects of payment methods and charges show it.
    pub(crate) fn card_object(&self) -> Value {
        json!({
            "brand": self.details.card.brand,
            "checks": {},
            "country": "US",
            "exp_month": self.details.exp_month,
            "exp_year": self.details.exp_year,
            "funding": "credit",
            "last4": self.details.card.last4(),
        })
    }

    /// Returns the API object of the payment method
    /// (<https://docs.stripe.com/api/payment_methods/object>).
    pub(crate) fn object(&self) -> Value {
        json!({
            "id": self.id,
            "object": "payment_method",
            "billing_details": self.billing_details(),
            "card": self.card_object(),
            "created": self.created,
            "customer": null,
            "livemode": self.livemode,
            "metadata": {},
            "type": "card",
        })
    }
}

impl PaymentMethodStore {
    pub(crate) fn new(livemode: bool) -> Self {
        Self {
            livemode,
            methods: HashMap::new(),
            tokens: HashMap::new(),
        }
    }

    /// Adds a new payment method to the store and returns the payment method.
    pub(crate) fn save(&mut self, method: PaymentMethod) -> PaymentMethod {
        let id = method.id.clone();
        self.methods.insert(id, (method.clone(), false));
        method
    }

    /// Adds a new token to the store. Returns the API object of the token
    /// (<https://docs.stripe.com/api/tokens/object>).
    pub(crate) fn save_token(&mut self, id: String, details: CardDetails, created: u64) -> Value {
        let token = json!({
            "id": id,
            "object": "token",
            "card": {
                "object": "card",
                "address_zip": details.zip,
                "brand": details.card.brand,
                "country": "US",
                "exp_month": details.exp_month,
                "exp_year": details.exp_year,
                "funding": "credit",
                "last4": details.card.last4(),
                "name": details.name,
            },
            "created": created,
            "livemode": self.livemode,
            "type": "card",
            "used": false,
        });
        self.tokens.insert(id, (details, false));
        token
    }

    pub(crate) fn get(&self, id: &str) -> Result<PaymentMethod, ApiError> {
        match self.methods.get(id) {
            Some((method, _)) => Ok(method.clone()),
            None => Err(ApiError::no_such("PaymentMethod", id, "payment_method")),
        }
    }

    /// Marks a token as used and returns its card details. Fails if the token does not exist or was
    /// used before (<https://docs.stripe.com/error-codes#token-already-used>). The error for a used
    /// token has no `param`.
    pub(crate) fn consume_token(&mut self, id: &str, param: &str) -> Result<CardDetails, ApiError> {
        match self.tokens.get_mut(id) {
            None => Err(ApiError::no_such("token", id, param)),
            Some((_, true)) => Err(ApiError::invalid(format!(
                "You cannot use a Stripe token more than once: {id}."
            ))
            .code("token_already_used")),
            Some((details, used)) => {
                *used = true;
                Ok(details.clone())
            }
        }
    }

    /// Fails if a payment method was used before. Like Stripe, the test double rejects the second
    /// use of a payment method that has no customer
    /// (<https://docs.stripe.com/api/payment_methods/attach>). Predefined payment methods such as
    /// `pm_card_visa` are not in the store and can be used any number of times.
    pub(crate) fn check_unused(&self, id: &str) -> Result<(), ApiError> {
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

    /// Marks a payment method as used. Fails if the payment method was used before.
    pub(crate) fn mark_used(&mut self, id: &str) -> Result<(), ApiError> {
        self.check_unused(id)?;
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
    fn year_and_month_are_correct_at_the_start_and_end_of_a_month() {
        for (seconds, expected) in [
            (0, (1970, 1)),
            (951_782_400, (2000, 2)), // the 29th
            (951_868_800, (2000, 3)),
            (1_767_225_599, (2025, 12)),
            (1_767_225_600, (2026, 1)),
        ] {
            assert_eq!(year_and_month(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn a_card_is_valid_until_the_end_of_its_expiry_month() {
        let until = |exp_year, exp_month| CardDetails {
            exp_month,
            exp_year,
            ..CardDetails::of_test_card(card::by_token("tok_visa").unwrap())
        };
        let now = 1_767_225_600; // the first second of 2026
        assert!(until(2026, 1).check_expiry(now).is_ok());
        assert!(until(2025, 12).check_expiry(now).is_err());
        assert!(until(2026, 13).check_expiry(now).is_err());
        assert!(until(2077, 1).check_expiry(now).is_err());
        assert!(until(2026, 1).check_expiry(now + 31 * 86_400).is_err());
    }
}
