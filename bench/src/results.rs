//! Renders the results of a benchmark run as RESULTS.md and as the table of ratios in README.md.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::report::{Instructions, Page, Report, Row, Times};

/// The name of each variant in report.json, and its name in the tables.
const VARIANTS: [(&str, &str); 8] = [
    ("rust", "Rust, as deployed"),
    ("node", "Node"),
    ("hello", "bare lambda_runtime, built by cargo-lambda"),
    (
        "hello-static",
        "bare lambda_runtime, linked like the deployed functions",
    ),
    ("sdk-defaults", "Rust with the AWS SDK's defaults"),
    ("not-sampled", "event not sampled by X-Ray"),
    ("untraced", "tracing off"),
    ("debug-log", "`LOG_LEVEL` is `debug`"),
];

/// The variants of `notes-get` that differ from the deployed function in only one setting.
const SETTINGS: [&str; 3] = ["not-sampled", "untraced", "debug-log"];

/// The line of RESULTS.md after which the handwritten part begins. `cargo xtask bench` does not change the handwritten
/// part.
const HANDWRITTEN: &str =
    "<!-- Written by hand from here on: cargo xtask bench keeps the rest of this file. -->\n";

/// The line of README.md after which the table of ratios begins. The table ends at the line [`END`].
const BEGIN: &str = "<!-- written by cargo xtask bench -->\n";
const END: &str = "<!-- end -->\n";

/// How many times longer a cold start of `notes-get` over TLS takes in Node than in Rust, measured on another machine.
const SECOND_MACHINE: f64 = 24.3;

/// Writes RESULTS.md in `folder`, without changing its handwritten part, and writes the table of ratios in README.md.
///
/// # Errors
/// Fails if a file cannot be read or written.
pub(crate) fn write(folder: &Path, report: &Report) -> Result<()> {
    let write = |file: &Path, text: String| {
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    };
    let file = folder.join("RESULTS.md");
    let before = fs::read_to_string(&file).unwrap_or_default();
    write(&file, render(report, handwritten(&before)))?;
    let readme = test_support::root().join("README.md");
    let before =
        fs::read_to_string(&readme).with_context(|| format!("cannot read {}", readme.display()))?;
    write(&readme, in_readme(&before, report))
}

/// Returns the text of RESULTS.md. The text ends with `handwritten`, the handwritten part.
fn render(report: &Report, handwritten: &str) -> String {
    let mut out = String::new();
    introduction(&mut out, report);
    limits(&mut out, report);
    measurements(&mut out, report);
    ratios_to_get(&mut out, report);
    ratios_to_rust(&mut out, report);
    settings(&mut out, report);
    pages(&mut out, &report.pages);
    out + HANDWRITTEN + handwritten
}

/// Returns the handwritten part of `file`, the content of RESULTS.md. Empty if the content has no such part.
fn handwritten(file: &str) -> &str {
    file.split_once(HANDWRITTEN).map_or("", |(_, text)| text)
}

fn introduction(out: &mut String, report: &Report) {
    let machine = &report.machine;
    let (rounds, warm) = (report.rounds, report.warm);
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "# Benchmark results

Written by `cargo xtask bench` on {date}: {cpu}, {cores} cores, {system}; {rustc}; Node {node}.

In each of {rounds} rounds, every variant was started once and handled one cold invocation and then {warm} warm invocations. Times
are medians over the {rounds} starts; warm latencies are percentiles over all {all} warm invocations. Compare ratios rather than
absolute times: the machine is shared with other work, and the local DynamoDB (dynoxide, in the harness's process) responds
faster than AWS. CPU time includes only the function's process. Callgrind counts the instructions, and the counts hardly
differ between runs; `cargo xtask bench --gate` compares them with [gates.toml](gates.toml).
",
        date = report.date,
        cpu = machine.cpu,
        cores = machine.cores,
        system = machine.system,
        rustc = machine.rustc,
        node = machine.node,
        all = rounds * warm,
    );
    if let Some(caveat) = caveat(report, "this file") {
        let _ = writeln!(out, "{caveat}\n");
    }
    out.push_str(
        "- *init*: from process start until the function requests its first event. *first*: from that event until the response.
  *cold*: init and first together.
- *TLS*: the function calls AWS over TLS, with a certificate chain of the same form as AWS's (RSA 2048: certificate,
  intermediate, cross-signed root). A deployed function trusts only Amazon's root certificates, which are compiled in. The TLS
  rows therefore run a copy of the deployed binary in which the benchmark's root certificate overwrites one of these. Both
  certificates have the same length, and the code is the same. All other rows run the deployed binary unchanged. Node trusts
  only the benchmark's root certificate, and not the many that it ships with, which favors Node slightly. The functions call
  other services than AWS over plain HTTP.
- The environment variables are those of Lambda, with a session token of 1000 bytes. Tracing is on, and every event is
  sampled. The Node functions are not traced, validate less and do not support Idempotency-Key.
- *memory*: peak resident memory. *zip*: the size of the deployment package.

",
    );
}

