//! Simulates one scenario from its first step until the last delivery, and injects the given failures. Simulates the
//! client, the deliveries of Stripe's webhook, the event sources of Lambda and the schedule of billing-reconcile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use domain::stripe::WEBHOOK_EVENTS;
use lambda_host::{Host, Outcome, StartError};
use local_stripe::Authentication;
use reqwest::Client;
use serde_json::{Value, json};
use test_support::functions::{self, Function};
use test_support::prices::price;
use tokio::task::JoinHandle;

use crate::cloud::{BANK_DELAY, BUYERS, Cloud, IDEMPOTENCY, NOTES, PURCHASES, WEBHOOK_SECRET};
use crate::cpu_slot::CpuSlot;
use crate::failure::Fault;
use crate::mutation::Mutation;
use crate::proxy::Proxy;
use crate::scenario::NOTIFY; // part: notify
use crate::scenario::{
    CANCEL, CREATE, CREDIT, DELETE, Events, FUNCTIONS, LIST, PURCHASE, PURCHASE_PAID, RECONCILE,
    RESUME, STORAGE, Scenario, Step, WEBHOOK,
};
use crate::stream::Stream;

/// The times that the client waits before its first, second and third retry. The first is shorter than the lease of an
/// idempotency record, so that a simulation includes a retry during the lease.
const CLIENT_PAUSES: [Duration; 3] = [
    Duration::from_secs(13),
    Duration::from_secs(31),
    Duration::from_secs(31),
];

/// The maximum number of times that a Stripe event or a batch of stream records is delivered.
const MAX_DELIVERIES: usize = 5;

/// The times that Lambda waits before its first and second retry of an asynchronous invocation. If the second retry
/// fails, Lambda sends the event to the dead-letter queue.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
const LAMBDA_PAUSES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];

/// The times between consecutive invocations of billing-reconcile, in minutes. At the last invocation, the purchase is
/// so old that billing-reconcile settles it even if Stripe has no payment for it.
const RECONCILE_PAUSES: [u64; 7] = [5, 5, 30, 25, 60, 60, 30];

/// The user ID in the stream record that billing-purchase-paid cannot read.
pub(crate) const POISON: &str = "poison";

/// The ID of the event that contradicts what is known about the payment.
pub(crate) const CONTRADICTION: &str = "evt_contradiction";

const MINUTE: Duration = Duration::from_secs(60);

/// The time in which the test double of Stripe handles what its clock has made due.
const STRIPE_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of notes that everyone may have for free.
pub(crate) const FREE: u64 = 2;
/// The amount of storage that the client orders, in notes.
pub(crate) const BOUGHT: u64 = 10;
/// The price of the ordered storage, in the minor unit of the currency.
pub(crate) static PRICE: LazyLock<u32> = LazyLock::new(|| price(10));

/// The functions, as their serverless.yml files describe them, keyed by name.
static MANIFESTS: LazyLock<BTreeMap<&'static str, Function>> = LazyLock::new(|| {
    let all = functions::all().into_iter();
    let of_name = |function: Function| {
        let name = *FUNCTIONS.iter().find(|name| **name == function.name)?;
        Some((name, function))
    };
    let found: BTreeMap<_, _> = all.filter_map(of_name).collect();
    assert_eq!(found.len(), FUNCTIONS.len(), "{found:#?}");
    found
});

/// A response with the final result of an order, so that the client does not retry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FinalResponse {
    /// The index of the order in [`Scenario::sources`].
    pub(crate) order: usize,
    pub(crate) status: u64,
    pub(crate) body: Value,
}

/// An invocation of a function (a run).
#[derive(Debug)]
pub(crate) struct FunctionRun {
    pub(crate) function: &'static str,
    /// The number of the invocation: 1 for the function's first invocation in the simulation.
    pub(crate) number: usize,
    /// The index of the step in which the invocation took place.
    pub(crate) step: usize,
    /// The names of the calls.
    pub(crate) calls: Vec<String>,
}

