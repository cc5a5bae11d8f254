//! What Stripe holds: PaymentIntents, the charges made for them, and the events that tell of both
//! (<https://docs.stripe.com/payments/paymentintents/lifecycle>).

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::API_VERSION;
use crate::command::{Act, Command, Confirm, Create, MethodTypes, Page};
use crate::error::ApiError;
use crate::wallet::{Method, Source, Wallet, offered};

/// An attempt to charge a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Charge {
    /// Its id, `ch_…`.
    pub id: String,
    /// The PaymentIntent that it was made for.
    pub payment_intent: String,
    /// In cents.
    pub amount: u32,
    /// Whether the card was charged.
    pub paid: bool,
    /// Why it was not, if it was not.
    pub decline_code: Option<&'static str>,
}

/// How the holder of a card fares with the 3-D Secure challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    /// They prove who they are; then the card is charged, or declined.
    Succeeds,
    /// They don't, or give up.
    Fails,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Succeeded,
    Canceled,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::RequiresAction => "requires_action",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
        }
    }
}

#[derive(Debug)]
struct Intent {
    id: String,
    client_secret: String,
    /// In seconds since the epoch.
    created: u64,
    amount: u32,
    currency: String,
    description: Option<String>,
    receipt_email: Option<String>,
    statement_descriptor_suffix: Option<String>,
    metadata: Map<String, Value>,
    method_types: MethodTypes,
    status: Status,
    /// What stands for the card in hand.
    method: Option<Method>,
    return_url: Option<String>,
    latest_charge: Option<String>,
    last_payment_error: Option<Value>,
    canceled: Option<(u64, Option<String>)>,
}

/// All that Stripe holds.
#[derive(Debug)]
pub(crate) struct Ledger {
    run: u32,
    made: u64,
    /// How old what is told of an intent has to be for search to know it.
    pub(crate) search_lag: Duration,
    intents: Vec<Intent>,
    wallet: Wallet,
    pub(crate) charges: Vec<Charge>,
    pub(crate) events: Vec<Value>,
}

/// When and for whom something happens.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    /// In seconds since the epoch.
    pub(crate) now: u64,
    pub(crate) request_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    /// How many endpoints wait for events.
    pub(crate) endpoints: usize,
}

impl Ledger {
    pub(crate) fn new(run: u32, search_lag: Duration) -> Self {
        Self {
            run,
            made: 0,
            search_lag,
            intents: Vec::new(),
            wallet: Wallet::default(),
            charges: Vec::new(),
            events: Vec::new(),
        }
    }

