//! Simulates one scenario from the client's order until the last delivery, and injects the given failures. Simulates
//! the client, the deliveries of Stripe's webhook, the event sources of Lambda and the schedule of billing-reconcile.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use lambda_host::{Host, Outcome, StartError};
use local_stripe::Authentication;
use reqwest::Client;
use serde_json::{Value, json};
use test_support::functions::{self, Function};
use tokio::task::JoinHandle;

use crate::cloud::{Cloud, IDEMPOTENCY, PURCHASES, SECRETS, TOPIC, WEBHOOK_SECRET};
use crate::cpu_slot::CpuSlot;
use crate::failure::Fault;
use crate::mutation::Mutation;
use crate::proxy::Proxy;
use crate::scenario::{FUNCTIONS, NOTIFY, PURCHASE, PURCHASE_PAID, RECONCILE, Scenario, WEBHOOK};
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
/// so old that billing-reconcile settles it even if Stripe's search does not find a payment.
const RECONCILE_PAUSES: [u64; 7] = [5, 5, 30, 25, 60, 60, 30];

/// The user ID in the stream record that billing-purchase-paid cannot read.
pub(crate) const POISON: &str = "poison";

const MINUTE: Duration = Duration::from_secs(60);

/// The amount of storage that the client orders, in notes.
const STORAGE: u32 = 10;
/// The price of the ordered storage, in cents.
pub(crate) const PRICE: u32 = 4_000;
/// The name of the stage.
const STAGE: &str = "faults";

/// The payment functions, as their serverless.yml files describe them, keyed by name.
static MANIFESTS: LazyLock<BTreeMap<&'static str, Function>> = LazyLock::new(|| {
    let all = functions::all().into_iter();
    let of_name = |function: Function| {
        let name = FUNCTIONS.into_iter().find(|name| *name == function.name)?;
        Some((name, function))
    };
    let found: BTreeMap<_, _> = all.filter_map(of_name).collect();
    assert_eq!(found.len(), FUNCTIONS.len(), "{found:#?}");
    found
});

/// Returns the text of the SMS about a purchase that is PAID.
pub(crate) fn sms_text(purchase: &Value) -> String {
    let id = purchase["purchaseId"]["S"].as_str().unwrap();
    format!("[{STAGE}] Paid: 40.00 USD for storage for {STORAGE} notes ({id})")
}

/// A response of billing-purchase that has the final result of the order, so that the client does not retry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FinalResponse {
    pub(crate) status: u64,
    pub(crate) body: Value,
}

/// An invocation of a function (a run): the name of the function, the number of the invocation, and the names of the
/// calls.
#[derive(Debug)]
pub(crate) struct FunctionRun {
    pub(crate) function: &'static str,
    pub(crate) number: usize,
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
    /// The records of the table's stream for all writes of the functions, oldest first. The simulation's own writes are
    /// left out.
    pub(crate) changes: Vec<Value>,
    /// The number of records at the start of `changes` that were delivered to billing-purchase-paid.
    delivered_changes: usize,
    /// The number of Stripe's oldest events that were delivered to the webhook.
    delivered_events: usize,
    pub(crate) final_responses: Vec<FinalResponse>,
    pub(crate) runs: Vec<FunctionRun>,
    /// The invocations, authentications and waits so far, as text for the report.
    pub(crate) history: Vec<String>,
    /// The log lines of all functions that have stopped.
    pub(crate) log: Vec<String>,
    /// Descriptions of the deliveries that never succeeded.
    pub(crate) failed_deliveries: Vec<String>,
}

