//! Stripe's test cards and the result of a payment with each card
//! (<https://docs.stripe.com/testing>).

/// A test card of Stripe, and the result of charging the card.
#[derive(Debug)]
pub(crate) struct Card {
    /// The names by which the ids of predefined tokens and payment methods refer to the card. For
    /// example, the name `visa` is part of `tok_visa` and `pm_card_visa`.
    names: &'static [&'static str],
    pub(crate) brand: &'static str,
    number: &'static str,
    /// Whether the bank requires 3-D Secure authentication.
    pub(crate) challenge: bool,
    /// The reason why charges of the card are declined. None if charges succeed.
    pub(crate) decline: Option<&'static Decline>,
    /// What the cardholder or the bank does after the card was charged.
    pub(crate) aftermath: Aftermath,
}

/// What the cardholder or the bank does after a card was charged
/// (<https://docs.stripe.com/testing#disputes>, <https://docs.stripe.com/testing#refunds>).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aftermath {
    /// The charge is not disputed, and a refund succeeds at once.
    Nothing,
    /// The cardholder disputes the charge.
    Dispute(&'static Claim),
    /// A refund is pending first, and succeeds later.
    SlowRefund,
    /// A refund succeeds first, and fails later.
    FailingRefund,
}

/// The cardholder's claim in a dispute (<https://docs.stripe.com/disputes/categories>).
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) reason: &'static str,
    /// The card network's code for the reason, while the claim is an inquiry.
    pub(crate) inquiry_code: &'static str,
    /// The card network's code for the reason of a chargeback.
    pub(crate) chargeback_code: &'static str,
    /// Whether the dispute starts as an inquiry, which withdraws no funds
    /// (<https://docs.stripe.com/disputes/how-disputes-work#inquiries>).
    pub(crate) inquiry: bool,
}

const fn claim(
    reason: &'static str,
    inquiry_code: &'static str,
    chargeback_code: &'static str,
    inquiry: bool,
) -> Claim {
    Claim {
        reason,
        inquiry_code,
        chargeback_code,
        inquiry,
    }
}

static FRAUD_CLAIM: Claim = claim("fraudulent", "10", "10.4", false);
static NOT_RECEIVED_CLAIM: Claim = claim("product_not_received", "30", "13.1", false);
static INQUIRY: Claim = claim("fraudulent", "10", "10.4", true);

/// The reason why the bank or Stripe declines a charge (<https://docs.stripe.com/declines/codes>).
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

const DECLINED: &str = "Your card was declined.";

#[rustfmt::skip]
mod declines {
    use super::{decline, Decline, DECLINED};

    pub(super) static GENERIC: Decline = decline("card_declined", "generic_decline", DECLINED, None);
    pub(super) static FUNDS: Decline = decline("card_declined", "insufficient_funds", "Your card has insufficient funds.", None);
    pub(super) static LOST: Decline = decline("card_declined", "lost_card", DECLINED, None);
    pub(super) static STOLEN: Decline = decline("card_declined", "stolen_card", DECLINED, None);
    pub(super) static FRAUD: Decline = decline("card_declined", "fraudulent", DECLINED, None);
    pub(super) static VELOCITY: Decline = decline("card_declined", "card_velocity_exceeded", "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.", None);
    pub(super) static EXPIRED: Decline = decline("expired_card", "expired_card", "Your card has expired.", Some("exp_month"));
    pub(super) static CVC: Decline = decline("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.", Some("cvc"));
    pub(super) static NUMBER: Decline = decline("incorrect_number", "incorrect_number", "Your card number is incorrect.", Some("number"));
    pub(super) static LIVE: Decline = decline("card_declined", "test_mode_live_card", "Your card was declined. Your request was in test mode, but used a non test (live) card. For a list of valid test cards, visit: https://stripe.com/docs/testing.", None);
    pub(super) static PROCESSING: Decline = decline("processing_error", "processing_error", "An error occurred while processing your card. Try again in a little bit.", None);
}

