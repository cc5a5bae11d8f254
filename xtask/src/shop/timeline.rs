//! What happened to a purchase, in causal order, and what can be done now.

use serde_json::Value;

use super::{
    json::{number, text},
    purchase::{Purchase, money, time},
    stripe::{Payments, lacks_events},
};

/// What is known about a purchase.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) purchase: Purchase,
    /// What Stripe knows, or why it is not known.
    pub(super) payments: Result<Payments, String>,
    // part: notify {
    /// The kind of each notice to the owner of the product, and the record of its SMS.
    pub(super) claims: Vec<(String, Option<Value>)>,
    // part: notify }
    /// The credit of the purchase in the table Storage.
    pub(super) credit: Option<Value>,
    /// The log lines that name the purchase, or why they are not known.
    pub(super) logs: Result<Vec<LogLine>, String>,
    /// The current time in milliseconds since the Unix epoch.
    pub(super) now: u64,
}

/// A line of a function's log.
#[derive(Debug, Clone)]
pub(super) struct LogLine {
    /// In milliseconds since the Unix epoch.
    pub(super) at: u64,
    pub(super) function: String,
    pub(super) message: String,
}

/// Where an entry of the timeline comes from. The order is that of cause and effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Order,
    Payment,
    Event,
    Purchase,
    Log,
    Sms, // part: notify
    Credit,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Order | Self::Purchase => "purchase",
            Self::Payment => "Stripe",
            Self::Event => "event",
            Self::Log => "log",
            Self::Sms => "SMS", // part: notify
            Self::Credit => "storage",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// In milliseconds since the Unix epoch. `None` if the time is not stored: these entries come last.
    pub(super) at: Option<u64>,
    pub(super) source: Source,
    pub(super) text: String,
}

impl Entry {
    /// The line that shows the entry.
    pub(super) fn line(&self) -> String {
        let at = self.at.map_or_else(String::new, time);
        format!("{at:<20}  {:<8}  {}", self.source.name(), self.text)
    }
}

/// Returns what happened to a purchase, in causal order.
pub(super) fn timeline(facts: &Facts) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut add = |at: Option<u64>, source, text: String| entries.push(Entry { at, source, text });
    let purchase = &facts.purchase;
    add(
        Some(purchase.created_at()),
        Source::Order,
        format!(
            "{} ordered {} for {}",
            purchase.user_id(),
            text(&purchase.0, "/description"),
            purchase.money(purchase.amount())
        ),
    );
    if purchase.status() != "PENDING" {
        add(
            Some(purchase.updated_at()),
            Source::Purchase,
            state(purchase),
        );
    }
    for surplus in purchase.surplus() {
        add(
            Some(number(surplus, "/refundedAt")),
            Source::Purchase,
            format!(
                "the surplus charge of {} is recorded as refunded ({})",
                text(surplus, "/paymentIntentId"),
                purchase.money(number(surplus, "/amount"))
            ),
        );
    }
    if let Ok(payments) = &facts.payments {
        for (at, source, text) in of_stripe(payments) {
            add(Some(at), source, text);
        }
    }
    // part: notify {
    for (notice, record) in &facts.claims {
        let (at, text) = sms(notice, record.as_ref());
        add(at, Source::Sms, text);
    }
    // part: notify }
    if let Some(credit) = &facts.credit {
        add(
            None,
            Source::Credit,
            format!(
                "{} notes are credited (revision {})",
                number(credit, "/granted"),
                number(credit, "/revision")
            ),
        );
    }
    for line in facts.logs.iter().flatten() {
        let text = format!("{}: {}", line.function, line.message.trim_end());
        add(Some(line.at), Source::Log, text);
    }
    // Stripe's times have no milliseconds, so what follows the order may seem to be before it.
    let ordered = purchase.created_at();
    entries.sort_by_key(|entry| {
        let at = entry.at.unwrap_or(u64::MAX).max(ordered);
        (at, entry.source)
    });
    entries
}