/// One simulation of a scenario: the services, the functions, and what has happened so far.
pub(crate) struct Simulation {
    pub(crate) scenario: Scenario,
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) proxy: Arc<Proxy>,
    cpu_slot: Arc<CpuSlot>,
    mutation: Mutation,
    url: String,
    server: JoinHandle<()>,
    /// The functions that are warm, keyed by name.
    hosts: HashMap<&'static str, Host>,
    stream: Stream,
    /// The index of the current step.
    step: usize,
    /// The records of the table's stream for all writes of the functions, oldest first. The simulation's own writes are
    /// left out.
    pub(crate) changes: Vec<Value>,
    /// The number of records at the start of `changes` that were delivered to billing-purchase-paid.
    delivered_changes: usize,
    /// The number of Stripe's oldest events that were delivered to the webhook.
    delivered_events: usize,
    pub(crate) final_responses: Vec<FinalResponse>,
    /// The final responses to the cancellations: status and body.
    pub(crate) cancellations: Vec<(u64, Value)>,
    /// What is unexpected about the responses about notes.
    pub(crate) wrong_responses: Vec<String>,
    /// The contents of the notes that were created and not deleted, according to the responses.
    pub(crate) notes: BTreeSet<String>,
    /// The purchases as the client sees them at the end: the response of billing-list.
    pub(crate) listed: Value,
    /// The storage as the client sees it at the end: the response of notes-storage.
    pub(crate) storage: Value,
    pub(crate) runs: Vec<FunctionRun>,
    /// The invocations, authentications and waits so far, as text for the report.
    pub(crate) history: Vec<String>,
    /// The log lines of all functions that have stopped.
    pub(crate) log: Vec<String>,
    /// Descriptions of the deliveries that never succeeded.
    pub(crate) failed_deliveries: Vec<String>,
}

/// What a response means for the client.
enum ClientResponse {
    /// The final result.
    Final,
    /// A request that the cardholder authenticates the payment.
    RequiresAction,
    /// An error after which the client retries, or no response.
    Retry,
}

impl Simulation {
    pub(crate) async fn new(
        scenario: Scenario,
        mutation: Mutation,
        fault: Option<Fault>,
        cpu_slot: Arc<CpuSlot>,
        client: Client,
    ) -> Self {
        cpu_slot.acquire().await;
        let cloud = Arc::new(Cloud::start(client).await);
        let faults = scenario.initial_fault().into_iter().chain(fault).collect();
        let proxy = Proxy::new(Arc::clone(&cloud), mutation, faults, Arc::clone(&cpu_slot));
        let proxy = Arc::new(proxy);
        let (url, server) = proxy.listen().await;
        Self {
            scenario,
            stream: Stream::open(&cloud).await,
            cloud,
            proxy,
            cpu_slot,
            mutation,
            url,
            server,
            hosts: HashMap::new(),
            step: 0,
            changes: Vec::new(),
            delivered_changes: 0,
            delivered_events: 0,
            final_responses: Vec::new(),
            cancellations: Vec::new(),
            wrong_responses: Vec::new(),
            notes: BTreeSet::new(),
            listed: Value::Null,
            storage: Value::Null,
            runs: Vec::new(),
            history: Vec::new(),
            log: Vec::new(),
            failed_deliveries: Vec::new(),
        }
    }

    /// Simulates the scenario until all requests and deliveries are done, and stops the functions.
    pub(crate) async fn run(&mut self) {
        if self.scenario.has_poison {
            let poison = json!({"userId": {"S": POISON}, "purchaseId": {"S": "none"}});
            self.cloud.dynamodb.put(PURCHASES, &poison).unwrap();
        }
        let is_slow = self.scenario.steps.contains(&Step::Process);
        self.cloud.stripe.hold_payments(is_slow);
        let events = self.scenario.events;
        for (index, step) in self.scenario.steps.iter().enumerate() {
            self.step = index;
            self.perform(*step).await;
            if events == Events::Immediate {
                self.deliver_stripe_events().await;
            }
        }
        self.step = self.scenario.steps.len();
        if events == Events::Reversed {
            self.deliver_stripe_events().await;
        }
        self.reconcile().await;
        self.deliver_stripe_events().await;
        self.reconcile().await;
        if self.scenario.client_retries {
            // Order twice, because every final response must be the same.
            for _ in 0..2 {
                for order in self.orders() {
                    self.request(Step::Order(order)).await;
                }
            }
        }
        self.listed = self.look(LIST).await;
        self.storage = self.look(STORAGE).await;
        for (_, host) in self.hosts.drain() {
            self.log.extend(host.stop().await);
        }
    }

