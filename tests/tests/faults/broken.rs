//! Functions that are broken on purpose, imitated on the wire: what is sent is what such a build
//! would send. A sweep that does not find them out is worth nothing.

use serde_json::{Value, json};

use crate::call::{Call, Service};
use crate::cloud::{Answer, Cloud, PURCHASES};
use crate::life::PURCHASE;

/// What is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// Settle writes over whatever is there.
    SettleCondition,
    /// A purchase is announced by the request that settles it, and not by the table's stream.
    PublishFromRequest,
    /// Charges carry no idempotency key.
    StripeKey,
}

impl Broken {
    /// What such a function sends in place of `call`.
    pub(crate) fn sends(self, call: &Call) -> Call {
        let mut sent = call.clone();
        match self {
            Self::SettleCondition if settles(call) => {
                let mut input = call.input();
                // Always true. The condition itself stays, for all names in a call must be used.
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

    /// What such a function publishes, once `call` has had this answer.
    pub(crate) fn publishes(
        self,
        function: &str,
        call: &Call,
        answer: &Answer,
        cloud: &Cloud,
    ) -> Option<Call> {
        let pays =
            settles(call) && call.input()["ExpressionAttributeValues"][":status"]["S"] == "PAID";
        if self != Self::PublishFromRequest
            || function != PURCHASE
            || !pays
            || !answer.status().is_success()
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

    /// Whether the table has a stream.
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
    input["TableName"] == PURCHASES && !input["ExpressionAttributeValues"][":status"].is_null()
}
