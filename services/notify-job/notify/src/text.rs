//! The texts of the SMS. A text has at most 160 characters of the GSM alphabet if the description of
//! the purchase has at most 24 characters, so it fits into one SMS
//! (<https://docs.aws.amazon.com/sns/latest/dg/sms_publish-to-phone.html>).

use std::fmt::{self, Display, Formatter};

use domain::events::{NotePurchased, Notice};
pub use metrics::Name as StageName;

/// Returns the text of the SMS about a notice of the message.
pub fn text(stage: &StageName, message: &NotePurchased, notice: &Notice) -> String {
    let NotePurchased {
        purchase_id,
        amount,
        description,
        ..
    } = message;
    let money = |amount| Money {
        amount,
        currency: &message.currency,
    };
    match notice {
        Notice::Paid => {
            let paid = money(*amount);
            format!("[{stage}] Paid: {paid} for {description} ({purchase_id})")
        }
        Notice::Disputed { amount, reason, .. } => {
            let disputed = money(*amount);
            format!(
                "[{stage}] Dispute opened: {disputed}, reason {reason}, {description} ({purchase_id})"
            )
        }
        Notice::SurplusRefunded { amount, .. } => {
            let refunded = money(*amount);
            format!(
                "[{stage}] Refunded a surplus charge: {refunded} for {description} ({purchase_id})"
            )
        }
    }
}

/// An amount, in the minor unit of its currency. Its text has the major unit, such as `40.00 USD`.
struct Money<'a> {
    amount: u32,
    /// Stripe's code of the currency, such as `usd`.
    currency: &'a str,
}

impl Display for Money<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let currency = self.currency.to_ascii_uppercase();
        let places = decimal_places(&currency);
        let unit = 10_u32.pow(places);
        write!(f, "{}", self.amount / unit)?;
        if places > 0 {
            let width = places as usize;
            write!(f, ".{:0width$}", self.amount % unit)?;
        }
        write!(f, " {currency}")
    }
}

/// Returns the number of decimal places of Stripe's amounts in a currency:
/// <https://docs.stripe.com/currencies#minor-units>. Stripe gives amounts in ISK and UGX two decimal
/// places, although these currencies have none.
fn decimal_places(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "JPY" | "KMF" | "KRW" | "MGA" | "PYG" | "RWF" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a";

    fn text_of(stage: &str, currency: &str, storage: u32, notice: &Value) -> String {
        let message = json!({
            "purchaseId": ID, "userId": "us-east-1:ada", "amount": 99_999_900,
            "currency": currency, "description": format!("storage for {storage} notes"),
            "granted": storage, "revision": 1, "notices": [notice],
        });
        let message: NotePurchased = serde_json::from_value(message).unwrap();
        text(&stage.parse().unwrap(), &message, &message.notices[0])
    }

    fn disputed(amount: u32) -> Value {
        let reason = "incorrect_account_details";
        json!({"type": "disputed", "disputeId": "dp_1", "amount": amount, "reason": reason})
    }

    fn surplus_refunded(amount: u32) -> Value {
        json!({"type": "surplusRefunded", "paymentIntentId": "pi_1", "amount": amount})
    }

    #[test]
    fn each_kind_of_notice_has_a_text_with_stage_amount_currency_and_purchase() {
        for (notice, expected) in [
            (
                json!({"type": "paid"}),
                format!("[prod] Paid: 999999.00 USD for storage for 10 notes ({ID})"),
            ),
            (
                disputed(2_050),
                format!(
                    "[prod] Dispute opened: 20.50 USD, reason incorrect_account_details, \
                     storage for 10 notes ({ID})"
                ),
            ),
            (
                surplus_refunded(5),
                format!(
                    "[prod] Refunded a surplus charge: 0.05 USD for storage for 10 notes ({ID})"
                ),
            ),
        ] {
            assert_eq!(text_of("prod", "usd", 10, &notice), expected);
        }
    }

    #[test]
    fn an_amount_has_the_decimal_places_of_its_currency() {
        for (currency, amount, expected) in [
            ("usd", 4_000, "40.00 USD"),
            ("eur", 1, "0.01 EUR"),
            ("jpy", 4_000, "4000 JPY"),
            ("kwd", 12_340, "12.340 KWD"),
            ("isk", 500, "5.00 ISK"),
            ("usd", u32::MAX, "42949672.95 USD"),
        ] {
            let text = text_of("prod", currency, 10, &surplus_refunded(amount));
            assert!(text.contains(&format!(": {expected} for")), "{text}");
        }
    }

    /// The number of GSM septets of a text. The characters of the extension table take two.
    /// <https://www.etsi.org/deliver/etsi_ts/123000_123099/123038/>
    fn septets(text: &str) -> usize {
        let size = |c: char| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' => 1,
            ' ' | '(' | ')' | ',' | '-' | '.' | ':' | '_' => 1,
            '[' | ']' => 2,
            other => panic!("{other} is not known to be in the GSM alphabet"),
        };
        text.chars().map(size).sum()
    }

    #[test]
    fn the_longest_text_of_each_kind_fits_into_one_sms() {
        let stage = "a".repeat(27);
        for notice in [
            json!({"type": "paid"}),
            disputed(99_999_900),
            surplus_refunded(99_999_900),
        ] {
            let text = text_of(&stage, "usd", 999_999, &notice);
            assert!(septets(&text) <= 160, "{} {text}", septets(&text));
        }
    }

    #[test]
    fn a_stage_name_has_only_lowercase_letters_digits_and_hyphens() {
        for name in ["prod", "pr-12", "local"] {
            assert!(name.parse::<StageName>().is_ok(), "{name}");
        }
        for name in ["", "Prod", "a b", "a_b", "é"] {
            assert!(name.parse::<StageName>().is_err(), "{name}");
        }
    }
}
