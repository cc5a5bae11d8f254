//! The command `cargo xtask cost`: estimates the monthly cost on AWS from the benchmark's measurements and the prices
//! in `bench/prices.toml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::{release, status, tools, ui, workspace::Workspace};

/// The options of `cargo xtask cost`: the monthly use for which the cost is estimated.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The number of requests that people make in a month
    #[arg(long, value_name = "N")]
    requests_per_month: u64,
    /// The number of people who use the product [default: requests divided by requests_per_person in bench/prices.toml]
    #[arg(long, value_name = "N")]
    people: Option<u64>,
}

/// The name of the stage whose cost is estimated.
const PROD: &str = "prod";

/// Runs `cargo xtask cost`: prints the assumptions and the estimated cost of one month.
///
/// # Errors
/// Fails if the prices or the measurements cannot be read, if a price is missing, or if the templates of the stage prod
/// cannot be synthesized.
pub(crate) async fn cost(options: &Options) -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let root = workspace.root();
    let (prices, text) = PriceFile::read(&root.join("bench/prices.toml"))?;
    let (measurements, source) = Measurements::read(root)?;
    let requests = options.requests_per_month as f64;
    let people = options.people.map(|people| people as f64);
    let people = people.unwrap_or(requests / prices.assumptions.requests_per_person);
    let fixed = Fixed::read(&workspace).await?;
    let bill = Bill::new(&prices, &measurements, fixed, requests, people)?;
    let assumptions = text.split_once("[assumptions]\n");
    let assumptions = assumptions.map_or("", |(_, assumptions)| assumptions);
    ui::print(format!(
        "Assumptions, from bench/prices.toml:\n\n{assumptions}"
    ));
    ui::print(bill.tables());
    let unmeasured = measurements.missing(&prices);
    if !unmeasured.is_empty() {
        ui::print(format!(
            "Not measured, so estimated as the average of the others: {}. Measure with cargo xtask bench.\n",
            unmeasured.join(", ")
        ));
    }
    ui::print(format!(
        "Measurements: {source}. Prices and their sources: bench/prices.toml.\n"
    ));
    ui::print(bill.summary());
    Ok(())
}

/// A price from bench/prices.toml: `usd` US dollars for each `per` units.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    usd: f64,
    /// The number of units that cost `usd` US dollars.
    per: f64,
    /// The number of units that are free in every month.
    #[serde(default)]
    free: f64,
    /// The URL of the page with the price.
    #[serde(rename = "source")]
    _source: String,
}

impl Price {
    /// Returns the cost of `units` units in one month, in US dollars. The first `free` units cost nothing.
    fn cost(&self, units: f64) -> f64 {
        (units - self.free).max(0.0) / self.per * self.usd
    }
}

/// The content of `bench/prices.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFile {
    prices: BTreeMap<String, Price>,
    assumptions: Assumptions,
    functions: BTreeMap<String, FunctionUse>,
}

/// The table `assumptions` of bench/prices.toml. That file documents the fields.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Assumptions {
    requests_per_person: f64,
    memory_mb: f64,
    cold_share: f64,
    dynamodb_ms: f64,
    stripe_ms: f64, // part: billing
    aws_ms: f64,
    log_bytes: f64,
    access_log_bytes: f64,
    log_share_kept: f64,
    log_months: f64,
    traced_per_second: f64,
    traced_share: f64,
    notes_per_person: f64,
    note_kb: f64,
    files_per_person: f64,
    file_kb: f64,
}

/// The numbers of the billed things that the stage prod has once.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Fixed {
    /// The number of metrics that all alarms read together.
    alarm_metrics: f64,
    composite_alarms: f64,
    custom_metrics: f64,
    dashboards: f64,
    web_acls: f64,
    hosted_zones: f64,
}