    /// An id that nothing else has.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}_{:010}{:014}", self.run, self.made)
    }

    pub(crate) fn execute(&mut self, command: Command, cause: &Cause) -> Result<Value, ApiError> {
        match command {
            Command::Create(create) => self.create(create, cause),
            Command::Confirm(id, confirm) => {
                let at = self.find(&id)?;
                self.confirm(at, confirm, cause)
            }
            Command::Cancel(id, reason) => {
                let at = self.find(&id)?;
                self.cancel(at, reason, cause)
            }
            Command::Retrieve(id) => {
                let at = self.find(&id)?;
                Ok(self.object(at))
            }
            Command::List(page) => list("/v1/payment_intents", self.intents(), &page),
            Command::Search(query, page) => {
                let mut found = self.searchable(cause.now);
                found.retain(|intent| query.matches(intent));
                let (found, has_more) = cut(found, &page)?;
                let last = found.last().filter(|_| has_more);
                Ok(json!({
                    "object": "search_result",
                    "url": "/v1/payment_intents/search",
                    "has_more": has_more,
                    "next_page": last.map(|last| text(last, "id")),
                    "data": found,
                }))
            }
            Command::RetrieveEvent(id) => self
                .event(&id)
                .cloned()
                .ok_or_else(|| ApiError::missing("event", &id)),
            Command::ListEvents(page) => list("/v1/events", self.events.clone(), &page),
            Command::MakeMethod(source, billing) => {
                let method = self.method(source, cause)?.billed(billing);
                Ok(self.wallet.keep(method).object())
            }
            Command::MakeToken(offer) => {
                offer.check(cause.now)?;
                let id = self.id("tok");
                Ok(self.wallet.keep_token(id, offer, cause.now))
            }
            Command::Browser(id, secret, act) => {
                let at = self.find(&id)?;
                self.browse(at, &secret, act, cause)
                    .map(|intent| shown(&intent))
                    .map_err(|error| error.show_intent(shown))
            }
        }
    }

    /// All PaymentIntents, oldest first, as the API shows them.
    pub(crate) fn intents(&self) -> Vec<Value> {
        self.intents.iter().map(Intent::object).collect()
    }

    /// All PaymentIntents that search knows, oldest first, each as it knows it: as the last event
    /// showed it that is old enough, for every change of an intent is told.
    fn searchable(&self, now: u64) -> Vec<Value> {
        let known = |event: &&Value| {
            let told = event.get("created").and_then(Value::as_u64);
            let told = told.unwrap_or_default();
            Duration::from_secs(now.saturating_sub(told)) >= self.search_lag
        };
        let mut found: Vec<Value> = Vec::new();
        for event in self.events.iter().filter(known) {
            let intent = event.pointer("/data/object").cloned();
            let intent = intent.unwrap_or_default();
            let id = text(&intent, "id");
            match found.iter_mut().find(|found| text(found, "id") == id) {
                Some(known) => *known = intent,
                None => found.push(intent),
            }
        }
        found
    }

    pub(crate) fn event(&self, id: &str) -> Option<&Value> {
        self.events.iter().find(|event| text(event, "id") == id)
    }

    /// Has the holder of the card answer the challenge of an intent that waits for it.
    pub(crate) fn authenticate(
        &mut self,
        id: &str,
        authentication: Authentication,
        cause: &Cause,
    ) -> Result<Value, ApiError> {
        let at = self.find(id)?;
        self.answer_challenge(at, authentication, cause)
    }

    fn answer_challenge(
        &mut self,
        at: usize,
        authentication: Authentication,
        cause: &Cause,
    ) -> Result<Value, ApiError> {
        match (
            self.intents.get(at).map(|found| found.status),
            authentication,
        ) {
            (Some(Status::RequiresAction), Authentication::Succeeds) => {
                // A decline is told by the webhook, as the person who answers is not the API's caller
                let _ = self.charge(at, cause);
            }
            (Some(Status::RequiresAction), Authentication::Fails) => {
                self.fail(at, ApiError::authentication_failed(), cause);
            }
            _ => return Err(self.unexpected(at, "authenticate", "requires_action")),
        }
        Ok(self.object(at))
    }

    /// Does with an intent what somebody does in a browser who knows its secret.
    fn browse(
        &mut self,
        at: usize,
        secret: &str,
        act: Act,
        cause: &Cause,
    ) -> Result<Value, ApiError> {
        let known = self.intents.get(at);
        if known.is_none_or(|intent| intent.client_secret != secret) {
            return Err(ApiError::invalid(
                "The client_secret provided does not match any associated PaymentIntent on this \
                 account. Ensure the provided client_secret matches a PaymentIntent that exists \
                 on this account.",
            )
            .param("client_secret"));
        }
        match act {
            Act::Retrieve => Ok(self.object(at)),
            Act::Confirm(confirm) => self.confirm(at, confirm, cause),
            Act::Authenticate(authentication) => self.answer_challenge(at, authentication, cause),
        }
    }

    /// What stands for the card of a request.
    fn method(&mut self, source: Source, cause: &Cause) -> Result<Method, ApiError> {
        let offer = match source {
            Source::Method(id) => return self.wallet.method(&id),
            Source::Token(id, param) => self.wallet.spend_token(&id, param)?,
            Source::Offered(offer) => offer,
            Source::Test(card) => offered(card),
        };
        offer.check(cause.now)?;
        Ok(Method::new(self.id("pm"), offer, cause.now))
    }

    fn find(&self, id: &str) -> Result<usize, ApiError> {
        self.intents
            .iter()
            .position(|intent| intent.id == id)
            .ok_or_else(|| ApiError::missing("payment_intent", id).param("intent"))
    }

    fn object(&self, at: usize) -> Value {
        self.intents.get(at).map(Intent::object).unwrap_or_default()
    }

    fn create(&mut self, create: Create, cause: &Cause) -> Result<Value, ApiError> {
        let method = create.source.map(|source| self.method(source, cause));
        let method = method.transpose()?;
        if let Some(method) = method.as_ref().filter(|_| create.confirm.is_some()) {
            self.wallet.is_unspent(&method.id)?;
        }
        let id = self.id("pi");
        self.intents.push(Intent {
            client_secret: format!("{id}_secret_{:025}", self.made),
            id,
            created: cause.now,
            amount: create.amount,
            currency: create.currency,
            description: create.description,
            receipt_email: create.receipt_email,
            statement_descriptor_suffix: create.statement_descriptor_suffix,
            metadata: create.metadata,
            method_types: create.method_types,
            status: match method {
                Some(_) => Status::RequiresConfirmation,
                None => Status::RequiresPaymentMethod,
            },
            method,
            return_url: None,
            latest_charge: None,
            last_payment_error: None,
            canceled: None,
        });
        let at = self.intents.len() - 1;
        self.emit("payment_intent.created", at, cause);
        match create.confirm {
            // Its card is the intent's already
            Some(confirm) => self.confirm(
                at,
                Confirm {
                    source: None,
                    ..confirm
                },
                cause,
            ),
            None => Ok(self.object(at)),
        }
    }

    fn confirm(
        &mut self,
        at: usize,
        mut confirm: Confirm,
        cause: &Cause,
    ) -> Result<Value, ApiError> {
        let Some(intent) = self.intents.get(at) else {
            return Ok(Value::Null);
        };
        intent.method_types.check(&confirm)?;
        if matches!(intent.status, Status::Succeeded | Status::Canceled) {
            let allowed = "requires_payment_method, requires_confirmation, requires_action";
            return Err(self.unexpected(at, "confirm", allowed));
        }
        // Who waits for the challenge may ask for it again
        let waits = intent.status == Status::RequiresAction;
        let held = intent.method.clone();
        let method = match confirm.source.take() {
            Some(source) => Some(self.method(source, cause)?),
            None => held.clone(),
        };
        let Some(method) = method else {
            return Err(ApiError::invalid(
                "You cannot confirm this PaymentIntent because it's missing a payment method. \
                 You can either update the PaymentIntent with a payment method and then confirm \
                 it again, or confirm it again directly with a payment method or \
                 ConfirmationToken.",
            )
            .code("payment_intent_unexpected_state")
            .with("payment_intent", self.object(at)));
        };
        if !waits || held.is_none_or(|held| held.id != method.id) {
            self.wallet.spend(&method.id)?;
        }
        let challenge = method.card().challenge;
        let Some(intent) = self.intents.get_mut(at) else {
            return Ok(Value::Null);
        };
        intent.method = Some(method);
        intent.return_url = confirm.return_url;
        intent.last_payment_error = None;
        if challenge {
            intent.status = Status::RequiresAction;
            self.emit("payment_intent.requires_action", at, cause);
        } else {
            self.charge(at, cause)?;
        }
        Ok(self.object(at))
    }

    fn charge(&mut self, at: usize, cause: &Cause) -> Result<(), ApiError> {
        let id = self.id("ch");
        let Some(intent) = self.intents.get_mut(at) else {
            return Ok(());
        };
        let decline = intent.method.as_ref();
        let decline = decline.and_then(|method| method.card().decline);
        intent.latest_charge = Some(id.clone());
        self.charges.push(Charge {
            id: id.clone(),
            payment_intent: intent.id.clone(),
            amount: intent.amount,
            paid: decline.is_none(),
            decline_code: decline.map(|decline| decline.decline_code),
        });
        match decline {
            Some(decline) => {
                let error = ApiError::declined(decline).with("charge", id);
                Err(self.fail(at, error, cause))
            }
            None => {
                intent.status = Status::Succeeded;
                self.emit("payment_intent.succeeded", at, cause);
                Ok(())
            }
        }
    }

    /// Takes the card from an intent because of `error`, and gives the error as the API answers it.
    fn fail(&mut self, at: usize, error: ApiError, cause: &Cause) -> ApiError {
        let Some(intent) = self.intents.get_mut(at) else {
            return error;
        };
        let method = intent.method.take();
        let error = match method {
            Some(method) => error.with("payment_method", method.object()),
            None => error,
        };
        intent.status = Status::RequiresPaymentMethod;
        intent.last_payment_error = Some(error.error().clone());
        self.emit("payment_intent.payment_failed", at, cause);
        error.with("payment_intent", self.object(at))
    }

    fn cancel(
        &mut self,
        at: usize,
        reason: Option<String>,
        cause: &Cause,
    ) -> Result<Value, ApiError> {
        let allowed = "requires_payment_method, requires_capture, requires_confirmation, \
                       requires_action, processing";
        match self.intents.get_mut(at) {
            Some(intent) if !matches!(intent.status, Status::Succeeded | Status::Canceled) => {
                intent.status = Status::Canceled;
                intent.canceled = Some((cause.now, reason));
                self.emit("payment_intent.canceled", at, cause);
                Ok(self.object(at))
            }
            _ => Err(self.unexpected(at, "cancel", allowed)),
        }
    }

    fn unexpected(&self, at: usize, verb: &str, allowed: &str) -> ApiError {
        let intent = self.object(at);
        let status = text(&intent, "status");
        ApiError::invalid(format!(
            "You cannot {verb} this PaymentIntent because it has a status of {status}. Only a \
             PaymentIntent with one of the following statuses may be used: {allowed}."
        ))
        .code("payment_intent_unexpected_state")
        .with("payment_intent", intent)
    }

    /// Records what happened, as <https://docs.stripe.com/api/events/object> has it.
    fn emit(&mut self, kind: &str, at: usize, cause: &Cause) {
        let event = json!({
            "id": self.id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": cause.now,
            "data": {"object": self.object(at)},
            "livemode": false,
            "pending_webhooks": cause.endpoints,
            "request": {"id": cause.request_id, "idempotency_key": cause.idempotency_key},
            "type": kind,
        });
        self.events.push(event);
    }
}

