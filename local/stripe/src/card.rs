//! Stripe's test cards and what becomes of a payment with each
//! (<https://docs.stripe.com/testing>).

/// A card, by what it does.
#[derive(Debug)]
pub(crate) struct Card {
    /// What stands after `tok_` or `pm_card_`.
    names: &'static [&'static str],
    pub(crate) brand: &'static str,
    pub(crate) last4: &'static str,
    /// Whether its bank wants to see the holder first.
    pub(crate) challenge: bool,
    /// Why it is not charged, if it is not.
    pub(crate) decline: Option<&'static Decline>,
}

/// Why a bank, or Stripe itself, refuses a charge (<https://docs.stripe.com/declines/codes>).
#[derive(Debug)]
pub(crate) struct Decline {
    pub(crate) code: &'static str,
    pub(crate) decline_code: &'static str,
    pub(crate) message: &'static str,
    pub(crate) param: Option<&'static str>,
}

const fn decline(
    code: &'static str,
    decline_code: &'static str,
    message: &'static str,
    param: Option<&'static str>,
) -> Decline {
    Decline {
        code,
        decline_code,
        message,
        param,
    }
}

const REFUSED: &str = "Your card was declined.";

#[rustfmt::skip]
mod declines {
    use super::{decline, Decline, REFUSED};

    pub(super) static GENERIC: Decline = decline("card_declined", "generic_decline", REFUSED, None);
    pub(super) static FUNDS: Decline = decline("card_declined", "insufficient_funds", "Your card has insufficient funds.", None);
    pub(super) static LOST: Decline = decline("card_declined", "lost_card", REFUSED, None);
    pub(super) static STOLEN: Decline = decline("card_declined", "stolen_card", REFUSED, None);
    pub(super) static FRAUD: Decline = decline("card_declined", "fraudulent", REFUSED, None);
    pub(super) static VELOCITY: Decline = decline("card_declined", "card_velocity_exceeded", "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.", None);
    pub(super) static EXPIRED: Decline = decline("expired_card", "expired_card", "Your card has expired.", Some("exp_month"));
    pub(super) static CVC: Decline = decline("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.", Some("cvc"));
    pub(super) static PROCESSING: Decline = decline("processing_error", "processing_error", "An error occurred while processing your card. Try again in a little bit.", None);
}

const fn card(
    names: &'static [&'static str],
    brand: &'static str,
    last4: &'static str,
    challenge: bool,
    decline: Option<&'static Decline>,
) -> Card {
    Card {
        names,
        brand,
        last4,
        challenge,
        decline,
    }
}

#[rustfmt::skip]
static CARDS: &[Card] = {
    use declines::{CVC, EXPIRED, FRAUD, FUNDS, GENERIC, LOST, PROCESSING, STOLEN, VELOCITY};
    &[
        card(&["visa"], "visa", "4242", false, None),
        card(&["visa_debit"], "visa", "5556", false, None),
        card(&["mastercard"], "mastercard", "4444", false, None),
        card(&["mastercard_debit"], "mastercard", "8210", false, None),
        card(&["mastercard_prepaid"], "mastercard", "5100", false, None),
        card(&["amex"], "amex", "0005", false, None),
        card(&["discover"], "discover", "1117", false, None),
        card(&["diners"], "diners", "0004", false, None),
        card(&["jcb"], "jcb", "0505", false, None),
        card(&["unionpay"], "unionpay", "0005", false, None),
        card(&["chargeDeclined", "visa_chargeDeclined"], "visa", "0002", false, Some(&GENERIC)),
        card(&["chargeDeclinedInsufficientFunds", "visa_chargeDeclinedInsufficientFunds"], "visa", "9995", false, Some(&FUNDS)),
        card(&["chargeDeclinedLostCard", "visa_chargeDeclinedLostCard"], "visa", "9987", false, Some(&LOST)),
        card(&["chargeDeclinedStolenCard", "visa_chargeDeclinedStolenCard"], "visa", "9979", false, Some(&STOLEN)),
        card(&["visa_chargeDeclinedVelocityLimitExceeded"], "visa", "6975", false, Some(&VELOCITY)),
        card(&["chargeDeclinedExpiredCard"], "visa", "0069", false, Some(&EXPIRED)),
        card(&["chargeDeclinedIncorrectCvc"], "visa", "0127", false, Some(&CVC)),
        card(&["chargeDeclinedProcessingError"], "visa", "0119", false, Some(&PROCESSING)),
        card(&["radarBlock", "chargeDeclinedFraudulent"], "visa", "0019", false, Some(&FRAUD)),
        card(&["threeDSecure2Required"], "visa", "3220", true, None),
        card(&["threeDSecureRequired"], "visa", "3063", true, None),
        card(&["threeDSecureRequiredChargeDeclined"], "visa", "1629", true, Some(&GENERIC)),
        card(&["authenticationRequired"], "visa", "3184", true, None),
        card(&["authenticationRequiredOnSetup"], "visa", "3155", true, None),
        card(&["authenticationRequiredChargeDeclinedInsufficientFunds"], "visa", "8260", true, Some(&FUNDS)),
    ]
};

/// The card of a token, such as `tok_visa`.
pub(crate) fn of_token(token: &str) -> Option<&'static Card> {
    named(token.strip_prefix("tok_")?)
}

/// The card of a payment method, such as `pm_card_visa`.
pub(crate) fn of_payment_method(id: &str) -> Option<&'static Card> {
    named(id.strip_prefix("pm_card_")?)
}

fn named(name: &str) -> Option<&'static Card> {
    CARDS.iter().find(|card| card.names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_one_card() {
        let names: Vec<_> = CARDS.iter().flat_map(|card| card.names).collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn tokens_and_payment_methods_name_the_same_cards() {
        for name in CARDS.iter().flat_map(|card| card.names) {
            let token = of_token(&format!("tok_{name}")).unwrap();
            let method = of_payment_method(&format!("pm_card_{name}")).unwrap();
            assert!(std::ptr::eq(token, method), "{name}");
        }
        assert!(of_token("pm_card_visa").is_none());
        assert!(of_payment_method("tok_visa").is_none());
        assert!(of_token("tok_nonesuch").is_none());
    }
}