impl Fixed {
    /// Counts the resources in the templates of the stage prod, and the metrics that its functions write.
    async fn read(workspace: &Workspace) -> Result<Self> {
        let mut fixed = Self::default();
        for template in release::synthesize(workspace, PROD).await?.values() {
            template
                .resources()
                .for_each(|(_, resource)| fixed.add(resource));
        }
        let metrics = workspace.root().join("libs/metrics/metrics.json");
        let metrics: BTreeMap<String, Metric> = serde_json::from_slice(&fs::read(metrics)?)?;
        let functions = status::functions(workspace)?;
        let groups: BTreeSet<_> = functions
            .iter()
            .filter_map(|own| own.group.as_ref())
            .collect();
        let of_invocations = metrics
            .values()
            .filter(|metric| metric.scope == "invocation");
        let of_invocations = of_invocations.count();
        // Metrics of invocations have values per group, per function, and per version of a function. The faults have values
        // of the stage, too.
        let scopes = groups.len() + 2 * functions.len();
        fixed.custom_metrics =
            (of_invocations * scopes + metrics.len() - of_invocations + 1) as f64;
        Ok(fixed)
    }

    /// Adds a resource of a template.
    fn add(&mut self, resource: &Value) {
        match resource.get("Type").and_then(Value::as_str) {
            Some("AWS::CloudWatch::Alarm") => {
                let metrics = resource.pointer("/Properties/Metrics");
                let metrics = metrics.and_then(Value::as_array).map(|metrics| {
                    let read = metrics.iter().filter(|one| one.get("MetricStat").is_some());
                    read.count()
                });
                self.alarm_metrics += metrics.unwrap_or(1) as f64;
            }
            Some("AWS::CloudWatch::CompositeAlarm") => self.composite_alarms += 1.0,
            Some("AWS::CloudWatch::Dashboard") => self.dashboards += 1.0,
            Some("AWS::WAFv2::WebACL") => self.web_acls += 1.0,
            Some("AWS::Route53::HostedZone") => self.hosted_zones += 1.0,
            _ => {}
        }
    }
}

/// A row of libs/metrics/metrics.json.
#[derive(Deserialize)]
struct Metric {
    scope: String,
}

/// How often a function is invoked, and what one invocation uses. bench/prices.toml documents the fields that have no
/// comment here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FunctionUse {
    /// The share of people's requests that invoke this function, as a part of the sum of all shares.
    share: f64,
    /// The name of the function that causes this function's invocations. Each invocation of the named function causes
    /// `times` invocations of this function.
    per: Option<String>,
    times: f64,
    /// The number of invocations per month that do not depend on people's requests, such as scheduled invocations.
    monthly: f64,
    /// Whether API Gateway invokes this function although the `share` is 0.
    is_route: bool,
    reads: f64,
    writes: f64,
    dynamodb: f64,
    stripe: f64, // part: billing
    aws: f64,
    secrets: f64,
    s3_reads: f64,
    s3_writes: f64,
    messages: f64,
    sms: f64, // part: notify
    out_kb: f64,
}

impl PriceFile {
    /// Reads the price file at the path `file`. Returns the parsed content and the text of the file.
    fn read(file: &Path) -> Result<(Self, String)> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let prices = toml::from_str(&text);
        let prices = prices.with_context(|| format!("cannot parse {}", file.display()))?;
        Ok((prices, text))
    }

    /// Returns the number of invocations of `function` in a month in which people make `requests` requests.
    fn invocations(&self, function: &FunctionUse, requests: f64) -> Result<f64> {
        let shares: f64 = self.functions.values().map(|function| function.share).sum();
        let requests = requests / shares;
        let Some(other) = &function.per else {
            return Ok(function.share * requests + function.monthly);
        };
        let cause = self
            .functions
            .get(other)
            .with_context(|| format!("cannot find the function {other} in bench/prices.toml"))?;
        Ok(cause.share * requests * function.times)
    }
}

/// The measured CPU time of a function, in milliseconds. The measurement includes TLS connections to DynamoDB and other
/// services.
#[derive(Debug, Clone, Copy, Default)]
struct CpuTime {
    /// The CPU time from the start of the function's process to the function's first response.
    cold: f64,
    /// The CPU time for one response after the first response.
    warm: f64,
}

