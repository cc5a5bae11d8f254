//! What a request asks for, parsed once.

use serde_json::{Map, Value};

use crate::Authentication;
use crate::card;
use crate::error::ApiError;
use crate::params::{Params, integer};
use crate::search::Query;
use crate::server::Caller;
use crate::wallet::{Billing, Offer, Source};

/// What can be asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Create(Create),
    Confirm(String, Confirm),
    Cancel(String, Option<String>),
    Retrieve(String),
    List(Page),
    Search(Query, Page),
    RetrieveEvent(String),
    ListEvents(Page),
    MakeMethod(Source, Billing),
    MakeToken(Offer),
    /// What a browser does with an intent, whose id and client secret it knows.
    Browser(String, String, Act),
}

/// What a browser can do with an intent.
#[derive(Debug)]
pub(crate) enum Act {
    Retrieve,
    Confirm(Confirm),
    Authenticate(Authentication),
}

/// A PaymentIntent to be made.
#[derive(Debug)]
pub(crate) struct Create {
    /// In the currency's smallest unit.
    pub(crate) amount: u32,
    pub(crate) currency: String,
    pub(crate) description: Option<String>,
    pub(crate) receipt_email: Option<String>,
    pub(crate) statement_descriptor_suffix: Option<String>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) method_types: MethodTypes,
    pub(crate) source: Option<Source>,
    /// There when it is to be confirmed at once.
    pub(crate) confirm: Option<Confirm>,
}

/// How an intent says which ways to pay it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MethodTypes {
    /// `allowed_payment_method_types[]=card`, which took the place of `payment_method_types` with
    /// version 2026-09-30.
    Card,
    /// Those of the dashboard: without parameters, as if with
    /// `automatic_payment_methods[enabled]=true`, since version 2023-08-16.
    Automatic { redirects: bool },
}

/// How an intent is confirmed.
#[derive(Debug)]
pub(crate) struct Confirm {
    pub(crate) source: Option<Source>,
    pub(crate) return_url: Option<String>,
}

/// A part of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) limit: usize,
    /// The parameter that says where it starts, and the id of the last object before it.
    pub(crate) after: Option<(&'static str, String)>,
}

impl Command {
    /// Reads a request's route and parameters.
    pub(crate) fn parse(
        caller: Caller,
        method: &str,
        path: &str,
        mut params: Params,
    ) -> Result<Self, ApiError> {
        let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let command = match (method, segments.as_slice()) {
            ("POST", ["v1", "payment_methods"]) => {
                let source = Source::offered(caller, &mut params)?;
                Self::MakeMethod(source, Billing::take(&mut params))
            }
            ("POST", ["v1", "tokens"]) => Self::MakeToken(Offer::take(caller, &mut params)?),
            _ if caller == Caller::Browser => browser(method, &segments, &mut params)?,
            ("POST", ["v1", "payment_intents"]) => Self::Create(create(&mut params)?),
            ("GET", ["v1", "payment_intents"]) => Self::List(page(&mut params, "starting_after")?),
            ("GET", ["v1", "payment_intents", "search"]) => {
                let query = Query::parse(&params.required("query")?)?;
                Self::Search(query, page(&mut params, "page")?)
            }
            ("GET", ["v1", "payment_intents", id]) => Self::Retrieve((*id).to_owned()),
            ("POST", ["v1", "payment_intents", id, "confirm"]) => {
                Self::Confirm((*id).to_owned(), confirm(&mut params)?)
            }
            ("POST", ["v1", "payment_intents", id, "cancel"]) => {
                Self::Cancel((*id).to_owned(), cancellation_reason(&mut params)?)
            }
            ("GET", ["v1", "events"]) => Self::ListEvents(page(&mut params, "starting_after")?),
            ("GET", ["v1", "events", id]) => Self::RetrieveEvent((*id).to_owned()),
            _ => return Err(ApiError::no_route(method, path)),
        };
        params.finish()?;
        Ok(command)
    }
}

/// The smallest and the largest charge, in cents
/// (<https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>).
const AMOUNTS: std::ops::RangeInclusive<i128> = 50..=99_999_999;