impl Intent {
    /// As <https://docs.stripe.com/api/payment_intents/object> has it.
    fn object(&self) -> Value {
        let paid = match self.status {
            Status::Succeeded => self.amount,
            _ => 0,
        };
        let (allowed, automatic) = match self.method_types {
            MethodTypes::Card => (Some(["card"]), None),
            MethodTypes::Automatic { redirects } => {
                let redirects = if redirects { "always" } else { "never" };
                let automatic = json!({"enabled": true, "allow_redirects": redirects});
                (None, Some(automatic))
            }
        };
        json!({
            "id": self.id,
            "object": "payment_intent",
            "allowed_payment_method_types": allowed,
            "amount": self.amount,
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": paid,
            "application": null,
            "application_fee_amount": null,
            "automatic_payment_methods": automatic,
            "canceled_at": self.canceled.as_ref().map(|(at, _)| at),
            "cancellation_reason": self.canceled.as_ref().and_then(|(_, reason)| reason.as_ref()),
            "capture_method": "automatic_async",
            "client_secret": self.client_secret,
            "confirmation_method": "automatic",
            "created": self.created,
            "currency": self.currency,
            "customer": null,
            "description": self.description,
            "last_payment_error": self.last_payment_error,
            "latest_charge": self.latest_charge,
            "livemode": false,
            "metadata": self.metadata,
            "next_action": self.next_action(),
            "on_behalf_of": null,
            "payment_method": self.method.as_ref().map(|method| &method.id),
            "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
            "payment_method_types": ["card"],
            "processing": null,
            "receipt_email": self.receipt_email,
            "review": null,
            "setup_future_usage": null,
            "shipping": null,
            "statement_descriptor": null,
            "statement_descriptor_suffix": self.statement_descriptor_suffix,
            "status": self.status.name(),
            "transfer_data": null,
            "transfer_group": null,
        })
    }

