//! The processes of the functions: their memory and file descriptors over time. Only on Linux, which has /proc.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde::Serialize;
use test_support::stage::Stage;

/// A running process of a function.
#[derive(Debug)]
pub(crate) struct Process {
    /// The name of the function's crate.
    pub(crate) function: String,
    pub(crate) pid: i32,
}

/// Returns the process ID of the stage's local cloud. `None` if its file does not exist.
pub(crate) fn cloud(stage: &Stage) -> Option<i32> {
    let pid = fs::read_to_string(stage.folder().join("cloud.pid")).ok()?;
    pid.trim().parse().ok()
}

/// Returns the processes of the functions, which are children of the local cloud.
pub(crate) fn functions(stage: &Stage) -> Vec<Process> {
    let Some(cloud) = cloud(stage) else {
        return Vec::new();
    };
    let prefix = format!("scratchpad-{}-", stage.name());
    let children = fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = children.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        (parent(pid)? == cloud).then_some(pid)
    });
    let functions = children.filter_map(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let name = environment
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(b"AWS_LAMBDA_FUNCTION_NAME="))?;
        let name = String::from_utf8_lossy(name);
        let function = name.strip_prefix(&prefix)?.to_owned();
        Some(Process { function, pid })
    });
    functions.collect()
}

/// Returns the process ID of a process's parent (<https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>).
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program is in parentheses, and may contain spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// What a process used at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The resident set size, in kB.
    pub(crate) memory: u64,
    /// The number of open file descriptors.
    pub(crate) files: u64,
}

impl Sample {
    fn take(pid: i32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(Self {
            memory: memory.split_whitespace().next()?.parse().ok()?,
            files: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
        })
    }
}

/// The pause between two samples.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

/// A process must have lived for this number of samples to be judged: 40 s.
const ENOUGH: usize = 20;

/// A process that uses at most this much more in its last quarter than in its second quarter, in addition to 10 %, does
/// not grow: memory in kB, and file descriptors.
const TOLERANCE: Sample = Sample {
    memory: 2_048,
    files: 8,
};

/// The samples of all processes, by function and process ID, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<(String, i32), Vec<Sample>>);

impl Samples {
    /// Takes a sample of each process.
    pub(crate) fn take(&mut self, stage: &Stage) {
        for Process { function, pid } in functions(stage) {
            if let Some(sample) = Sample::take(pid) {
                self.add(function, pid, sample);
            }
        }
    }

    fn add(&mut self, function: String, pid: i32, sample: Sample) {
        self.0.entry((function, pid)).or_default().push(sample);
    }

    /// Returns the usage of each function.
    pub(crate) fn usage(&self) -> Vec<Usage> {
        let mut usage: BTreeMap<&str, Usage> = BTreeMap::new();
        for ((function, _), samples) in &self.0 {
            let usage = usage.entry(function).or_insert_with(|| Usage {
                function: function.clone(),
                ..Usage::default()
            });
            usage.add(samples);
        }
        usage.into_values().collect()
    }
}

/// What the processes of a function used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    pub(crate) function: String,
    pub(crate) processes: usize,
    /// The number of processes that lived long enough to be judged.
    pub(crate) judged: usize,
    pub(crate) largest_memory_kb: u64,
    pub(crate) most_files: u64,
    /// The medians of the second and of the last quarter of each process that grew: memory in kB.
    pub(crate) growing_memory_kb: Vec<(u64, u64)>,
    /// The same for file descriptors.
    pub(crate) growing_files: Vec<(u64, u64)>,
}

impl Usage {
    fn add(&mut self, samples: &[Sample]) {
        let memory: Vec<_> = samples.iter().map(|sample| sample.memory).collect();
        let files: Vec<_> = samples.iter().map(|sample| sample.files).collect();
        self.processes += 1;
        self.largest_memory_kb = memory
            .iter()
            .copied()
            .fold(self.largest_memory_kb, u64::max);
        self.most_files = files.iter().copied().fold(self.most_files, u64::max);
        if samples.len() >= ENOUGH {
            self.judged += 1;
            self.growing_memory_kb
                .extend(growth(&memory, TOLERANCE.memory));
            self.growing_files.extend(growth(&files, TOLERANCE.files));
        }
    }

    /// Whether a process used more and more.
    pub(crate) fn grows(&self) -> bool {
        !self.growing_memory_kb.is_empty() || !self.growing_files.is_empty()
    }
}

/// Returns the medians of the second and of the last quarter of `values`, if the last one is more than 10 % plus
/// `tolerance` above the other one.
fn growth(values: &[u64], tolerance: u64) -> Option<(u64, u64)> {
    let quarter = values.len() / 4;
    let second = median(values.get(quarter..2 * quarter)?);
    let last = median(values.get(values.len() - quarter..)?);
    (last > second + second / 10 + tolerance).then_some((second, last))
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(samples: impl Iterator<Item = Sample>) -> Usage {
        let mut all = Samples::default();
        samples.for_each(|sample| all.add("notes-get".into(), 1, sample));
        all.usage().remove(0)
    }

    #[test]
    fn a_process_whose_memory_or_files_grow_is_detected() {
        let flat = |_| Sample {
            memory: 10_000,
            files: 12,
        };
        assert!(!usage((0..100).map(flat)).grows());
        let memory = usage((0..100).map(|time| Sample {
            memory: 10_000 + time * 100,
            ..flat(time)
        }));
        assert_eq!(
            (memory.growing_memory_kb.len(), memory.growing_files.len()),
            (1, 0)
        );
        let files = usage((0..100).map(|time| Sample {
            files: 12 + time / 4,
            ..flat(time)
        }));
        assert_eq!(
            (files.growing_memory_kb.len(), files.growing_files.len()),
            (0, 1)
        );
    }

    #[test]
    fn growth_in_the_first_quarter_and_a_short_life_are_not_judged() {
        let warm = |time: u64| Sample {
            memory: 5_000 + time.min(20) * 1_000,
            files: 12,
        };
        assert!(!usage((0..100).map(warm)).grows());
        let short = usage((0..10).map(|time| Sample {
            memory: time * 10_000,
            files: time * 100,
        }));
        assert_eq!((short.judged, short.grows()), (0, false));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_parent_and_the_usage_of_this_process_are_read() {
        let pid = std::process::id().try_into().unwrap();
        let parent_id: i32 = std::os::unix::process::parent_id().try_into().unwrap();
        assert_eq!(parent(pid), Some(parent_id));
        let sample = Sample::take(pid).unwrap();
        assert!(sample.memory > 100 && sample.files > 2, "{sample:?}");
    }
}