/// The CPU times of the measured functions. The keys are the names of the functions.
#[derive(Debug, Default)]
struct Measurements(BTreeMap<String, CpuTime>);

/// The fields of the benchmark report that are needed to estimate the cost.
#[derive(Deserialize)]
struct Report {
    date: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    function: String,
    variant: String,
    tls: Option<Times>,
}

#[derive(Deserialize)]
struct Times {
    cold_cpu_ms: f64,
    warm_cpu_ms: f64,
}

impl Measurements {
    /// Reads the CPU times from target/bench/report.json, the latest benchmark report of this machine. If that file is
    /// missing or has no CPU times, reads bench/report.json, which belongs to bench/RESULTS.md. Also returns the path
    /// and the date of the report.
    fn read(root: &Path) -> Result<(Self, String)> {
        for file in ["target/bench/report.json", "bench/report.json"] {
            let Ok(text) = fs::read_to_string(root.join(file)) else {
                continue;
            };
            let report: Report =
                serde_json::from_str(&text).with_context(|| format!("cannot parse {file}"))?;
            let measurements = Self::from(&report);
            // A report that has only instruction counts has no times.
            if !measurements.0.is_empty() {
                return Ok((measurements, format!("{file} of {}", report.date)));
            }
        }
        bail!("cannot find measurements; run cargo xtask bench")
    }
}

impl Measurements {
    /// The average of all measurements.
    fn average(&self) -> CpuTime {
        let mean = |time: fn(&CpuTime) -> f64| {
            self.0.values().map(time).sum::<f64>() / self.0.len().max(1) as f64
        };
        CpuTime {
            cold: mean(|cpu| cpu.cold),
            warm: mean(|cpu| cpu.warm),
        }
    }

    /// The names of the functions that were not measured.
    fn missing<'a>(&self, prices: &'a PriceFile) -> Vec<&'a str> {
        let names = prices.functions.keys().map(String::as_str);
        names.filter(|name| !self.0.contains_key(*name)).collect()
    }
}

impl From<&Report> for Measurements {
    fn from(report: &Report) -> Self {
        let deployed = report.rows.iter().filter(|row| row.variant == "rust");
        let times = deployed.filter_map(|row| {
            let Times {
                cold_cpu_ms: cold,
                warm_cpu_ms: warm,
            } = *row.tls.as_ref()?;
            Some((row.function.clone(), CpuTime { cold, warm }))
        });
        Self(times.collect())
    }
}

/// The memory size, in MB, at which Lambda gives a function one full vCPU
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>).
const MB_PER_CPU: f64 = 1769.0;

const SECONDS_PER_MONTH: f64 = 30.0 * 24.0 * 3600.0;

const KB_PER_GB: f64 = 1024.0 * 1024.0;

/// The estimated cost of one month.
#[derive(Debug, Default)]
struct Bill {
    people: f64,
    requests: f64,
    /// The cost of each service, in US dollars. The keys are the names that [`service`] returns.
    services: BTreeMap<&'static str, f64>,
    /// The number of invocations and the cost in US dollars of each function. The keys are the names of the functions.
    /// Costs that no function causes are not included.
    functions: BTreeMap<String, (f64, f64)>,
}

/// The number of units that are billed at one price.
#[derive(Debug, Default)]
struct Units {
    /// The number of units that each function uses. The keys are the names of the functions.
    functions: BTreeMap<String, f64>,
    /// The number of units that belong to no function: those of traces, people, stored data and fixed resources.
    other: f64,
}

