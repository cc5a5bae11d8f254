//! Parses and validates requests to the API.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::authentication::Authentication;
use crate::caller::Caller;
use crate::dispute::DisputeUpdate;
use crate::error::ApiError;
use crate::pagination::ListQuery;
use crate::params::{Params, integer};
use crate::payment_method::{BillingDetails, CardDetails, PaymentSource};
use crate::refund::{NewRefund, Refunded};

/// A valid request to the API, with its parameters.
#[derive(Debug)]
pub(crate) enum Command {
    Create(Create),
    Confirm(String, Confirm),
    /// Contains the id of the PaymentIntent and the cancellation reason.
    Cancel(String, Option<String>),
    /// Retrieves the object with this id.
    Retrieve(Collection, String, Expand),
    List(Collection, ListQuery, Expand),
    Refund(NewRefund),
    /// Contains the id of the dispute.
    UpdateDispute(String, DisputeUpdate),
    /// Contains the id of the dispute.
    CloseDispute(String),
    CreatePaymentMethod(PaymentSource, BillingDetails),
    CreateToken(CardDetails),
    /// A request from a browser that retrieves, confirms or authenticates the PaymentIntent `id`.
    Browser {
        id: String,
        client_secret: String,
        action: BrowserAction,
    },
}

/// A kind of objects that can be listed and retrieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collection {
    PaymentIntents,
    Charges,
    Refunds,
    Disputes,
    Events,
}

/// Whether a PaymentIntent object contains the object of its latest charge instead of the id
/// (<https://docs.stripe.com/api/expanding_objects>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expand(pub(crate) bool);

impl Collection {
    fn by_path(segment: &str) -> Option<Self> {
        Some(match segment {
            "payment_intents" => Self::PaymentIntents,
            "charges" => Self::Charges,
            "refunds" => Self::Refunds,
            "disputes" => Self::Disputes,
            "events" => Self::Events,
            _ => return None,
        })
    }

    /// The path of the list.
    pub(crate) fn url(self) -> &'static str {
        match self {
            Self::PaymentIntents => "/v1/payment_intents",
            Self::Charges => "/v1/charges",
            Self::Refunds => "/v1/refunds",
            Self::Disputes => "/v1/disputes",
            Self::Events => "/v1/events",
        }
    }

    /// The name of one object, as in the field `object`.
    pub(crate) fn object(self) -> &'static str {
        match self {
            Self::PaymentIntents => "payment_intent",
            Self::Charges => "charge",
            Self::Refunds => "refund",
            Self::Disputes => "dispute",
            Self::Events => "event",
        }
    }

    /// Parses the parameters of a list request.
    fn list(self, params: &mut Params) -> Result<ListQuery, ApiError> {
        let fields: &[_] = match self {
            Self::PaymentIntents => &[],
            Self::Charges => &["payment_intent"],
            Self::Refunds | Self::Disputes => &["payment_intent", "charge"],
            Self::Events => &["type"],
        };
        let query = ListQuery::parse(params, fields)?;
        let types = match self {
            Self::Events => params.take_list("types"),
            _ => Vec::new(),
        };
        Ok(query.any_of("type", types))
    }

    /// Parses the parameter `expand`. `property` is the only property that can be expanded.
    fn expand(self, params: &mut Params, property: &str) -> Result<Expand, ApiError> {
        let wanted = params.take_list("expand");
        match wanted.iter().find(|wanted| *wanted != property) {
            None if wanted.is_empty() || self == Self::PaymentIntents => {
                Ok(Expand(!wanted.is_empty()))
            }
            _ => Err(ApiError::invalid(format!(
                "This property cannot be expanded ({}).",
                wanted.join(", ")
            ))),
        }
    }
}

/// An action that a browser can perform on a PaymentIntent.
#[derive(Debug)]
pub(crate) enum BrowserAction {
    Retrieve,
    Confirm(Confirm),
    Authenticate(Authentication),
}

/// The parameters of a new PaymentIntent.
#[derive(Debug)]
pub(crate) struct Create {
    /// The amount in US cents.
    pub(crate) amount: u32,
    pub(crate) currency: String,
    pub(crate) description: Option<String>,
    pub(crate) receipt_email: Option<String>,
    pub(crate) statement_descriptor_suffix: Option<String>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) method_types: MethodTypes,
    pub(crate) source: Option<PaymentSource>,
    /// The parameters of the confirmation. None if the request does not confirm the PaymentIntent.
    pub(crate) confirm: Option<Confirm>,
}

