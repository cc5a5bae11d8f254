//! Mutations: deliberate bugs in functions, to prove that the sweep detects them. The proxy simulates a bug:
//! it sends the calls that a function with the bug would send.

use serde_json::{Value, json};
use test_support::proxy::HttpResponse;

use crate::call::{Call, Service};
use crate::cloud::{Cloud, PURCHASES};
use crate::scenario::PURCHASE;

/// The bug that the proxy simulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// No bug.
    None,
    /// A function that settles a purchase overwrites any earlier status of the purchase.
    SettleCondition,
    /// billing-purchase publishes the message about a purchase that it settles. In the real system,
    /// billing-purchase-paid does so.
    PublishFromRequest,
    /// Requests to Stripe have no idempotency key.
    StripeKey,
}

impl Mutation {
    /// Returns the call that a function with this bug would send instead of `call`. Returns `call` itself if the bug
    /// does not affect it.
    pub(crate) fn mutate(self, call: &Call) -> Call {
        let mut sent = call.clone();
        match self {
            Self::SettleCondition if settles(call) => {
                let mut input = call.input();
                // Make the condition always true. The original condition stays, because DynamoDB requires that the
                // expression uses all attribute names.
                let condition = input["ConditionExpression"].as_str().unwrap_or_default();
                let condition = format!(
                    "({condition}) OR attribute_exists(userId) OR attribute_not_exists(userId)"
                );
                input["ConditionExpression"] = condition.into();
                sent.body = input.to_string().into();
            }
            Self::StripeKey if call.service == Service::Stripe => {
                sent.head.headers.remove("idempotency-key");
            }
            _ => (),
        }
        sent
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
            settles(call) && call.input()["ExpressionAttributeValues"][":status"]["S"] == "PAID";
        if self != Self::PublishFromRequest
            || function != PURCHASE
            || !sets_paid
            || !response.status().is_success()
        {
            return None;
        }
        let key = call.input()["Key"].take();
        let purchases = cloud.purchases();
        let paid = purchases
            .iter()
            .find(|paid| paid["purchaseId"] == key["purchaseId"])?;
        let amount: u32 = paid["amount"]["N"].as_str()?.parse().ok()?;
        Some(Cloud::publication(&json!({
            "purchaseId": paid["purchaseId"]["S"],
            "userId": paid["userId"]["S"],
            "amount": amount,
            "description": paid["description"]["S"],
        })))
    }

    /// Whether the simulation delivers the records of the table's stream to billing-purchase-paid.
    pub(crate) fn has_stream(self) -> bool {
        self != Self::PublishFromRequest
    }
}

/// Whether a call sets the status of a purchase.
fn settles(call: &Call) -> bool {
    let input = match call.service {
        Service::DynamoDb if call.name.contains("UpdateItem") => call.input(),
        _ => Value::Null,
    };
    input["TableName"] == PURCHASES && !input["ExpressionAttributeValues"][":status"].is_null()
}