/// The units that are billed in one month. The keys are the names of the prices in bench/prices.toml.
#[derive(Debug, Default)]
struct Usage(BTreeMap<&'static str, Units>);

impl Usage {
    fn add(&mut self, price: &'static str, function: &str, units: f64) {
        let functions = &mut self.0.entry(price).or_default().functions;
        *functions.entry(function.to_owned()).or_default() += units;
    }

    fn add_other(&mut self, price: &'static str, units: f64) {
        self.0.entry(price).or_default().other += units;
    }

    /// Adds the units that the function `name` uses in `invocations` invocations.
    fn add_function(
        &mut self,
        name: &str,
        function: &FunctionUse,
        invocations: f64,
        cpu: CpuTime,
        assumptions: &Assumptions,
        web_acls: f64,
    ) {
        let total = |units: f64| units * invocations;
        let seconds = billed_ms(function, cpu, assumptions) / 1000.0;
        let logged_gb = total(assumptions.log_bytes / 1024.0) / KB_PER_GB;
        let kept = assumptions.log_share_kept * assumptions.log_months;
        for (price, units) in [
            ("lambda_requests", invocations),
            (
                "lambda_gb_seconds",
                total(seconds * assumptions.memory_mb / 1024.0),
            ),
            ("dynamodb_reads", total(function.reads)),
            ("dynamodb_writes", total(function.writes)),
            ("s3_reads", total(function.s3_reads)),
            ("s3_writes", total(function.s3_writes)),
            ("sns_messages", total(function.messages)),
            ("sms", total(function.sms)), // part: notify
            (
                "kms_requests",
                total(function.secrets * assumptions.cold_share),
            ),
            ("logs_gb", logged_gb),
            ("logs_kept_gb", logged_gb * kept),
            ("transfer_gb", total(function.out_kb) / KB_PER_GB),
        ] {
            self.add(price, name, units);
        }
        if function.share > 0.0 || function.is_route {
            self.add("api_gateway_requests", name, invocations);
            self.add("waf_requests", name, web_acls.min(1.0) * invocations);
            let access_log_gb = total(assumptions.access_log_bytes / 1024.0) / KB_PER_GB;
            self.add("logs_access_gb", name, access_log_gb);
            self.add("logs_kept_gb", name, access_log_gb * kept);
        }
    }

    /// Adds the units that belong to no function: those of traces, people, stored data and fixed resources.
    fn add_fixed(&mut self, requests: f64, people: f64, assumptions: &Assumptions, fixed: Fixed) {
        let per_second = (requests / SECONDS_PER_MONTH).min(assumptions.traced_per_second);
        let first = per_second * SECONDS_PER_MONTH;
        let notes_gb = people * assumptions.notes_per_person * assumptions.note_kb / KB_PER_GB;
        let files_gb = people * assumptions.files_per_person * assumptions.file_kb / KB_PER_GB;
        for (price, units) in [
            (
                "xray_traces",
                first + (requests - first) * assumptions.traced_share,
            ),
            ("cognito_people", people),
            ("dynamodb_gb", notes_gb),
            ("dynamodb_backup_gb", notes_gb),
            ("s3_gb", files_gb),
            ("alarms", fixed.alarm_metrics),
            ("alarms_composite", fixed.composite_alarms),
            ("metrics_custom", fixed.custom_metrics),
            ("metrics_dashboards", fixed.dashboards),
            ("waf_acls", fixed.web_acls),
            ("waf_rules", fixed.web_acls),
            ("hosted_zones", fixed.hosted_zones),
        ] {
            self.add_other(price, units);
        }
    }
}

/// Returns the name of the service, such as `S3`, to which the bill assigns the price named `price`.
fn service(price: &str) -> &'static str {
    match price.split('_').next().unwrap_or_default() {
        "lambda" if price.ends_with("requests") => "Lambda, requests",
        "lambda" => "Lambda, GB-seconds",
        "api" => "API Gateway",
        "dynamodb" if price.ends_with("reads") => "DynamoDB, reads",
        "dynamodb" if price.ends_with("writes") => "DynamoDB, writes",
        "dynamodb" => "DynamoDB, storage",
        "s3" => "S3",
        "logs" => "CloudWatch Logs",
        "alarms" => "CloudWatch alarms",
        "metrics" => "CloudWatch metrics",
        "waf" => "WAF",
        "xray" => "X-Ray",
        "cognito" => "Cognito",
        "sns" => "SNS",
        "sms" => "SMS", // part: notify
        "kms" => "KMS",
        "transfer" => "Data transfer",
        _ => "Route 53",
    }
}

