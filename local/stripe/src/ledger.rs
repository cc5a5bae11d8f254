//! The objects of a Stripe account.

mod disputes;
mod refunds;

use std::time::Duration;

use serde_json::{Value, json};

use crate::authentication::Authentication;
use crate::card::Aftermath;
use crate::charge::{Charge, Details};
use crate::command::{BrowserAction, Collection, Command, Confirm, Create, Expand};
use crate::dispute::{Dispute, Verdict};
use crate::error::ApiError;
use crate::json::str_field;
use crate::payment_intent::{PaymentIntent, Status, public_fields};
use crate::payment_method::{CardDetails, PaymentMethod, PaymentMethodStore, PaymentSource};
use crate::refund::Refund;
use crate::settings::{API_VERSION, Settings};

/// The objects of one Stripe account: PaymentIntents, payment methods, tokens, charges, refunds,
/// disputes and events.
#[derive(Debug)]
pub(crate) struct Ledger {
    run: u32,
    last_id: u64,
    livemode: bool,
    /// See [`Settings::bank_delay`].
    pub(crate) bank_delay: Duration,
    /// Whether payments get the status `processing` before they charge a card.
    pub(crate) hold: bool,
    intents: Vec<PaymentIntent>,
    payment_methods: PaymentMethodStore,
    pub(crate) charges: Vec<Charge>,
    refunds: Vec<Refund>,
    disputes: Vec<Dispute>,
    pub(crate) events: Vec<Value>,
    /// The actions of banks that are not scheduled yet.
    pub(crate) bank_actions: Vec<BankAction>,
}

/// What a bank or a cardholder does some time after the request that causes it.
#[derive(Debug)]
pub(crate) enum BankAction {
    /// Disputes the charge with this index.
    Dispute(usize),
    /// Ends the refund with this index: a pending refund succeeds, and a succeeded refund fails.
    EndRefund(usize),
    /// Decides the dispute with this index.
    Decide(usize, Verdict),
}

/// The fields of an event that do not depend on its object.
#[derive(Clone, Debug)]
pub(crate) struct EventContext {
    /// The current time, in seconds since the Unix epoch.
    pub(crate) now: u64,
    pub(crate) request_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    /// The number of webhook endpoints that receive events: 0 or 1.
    pub(crate) endpoints: usize,
}