const fn card(
    names: &'static [&'static str],
    brand: &'static str,
    number: &'static str,
    challenge: bool,
    decline: Option<&'static Decline>,
) -> Card {
    Card {
        names,
        brand,
        number,
        challenge,
        decline,
        aftermath: Aftermath::Nothing,
    }
}

const fn charged(
    name: &'static [&'static str],
    number: &'static str,
    aftermath: Aftermath,
) -> Card {
    let card = card(name, "visa", number, false, None);
    Card { aftermath, ..card }
}

#[rustfmt::skip]
static CARDS: &[Card] = {
    use declines::{CVC, EXPIRED, FRAUD, FUNDS, GENERIC, LOST, PROCESSING, STOLEN, VELOCITY};
    &[
        card(&["visa"], "visa", "4242424242424242", false, None),
        card(&["visa_debit"], "visa", "4000056655665556", false, None),
        card(&["mastercard"], "mastercard", "5555555555554444", false, None),
        card(&["mastercard_debit"], "mastercard", "5200828282828210", false, None),
        card(&["mastercard_prepaid"], "mastercard", "5105105105105100", false, None),
        card(&["amex"], "amex", "378282246310005", false, None),
        card(&["discover"], "discover", "6011111111111117", false, None),
        card(&["diners"], "diners", "3056930009020004", false, None),
        card(&["jcb"], "jcb", "3566002020360505", false, None),
        card(&["unionpay"], "unionpay", "6200000000000005", false, None),
        card(&[], "mastercard", "2223003122003222", false, None),
        card(&[], "amex", "371449635398431", false, None),
        card(&[], "discover", "6011000990139424", false, None),
        card(&[], "diners", "36227206271667", false, None),
        card(&[], "visa", "4000000000003055", false, None),
        card(&["chargeCustomerFail"], "visa", "4000000000000341", false, Some(&GENERIC)),
        card(&["chargeDeclined", "visa_chargeDeclined"], "visa", "4000000000000002", false, Some(&GENERIC)),
        card(&["chargeDeclinedInsufficientFunds", "visa_chargeDeclinedInsufficientFunds"], "visa", "4000000000009995", false, Some(&FUNDS)),
        card(&["chargeDeclinedLostCard", "visa_chargeDeclinedLostCard"], "visa", "4000000000009987", false, Some(&LOST)),
        card(&["chargeDeclinedStolenCard", "visa_chargeDeclinedStolenCard"], "visa", "4000000000009979", false, Some(&STOLEN)),
        card(&["visa_chargeDeclinedVelocityLimitExceeded"], "visa", "4000000000006975", false, Some(&VELOCITY)),
        card(&["chargeDeclinedExpiredCard"], "visa", "4000000000000069", false, Some(&EXPIRED)),
        card(&["chargeDeclinedIncorrectCvc"], "visa", "4000000000000127", false, Some(&CVC)),
        card(&["chargeDeclinedProcessingError"], "visa", "4000000000000119", false, Some(&PROCESSING)),
        card(&["radarBlock", "chargeDeclinedFraudulent"], "visa", "4100000000000019", false, Some(&FRAUD)),
        charged(&["createDispute"], "4000000000000259", Aftermath::Dispute(&FRAUD_CLAIM)),
        charged(&["createDisputeProductNotReceived"], "4000000000002685", Aftermath::Dispute(&NOT_RECEIVED_CLAIM)),
        charged(&["createDisputeInquiry"], "4000000000001976", Aftermath::Dispute(&INQUIRY)),
        charged(&["pendingRefund"], "4000000000007726", Aftermath::SlowRefund),
        charged(&["refundFail"], "4000000000005126", Aftermath::FailingRefund),
        card(&["threeDSecure2Required"], "visa", "4000000000003220", true, None),
        card(&["threeDSecureRequired"], "visa", "4000000000003063", true, None),
        card(&["threeDSecureRequiredChargeDeclined"], "visa", "4000008400001629", true, Some(&GENERIC)),
        card(&["authenticationRequired"], "visa", "4000002760003184", true, None),
        card(&["authenticationRequiredOnSetup"], "visa", "4000002500003155", true, None),
        card(&["authenticationRequiredChargeDeclinedInsufficientFunds"], "visa", "4000008260003178", true, Some(&FUNDS)),
    ]
};