impl Bill {
    /// Calculates the cost of a month in which `people` people make `requests` requests.
    ///
    /// # Errors
    /// Fails if a price is missing. The message names the price.
    fn new(
        prices: &PriceFile,
        measurements: &Measurements,
        fixed: Fixed,
        requests: f64,
        people: f64,
    ) -> Result<Self> {
        let mut usage = Usage::default();
        let mut functions = BTreeMap::new();
        for (name, function) in &prices.functions {
            let invocations = prices.invocations(function, requests)?;
            let measured = measurements.0.get(name).copied();
            let cpu = measured.unwrap_or_else(|| measurements.average());
            let assumptions = &prices.assumptions;
            usage.add_function(
                name,
                function,
                invocations,
                cpu,
                assumptions,
                fixed.web_acls,
            );
            functions.insert(name.clone(), (invocations, 0.0));
        }
        usage.add_fixed(requests, people, &prices.assumptions, fixed);
        let mut bill = Self {
            people,
            requests,
            functions,
            ..Self::default()
        };
        for (name, units) in usage.0 {
            let price = prices
                .prices
                .get(name)
                .with_context(|| format!("cannot find the price {name} in bench/prices.toml"))?;
            bill.charge(name, price, units);
        }
        Ok(bill)
    }

    /// Adds the cost of `units` at the price named `name` to the cost of the service, and to the costs of the functions
    /// that use the units.
    fn charge(&mut self, name: &str, price: &Price, units: Units) {
        let total = units.functions.values().sum::<f64>() + units.other;
        let cost = price.cost(total);
        *self.services.entry(service(name)).or_default() += cost;
        for (function, part) in units.functions {
            // The free units are divided between the functions in proportion to their use.
            if let Some((_, dollars)) = self.functions.get_mut(&function)
                && total > 0.0
            {
                *dollars += cost * part / total;
            }
        }
    }

    fn total(&self) -> f64 {
        self.services.values().sum()
    }

    /// Returns one line with the number of requests, the number of people and the total cost.
    fn summary(&self) -> String {
        let total = self.total();
        format!(
            "{} requests a month by {} people: {total:.2} USD, {:.2} USD per 1000 people",
            self.requests,
            self.people,
            total / self.people.max(1.0) * 1000.0
        )
    }

    /// Returns a table of services and a table of functions, both with the highest cost first.
    fn tables(&self) -> String {
        let total = self.total();
        let mut lines = vec![format!("{:<22}{:>12}{:>8}", "service", "USD", "share")];
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        for (service, dollars) in services {
            let share = dollars / total * 100.0;
            lines.push(format!("{service:<22}{dollars:>12.2}{share:>7.1}%"));
        }
        lines.push(String::new());
        lines.push(format!(
            "{:<26}{:>12}{:>12}{:>18}",
            "function", "invocations", "USD", "USD per million"
        ));
        let mut functions: Vec<_> = self.functions.iter().collect();
        functions.sort_by(|(_, (_, one)), (_, (_, other))| other.total_cmp(one));
        for (name, (invocations, dollars)) in functions {
            let per_million = dollars / invocations.max(1.0) * 1e6;
            lines.push(format!(
                "{name:<26}{invocations:>12.0}{dollars:>12.2}{per_million:>18.2}"
            ));
        }
        let by_functions: f64 = self.functions.values().map(|(_, dollars)| dollars).sum();
        lines.push(format!(
            "{:<26}{:>12}{:>12.2}",
            "(people, data, fixed)",
            "",
            total - by_functions
        ));
        lines.push(String::new());
        lines.join("\n")
    }
}