fn state(purchase: &Purchase) -> String {
    let mut state = format!("{}, revision {}", purchase.status(), purchase.revision());
    let decline = text(&purchase.0, "/decline/code");
    if !decline.is_empty() {
        let issuer = text(&purchase.0, "/decline/declineCode");
        state += &format!(", {decline}");
        if !issuer.is_empty() {
            state += &format!(" ({issuer})");
        }
    }
    if purchase.refunded() > 0 {
        state += &format!(", {} refunded", purchase.money(purchase.refunded()));
    }
    let dispute = text(&purchase.0, "/dispute/status");
    if !dispute.is_empty() {
        state += &format!(", dispute {dispute}");
    }
    if purchase.has_outbox() {
        state += ", not announced yet";
    }
    state
}

/// Returns the time, the source and the text of what Stripe knows.
fn of_stripe(payments: &Payments) -> Vec<(u64, Source, String)> {
    let mut found = Vec::new();
    let at = |object: &Value| number(object, "/created") * 1000;
    let of_currency = |object: &Value| money(number(object, "/amount"), text(object, "/currency"));
    for intent in &payments.intents {
        let error = match text(intent, "/last_payment_error/code") {
            "" => String::new(),
            code => format!(", last error {code}"),
        };
        found.push((
            at(intent),
            Source::Payment,
            format!(
                "PaymentIntent {} of {} created, now {}{error}",
                text(intent, "/id"),
                of_currency(intent),
                text(intent, "/status")
            ),
        ));
    }
    for charge in &payments.charges {
        let failure = match text(charge, "/failure_code") {
            "" => String::new(),
            code => format!(": {code}"),
        };
        found.push((
            at(charge),
            Source::Payment,
            format!(
                "charge {} of {} {}{failure}",
                text(charge, "/id"),
                of_currency(charge),
                text(charge, "/status")
            ),
        ));
    }
    for (kind, objects) in [
        ("refund", &payments.refunds),
        ("dispute", &payments.disputes),
    ] {
        for object in objects {
            let reason = match text(object, "/reason") {
                "" => String::new(),
                reason => format!(" ({reason})"),
            };
            found.push((
                at(object),
                Source::Payment,
                format!(
                    "{kind} {} of {}{reason}, now {}",
                    text(object, "/id"),
                    of_currency(object),
                    text(object, "/status")
                ),
            ));
        }
    }
    for event in &payments.events {
        let pending = match number(event, "/pending_webhooks") {
            0 => "",
            _ => ", not accepted by the webhook yet",
        };
        found.push((
            at(event),
            Source::Event,
            format!("{} ({}){pending}", text(event, "/type"), text(event, "/id")),
        ));
    }
    found
}

// part: notify {
/// Returns when the record of an SMS was last written, and what it says.
fn sms(notice: &str, record: Option<&Value>) -> (Option<u64>, String) {
    let Some(record) = record else {
        let text = format!("no record of an SMS about `{notice}`; records are kept for 40 days");
        return (None, text);
    };
    // The version is a UUID of version 7, which begins with the time of the write.
    let version = uuid::Uuid::parse_str(text(record, "/version")).ok();
    let version = version.and_then(|version| version.get_timestamp());
    let at = version.map(|version| {
        let (seconds, nanos) = version.to_unix();
        seconds * 1000 + u64::from(nanos) / 1_000_000
    });
    let attempts = number(record, "/attempts");
    let what = match text(record, "/status") {
        "COMPLETED" => "sent".to_owned(),
        "RELEASED" => format!("not sent after {attempts} attempts"),
        _ => format!("attempt {attempts} has begun and not ended"),
    };
    (at, format!("SMS about `{notice}` {what}"))
}
// part: notify }