impl Ledger {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            run: settings.run,
            last_id: 0,
            livemode: settings.livemode(),
            bank_delay: settings.bank_delay,
            hold: false,
            intents: Vec::new(),
            payment_methods: PaymentMethodStore::new(settings.livemode()),
            charges: Vec::new(),
            refunds: Vec::new(),
            disputes: Vec::new(),
            events: Vec::new(),
            bank_actions: Vec::new(),
        }
    }

    /// Returns a new, unique id that starts with `prefix` and an underscore.
    pub(crate) fn new_id(&mut self, prefix: &str) -> String {
        self.last_id += 1;
        format!("{prefix}_{:010}{:014}", self.run, self.last_id)
    }

    /// Executes a command and returns the API object for the body of the response.
    pub(crate) fn execute(
        &mut self,
        command: Command,
        context: &EventContext,
    ) -> Result<Value, ApiError> {
        match command {
            Command::Create(create) => self.create(create, context),
            Command::Confirm(id, confirm) => {
                let index = self.find(&id)?;
                self.confirm(index, confirm, context)
            }
            Command::Cancel(id, reason) => {
                let index = self.find(&id)?;
                self.cancel(index, reason, context)
            }
            Command::Retrieve(collection, id, expand) => self.retrieve(collection, &id, expand),
            Command::List(collection, query, expand) => {
                let created = |time| query.created.contains(time);
                let objects = self.objects(collection, expand, created);
                query.list(collection.url(), objects)
            }
            Command::Refund(refund) => self.refund(refund, context),
            Command::UpdateDispute(id, update) => self.update_dispute(&id, update, context),
            Command::CloseDispute(id) => self.close_dispute(&id, context),
            Command::CreatePaymentMethod(source, billing) => {
                let method = self.payment_method(source, context)?.with_billing(billing);
                Ok(self.payment_methods.save(method).object())
            }
            Command::CreateToken(details) => {
                details.check_expiry(context.now)?;
                let id = self.new_id("tok");
                Ok(self.payment_methods.save_token(id, details, context.now))
            }
            Command::Browser {
                id,
                client_secret,
                action,
            } => {
                let index = self.find(&id)?;
                self.execute_for_browser(index, &client_secret, action, context)
                    .map(|intent| public_fields(&intent))
                    .map_err(|error| error.map_intent(public_fields))
            }
        }
    }

    /// The API objects of all PaymentIntents, oldest first.
    pub(crate) fn intents(&self) -> Vec<Value> {
        self.intents.iter().map(PaymentIntent::object).collect()
    }

    /// The API objects of a collection whose creation time satisfies `created`, oldest first.
    fn objects(
        &self,
        collection: Collection,
        expand: Expand,
        created: impl Fn(u64) -> bool,
    ) -> Vec<Value> {
        match collection {
            Collection::PaymentIntents => {
                let intents = self.intents.iter();
                let intents = intents.filter(|intent| created(intent.created));
                let object = |intent: &PaymentIntent| self.expanded(intent.object(), expand);
                intents.map(object).collect()
            }
            Collection::Charges => {
                let charges = self.charges.iter();
                let charges = charges.filter(|charge| created(charge.details.created));
                charges.map(Charge::object).collect()
            }
            Collection::Refunds => {
                let refunds = self.refunds.iter();
                let refunds = refunds.filter(|refund| created(refund.created));
                refunds.map(Refund::object).collect()
            }
            Collection::Disputes => {
                let disputes = self.disputes.iter();
                let disputes = disputes.filter(|dispute| created(dispute.created));
                disputes.map(Dispute::object).collect()
            }
            Collection::Events => {
                let time = |event: &Value| event.get("created").and_then(Value::as_u64);
                let events = self.events.iter();
                let events = events.filter(|event| created(time(event).unwrap_or_default()));
                events.cloned().collect()
            }
        }
    }

    fn retrieve(
        &self,
        collection: Collection,
        id: &str,
        expand: Expand,
    ) -> Result<Value, ApiError> {
        let found = match collection {
            Collection::PaymentIntents => {
                let object = self.object(self.find(id)?);
                Some(self.expanded(object, expand))
            }
            Collection::Charges => {
                let charge = self.charges.iter().find(|charge| charge.id == id);
                charge.map(Charge::object)
            }
            Collection::Refunds => {
                let refund = self.refunds.iter().find(|refund| refund.id == id);
                refund.map(Refund::object)
            }
            Collection::Disputes => {
                let dispute = self.disputes.iter().find(|dispute| dispute.id == id);
                dispute.map(Dispute::object)
            }
            Collection::Events => self.event(id).cloned(),
        };
        found.ok_or_else(|| ApiError::missing(collection.object(), id))
    }

    /// Replaces the id of the latest charge in a PaymentIntent object with the object of the charge,
    /// if `expand` says so.
    fn expanded(&self, mut intent: Value, expand: Expand) -> Value {
        if let (Expand(true), Some(charge)) = (expand, intent.get_mut("latest_charge")) {
            let latest = self.charges.iter();
            let mut latest = latest.filter(|latest| *charge == latest.id.as_str());
            if let Some(latest) = latest.next() {
                *charge = latest.object();
            }
        }
        intent
    }

    pub(crate) fn event(&self, id: &str) -> Option<&Value> {
        self.events
            .iter()
            .find(|event| str_field(event, "id") == id)
    }

    /// Ends the 3-D Secure challenge of the PaymentIntent `id` with the given result.
    pub(crate) fn authenticate(
        &mut self,
        id: &str,
        authentication: Authentication,
        context: &EventContext,
    ) -> Result<Value, ApiError> {
        let index = self.find(id)?;
        self.complete_challenge(index, authentication, context)
    }

    fn complete_challenge(
        &mut self,
        index: usize,
        authentication: Authentication,
        context: &EventContext,
    ) -> Result<Value, ApiError> {
        let status = self.intents.get(index).map(|intent| intent.status);
        match (status, authentication) {
            (Some(Status::RequiresAction), Authentication::Succeeds) => {
                // The caller of the API gets no error for a decline, because the cardholder
                // completed the challenge. The webhook reports the decline.
                let _ = self.pay(index, context);
            }
            (Some(Status::RequiresAction), Authentication::Fails) => {
                self.fail(index, ApiError::authentication_failed(), context);
            }
            _ => return Err(self.unexpected_status(index, "authenticate", "requires_action")),
        }
        Ok(self.object(index))
    }

    /// Executes a browser's action on a PaymentIntent. Fails if `client_secret` is not the client
    /// secret of this PaymentIntent.
    fn execute_for_browser(
        &mut self,
        index: usize,
        client_secret: &str,
        action: BrowserAction,
        context: &EventContext,
    ) -> Result<Value, ApiError> {
        let intent = self.intents.get(index);
        if intent.is_none_or(|intent| intent.client_secret != client_secret) {
            return Err(ApiError::invalid(
                "The client_secret provided does not match any associated PaymentIntent on this \
                 account. Ensure the provided client_secret matches a PaymentIntent that exists \
                 on this account.",
            )
            .param("client_secret"));
        }
        match action {
            BrowserAction::Retrieve => Ok(self.object(index)),
            BrowserAction::Confirm(confirm) => self.confirm(index, confirm, context),
            BrowserAction::Authenticate(authentication) => {
                self.complete_challenge(index, authentication, context)
            }
        }
    }

    /// Returns the payment method that `source` identifies. If `source` is a token or a card,
    /// creates a payment method.
    fn payment_method(
        &mut self,
        source: PaymentSource,
        context: &EventContext,
    ) -> Result<PaymentMethod, ApiError> {
        let details = match source {
            PaymentSource::PaymentMethod(id) => return self.payment_methods.get(&id),
            PaymentSource::Token(id, param) => self.payment_methods.consume_token(&id, param)?,
            PaymentSource::Card(details) => details,
            PaymentSource::TestCard(card) => CardDetails::of_test_card(card),
        };
        details.check_expiry(context.now)?;
        let id = self.new_id("pm");
        Ok(PaymentMethod::new(id, details, context.now, self.livemode))
    }

    /// Returns the index of the PaymentIntent `id` in `intents`. Fails if the PaymentIntent does
    /// not exist.
    fn find(&self, id: &str) -> Result<usize, ApiError> {
        self.intents
            .iter()
            .position(|intent| intent.id == id)
            .ok_or_else(|| ApiError::missing("payment_intent", id).param("intent"))
    }

    fn object(&self, index: usize) -> Value {
        let intent = self.intents.get(index);
        intent.map(PaymentIntent::object).unwrap_or_default()
    }

    fn create(&mut self, create: Create, context: &EventContext) -> Result<Value, ApiError> {
        let method = create
            .source
            .map(|source| self.payment_method(source, context))
            .transpose()?;
        if let Some(method) = method.as_ref().filter(|_| create.confirm.is_some()) {
            self.payment_methods.check_unused(&method.id)?;
        }
        let id = self.new_id("pi");
        self.intents.push(PaymentIntent {
            client_secret: format!("{id}_secret_{:025}", self.last_id),
            id,
            created: context.now,
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
            payment_method: method,
            return_url: None,
            latest_charge: None,
            last_payment_error: None,
            canceled: None,
            livemode: self.livemode,
        });
        let index = self.intents.len() - 1;
        self.emit("payment_intent.created", self.object(index), context);
        match create.confirm {
            Some(confirm) => {
                // The source is not needed again: the PaymentIntent has its payment method.
                let source = None;
                self.confirm(index, Confirm { source, ..confirm }, context)
            }
            None => Ok(self.object(index)),
        }
    }

    fn confirm(
        &mut self,
        index: usize,
        mut confirm: Confirm,
        context: &EventContext,
    ) -> Result<Value, ApiError> {
        let Some(intent) = self.intents.get(index) else {
            return Ok(Value::Null);
        };
        intent.method_types.check(&confirm)?;
        if !intent.status.is_open() {
            let allowed = "requires_payment_method, requires_confirmation, requires_action";
            return Err(self.unexpected_status(index, "confirm", allowed));
        }
        // A PaymentIntent with the status requires_action can be confirmed again with the same
        // payment method.
        let awaits_action = intent.status == Status::RequiresAction;
        let current = intent.payment_method.clone();
        let method = match confirm.source.take() {
            Some(source) => Some(self.payment_method(source, context)?),
            None => current.clone(),
        };
        let Some(method) = method else {
            return Err(ApiError::invalid(
                "You cannot confirm this PaymentIntent because it's missing a payment method. \
                 You can either update the PaymentIntent with a payment method and then confirm \
                 it again, or confirm it again directly with a payment method or \
                 ConfirmationToken.",
            )
            .code("payment_intent_unexpected_state")
            .with("payment_intent", self.object(index)));
        };
        if !awaits_action || current.is_none_or(|current| current.id != method.id) {
            self.payment_methods.mark_used(&method.id)?;
        }
        let challenge = method.card().challenge;
        let Some(intent) = self.intents.get_mut(index) else {
            return Ok(Value::Null);
        };
        intent.payment_method = Some(method);
        intent.return_url = confirm.return_url;
        intent.last_payment_error = None;
        if challenge {
            intent.status = Status::RequiresAction;
            self.emit(
                "payment_intent.requires_action",
                self.object(index),
                context,
            );
        } else {
            self.pay(index, context)?;
        }
        Ok(self.object(index))
    }

    /// Charges the card of a PaymentIntent, or holds the payment.
    fn pay(&mut self, index: usize, context: &EventContext) -> Result<(), ApiError> {
        match self.intents.get_mut(index) {
            Some(intent) if self.hold => {
                intent.status = Status::Processing;
                let intent = self.object(index);
                self.emit("payment_intent.processing", intent, context);
                Ok(())
            }
            _ => self.charge(index, context),
        }
    }

    /// Charges the card of the PaymentIntent `id`, whose status is `processing`.
    pub(crate) fn process(&mut self, id: &str, context: &EventContext) -> Result<Value, ApiError> {
        let index = self.find(id)?;
        match self.intents.get(index).map(|intent| intent.status) {
            // The caller gets no error for a decline: the webhook reports the decline.
            Some(Status::Processing) => drop(self.charge(index, context)),
            _ => return Err(self.unexpected_status(index, "process", "processing")),
        }
        Ok(self.object(index))
    }

    fn charge(&mut self, index: usize, context: &EventContext) -> Result<(), ApiError> {
        let (id, balance_transaction) = (self.new_id("ch"), self.new_id("txn"));
        let Some(intent) = self.intents.get_mut(index) else {
            return Ok(());
        };
        let method = intent.payment_method.clone();
        let decline = method.as_ref().and_then(|method| method.card().decline);
        intent.latest_charge = Some(id.clone());
        let charge = Charge {
            id: id.clone(),
            payment_intent: intent.id.clone(),
            amount: intent.amount,
            paid: decline.is_none(),
            decline_code: decline.map(|decline| decline.decline_code),
            amount_refunded: 0,
            disputed: false,
            details: Details {
                created: context.now,
                currency: intent.currency.clone(),
                description: intent.description.clone(),
                receipt_email: intent.receipt_email.clone(),
                statement_descriptor_suffix: intent.statement_descriptor_suffix.clone(),
                // The metadata of the PaymentIntent is copied once, and later changes are not
                // (https://docs.stripe.com/metadata#metadata-in-payment-intents-and-charges).
                metadata: intent.metadata.clone(),
                payment_method: method,
                decline,
                balance_transaction,
                livemode: intent.livemode,
            },
        };
        let object = charge.object();
        let aftermath = charge.aftermath();
        self.charges.push(charge);
        match decline {
            Some(decline) => {
                let error = ApiError::declined(decline).with("charge", id);
                let error = self.fail(index, error, context);
                self.emit("charge.failed", object, context);
                Err(error)
            }
            None => {
                intent.status = Status::Succeeded;
                let intent = self.object(index);
                self.emit("payment_intent.succeeded", intent, context);
                self.emit("charge.succeeded", object, context);
                if let Aftermath::Dispute(_) = aftermath {
                    let dispute = BankAction::Dispute(self.charges.len() - 1);
                    self.bank_actions.push(dispute);
                }
                Ok(())
            }
        }
    }

    /// Carries out an action of a bank.
    pub(crate) fn act_as_bank(&mut self, action: BankAction, context: &EventContext) {
        match action {
            BankAction::Dispute(charge) => self.open_dispute(charge, context),
            BankAction::EndRefund(refund) => self.end_refund(refund, context),
            BankAction::Decide(dispute, verdict) => self.decide(dispute, verdict, context),
        }
    }

    /// Marks the payment as failed with `error`, and detaches the payment method from the
    /// PaymentIntent. Returns the error for the response: `error` with the payment method and the
    /// PaymentIntent added.
    fn fail(&mut self, index: usize, error: ApiError, context: &EventContext) -> ApiError {
        let Some(intent) = self.intents.get_mut(index) else {
            return error;
        };
        let error = match intent.payment_method.take() {
            Some(method) => error.with("payment_method", method.object()),
            None => error,
        };
        intent.status = Status::RequiresPaymentMethod;
        intent.last_payment_error = Some(error.error().clone());
        self.emit("payment_intent.payment_failed", self.object(index), context);
        error.with("payment_intent", self.object(index))
    }

    fn cancel(
        &mut self,
        index: usize,
        reason: Option<String>,
        context: &EventContext,
    ) -> Result<Value, ApiError> {
        let allowed = "requires_payment_method, requires_capture, requires_confirmation, \
                       requires_action";
        match self.intents.get_mut(index) {
            Some(intent) if intent.status.is_open() => {
                intent.status = Status::Canceled;
                intent.canceled = Some((context.now, reason));
                let intent = self.object(index);
                self.emit("payment_intent.canceled", intent.clone(), context);
                Ok(intent)
            }
            _ => Err(self.unexpected_status(index, "cancel", allowed)),
        }
    }

    fn unexpected_status(&self, index: usize, verb: &str, allowed: &str) -> ApiError {
        let intent = self.object(index);
        let status = str_field(&intent, "status");
        ApiError::invalid(format!(
            "You cannot {verb} this PaymentIntent because it has a status of {status}. Only a \
             PaymentIntent with one of the following statuses may be used: {allowed}."
        ))
        .code("payment_intent_unexpected_state")
        .with("payment_intent", intent)
    }

    /// Appends an event of the type `kind` about `object`
    /// (<https://docs.stripe.com/api/events/object>).
    fn emit(&mut self, kind: &str, object: Value, context: &EventContext) {
        let event = json!({
            "id": self.new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": context.now,
            "data": {"object": object},
            "livemode": self.livemode,
            "pending_webhooks": context.endpoints,
            "request": {"id": context.request_id, "idempotency_key": context.idempotency_key},
            "type": kind,
        });
        self.events.push(event);
    }
}
