//! The prices of the product, so that tests hold for all prices.

use std::sync::LazyLock;

use serde_json::Value;

use crate::root;

static PRICES: LazyLock<Value> = LazyLock::new(|| {
    let file = root().join("services/billing-api/prices.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
});

/// Returns the price of storage for `notes` notes, in the minor unit of the currency.
pub fn price(notes: u32) -> u32 {
    let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    let mut tiers = PRICES["tiers"].as_array().unwrap().iter();
    let tier = tiers.rfind(|tier| number(&tier["from"]) <= notes);
    notes * number(&tier.unwrap()["each"])
}

/// Stripe's code of the currency, such as `usd`.
pub fn currency() -> &'static str {
    PRICES["currency"].as_str().unwrap()
}

/// Returns an amount in the minor unit of the currency as messages show it, such as `40.00 USD`.
pub fn money(amount: u32) -> String {
    let (whole, rest) = (amount / 100, amount % 100);
    format!("{whole}.{rest:02} {}", currency().to_uppercase())
}