/// The types of payment methods that a PaymentIntent accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MethodTypes {
    /// Only cards: `allowed_payment_method_types[]=card`. This parameter replaced
    /// `payment_method_types` in API version 2026-09-30.
    Card,
    /// The types that are enabled in Stripe's dashboard: `automatic_payment_methods[enabled]=true`,
    /// which is the default since API version 2023-08-16. `redirects` allows types that redirect
    /// the browser.
    Automatic { redirects: bool },
}

/// The parameters that confirm a PaymentIntent.
#[derive(Debug)]
pub(crate) struct Confirm {
    pub(crate) source: Option<PaymentSource>,
    pub(crate) return_url: Option<String>,
}

impl Command {
    /// Parses the route and the parameters of a request. Fails if a parameter is invalid, missing
    /// or unknown, or if `caller` must not use the route.
    pub(crate) fn parse(
        caller: Caller,
        method: &str,
        path: &str,
        mut params: Params,
    ) -> Result<Self, ApiError> {
        let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let command = match (method, segments.as_slice()) {
            ("POST", ["v1", "payment_methods"]) => {
                let source = PaymentSource::parse(caller, &mut params)?;
                Self::CreatePaymentMethod(source, BillingDetails::take(&mut params))
            }
            ("POST", ["v1", "tokens"]) => {
                Self::CreateToken(CardDetails::parse(caller, &mut params)?)
            }
            _ if caller == Caller::Browser => browser_command(method, &segments, &mut params)?,
            ("POST", ["v1", "payment_intents"]) => Self::Create(create(&mut params)?),
            ("POST", ["v1", "payment_intents", id, "confirm"]) => {
                Self::Confirm((*id).to_owned(), confirm(&mut params)?)
            }
            ("POST", ["v1", "payment_intents", id, "cancel"]) => {
                Self::Cancel((*id).to_owned(), cancellation_reason(&mut params)?)
            }
            ("POST", ["v1", "refunds"]) => Self::Refund(refund(&mut params)?),
            ("POST", ["v1", "disputes", id]) => {
                Self::UpdateDispute((*id).to_owned(), dispute_update(&mut params)?)
            }
            ("POST", ["v1", "disputes", id, "close"]) => Self::CloseDispute((*id).to_owned()),
            ("GET", ["v1", collection, rest @ ..]) => {
                let no_route = || ApiError::no_route(method, path);
                let collection = Collection::by_path(collection).ok_or_else(no_route)?;
                match rest {
                    [] => {
                        let expand = collection.expand(&mut params, "data.latest_charge")?;
                        Self::List(collection, collection.list(&mut params)?, expand)
                    }
                    [id] => {
                        let expand = collection.expand(&mut params, "latest_charge")?;
                        Self::Retrieve(collection, (*id).to_owned(), expand)
                    }
                    _ => return Err(no_route()),
                }
            }
            _ => return Err(ApiError::no_route(method, path)),
        };
        params.finish()?;
        Ok(command)
    }
}

/// The smallest amounts of a PaymentIntent by currency, in the minor unit
/// (<https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>).
static MINIMUMS: LazyLock<BTreeMap<String, i128>> = LazyLock::new(|| {
    let json = include_str!("../../../services/billing-api/minimums.json");
    serde_json::from_str(json).unwrap_or_default()
});

/// The largest amount of a PaymentIntent, in the minor unit.
const MAXIMUM: i128 = 99_999_999;

fn create(params: &mut Params) -> Result<Create, ApiError> {
    let amount = params.required("amount")?;
    let currency = params.required("currency")?.to_ascii_lowercase();
    let Some(minimum) = MINIMUMS.get(&currency) else {
        return Err(ApiError::invalid(format!("Invalid currency: {currency}")).param("currency"));
    };
    let amount = self::amount(&amount, &currency, *minimum)?;
    let method_types = method_types(params)?;
    let confirmation = confirm(params)?;
    let confirmed = params.take_bool("confirm")?;
    if confirmed && confirmation.source.is_none() {
        return Err(ApiError::invalid(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
        )
        .code("payment_intent_unexpected_state"));
    }
    if confirmation.return_url.is_some() && !confirmed {
        return Err(ApiError::invalid(
            "The parameter `return_url` cannot be passed when creating a PaymentIntent unless \
             `confirm` is set to true.",
        )
        .param("return_url"));
    }
    if confirmed {
        method_types.check(&confirmation)?;
    }
    Ok(Create {
        amount,
        currency,
        description: params.take("description"),
        receipt_email: params.take("receipt_email"),
        statement_descriptor_suffix: params.take("statement_descriptor_suffix"),
        metadata: params.take_map("metadata"),
        method_types,
        source: confirmation.source.clone(),
        confirm: confirmed.then_some(confirmation),
    })
}