/// Returns what is wrong with a purchase and what can be done, one line each.
pub(super) fn advice(facts: &Facts, stage: &str) -> Vec<String> {
    let purchase = &facts.purchase;
    let id = purchase.id();
    let mut lines = Vec::new();
    let mut add = |line: String| lines.push(line);
    match &facts.payments {
        Err(error) => add(format!("Stripe's objects are not known: {error}")),
        Ok(payments) => {
            if lacks_events(purchase.created_at(), facts.now) {
                add("Stripe keeps events for 30 days: older ones are missing above".into());
            }
            let succeeded = |intent: &&Value| text(intent, "/status") == "succeeded";
            let charged: Vec<&str> = payments
                .intents
                .iter()
                .filter(succeeded)
                .map(|intent| text(intent, "/id"))
                .collect();
            if !charged.is_empty() && !purchase.was_paid() && purchase.surplus().is_empty() {
                add(format!(
                    "Stripe charged the card ({}), but the purchase is {}: resend the event payment_intent.succeeded in the \
                     Stripe Dashboard, or run cargo xtask redrive billing-webhook --stage {stage}",
                    charged.join(", "),
                    purchase.status()
                ));
            }
            let is_own = |charge: &&Value| text(charge, "/payment_intent") == purchase.intent();
            let refunded = payments.charges.iter().filter(is_own);
            let refunded: u64 = refunded
                .map(|charge| number(charge, "/amount_refunded"))
                .sum();
            if purchase.was_paid() && refunded != purchase.refunded() {
                add(format!(
                    "Stripe refunded {}, but the purchase says {}: resend the event charge.refunded in the Stripe Dashboard, \
                     or run cargo xtask redrive billing-webhook --stage {stage}",
                    purchase.money(refunded),
                    purchase.money(purchase.refunded())
                ));
            }
            for dispute in &payments.disputes {
                if text(dispute, "/status").ends_with("needs_response") {
                    add(format!(
                        "respond to the dispute {} in the Stripe Dashboard by {}",
                        text(dispute, "/id"),
                        time(number(dispute, "/evidence_details/due_by") * 1000)
                    ));
                }
            }
        }
    }
    let was_not_charged = facts.payments.as_ref().is_ok_and(|payments| {
        let mut intents = payments.intents.iter();
        intents.all(|intent| text(intent, "/status") != "succeeded")
    });
    let granted = purchase.granted();
    let credited = facts
        .credit
        .as_ref()
        .map_or(0, |credit| number(credit, "/granted"));
    if !purchase.has_outbox() && granted != credited {
        let why = if purchase.revision() == 0 && purchase.was_paid() {
            format!("run cargo xtask migrate credit-purchases --stage {stage}")
        } else {
            format!(
                "run cargo xtask redrive notes-credit --stage {stage}, or cargo xtask shop resend {id} --stage {stage}"
            )
        };
        add(format!(
            "the purchase grants {granted} notes, but {credited} are credited: {why}"
        ));
    }
    if purchase.has_outbox() {
        add(format!(
            "revision {} is not announced yet: billing-reconcile announces it from {}",
            purchase.revision(),
            time(number(&purchase.0, "/dueAt"))
        ));
    }
    // part: notify {
    if facts.claims.iter().any(|(_, record)| {
        record
            .as_ref()
            .is_some_and(|record| text(record, "/status") != "COMPLETED")
    }) {
        add(format!(
            "an SMS to the owner is not recorded as sent: run cargo xtask redrive notify-send --stage {stage}"
        ));
    }
    // part: notify }
    match purchase.status() {
        "PENDING" => add(format!(
            "the person can continue or cancel the order in the app; billing-reconcile checks it from {}",
            time(number(&purchase.0, "/dueAt"))
        )),
        "PAID" => {
            let left = purchase.amount().saturating_sub(purchase.refunded());
            add(format!(
                "refund up to {}: cargo xtask shop refund {id} --stage {stage} [--amount CENTS]",
                purchase.money(left)
            ));
        }
        "FAILED" if was_not_charged => {
            add("the person was not charged, and can order again".into());
        }
        _ => {}
    }
    // part: notify {
    if !purchase.notices().is_empty() && !purchase.has_outbox() {
        add(format!(
            "send the owner's SMS again: cargo xtask shop resend {id} --stage {stage}"
        ));
    }
    // part: notify }
    if let Err(error) = &facts.logs {
        add(format!("the log lines are not known: {error}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a";
    const ORDERED: u64 = 1_763_632_800_500;

    fn facts(more: &Value) -> Facts {
        let mut purchase = json!({
            "userId": "us-east-1:ada", "purchaseId": ID, "storage": 10, "amount": 4000,
            "description": "storage for 10 notes", "createdAt": ORDERED, "updatedAt": ORDERED + 1200,
            "status": "PAID", "paymentIntentId": "pi_1", "revision": 1,
        });
        let fields = more.as_object().unwrap().clone();
        purchase.as_object_mut().unwrap().extend(fields);
        Facts {
            purchase: Purchase(purchase),
            payments: Ok(Payments {
                intents: vec![json!({
                    "id": "pi_1", "created": ORDERED / 1000, "amount": 4000, "currency": "usd", "status": "succeeded",
                })],
                charges: vec![json!({
                    "id": "ch_1", "payment_intent": "pi_1", "created": ORDERED / 1000, "amount": 4000, "currency": "usd",
                    "status": "succeeded", "amount_refunded": 0,
                })],
                events: vec![json!({
                    "id": "evt_1", "type": "payment_intent.succeeded", "created": ORDERED / 1000 + 1, "pending_webhooks": 1,
                })],
                ..Payments::default()
            }),
            // part: notify {
            claims: vec![(
                "paid".into(),
                Some(json!({
                    "status": "COMPLETED", "attempts": 1, "version": "019aa0b4-f000-7000-8000-000000000000",
                })),
            )],
            // part: notify }
            credit: Some(json!({"granted": 10, "revision": 1})),
            logs: Ok(vec![LogLine {
                at: ORDERED + 1300,
                function: "notes-credit".into(),
                message: "event handled\n".into(),
            }]),
            now: ORDERED + 60_000,
        }
    }

    #[test]
    fn the_timeline_is_in_the_order_of_cause_and_effect() {
        let sources: Vec<Source> = timeline(&facts(&json!({})))
            .iter()
            .map(|entry| entry.source)
            .collect();
        assert_eq!(
            sources,
            [
                Source::Order,
                Source::Payment,
                Source::Payment,
                Source::Event,
                Source::Purchase,
                Source::Log,
                Source::Sms, // part: notify
                Source::Credit,
            ]
        );
    }

    #[test]
    fn an_entry_shows_time_source_and_text() {
        let facts = facts(&json!({}));
        let lines: Vec<String> = timeline(&facts).iter().map(Entry::line).collect();
        assert_eq!(
            lines[0],
            "2025-11-20T10:00:00Z  purchase  us-east-1:ada ordered storage for 10 notes for 40.00 USD"
        );
        assert!(
            lines[3].contains("not accepted by the webhook yet"),
            "{lines:?}"
        );
        assert!(lines[6].contains("SMS about `paid` sent"), "{lines:?}"); // part: notify
    }

    fn has_advice(facts: &Facts, text: &str) -> bool {
        advice(facts, "dev").iter().any(|line| line.contains(text))
    }

    #[test]
    fn a_complete_purchase_can_be_refunded() {
        let advice = advice(&facts(&json!({})), "dev");
        assert!(
            advice[0].starts_with("refund up to 40.00 USD"),
            "{advice:?}"
        );
        assert!(advice[1].contains("shop resend"), "{advice:?}"); // part: notify
    }

    #[test]
    fn what_contradicts_stripe_is_found() {
        let failed = facts(&json!({"status": "FAILED", "decline": {"code": "payment_not_made"}}));
        assert!(has_advice(
            &failed,
            "Stripe charged the card (pi_1), but the purchase is FAILED"
        ));
        let refunded = facts(&json!({"refunded": {"amount": 400, "asOf": 1}}));
        assert!(has_advice(
            &refunded,
            "Stripe refunded 0.00 USD, but the purchase says 4.00 USD"
        ));
    }

    #[test]
    fn a_missing_credit_is_found() {
        let mut broken = facts(&json!({}));
        broken.credit = None;
        // part: notify {
        broken.claims = vec![(
            "paid".into(),
            Some(json!({"status": "RELEASED", "attempts": 3})),
        )];
        // part: notify }
        assert!(has_advice(&broken, "redrive notes-credit"));
        assert!(has_advice(&broken, "redrive notify-send")); // part: notify
        broken.purchase.0["revision"] = json!(0);
        assert!(has_advice(&broken, "migrate credit-purchases"));
    }

    #[test]
    fn an_open_order_and_an_open_dispute_say_until_when() {
        let mut open = facts(&json!({"status": "PENDING", "dueAt": ORDERED, "revision": 0}));
        open.payments = Ok(Payments::default());
        open.credit = None;
        assert!(has_advice(&open, "can continue or cancel the order"));
        let mut disputed = facts(&json!({"status": "DISPUTED"}));
        if let Ok(payments) = &mut disputed.payments {
            payments.disputes = vec![json!({
                "id": "dp_1", "status": "needs_response", "evidence_details": {"due_by": 1_764_000_000},
            })];
        }
        assert!(has_advice(&disputed, "respond to the dispute dp_1"));
        disputed.payments = Err("no key".into());
        assert!(has_advice(&disputed, "not known: no key"));
    }
}