/// Returns the test card of a predefined token such as `tok_visa`. None for any other token.
pub(crate) fn by_token(token: &str) -> Option<&'static Card> {
    by_name(token.strip_prefix("tok_")?)
}

/// Returns the test card of a predefined payment method such as `pm_card_visa`. None for any other
/// payment method.
pub(crate) fn by_payment_method(id: &str) -> Option<&'static Card> {
    by_name(id.strip_prefix("pm_card_")?)
}

/// Returns the test card with the card number `number`.
///
/// # Errors
///
/// Returns the decline to respond with, if the number is invalid or is not the number of a test
/// card.
pub(crate) fn by_number(number: &str) -> Result<&'static Card, &'static Decline> {
    let known = CARDS.iter().find(|card| card.number == number);
    known.ok_or(if is_luhn_valid(number) {
        &declines::LIVE
    } else {
        &declines::NUMBER
    })
}

/// Whether `number` has 12 to 19 digits and a valid check digit (Luhn, ISO/IEC 7812-1, annex B).
fn is_luhn_valid(number: &str) -> bool {
    let digits: Option<Vec<_>> = number.chars().map(|digit| digit.to_digit(10)).collect();
    let sum = |digits: Vec<u32>| -> u32 {
        let doubled = digits.iter().rev().enumerate();
        doubled
            .map(|(at, digit)| match (at % 2, digit) {
                (0, digit) => *digit,
                (_, 5..) => digit * 2 - 9,
                (_, digit) => digit * 2,
            })
            .sum()
    };
    (12..=19).contains(&number.len()) && digits.is_some_and(|digits| sum(digits) % 10 == 0)
}

impl Card {
    /// The last four digits of the card number.
    pub(crate) fn last4(&self) -> &'static str {
        let start = self.number.len().saturating_sub(4);
        self.number.get(start..).unwrap_or_default()
    }
}

fn by_name(name: &str) -> Option<&'static Card> {
    CARDS.iter().find(|card| card.names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_names_are_unique() {
        let names: Vec<_> = CARDS.iter().flat_map(|card| card.names).collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn card_numbers_are_unique_and_have_a_valid_check_digit() {
        let numbers: std::collections::BTreeSet<_> = CARDS.iter().map(|card| card.number).collect();
        assert_eq!(numbers.len(), CARDS.len());
        assert!(numbers.into_iter().all(is_luhn_valid));
    }

    #[test]
    fn a_number_that_is_not_a_test_card_is_declined() {
        for (number, decline_code) in [
            ("4242424242424241", "incorrect_number"),
            ("4242", "incorrect_number"),
            ("", "incorrect_number"),
            ("4242 4242 4242 4242", "incorrect_number"),
            ("4111111111111111", "test_mode_live_card"),
        ] {
            assert_eq!(by_number(number).unwrap_err().decline_code, decline_code);
        }
    }

    #[test]
    fn a_token_and_a_payment_method_of_the_same_name_have_the_same_card() {
        for name in CARDS.iter().flat_map(|card| card.names) {
            let token = by_token(&format!("tok_{name}")).unwrap();
            let method = by_payment_method(&format!("pm_card_{name}")).unwrap();
            assert!(std::ptr::eq(token, method), "{name}");
        }
        assert!(by_token("pm_card_visa").is_none());
        assert!(by_payment_method("tok_visa").is_none());
        assert!(by_token("tok_unknown").is_none());
    }
}