/// Returns the paragraph that compares the ratio for a cold start with the ratio on another machine. `results` is the
/// text that refers to RESULTS.md. `None` if `notes-get` was not measured over TLS both in Rust and in Node.
fn caveat(report: &Report, results: &str) -> Option<String> {
    let [node, rust] = ["node", "rust"].map(|variant| report.row("notes-get", variant));
    let ratio = node?.tls?.cold_ms / rust?.tls?.cold_ms;
    Some(format!(
        "These ratios come from one machine. On a second machine, the ratio for a cold start was about half as large ({SECOND_MACHINE}\n\
         instead of {} for notes-get); {results} will explain the difference once its cause is known.",
        number(ratio)
    ))
}

/// Returns the name of a variant in the tables.
fn title(variant: &str) -> &str {
    let found = VARIANTS.iter().find(|(name, _)| *name == variant);
    found.map_or(variant, |(_, title)| title)
}

/// Whether the row has the measurements of the bare Lambda runtime, which makes no calls to AWS.
fn is_bare(row: &Row) -> bool {
    row.variant.starts_with("hello")
}

/// Returns the HTML anchor of a row, so that links can point to the row.
fn anchor(row: &Row) -> String {
    format!("<a id=\"{}-{}\"></a>", row.function, row.variant)
}

const HEAD: &str = "| zip MB | init ms | cold ms | cold CPU ms | first TLS ms | cold TLS ms | cold TLS CPU ms | warm p50 ms | warm p99 ms | warm CPU ms | memory MB | M instructions init / cold / warm | M instructions over TLS init / cold / warm |
|---|---|---|---|---|---|---|---|---|---|---|---|---|";

fn cells(row: &Row) -> String {
    let of = |times: Option<Times>, of: fn(Times) -> f64| {
        times.map_or("–".into(), |times| number(of(times)))
    };
    let (http, tls) = (row.http, row.tls);
    let tls = tls.filter(|_| !is_bare(row));
    [
        number(row.zip as f64 / 1e6),
        of(http, |times| times.init_ms),
        of(http, |times| times.cold_ms),
        of(http, |times| times.cold_cpu_ms),
        of(tls, |times| times.first_ms),
        of(tls, |times| times.cold_ms),
        of(tls, |times| times.cold_cpu_ms),
        of(http, |times| times.warm_p50_ms),
        of(http, |times| times.warm_p99_ms),
        of(http, |times| times.warm_cpu_ms),
        of(http, megabytes),
        counts(row.instructions),
        counts(row.tls_instructions.filter(|_| !is_bare(row))),
    ]
    .join(" | ")
}

fn counts(counts: Option<Instructions>) -> String {
    counts.map_or("–".into(), |Instructions { init, cold, warm }| {
        [init, cold, warm]
            .map(|count| format!("{:.2}", count as f64 / 1e6))
            .join(" / ")
    })
}

/// Formats a number with two decimals, with one decimal if it is at least 10, or without decimals if it is at least
/// 100.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn table<'a>(
    out: &mut String,
    first: &str,
    rows: impl Iterator<Item = &'a Row>,
    name: fn(&Row) -> String,
) {
    let _ = writeln!(out, "| {first} {}", HEAD.replacen("\n|", "\n|---|", 1));
    for row in rows {
        let _ = writeln!(out, "| {} | {} |", name(row), cells(row));
    }
    out.push('\n');
}

fn measurements(out: &mut String, report: &Report) {
    out.push_str("## Measurements\n\n");
    let all = report.rows.iter();
    let rows = all.filter(|row| !SETTINGS.contains(&row.variant.as_str()));
    table(out, "", rows, |row| {
        let anchor = anchor(row);
        match row.variant.as_str() {
            variant if is_bare(row) => format!("{anchor}{}", title(variant)),
            variant => format!("{anchor}{}: {}", row.function, title(variant)),
        }
    });
}