/// The kind of response that the client gets to its order.
enum ClientResponse {
    /// The final result of the order.
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
        let cloud = Arc::new(Cloud::start(client, scenario.search_lag).await);
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
            changes: Vec::new(),
            delivered_changes: 0,
            delivered_events: 0,
            final_responses: Vec::new(),
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
        self.order_with_retries().await;
        if self.scenario.cardholder_authenticates {
            self.authenticate();
        }
        if self.scenario.events_are_immediate {
            self.deliver_stripe_events().await;
        }
        if self.scenario.client_retries {
            self.order().await;
            self.deliver_changes().await;
        }
        self.reconcile().await;
        self.deliver_stripe_events().await;
        if self.scenario.client_retries {
            // Order twice, because every final response must be the same.
            self.order_with_retries().await;
            self.order_with_retries().await;
        }
        for (_, host) in self.hosts.drain() {
            self.log.extend(host.stop().await);
        }
    }

    /// Simulates the client: sends the order, and repeats it after [`ClientResponse::Retry`] until no retry is left.
    async fn order_with_retries(&mut self) {
        let retries = self.scenario.client_retries;
        let mut pauses = CLIENT_PAUSES.into_iter().filter(|_| retries);
        loop {
            let response = self.order().await;
            self.deliver_changes().await;
            match (response, pauses.next()) {
                (ClientResponse::Retry, Some(pause)) => self.advance(pause).await,
                _ => break,
            }
        }
    }

    /// Invokes billing-reconcile at the scheduled times, until no purchase is PENDING or the last scheduled invocation
    /// is done.
    async fn reconcile(&mut self) {
        for minutes in [self.scenario.first_reconcile]
            .into_iter()
            .chain(RECONCILE_PAUSES)
        {
            self.advance(MINUTE * u32::try_from(minutes).unwrap()).await;
            self.invoke(RECONCILE, MANIFESTS[RECONCILE].event()).await;
            self.deliver_changes().await;
            if self.scenario.events_are_immediate {
                self.deliver_stripe_events().await;
            }
            if self.pending().is_empty() {
                break;
            }
        }
    }

    /// Returns the purchases that are PENDING.
    pub(crate) fn pending(&self) -> Vec<Value> {
        let mut purchases = self.cloud.purchases();
        purchases.retain(|purchase| purchase["status"]["S"] == "PENDING");
        purchases
    }

    /// Sends the client's order once. The idempotency key is the same in every request.
    async fn order(&mut self) -> ClientResponse {
        let body = json!({"storage": STORAGE, "source": self.scenario.source});
        let mut event = MANIFESTS[PURCHASE].event();
        set_header(&mut event, "Idempotency-Key", "the-key");
        event["body"] = body.to_string().into();
        // If the function does not respond, API Gateway responds with 502 or 504.
        let Some(response) = self.invoke(PURCHASE, event).await else {
            return ClientResponse::Retry;
        };
        let body = response["body"].as_str().unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        match response["statusCode"].as_u64().unwrap_or_default() {
            402 if body["code"] == "requires_action" => ClientResponse::RequiresAction,
            409 | 500.. => ClientResponse::Retry,
            status => {
                self.final_responses.push(FinalResponse { status, body });
                ClientResponse::Final
            }
        }
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

    /// Delivers the Stripe events that were not delivered before to the webhook, in order. Repeats the delivery of each
    /// event until two deliveries have succeeded, at most [`MAX_DELIVERIES`] times.
    async fn deliver_stripe_events(&mut self) {
        while let Some(event) = self
            .cloud
            .stripe
            .events()
            .get(self.delivered_events)
            .cloned()
        {
            self.delivered_events += 1;
            let mut successes = 0;
            for _ in 0..MAX_DELIVERIES {
                let succeeded = self.deliver_stripe_event(&event).await;
                successes += usize::from(succeeded);
                if successes == 2 {
                    break;
                }
                if !succeeded {
                    self.advance(MINUTE).await;
                }
            }
            self.check_delivery(successes == 2, &event["type"]);
            self.deliver_changes().await;
        }
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
    /// [`MAX_DELIVERIES`] times. Then delivers the messages of the SNS topic to notify-send.
    async fn deliver_changes(&mut self) {
        loop {
            self.read_stream().await;
            let batch = self.changes[self.delivered_changes..].to_vec();
            self.delivered_changes = self.changes.len();
            if batch.is_empty() || !self.mutation.has_stream() {
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
            self.deliver_message(message).await;
        }
    }

    /// Delivers a message of the SNS topic to notify-send twice. Repeats each failed invocation as Lambda does, after
    /// the pauses in [`LAMBDA_PAUSES`].
    async fn deliver_message(&mut self, message: String) {
        let mut event = MANIFESTS[NOTIFY].event();
        event["Records"][0]["Sns"]["Message"] = message.into();
        for _ in 0..2 {
            let mut retries = LAMBDA_PAUSES.into_iter();
            while self.invoke(NOTIFY, event.clone()).await.is_none() {
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

    /// Simulates that `time` passes: sets all stored times back by `time`. This is equivalent, because the functions
    /// only compare stored times with the current time.
    async fn advance(&mut self, time: Duration) {
        self.read_stream().await;
        let millis = u64::try_from(time.as_millis()).unwrap();
        let dynamodb = &self.cloud.dynamodb;
        for mut purchase in self.pending() {
            for name in ["createdAt", "updatedAt", "dueAt"] {
                set_back(&mut purchase[name], millis);
            }
            dynamodb.put(PURCHASES, &purchase).unwrap();
        }
        for mut claim in dynamodb.items(IDEMPOTENCY).unwrap() {
            set_back(&mut claim["expiresAt"], time.as_secs());
            if claim.get("leaseUntil").is_some() {
                set_back(&mut claim["leaseUntil"], millis);
            }
            dynamodb.put(IDEMPOTENCY, &claim).unwrap();
        }
        self.cloud.stripe.advance(time);
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
        let from_lambda = [
            "AWS_ACCESS_KEY_ID",
            "AWS_ENDPOINT_URL",
            "AWS_REGION",
            "AWS_SECRET_ACCESS_KEY",
        ];
        let names = function.variables.iter().map(String::as_str);
        let variables = names.chain(from_lambda).map(|name| {
            let value = match name {
                "ALLOWED_ORIGIN" => "https://app.example.com",
                "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
                "AWS_ENDPOINT_URL" | "STRIPE_URL" => &self.url,
                "AWS_REGION" => "us-east-1",
                "AWS_SECRET_ACCESS_KEY" => "a-secret",
                "DEAD_LETTER_QUEUE" => {
                    "https://sqs.us-east-1.amazonaws.com/111111111111/dead-letters"
                }
                "IDEMPOTENCY_TABLE" => IDEMPOTENCY,
                "LOG_LEVEL" => "info",
                "NOTE_PURCHASED_TOPIC" => TOPIC,
                "PURCHASES_TABLE" => PURCHASES,
                "SECRETS_PREFIX" => SECRETS,
                "STAGE" => STAGE,
                other => panic!("add a value for {other} here"),
            };
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

/// Reduces `time`, a DynamoDB number, by `by`. Both have the same unit.
fn set_back(time: &mut Value, by: u64) {
    let was: u64 = time["N"].as_str().unwrap().parse().unwrap();
    time["N"] = (was - by).to_string().into();
}