fn amount(value: &str, currency: &str, minimum: i128) -> Result<u32, ApiError> {
    let amount: i128 = integer("amount", value)?;
    let sign = if currency == "usd" { "$" } else { "" };
    let (code, message) = if amount < 1 {
        (
            "parameter_invalid_integer",
            "This value must be greater than or equal to 1.".to_owned(),
        )
    } else if amount < minimum {
        let (whole, rest) = (minimum / 100, minimum % 100);
        let message = format!("Amount must be at least {sign}{whole}.{rest:02} {currency}");
        ("amount_too_small", message)
    } else if amount > MAXIMUM {
        (
            "amount_too_large",
            format!("Amount must be no more than {sign}999,999.99"),
        )
    } else {
        return integer("amount", value);
    };
    Err(ApiError::invalid(message).code(code).param("amount"))
}

fn method_types(params: &mut Params) -> Result<MethodTypes, ApiError> {
    let types = params.take_list("allowed_payment_method_types");
    if types.iter().any(|kind| kind != "card") {
        let message = "The Stripe test double supports only the payment method type card.";
        return Err(ApiError::invalid(message).param("allowed_payment_method_types"));
    }
    let automatic = params.take_bool("automatic_payment_methods[enabled]")?;
    let redirects = params.take("automatic_payment_methods[allow_redirects]");
    match (types.is_empty(), automatic, redirects.as_deref()) {
        (false, false, None) => Ok(MethodTypes::Card),
        (true, true, Some("never")) => Ok(MethodTypes::Automatic { redirects: false }),
        (true, true, Some("always") | None) | (true, false, None) => {
            Ok(MethodTypes::Automatic { redirects: true })
        }
        (false, _, _) => Err(ApiError::invalid(
            "You may only specify one of these parameters: automatic_payment_methods, \
             allowed_payment_method_types.",
        )),
        (true, _, Some(_)) => Err(ApiError::invalid("Invalid automatic_payment_methods.")
            .param("automatic_payment_methods")),
    }
}

impl MethodTypes {
    /// Fails if the accepted types include payment methods that redirect the browser, and `confirm`
    /// has no URL to which the browser returns (<https://docs.stripe.com/upgrades#2023-08-16>).
    pub(crate) fn check(self, confirm: &Confirm) -> Result<(), ApiError> {
        match self {
            Self::Automatic { redirects: true } if confirm.return_url.is_none() => {
                Err(ApiError::invalid(
                    "This PaymentIntent is configured to accept payment methods enabled in your \
                     Dashboard. Because some of these payment methods might redirect your \
                     customer off of your page, you must provide a `return_url`. If you don't \
                     want to accept redirect-based payment methods, set \
                     `automatic_payment_methods[enabled]` to `true` and \
                     `automatic_payment_methods[allow_redirects]` to `never` when creating Setup \
                     Intents and Payment Intents.",
                ))
            }
            Self::Automatic { .. } | Self::Card => Ok(()),
        }
    }
}

fn confirm(params: &mut Params) -> Result<Confirm, ApiError> {
    Ok(Confirm {
        source: source(params)?,
        return_url: params.take("return_url"),
    })
}