/// An upper limit for a metric of `notes-get`.
struct Limit {
    metric: &'static str,
    limit: f64,
    unit: &'static str,
    /// Calculates the metric from three rows: `notes-get` as deployed, its Node version, and the bare runtime. `None`
    /// if a measurement is missing.
    value: fn(&Row, &Row, &Row) -> Option<f64>,
}

const LIMITS: [Limit; 9] = [
    Limit {
        metric: "CPU time of a cold start, relative to the bare runtime",
        limit: 2.0,
        unit: "×",
        value: |get, _, bare| Some(get.http?.cold_cpu_ms / bare.http?.cold_cpu_ms),
    },
    Limit {
        metric: "cold start, relative to Node",
        limit: 2.5,
        unit: "%",
        value: |get, node, _| Some(100.0 * get.http?.cold_ms / node.http?.cold_ms),
    },
    Limit {
        metric: "cold start over TLS, relative to the bare runtime (no calls)",
        limit: 3.0,
        unit: "×",
        value: |get, _, bare| Some(get.tls?.cold_ms / bare.http?.cold_ms),
    },
    Limit {
        metric: "cold start over TLS, relative to Node",
        limit: 4.0,
        unit: "%",
        value: |get, node, _| Some(100.0 * get.tls?.cold_ms / node.tls?.cold_ms),
    },
    Limit {
        metric: "first response after init over TLS, with an open connection",
        limit: 1.0,
        unit: "ms",
        value: |get, _, _| Some(get.tls?.first_ms),
    },
    Limit {
        metric: "CPU time of a warm invocation, relative to Node",
        limit: 12.0,
        unit: "%",
        value: |get, node, _| Some(100.0 * get.http?.warm_cpu_ms / node.http?.warm_cpu_ms),
    },
    Limit {
        metric: "CPU time of a warm invocation over TLS, relative to Node",
        limit: 12.0,
        unit: "%",
        value: |get, node, _| Some(100.0 * get.tls?.warm_cpu_ms / node.tls?.warm_cpu_ms),
    },
    Limit {
        metric: "memory over TLS",
        limit: 9.0,
        unit: "MB",
        value: |get, _, _| Some(megabytes(get.tls?)),
    },
    Limit {
        metric: "zip",
        limit: 3.5,
        unit: "MB",
        value: |get, _, _| Some(get.zip as f64 / 1e6),
    },
];

fn limits(out: &mut String, report: &Report) {
    let row = |variant| report.row("notes-get", variant);
    let (Some(get), Some(node), Some(bare)) = (row("rust"), row("node"), row("hello")) else {
        return;
    };
    out.push_str(
        "## Limits for `notes-get`\n\n| metric | limit | measured | result |\n|---|---|---|---|\n",
    );
    for Limit {
        metric,
        limit,
        unit,
        value,
    } in LIMITS
    {
        if let Some(value) = value(get, node, bare) {
            let result = if value <= limit {
                "within"
            } else {
                "**exceeded**"
            };
            let value = number(value);
            let _ = writeln!(
                out,
                "| {metric} | {limit} {unit} | {value} {unit} | {result} |"
            );
        }
    }
    out.push('\n');
}

fn megabytes(times: Times) -> f64 {
    times.memory as f64 / 1_048_576.0
}

/// A column in a table of ratios: the name of a metric, and a function that returns the metric's value in a row.
type Column = (&'static str, fn(&Row) -> Option<f64>);

const COLUMNS: [Column; 11] = [
    ("zip", |row| Some(row.zip as f64)),
    ("init", |row| Some(row.http?.init_ms)),
    ("cold", |row| Some(row.http?.cold_ms)),
    ("cold CPU", |row| Some(row.http?.cold_cpu_ms)),
    ("init TLS", |row| Some(row.tls?.init_ms)),
    ("first TLS", |row| Some(row.tls?.first_ms)),
    ("cold TLS", |row| Some(row.tls?.cold_ms)),
    ("cold TLS CPU", |row| Some(row.tls?.cold_cpu_ms)),
    ("warm p50", |row| Some(row.http?.warm_p50_ms)),
    ("warm CPU", |row| Some(row.http?.warm_cpu_ms)),
    ("memory", |row| Some(row.http?.memory as f64)),
];

/// Writes a table of ratios, with one line for each element of `pairs`: the label of the line, and two rows of the
/// report. A cell is a metric of the first row divided by the same metric of the second. Ratios above `limit` are bold.
fn ratio_table<'a>(
    out: &mut String,
    limit: f64,
    pairs: impl Iterator<Item = (String, &'a Row, &'a Row)>,
) {
    let head = COLUMNS.map(|(name, _)| name).join(" | ");
    let _ = writeln!(out, "| | {head} |\n|{}", "---|".repeat(1 + COLUMNS.len()));
    for (name, row, other) in pairs {
        let cells = COLUMNS.map(|(_, of)| match of(row).zip(of(other)) {
            Some((this, that)) if this / that > limit => format!("**{}**", number(this / that)),
            Some((this, that)) => number(this / that),
            None => "–".into(),
        });
        let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
    }
    out.push('\n');
}