    fn next_action(&self) -> Option<Value> {
        let url = format!("https://hooks.stripe.com/redirect/authenticate/{}", self.id);
        match (self.status, &self.return_url) {
            (Status::RequiresAction, Some(return_url)) => Some(json!({
                "type": "redirect_to_url",
                "redirect_to_url": {"return_url": return_url, "url": url},
            })),
            (Status::RequiresAction, None) => Some(json!({
                "type": "use_stripe_sdk",
                "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url},
            })),
            _ => None,
        }
    }
}

/// What a browser is shown of an intent: what Stripe's documentation of the object marks as
/// retrievable with a publishable key.
fn shown(intent: &Value) -> Value {
    const SHOWN: [&str; 23] = [
        "id",
        "object",
        "allowed_payment_method_types",
        "amount",
        "amount_details",
        "automatic_payment_methods",
        "canceled_at",
        "cancellation_reason",
        "capture_method",
        "client_secret",
        "confirmation_method",
        "created",
        "currency",
        "description",
        "last_payment_error",
        "livemode",
        "next_action",
        "payment_method",
        "payment_method_types",
        "receipt_email",
        "setup_future_usage",
        "shipping",
        "status",
    ];
    let shown = intent.as_object().into_iter().flatten();
    let shown = shown.filter(|(name, _)| SHOWN.contains(&name.as_str()));
    shown
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// What an object says under `name`.
pub(crate) fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// One page of objects that come oldest first (<https://docs.stripe.com/api/pagination>).
fn list(url: &str, objects: Vec<Value>, page: &Page) -> Result<Value, ApiError> {
    let (data, has_more) = cut(objects, page)?;
    Ok(json!({"object": "list", "url": url, "has_more": has_more, "data": data}))
}

/// The page of objects that come oldest first, and whether there are more after it.
fn cut(objects: Vec<Value>, page: &Page) -> Result<(Vec<Value>, bool), ApiError> {
    let mut newest: Vec<_> = objects.into_iter().rev().collect();
    if let Some((param, id)) = &page.after {
        let at = newest.iter().position(|object| text(object, "id") == id);
        let at = at.ok_or_else(|| ApiError::missing("object", id).param(param))?;
        newest.drain(..=at);
    }
    let has_more = newest.len() > page.limit;
    newest.truncate(page.limit);
    Ok((newest, has_more))
}
