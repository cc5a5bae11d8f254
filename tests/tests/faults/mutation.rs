//! Mutations: deliberate bugs in functions, to prove that the sweep detects them. The proxy simulates a bug:
//! it sends the calls that a function with the bug would send.

use serde_json::{Value, json};
use test_support::proxy::HttpResponse;

use crate::call::{Call, Service};
use crate::cloud::{Cloud, PURCHASES, STORAGE};
use crate::scenario::PURCHASE;

/// The bug that the proxy simulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// No bug.
    None,
    /// A function that settles a purchase overwrites any earlier status of the purchase.
    SettleCondition,
    /// billing-purchase publishes the message about a purchase that it settles, and stores no outbox. In the real
    /// system, billing-purchase-paid publishes, and the outbox stays until it has done so.
    PublishFromRequest,
    /// Requests to Stripe have no idempotency key.
    StripeKey,
    /// notes-credit does not check whether the credit of the purchase is stored already.
    CreditTwice,
    /// notes-credit does not reduce the storage after a refund.
    NoRevocation,
}

impl Mutation {
    /// Returns the call that a function with this bug would send instead of `call`. Returns `call` itself if the bug
    /// does not affect it.
    pub(crate) fn mutate(self, call: &Call) -> Call {
        let mut sent = call.clone();
        if self == Self::StripeKey && call.service == Service::Stripe {
            sent.head.headers.remove("idempotency-key");
        }
        let mut input = call.input();
        if self.mutate_input(call, &mut input).is_some() {
            sent.body = input.to_string().into();
        }
        sent
    }

    /// Changes the input of a call to DynamoDB. Returns `None` if the bug does not affect it.
    fn mutate_input(self, call: &Call, input: &mut Value) -> Option<()> {
        match self {
            Self::SettleCondition if settles(call) => make_true(input),
            // No credit is stored under this key.
            Self::CreditTwice if is_credit(&input["Key"]) => {
                input["Key"]["entry"]["S"] = "none".into();
            }
            Self::CreditTwice => make_true(credit(input)?.0),
            Self::NoRevocation => {
                let values = &mut credit(input)?.1["ExpressionAttributeValues"];
                if values[":more"]["N"].as_str()?.starts_with('-') {
                    values[":more"]["N"] = "0".into();
                    values[":less"]["N"] = "0".into();
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Returns the call to SNS that a function with this bug would send after `call`. `None` if the function would send
    /// none.
    pub(crate) fn publication(
        self,
        function: &str,
        call: &Call,
        response: &HttpResponse,
        cloud: &Cloud,
    ) -> Option<Call> {
        let sets_paid =
            settles(call) && call.input()["ExpressionAttributeValues"][":settled"]["S"] == "PAID";
        if self != Self::PublishFromRequest
            || function != PURCHASE
            || !sets_paid
            || !response.status().is_success()
        {
            return None;
        }
        let key = call.input()["Key"].take();
        let mut purchases = cloud.purchases().into_iter();
        let mut paid = purchases.find(|paid| paid["purchaseId"] == key["purchaseId"])?;
        for name in ["outbox", "dueAt", "unsettledShard"] {
            paid.as_object_mut()?.remove(name);
        }
        cloud.dynamodb.put(PURCHASES, &paid).ok()?;
        let number = |name: &str| paid[name]["N"].as_str()?.parse::<u32>().ok();
        Some(Cloud::publication(&json!({
            "purchaseId": paid["purchaseId"]["S"],
            "userId": paid["userId"]["S"],
            "amount": number("amount")?,
            "currency": "usd",
            "description": paid["description"]["S"],
            "granted": number("storage")?,
            "revision": number("revision")?,
            "notices": [{"type": "paid"}],
        })))
    }

    /// Whether the simulation delivers the records of the table's stream to billing-purchase-paid.
    pub(crate) fn has_stream(self) -> bool {
        self != Self::PublishFromRequest
    }
}

/// Whether a call settles a purchase.
fn settles(call: &Call) -> bool {
    let input = match call.service {
        Service::DynamoDb if call.name.contains("UpdateItem") => call.input(),
        _ => Value::Null,
    };
    input["TableName"] == PURCHASES && !input["ExpressionAttributeValues"][":settled"].is_null()
}

/// Whether an item or a key is that of the credit of a purchase.
fn is_credit(key: &Value) -> bool {
    let entry = key["entry"]["S"].as_str();
    entry.is_some_and(|entry| entry != "total")
}

/// Returns the actions of a transaction that stores a credit: that of the credit, and that of the total. `None` if the
/// input is another one.
fn credit(input: &mut Value) -> Option<(&mut Value, &mut Value)> {
    let [put, total] = input["TransactItems"].as_array_mut()?.as_mut_slice() else {
        return None;
    };
    let (put, total) = (put.get_mut("Put")?, total.get_mut("Update")?);
    let stores_credit = put["TableName"] == STORAGE && is_credit(&put["Item"]);
    stores_credit.then_some((put, total))
}

/// Makes the condition of a call or an action always true. The original condition stays, because DynamoDB requires that
/// the expression uses all attribute names.
fn make_true(input: &mut Value) {
    let condition = input["ConditionExpression"].as_str().unwrap_or_default();
    let condition =
        format!("({condition}) OR attribute_exists(userId) OR attribute_not_exists(userId)");
    input["ConditionExpression"] = condition.into();
}