/// The limit for the ratio of a function's metric to the same metric of `notes-get`. Higher ratios are bold.
const LIMIT_TO_GET: f64 = 1.5;

fn ratios_to_get(out: &mut String, report: &Report) {
    let Some(get) = report.row("notes-get", "rust") else {
        return;
    };
    let _ = write!(
        out,
        "## Ratios of each function to `notes-get`\n\nRatios above {LIMIT_TO_GET} are bold.\n\n"
    );
    let others = report.rows.iter();
    let others = others.filter(|row| row.variant == "rust" && row.function != "notes-get");
    let pairs = others.map(|row| {
        let name = &row.function;
        (format!("<a id=\"{name}-to-get\"></a>{name}"), row, get)
    });
    ratio_table(out, LIMIT_TO_GET, pairs);
}

fn ratios_to_rust(out: &mut String, report: &Report) {
    out.push_str("## Ratios of the alternatives to the deployed function\n\n");
    let peers = report.rows.iter();
    let peers =
        peers.filter(|row| is_bare(row) || ["node", "sdk-defaults"].contains(&&*row.variant));
    let pairs = peers.filter_map(|peer| {
        let (function, variant) = (&peer.function, &peer.variant);
        let name = format!(
            "<a id=\"{function}-{variant}-ratio\"></a>{function}: {}",
            title(variant)
        );
        Some((name, peer, report.row(function, "rust")?))
    });
    ratio_table(out, f64::INFINITY, pairs);
}

fn settings(out: &mut String, report: &Report) {
    out.push_str(
        "## Cost of tracing and logging\n\n`notes-get` as deployed, and with one changed setting.\n\n",
    );
    let all = report.rows.iter().filter(|row| row.function == "notes-get");
    let rows = all.filter(|row| row.variant == "rust" || SETTINGS.contains(&row.variant.as_str()));
    table(out, "", rows, |row| match row.variant.as_str() {
        "rust" => title("rust").into(),
        variant => format!("{}{}", anchor(row), title(variant)),
    });
}

fn pages(out: &mut String, pages: &[Page]) {
    out.push_str("## Cost of a page by number of notes\n\n");
    out.push_str(
        "`notes-list`, warm. The cost of a page depends on its length, not on how many notes the user has.\n\n",
    );
    out.push_str("| notes | page length | p50 ms | p99 ms | CPU ms | memory MB | M instructions |\n|---|---|---|---|---|---|---|\n");
    for page in pages {
        let _ = writeln!(
            out,
            "| <a id=\"notes-list-{0}-{1}\"></a>{0} | {1} | {2} | {3} | {4} | {5} | {6} |",
            page.notes,
            page.length,
            number(page.p50_ms),
            number(page.p99_ms),
            number(page.cpu_ms),
            number(page.memory as f64 / 1_048_576.0),
            page.instructions
                .map_or("–".into(), |count| format!("{:.2}", count as f64 / 1e6)),
        );
    }
    out.push('\n');
}