fn source(params: &mut Params) -> Result<Option<PaymentSource>, ApiError> {
    let method = params.take("payment_method");
    let kind = params.take("payment_method_data[type]");
    let token = params.take("payment_method_data[card][token]");
    match (method, kind.as_deref(), token) {
        (None, None, None) => Ok(None),
        (Some(id), None, None) => Ok(Some(PaymentSource::payment_method(id))),
        (None, Some("card"), Some(token)) => {
            let param = "payment_method_data[card][token]";
            Ok(Some(PaymentSource::token(token, param)))
        }
        (Some(_), _, _) => Err(ApiError::invalid(
            "You may only specify one of these parameters: payment_method, payment_method_data.",
        )),
        (None, None, Some(_)) => Err(ApiError::invalid(
            "Missing required param: payment_method_data[type].",
        )
        .code("parameter_missing")
        .param("payment_method_data[type]")),
        (None, Some(_), _) => Err(ApiError::invalid(
            "The Stripe test double supports only payment_method_data[type]=card with \
             payment_method_data[card][token].",
        )
        .param("payment_method_data")),
    }
}

/// Parses a request that a browser makes with a publishable key (<https://docs.stripe.com/keys>),
/// except for requests that create a payment method or a token.
fn browser_command(
    method: &str,
    segments: &[&str],
    params: &mut Params,
) -> Result<Command, ApiError> {
    let (id, action) = match (method, segments) {
        ("GET", ["v1", "payment_intents", id]) => (*id, BrowserAction::Retrieve),
        ("POST", ["v1", "payment_intents", id, "confirm"]) => {
            (*id, BrowserAction::Confirm(confirm(params)?))
        }
        // Stripe has no such route. At Stripe, the page of the card's bank completes the challenge.
        ("POST", ["v1", "payment_intents", id, "authenticate"]) => {
            let authentication = match params.required("authentication")?.as_str() {
                "succeeds" => Authentication::Succeeds,
                "fails" => Authentication::Fails,
                other => {
                    let message = format!("Invalid authentication: {other}");
                    return Err(ApiError::invalid(message).param("authentication"));
                }
            };
            (*id, BrowserAction::Authenticate(authentication))
        }
        _ => {
            return Err(ApiError::unauthorized(
                "This API call cannot be made with a publishable API key. Please use a secret API \
                 key. You can find a list of your API keys at \
                 https://dashboard.stripe.com/account/apikeys.",
            )
            .code("secret_key_required"));
        }
    };
    Ok(Command::Browser {
        id: id.to_owned(),
        client_secret: params.required("client_secret")?,
        action,
    })
}

fn refund(params: &mut Params) -> Result<NewRefund, ApiError> {
    let charge = params.take("charge").map(Refunded::Charge);
    let intent = params.take("payment_intent").map(Refunded::PaymentIntent);
    let of = match (charge, intent) {
        (Some(of), None) | (None, Some(of)) => of,
        _ => {
            return Err(ApiError::invalid(
                "One of the following params should be provided for this request: \
                 payment_intent or charge.",
            ));
        }
    };
    let amount = params.take("amount");
    let amount = amount
        .map(|amount| integer("amount", &amount))
        .transpose()?;
    if amount == Some(0) {
        return Err(ApiError::invalid("Invalid positive integer")
            .code("parameter_invalid_integer")
            .param("amount"));
    }
    let reason = params.take("reason");
    match reason.as_deref() {
        None | Some("duplicate" | "fraudulent" | "requested_by_customer") => {}
        Some(_) => {
            let message = "Invalid reason: must be one of duplicate, fraudulent, or \
                           requested_by_customer";
            return Err(ApiError::invalid(message).param("reason"));
        }
    }
    Ok(NewRefund {
        of,
        amount,
        reason,
        metadata: params.take_map("metadata"),
    })
}

fn dispute_update(params: &mut Params) -> Result<DisputeUpdate, ApiError> {
    Ok(DisputeUpdate {
        evidence: params.take_map("evidence"),
        submit: match params.take("submit").as_deref() {
            None | Some("true") => true,
            Some("false") => false,
            Some(other) => {
                return Err(ApiError::invalid(format!("Invalid boolean: {other}"))
                    .code("parameter_invalid_boolean")
                    .param("submit"));
            }
        },
        metadata: params.take_map("metadata"),
    })
}

fn cancellation_reason(params: &mut Params) -> Result<Option<String>, ApiError> {
    let reason = params.take("cancellation_reason");
    match reason.as_deref() {
        None | Some("duplicate" | "fraudulent" | "requested_by_customer" | "abandoned") => {
            Ok(reason)
        }
        Some(_) => Err(ApiError::invalid(
            "Invalid cancellation_reason: must be one of duplicate, fraudulent, \
                               requested_by_customer, or abandoned",
        )
        .param("cancellation_reason")),
    }
}