fn create(params: &mut Params) -> Result<Create, ApiError> {
    let amount = amount(&params.required("amount")?)?;
    let currency = params.required("currency")?.to_ascii_lowercase();
    if currency != "usd" {
        return Err(ApiError::invalid(format!("Invalid currency: {currency}")).param("currency"));
    }
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

fn amount(value: &str) -> Result<u32, ApiError> {
    let amount: i128 = integer("amount", value)?;
    let refusal = if amount < 1 {
        (
            "parameter_invalid_integer",
            "This value must be greater than or equal to 1.",
        )
    } else if amount < *AMOUNTS.start() {
        ("amount_too_small", "Amount must be at least $0.50 usd")
    } else if amount > *AMOUNTS.end() {
        (
            "amount_too_large",
            "Amount must be no more than $999,999.99",
        )
    } else {
        return integer("amount", value);
    };
    let (code, message) = refusal;
    Err(ApiError::invalid(message).code(code).param("amount"))
}

fn method_types(params: &mut Params) -> Result<MethodTypes, ApiError> {
    let types = params.take_list("allowed_payment_method_types");
    if types.iter().any(|kind| kind != "card") {
        return Err(ApiError::invalid("The double takes cards alone.")
            .param("allowed_payment_method_types"));
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
    /// Refuses a confirmation that could send the browser away with nowhere to come back to
    /// (<https://docs.stripe.com/upgrades#2023-08-16>).
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

fn source(params: &mut Params) -> Result<Option<Source>, ApiError> {
    let method = params.take("payment_method");
    let kind = params.take("payment_method_data[type]");
    let token = params.take("payment_method_data[card][token]");
    match (method, kind.as_deref(), token) {
        (None, None, None) => Ok(None),
        (Some(id), None, None) => Ok(Some(match card::of_payment_method(&id) {
            Some(card) => Source::Test(card),
            None => Source::Method(id),
        })),
        (None, Some("card"), Some(token)) => {
            let param = "payment_method_data[card][token]";
            Ok(Some(Source::token(token, param)))
        }
        (Some(_), _, _) => Err(ApiError::invalid(
            "You may only specify one of these parameters: payment_method, payment_method_data.",
        )),
        (None, None, Some(_)) => Err(ApiError::invalid(
            "Missing required param: payment_method_data[type].",
        )
        .code("parameter_missing")
        .param("payment_method_data[type]")),
        (None, Some(_), _) => Err(ApiError::invalid("The double takes tokens of cards alone.")
            .param("payment_method_data")),
    }
}

/// What a publishable key is good for, besides making payment methods and tokens
/// (<https://docs.stripe.com/keys>).
fn browser(method: &str, segments: &[&str], params: &mut Params) -> Result<Command, ApiError> {
    let (id, act) = match (method, segments) {
        ("GET", ["v1", "payment_intents", id]) if *id != "search" => (*id, Act::Retrieve),
        ("POST", ["v1", "payment_intents", id, "confirm"]) => (*id, Act::Confirm(confirm(params)?)),
        // The double's own: Stripe's challenge is a page of the card's bank
        ("POST", ["v1", "payment_intents", id, "authenticate"]) => {
            let authentication = match params.required("authentication")?.as_str() {
                "succeeds" => Authentication::Succeeds,
                "fails" => Authentication::Fails,
                other => {
                    let message = format!("Invalid authentication: {other}");
                    return Err(ApiError::invalid(message).param("authentication"));
                }
            };
            (*id, Act::Authenticate(authentication))
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
    let secret = params.required("client_secret")?;
    Ok(Command::Browser(id.to_owned(), secret, act))
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

fn page(params: &mut Params, after: &'static str) -> Result<Page, ApiError> {
    let limit = params.take("limit").unwrap_or_else(|| "10".to_owned());
    match integer("limit", &limit)? {
        limit @ 1..=100 => Ok(Page {
            limit,
            after: params.take(after).map(|id| (after, id)),
        }),
        _ => Err(ApiError::invalid("Invalid limit: must be between 1 and 100.").param("limit")),
    }
}