/// Returns `readme`, the content of README.md, with the ratios of `report` between the lines [`BEGIN`] and [`END`].
/// Returns `readme` unchanged if it does not have both lines.
fn in_readme(readme: &str, report: &Report) -> String {
    let parts = readme.split_once(BEGIN);
    let parts = parts.and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else {
        return readme.to_owned();
    };
    let mut out = format!(
        "{before}{BEGIN}| route | cold start | CPU time of a cold start | CPU time of a warm request | memory | zip |\n|---|---|---|---|---|---|\n"
    );
    for peer in report.rows.iter().filter(|row| row.variant == "node") {
        let ratios = report.row(&peer.function, "rust").and_then(|rust| {
            let (node_times, rust_times) = (peer.tls?, rust.tls?);
            let ratio = |of: fn(Times) -> f64| number(of(node_times) / of(rust_times));
            Some([
                ratio(|times| times.cold_ms),
                ratio(|times| times.cold_cpu_ms),
                ratio(|times| times.warm_cpu_ms),
                ratio(|times| times.memory as f64),
                number(peer.zip as f64 / rust.zip as f64),
            ])
        });
        if let Some(ratios) = ratios {
            let _ = writeln!(
                out,
                "| [{0}](bench/RESULTS.md#{0}-node-ratio) | {1} |",
                peer.function,
                ratios.join(" | ")
            );
        }
    }
    if let Some(caveat) = caveat(report, "bench/RESULTS.md") {
        let _ = writeln!(out, "\n{caveat}");
    }
    out + END + after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let row = |variant: &str, init_ms: f64| Row {
            function: "notes-get".into(),
            variant: variant.into(),
            zip: 2_000_000,
            http: Some(Times {
                init_ms,
                ..Times::default()
            }),
            ..Row::default()
        };
        Report {
            rows: vec![row("rust", 2.0), row("node", 130.0), row("hello", 1.0)],
            ..Report::default()
        }
    }

    #[test]
    fn a_value_above_its_limit_is_marked_as_exceeded() {
        let mut report = report();
        for (cold_cpu_ms, line) in [(2.0, "2.00 × | within"), (2.1, "2.10 × | **exceeded**")] {
            for row in &mut report.rows {
                let is_rust = row.variant == "rust";
                row.http = row.http.map(|times| Times {
                    cold_cpu_ms: if is_rust { cold_cpu_ms } else { 1.0 },
                    ..times
                });
            }
            let results = render(&report, "");
            assert!(results.contains(&format!("| 2 × | {line} |")), "{results}");
        }
    }

    #[test]
    fn a_function_has_a_row_of_ratios_to_notes_get_with_high_ratios_in_bold() {
        let mut report = report();
        let mut list = report.rows[0].clone();
        list.function = "notes-list".into();
        list.zip = 5_000_000;
        report.rows.push(list);
        let results = render(&report, "");
        assert!(
            results.contains("<a id=\"notes-list-to-get\"></a>notes-list | **2.50** | 1.00 | "),
            "{results}"
        );
    }

    #[test]
    fn the_node_variant_has_a_row_of_measurements_and_a_row_of_ratios() {
        let results = render(&report(), "");
        assert!(
            results.contains("<a id=\"notes-get-node\"></a>notes-get: Node | 2.00 | 130 |"),
            "{results}"
        );
        assert!(
            results.contains("<a id=\"notes-get-node-ratio\"></a>notes-get: Node | 1.00 | 65.0 |"),
            "{results}"
        );
    }

    #[test]
    fn all_rows_of_a_table_have_as_many_cells_as_its_header() {
        let results = render(&report(), "");
        let lines: Vec<_> = results.lines().collect();
        for pair in lines
            .windows(2)
            .filter(|pair| pair.iter().all(|line| line.starts_with('|')))
        {
            let cells = |line: &str| line.matches('|').count();
            assert_eq!(cells(pair[0]), cells(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn only_the_text_between_the_markers_of_the_readme_changes() {
        let mut report = report();
        for row in &mut report.rows {
            row.tls = row.http.map(|times| Times {
                cold_ms: times.init_ms,
                ..times
            });
        }
        let readme = format!("before\n{BEGIN}old ratios\n{END}after\n");
        let written = in_readme(&readme, &report);
        assert!(written.starts_with("before\n") && written.ends_with("after\n"));
        assert!(
            written.contains("| [notes-get](bench/RESULTS.md#notes-get-node-ratio) | 65.0 |"),
            "{written}"
        );
        assert!(
            written.contains("(24.3\ninstead of 65.0 for notes-get)"),
            "{written}"
        );
        assert!(!written.contains("old ratios"));
        assert_eq!(in_readme("no markers", &report), "no markers");
    }

    #[test]
    fn rendering_keeps_the_handwritten_part_of_the_results() {
        let results = render(&report(), "| a save | 3 s |\n");
        assert_eq!(render(&report(), handwritten(&results)), results);
        assert!(results.ends_with("\n| a save | 3 s |\n"));
    }
}