    /// Returns the indexes of the orders of the scenario.
    fn orders(&self) -> Vec<usize> {
        let steps = self.scenario.steps.iter();
        let orders = steps.filter_map(|step| match step {
            Step::Order(order) => Some(*order),
            _ => None,
        });
        orders.collect::<BTreeSet<_>>().into_iter().collect()
    }

    async fn perform(&mut self, step: Step) {
        match step {
            Step::Order(_) | Step::Resume | Step::Cancel => self.request(step).await,
            Step::Authenticate => self.authenticate(),
            Step::Process => self.process(),
            Step::Reconcile => self.reconcile().await,
            Step::StrayCharge => {
                self.history.push("a stray request charges the card".into());
                let charge = self.proxy.charge().unwrap();
                self.cloud.post_to_stripe("payment_intents", &charge).await;
            }
            Step::Refund(amount) => self.refund(amount).await,
            Step::Bank => {
                let count = self.cloud.stripe.events().len();
                self.advance(BANK_DELAY).await;
                self.wait_for_stripe(|events| events.len() > count).await;
            }
            Step::Evidence(evidence) => {
                let dispute = self.cloud.stripe.disputes().pop().unwrap();
                let path = format!("disputes/{}", dispute["id"].as_str().unwrap());
                let form = format!("evidence[uncategorized_text]={evidence}&submit=true");
                self.history.push(evidence.into());
                self.cloud.post_to_stripe(&path, &form).await;
                self.advance(BANK_DELAY).await;
                let is_closed = |event: &Value| event["type"] == "charge.dispute.closed";
                self.wait_for_stripe(|events| events.iter().any(is_closed))
                    .await;
            }
            Step::ContradictingEvent => {
                let events = self.cloud.stripe.events().into_iter();
                let mut succeeded =
                    events.filter(|event| event["type"] == "payment_intent.succeeded");
                let mut event = succeeded.next().unwrap();
                event["id"] = CONTRADICTION.into();
                event["data"]["object"]["amount_received"] = (*PRICE + 1).into();
                self.deliver_until_accepted(&event).await;
            }
            Step::CreateNote(number, status) => self.create_note(number, status).await,
            Step::DeleteNote(number) => self.delete_note(number).await,
        }
    }