/// Returns the milliseconds that Lambda bills for an average invocation. This is the sum of the CPU time, the time that
/// the function waits for other services, and 0.5 ms, because Lambda rounds up to a whole millisecond. The CPU time
/// includes a share of a cold start, and it is longer if the function has less than one vCPU.
fn billed_ms(function: &FunctionUse, cpu: CpuTime, assumptions: &Assumptions) -> f64 {
    let slowdown = (MB_PER_CPU / assumptions.memory_mb).max(1.0);
    let waiting: f64 = [
        function.dynamodb * assumptions.dynamodb_ms,
        function.stripe * assumptions.stripe_ms, // part: billing
        function.aws * assumptions.aws_ms,
    ]
    .iter()
    .sum();
    let (cold, warm) = (cpu.cold * slowdown, cpu.warm * slowdown);
    let secrets = function.secrets * assumptions.aws_ms;
    waiting
        + 0.5
        + warm * (1.0 - assumptions.cold_share)
        + (cold + secrets) * assumptions.cold_share
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn close(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-6, "{one} is not {other}");
    }

    fn prices() -> PriceFile {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        PriceFile::read(&root.join("bench/prices.toml")).unwrap().0
    }

    fn measurements(prices: &PriceFile) -> Measurements {
        let cpu = CpuTime {
            cold: 4.0,
            warm: 0.5,
        };
        let functions = prices.functions.keys();
        Measurements(functions.map(|name| (name.clone(), cpu)).collect())
    }

    #[test]
    fn only_units_above_the_free_tier_cost_money() {
        let price: Price = toml::from_str("usd = 0.2\nper = 1e6\nfree = 1e6\nsource = ''").unwrap();
        close(price.cost(500_000.0), 0.0);
        close(price.cost(31e6), 6.0);
    }

    #[test]
    fn billed_time_is_waiting_plus_cpu_time_plus_a_share_of_a_cold_start() {
        let assumptions = Assumptions {
            memory_mb: 884.5, // half a CPU
            cold_share: 0.1,
            dynamodb_ms: 5.0,
            ..prices().assumptions
        };
        let function = FunctionUse {
            dynamodb: 2.0,
            ..FunctionUse::default()
        };
        let cpu = CpuTime {
            cold: 4.0,
            warm: 0.5,
        };
        // 10 ms of waiting, 0.5 ms of rounding, 0.9 × 1 ms warm, 0.1 × 8 ms cold.
        close(
            billed_ms(&function, cpu, &assumptions),
            10.0 + 0.5 + 0.9 + 0.8,
        );
    }

    /// Functions of each kind: routes, a webhook, and a scheduled function.
    const FUNCTIONS: &str = r#"
        get = { share = 5, reads = 1, out_kb = 1 }
        create = { share = 3, writes = 2 }
        upload = { share = 2, s3_writes = 1 }
        webhook = { per = "create", times = 0.1, is_route = true, writes = 1 }
        reconcile = { monthly = 8640, reads = 2 }
    "#;

    const FIXED: Fixed = Fixed {
        alarm_metrics: 213.0,
        composite_alarms: 8.0,
        custom_metrics: 208.0,
        dashboards: 1.0,
        web_acls: 1.0,
        hosted_zones: 1.0,
    };

    fn sample() -> PriceFile {
        PriceFile {
            functions: toml::from_str(FUNCTIONS).unwrap(),
            ..prices()
        }
    }

    #[test]
    fn bill_for_100_000_people_equals_a_manual_calculation() {
        let prices = sample();
        let bill = Bill::new(&prices, &measurements(&prices), FIXED, 30e6, 100_000.0).unwrap();
        // 30 million requests, and 0.1 webhooks for each of 9 million creations, at 3.50 USD per million.
        close(bill.services["API Gateway"], 30.9 * 3.5);
        // 30,900,000 + 8,640 reconciliations; the first million is free.
        close(bill.services["Lambda, requests"], (30.90864 - 1.0) * 0.2);
        // 5 for the web ACL, 1 for its rule, and 0.60 per million requests.
        close(bill.services["WAF"], 6.0 + 30.9 * 0.6);
        // 213 metrics, of which 10 are free, and 8 composite alarms.
        close(bill.services["CloudWatch alarms"], 203.0 * 0.1 + 8.0 * 0.5);
        // 208 metrics, of which 10 are free, and the dashboard.
        close(bill.services["CloudWatch metrics"], 198.0 * 0.3 + 3.0);
        // 90,000 people; the first 10,000 are free.
        close(bill.services["Cognito"], 1350.0);
        // One per second and 5 % of the others; the first 100,000 are free.
        close(bill.services["X-Ray"], (2.592 + 27.408 * 0.05 - 0.1) * 5.0);
        // In millions: 9 creations × 2, and 0.9 webhooks.
        close(bill.services["DynamoDB, writes"], (18.0 + 0.9) * 0.625);
        // In millions: 15, and 8,640 × 2.
        close(bill.services["DynamoDB, reads"], (15.0 + 0.01728) * 0.125);
        let functions: f64 = bill.functions.values().map(|(_, dollars)| dollars).sum();
        assert!(functions < bill.total());
    }

    #[test]
    fn a_function_that_was_not_measured_is_estimated_as_the_average_of_the_others() {
        let prices = sample();
        let mut measured = measurements(&prices);
        let bill =
            |measured: &Measurements| Bill::new(&prices, measured, FIXED, 30e6, 1.0).unwrap();
        let all = bill(&measured).total();
        assert!(measured.missing(&prices).is_empty());
        measured.0.remove("get").unwrap();
        assert_eq!(measured.missing(&prices), ["get"]);
        close(bill(&measured).total(), all);
    }

    #[test]
    fn alarms_count_the_metrics_that_they_read() {
        let mut fixed = Fixed::default();
        let several = json!([{"MetricStat": {}}, {"MetricStat": {}}, {"Expression": "a + b"}]);
        for resource in [
            json!({"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "Errors"}}),
            json!({"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": several}}),
            json!({"Type": "AWS::CloudWatch::CompositeAlarm"}),
            json!({"Type": "AWS::DynamoDB::Table"}),
        ] {
            fixed.add(&resource);
        }
        let expected = Fixed {
            alarm_metrics: 3.0,
            composite_alarms: 1.0,
            ..Fixed::default()
        };
        assert_eq!(fixed, expected);
    }

    #[test]
    fn price_file_lists_exactly_the_functions_of_the_workspace() {
        let workspace = Workspace::read().unwrap();
        let functions: Vec<_> = workspace
            .functions()
            .map(|function| &function.name)
            .collect();
        assert_eq!(prices().functions.keys().collect::<Vec<_>>(), functions);
    }

    #[test]
    fn assumed_memory_equals_the_memory_of_the_prod_stage() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let stages = fs::read_to_string(root.join("serverless.yml")).unwrap();
        let (_, prod) = stages.split_once("\n  prod:\n").unwrap();
        let memory = prod
            .lines()
            .find_map(|line| line.trim().strip_prefix("memory: "));
        let assumed = prices().assumptions.memory_mb;
        assert_eq!(memory, Some(assumed.to_string().as_str()));
    }

    #[test]
    fn only_rust_rows_that_have_times_are_read() {
        let report = r#"{"date": "2026-11-21", "rows": [
            {"function": "notes-get", "variant": "node", "tls": {"cold_cpu_ms": 100, "warm_cpu_ms": 1}},
            {"function": "notes-get", "variant": "rust", "tls": {"cold_cpu_ms": 4, "warm_cpu_ms": 0.5}},
            {"function": "notes-list", "variant": "rust", "instructions": {"init": 1}}
        ]}"#;
        let Measurements(found) =
            Measurements::from(&serde_json::from_str::<Report>(report).unwrap());
        assert_eq!(found.len(), 1);
        close(found["notes-get"].cold, 4.0);
    }
}