    /// Waits until the events of the local Stripe fulfill `condition`.
    async fn wait_for_stripe(&self, condition: impl Fn(&[Value]) -> bool) {
        let wait = async {
            while !condition(&self.cloud.stripe.events()) {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(STRIPE_TIMEOUT, wait).await;
        waited.expect("the local Stripe did nothing");
    }

    /// Simulates the client: sends the request of `step`, and repeats it after [`ClientResponse::Retry`] until no retry
    /// is left.
    async fn request(&mut self, step: Step) {
        let retries = self.scenario.client_retries || !matches!(step, Step::Order(_));
        let mut pauses = CLIENT_PAUSES.into_iter().filter(|_| retries);
        loop {
            let response = match step {
                Step::Order(order) => self.order(order).await,
                Step::Resume => self.resume().await,
                _ => self.cancel().await,
            };
            self.deliver_changes().await;
            match (response, pauses.next()) {
                (ClientResponse::Retry, Some(pause)) => self.advance(pause).await,
                _ => break,
            }
        }
    }

    /// Invokes billing-reconcile at the scheduled times, until no work is due or the last scheduled invocation is done.
    async fn reconcile(&mut self) {
        let pauses = [self.scenario.first_reconcile];
        for minutes in pauses.into_iter().chain(RECONCILE_PAUSES) {
            self.advance(MINUTE * u32::try_from(minutes).unwrap()).await;
            self.invoke(RECONCILE, MANIFESTS[RECONCILE].event()).await;
            self.deliver_changes().await;
            if self.scenario.events == Events::Immediate {
                self.deliver_stripe_events().await;
            }
            if !self.cloud.purchases().iter().any(is_due) {
                break;
            }
        }
    }

    /// Sends an order once. The idempotency key is the same in every request of the order.
    async fn order(&mut self, order: usize) -> ClientResponse {
        let source = self.scenario.sources[order];
        let body = json!({"storage": BOUGHT, "source": source, "amount": *PRICE});
        let mut event = MANIFESTS[PURCHASE].event();
        set_header(&mut event, "Idempotency-Key", &format!("order-{order}"));
        event["body"] = body.to_string().into();
        let response = self.invoke(PURCHASE, event).await;
        self.receipt(order, response)
    }

    /// Continues the open order once, as the client does that finds the order in its list of purchases.
    async fn resume(&mut self) -> ClientResponse {
        let event = self.event_of_open_order(RESUME);
        let response = self.invoke(RESUME, event).await;
        self.receipt(0, response)
    }

    /// Cancels the open order once.
    async fn cancel(&mut self) -> ClientResponse {
        let event = self.event_of_open_order(CANCEL);
        let Some((status, body)) = http(self.invoke(CANCEL, event).await) else {
            return ClientResponse::Retry;
        };
        if status >= 500 || body["code"] == "payment_processing" {
            return ClientResponse::Retry;
        }
        self.cancellations.push((status, body));
        ClientResponse::Final
    }

    /// Returns the event of a request for the open order, or for the last one if none is open.
    fn event_of_open_order(&self, function: &'static str) -> Value {
        let purchases = self.cloud.purchases();
        let mut open = purchases.iter().filter(|item| is_pending(item));
        let purchase = open.next().or(purchases.last()).unwrap();
        event_of(function, &purchase["purchaseId"]["S"])
    }

    /// Handles the response to an order.
    fn receipt(&mut self, order: usize, response: Option<Value>) -> ClientResponse {
        // If the function does not respond, API Gateway responds with 502 or 504.
        let Some((status, body)) = http(response) else {
            return ClientResponse::Retry;
        };
        match status {
            402 if body["code"] == "requires_action" => ClientResponse::RequiresAction,
            409 | 500.. => ClientResponse::Retry,
            status => {
                let response = FinalResponse {
                    order,
                    status,
                    body,
                };
                self.final_responses.push(response);
                ClientResponse::Final
            }
        }
    }

    /// Creates a note. Repeats the request until it has a final response. `expected` is the status of this response.
    async fn create_note(&mut self, number: usize, expected: u64) {
        let content = format!("note {number}");
        let mut event = MANIFESTS[CREATE].event();
        set_header(&mut event, "Idempotency-Key", &content);
        event["body"] = json!({"content": content}).to_string().into();
        let (status, body) = self.request_until_final(CREATE, event).await;
        let is_full = status != 409 || body["code"] == "storage_full";
        if status != expected || !is_full {
            let wrong = format!("{content}: {status} {body}");
            self.wrong_responses.push(wrong);
        }
        if status == 201 {
            self.notes.insert(content);
        }
    }

    /// Deletes a note. Repeats the request until it has a final response.
    async fn delete_note(&mut self, number: usize) {
        let content = format!("note {number}");
        let notes = self.cloud.dynamodb.items(NOTES).unwrap();
        let mut notes = notes.iter();
        let Some(note) = notes.find(|note| note["content"]["S"] == content.as_str()) else {
            let wrong = format!("{content} does not exist");
            return self.wrong_responses.push(wrong);
        };
        let event = event_of(DELETE, &note["noteId"]["S"]);
        let (status, body) = self.request_until_final(DELETE, event).await;
        if status >= 300 {
            let wrong = format!("{content} not deleted: {status} {body}");
            self.wrong_responses.push(wrong);
        }
        self.notes.remove(&content);
    }

    /// Sends a request, and repeats it until it has a final response or no retry is left. Returns status and body of the
    /// response.
    async fn request_until_final(&mut self, function: &'static str, event: Value) -> (u64, Value) {
        let mut pauses = CLIENT_PAUSES.into_iter();
        loop {
            let response = http(self.invoke(function, event.clone()).await);
            let is_final = match &response {
                Some((409, body)) => body["code"] == "storage_full",
                Some((status, _)) => *status < 500,
                None => false,
            };
            match (response, pauses.next()) {
                (_, Some(pause)) if !is_final => self.advance(pause).await,
                (response, _) => return response.unwrap_or_default(),
            }
        }
    }

    /// Returns the body of the response of a function that only reads. Repeats the request if it fails.
    async fn look(&mut self, function: &'static str) -> Value {
        let event = MANIFESTS[function].event();
        self.request_until_final(function, event).await.1
    }

    /// Completes the authentication of each PaymentIntent that requires one, as the cardholder would.
    fn authenticate(&mut self) {
        for intent in self.cloud.stripe.payment_intents() {
            if intent["status"] == "requires_action" {
                let id = intent["id"].as_str().unwrap();
                let succeeds = Authentication::Succeeds;
                self.cloud.stripe.authenticate(id, succeeds).unwrap();
                self.history.push("the card's owner authenticates".into());
            }
        }
    }

    /// Charges the card of each PaymentIntent that the bank is processing, as the bank would. Ends the processing of
    /// later payments.
    fn process(&self) {
        let stripe = &self.cloud.stripe;
        stripe.hold_payments(false);
        for intent in stripe.payment_intents() {
            if intent["status"] == "processing" {
                stripe.process(intent["id"].as_str().unwrap()).unwrap();
            }
        }
    }

    /// Refunds `amount` of the first charge, or what is left of it.
    async fn refund(&mut self, amount: Option<u32>) {
        let charges = self.cloud.stripe.charges();
        let charge = charges.iter().find(|charge| charge.paid).unwrap();
        let amount = amount.map_or(String::new(), |amount| format!("&amount={amount}"));
        let form = format!("charge={}{amount}", charge.id);
        self.history.push(format!("support refunds {form}"));
        self.cloud.post_to_stripe("refunds", &form).await;
    }

    /// Delivers the Stripe events that were not delivered before to the webhook. Leaves out the types of events that the
    /// webhook is not subscribed to.
    async fn deliver_stripe_events(&mut self) {
        loop {
            let mut events = self.cloud.stripe.events().split_off(self.delivered_events);
            if events.is_empty() {
                return;
            }
            self.delivered_events += events.len();
            if self.scenario.events == Events::Reversed {
                events.reverse();
            }
            let is_subscribed = |kind: &str| WEBHOOK_EVENTS.contains(&kind);
            events.retain(|event| event["type"].as_str().is_some_and(is_subscribed));
            for event in events {
                self.deliver_until_accepted(&event).await;
                self.deliver_changes().await;
            }
        }
    }

    /// Delivers an event to the webhook until two deliveries have succeeded, at most [`MAX_DELIVERIES`] times.
    async fn deliver_until_accepted(&mut self, event: &Value) {
        let mut successes = 0;
        for _ in 0..MAX_DELIVERIES {
            let succeeded = self.deliver_stripe_event(event).await;
            successes += usize::from(succeeded);
            if successes == 2 {
                break;
            }
            if !succeeded {
                self.advance(MINUTE).await;
            }
        }
        self.check_delivery(successes == 2, &event["type"]);
    }

    async fn deliver_stripe_event(&mut self, stripe_event: &Value) -> bool {
        let payload = stripe_event.to_string();
        let now = SystemTime::now();
        let signature = local_stripe::signature(payload.as_bytes(), now, &[WEBHOOK_SECRET]);
        let mut event = MANIFESTS[WEBHOOK].event();
        set_header(&mut event, "Stripe-Signature", &signature);
        event["body"] = payload.into();
        event["isBase64Encoded"] = false.into();
        let response = self.invoke(WEBHOOK, event).await;
        response.is_some_and(|response| response["statusCode"] == 200)
    }

    /// Delivers the new stream records to billing-purchase-paid until two deliveries have succeeded, at most
    /// [`MAX_DELIVERIES`] times. Then delivers the messages of the SNS topic to its subscribers.
    async fn deliver_changes(&mut self) {
        loop {
            self.read_stream().await;
            let batch = self.changes[self.delivered_changes..].to_vec();
            self.delivered_changes = self.changes.len();
            let has_stream = self.scenario.has_stream && self.mutation.has_stream();
            if batch.is_empty() || !has_stream {
                break;
            }
            let event = stream_event(batch);
            let mut successes = 0;
            for _ in 0..MAX_DELIVERIES {
                successes += usize::from(self.invoke(PURCHASE_PAID, event.clone()).await.is_some());
                if successes == 2 {
                    break;
                }
            }
            self.check_delivery(successes == 2, &json!("a batch of the stream"));
        }
        let published = std::mem::take(&mut self.cloud.sent().topic);
        for message in published {
            let subscribers = [
                NOTIFY, // part: notify
                CREDIT,
            ];
            for subscriber in subscribers {
                self.deliver_message(subscriber, &message).await;
            }
        }
    }

    /// Delivers a message of the SNS topic to a subscriber twice. Repeats each failed invocation as Lambda does, after
    /// the pauses in [`LAMBDA_PAUSES`].
    async fn deliver_message(&mut self, subscriber: &'static str, message: &str) {
        let mut event = MANIFESTS[subscriber].event();
        event["Records"][0]["Sns"]["Message"] = message.into();
        for _ in 0..2 {
            let mut retries = LAMBDA_PAUSES.into_iter();
            while self.invoke(subscriber, event.clone()).await.is_none() {
                let Some(pause) = retries.next() else {
                    self.check_delivery(false, &json!("a message of the topic"));
                    break;
                };
                self.advance(pause).await;
            }
        }
    }

    fn check_delivery(&mut self, succeeded: bool, what: &Value) {
        if !succeeded {
            self.failed_deliveries.push(what.to_string());
        }
    }

    /// Appends the new records of the table's stream to `changes`.
    async fn read_stream(&mut self) {
        let records = self.stream.read().await;
        self.changes.extend(records);
    }

    /// Simulates that `time` passes: sets all stored times back by `time`, and Stripe's clock forward. This is
    /// equivalent, because the functions only compare stored times with the current time, and times of Stripe with each
    /// other. The proxy converts the times in requests to Stripe.
    pub(crate) async fn advance(&mut self, time: Duration) {
        self.read_stream().await;
        let millis = u64::try_from(time.as_millis()).unwrap();
        let dynamodb = &self.cloud.dynamodb;
        for mut purchase in self.cloud.purchases() {
            for name in ["createdAt", "updatedAt", "dueAt"] {
                set_back(&mut purchase, name, millis);
            }
            dynamodb.put(PURCHASES, &purchase).unwrap();
        }
        for mut buyer in dynamodb.items(BUYERS).unwrap() {
            if let Some(Value::Array(declines)) = buyer.pointer_mut("/declines/L") {
                for time in declines {
                    set_back_number(time, millis);
                }
                dynamodb.put(BUYERS, &buyer).unwrap();
            }
        }
        for mut claim in dynamodb.items(IDEMPOTENCY).unwrap() {
            set_back(&mut claim, "expiresAt", time.as_secs());
            set_back(&mut claim, "leaseUntil", millis);
            dynamodb.put(IDEMPOTENCY, &claim).unwrap();
        }
        self.cloud.advance_stripe(time);
        // Skip the stream records of these writes, because no function wrote them.
        self.stream.read().await;
        self.history.push(format!("{} s pass", time.as_secs()));
    }

    /// Invokes a function and records the invocation. Returns the function's response. `None` if the function failed or
    /// was killed.
    async fn invoke(&mut self, function: &'static str, event: Value) -> Option<Value> {
        let earlier = self.runs.iter().filter(|run| run.function == function);
        let number = earlier.count() + 1;
        self.proxy.begin(function, number);
        let outcome = self.invoke_host(function, event).await;
        self.cpu_slot.acquire().await;
        let calls = self.proxy.calls();
        let result = match &outcome {
            Ok(response) if response["statusCode"].is_null() => response.to_string(),
            Ok(response) => format!("{} {}", response["statusCode"], response["body"]),
            Err(error) => error.clone(),
        };
        let entry = format!("{function} #{number}: {}\n    = {result}", calls.join(", "));
        self.history.push(entry);
        self.runs.push(FunctionRun {
            function,
            number,
            step: self.step,
            calls,
        });
        outcome.ok()
    }

    /// Starts the function if it is not warm, and invokes it. Returns the function's response, or a text that says how
    /// the invocation failed.
    async fn invoke_host(&mut self, function: &'static str, event: Value) -> Result<Value, String> {
        let manifest = &MANIFESTS[function];
        let mut host = self.hosts.remove(function);
        let invocation = async {
            let host = match &mut host {
                Some(warm) => warm,
                cold => cold.insert(Host::start(self.hosted(manifest)).await?),
            };
            let timeout = manifest.timeout;
            Ok::<_, StartError>(host.invoke(event.to_string(), timeout, None).await)
        };
        let result = tokio::select! {
            biased;
            () = self.proxy.killed() => None,
            result = invocation => Some(result),
        };
        let outcome = match result {
            None => Err("killed".to_owned()),
            Some(Err(error)) => {
                if let StartError::Exited { log, .. } | StartError::TimedOut { log, .. } = &error {
                    self.log.extend(log.iter().cloned());
                }
                Err(error.to_string())
            }
            Some(Ok(invocation)) => match invocation.outcome {
                Outcome::Response(response) => {
                    let response = serde_json::from_slice(&response).unwrap();
                    self.hosts.extend(host.take().map(|host| (function, host)));
                    Ok(response)
                }
                Outcome::Error(error) => {
                    self.hosts.extend(host.take().map(|host| (function, host)));
                    Err(error.to_string())
                }
                exited => Err(format!("{exited:?}")),
            },
        };
        if let Some(exited) = host {
            self.log.extend(exited.stop().await);
        }
        outcome
    }

    /// Returns what is needed to start a function: the binary and the environment variables of this simulation.
    fn hosted(&self, function: &Function) -> lambda_host::Function {
        let names = function.variables.iter().map(String::as_str);
        let variables = names.chain(local_aws::LAMBDA_VARIABLES).map(|name| {
            let value = match name {
                "FREE_NOTES" => Some(FREE.to_string()),
                name => local_aws::environment_variable(name, &self.url),
            };
            let value = value.unwrap_or_else(|| panic!("add a value for {name} to local/aws"));
            (name, value)
        });
        lambda_host::Function::new(function.binary()).with_env(variables)
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Sets a header in the two fields of an API Gateway event that contain headers: `headers` and `multiValueHeaders`.
fn set_header(event: &mut Value, name: &str, value: &str) {
    for (headers, value) in [
        ("headers", json!(value)),
        ("multiValueHeaders", json!([value])),
    ] {
        if let Value::Object(headers) = &mut event[headers] {
            headers.retain(|other, _| !other.eq_ignore_ascii_case(name));
            headers.insert(name.to_owned(), value);
        }
    }
}

/// Returns the event with which Lambda delivers a batch of stream records.
fn stream_event(records: Vec<Value>) -> Value {
    let records = records.into_iter().map(|mut record| {
        record["eventSourceARN"] = format!(
            "arn:aws:dynamodb:us-east-1:111111111111:report/{PURCHASES}/stream/2025-11-20T00:00:00.000"
        )
        .into();
        record["awsRegion"] = "us-east-1".into();
        record
    });
    json!({"Records": records.collect::<Vec<_>>()})
}

/// Whether a purchase is not settled.
pub(crate) fn is_pending(purchase: &Value) -> bool {
    purchase["status"]["S"] == "PENDING"
}

/// Whether work is due for a purchase: it is not settled, or its last change is not announced.
pub(crate) fn is_due(purchase: &Value) -> bool {
    purchase.get("dueAt").is_some()
}

/// Returns the sample event of a function, for the resource with this ID of the buyer.
fn event_of(function: &'static str, id: &Value) -> Value {
    let mut event = MANIFESTS[function].event();
    let mut order = MANIFESTS[PURCHASE].event();
    event["requestContext"]["identity"] = order["requestContext"]["identity"].take();
    event["pathParameters"]["id"] = id.clone();
    event
}

/// Returns the status and the JSON body of an HTTP response. `None` if there is no response.
fn http(response: Option<Value>) -> Option<(u64, Value)> {
    let response = response?;
    let body = response["body"].as_str().unwrap_or_default();
    let body = serde_json::from_str(body).unwrap_or_default();
    Some((response["statusCode"].as_u64().unwrap_or_default(), body))
}

/// Reduces an attribute of an item by `by`, if the item has the attribute. The attribute is a number, and has the same
/// unit as `by`.
fn set_back(item: &mut Value, name: &str, by: u64) {
    if let Some(time) = item.get_mut(name) {
        set_back_number(time, by);
    }
}

fn set_back_number(time: &mut Value, by: u64) {
    let was: u64 = time["N"].as_str().unwrap().parse().unwrap();
    time["N"] = (was - by).to_string().into();
}
