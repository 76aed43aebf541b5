//! Counts the system calls of a running process with `strace`: requests to the homeserver, and what is written to files.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::figures::rounded;
use crate::support::lines::Lines;
use crate::support::process::temporary_directory;
use crate::support::within;

/// What is recorded.
const CALLS: &str = "trace=fsync,fdatasync,pwrite64,pwritev,write,writev,sendto,sendmsg";
/// Length of the shown strings: a request's line fits.
const SHOWN: &str = "300";

const METHODS: [&str; 4] = ["GET ", "PUT ", "POST ", "DELETE "];

/// A recording under way.
#[derive(Debug)]
pub(crate) struct Trace {
    strace: Child,
    _errors: Lines,
    directory: TempDir,
}

impl Trace {
    /// Begins to record; fails with a sentence if that is impossible here.
    pub(crate) async fn of(pid: Pid) -> Result<Self, String> {
        let directory = temporary_directory("strace");
        let strace = Command::new("strace")
            .args(["-f", "-yy", "-s", SHOWN, "-e", CALLS, "-o"])
            .arg(directory.path().join("calls"))
            .args(["-p", &pid.as_raw_nonzero().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut strace = strace.map_err(|error| format!("`strace` cannot be started ({error})"))?;
        let errors = strace.stderr.take().expect("its errors are a pipe");
        let errors = Lines::of("strace", errors);
        let first = |line: &str| Some(line.to_owned());
        let first = errors.first(0, "that it is attached", first).await;
        if !first.contains("attached") {
            return Err(format!("`strace` may not look at the relay ({first})"));
        }
        Ok(Self {
            strace,
            _errors: errors,
            directory,
        })
    }

    /// Ends the recording, and returns what was counted.
    pub(crate) async fn end(mut self) -> Counts {
        let pid = self.strace.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw).expect("strace runs");
        kill_process(pid, Signal::INT).expect("strace takes signals");
        let ended = within("the end of strace", self.strace.wait()).await;
        ended.expect("strace can be waited for");
        let calls = fs::read(self.directory.path().join("calls")).expect("strace wrote its lines");
        Counts::of(&String::from_utf8_lossy(&calls))
    }
}

/// What was counted; `writes` are calls.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    requests: BTreeMap<String, u64>,
    syncs: BTreeMap<&'static str, u64>,
    writes: BTreeMap<&'static str, u64>,
    bytes: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Counts the lines of a recording. A call during which another thread's began is told in two lines.
    fn of(calls: &str) -> Self {
        let mut counts = Self::default();
        let mut unfinished = HashMap::new();
        for line in calls.lines() {
            let Some((thread, call)) = line.split_once(' ') else {
                continue;
            };
            let call = call.trim_start();
            if call.starts_with("<... ") {
                if let Some(file) = unfinished.remove(thread) {
                    *counts.bytes.entry(file).or_default() += result(call);
                }
                continue;
            }
            let Some((name, arguments)) = call.split_once('(') else {
                continue;
            };
            let Some(to) = descriptor(arguments) else {
                continue;
            };
            if to.starts_with("TCP") {
                // What goes through the gate's socket comes out here.
                if let Some(request) = request(arguments) {
                    *counts.requests.entry(request).or_default() += 1;
                }
            } else if to.starts_with('/') && !to.starts_with("/dev/") {
                let file = whose(to);
                if name.ends_with("sync") {
                    *counts.syncs.entry(file).or_default() += 1;
                } else {
                    *counts.writes.entry(file).or_default() += 1;
                    if call.ends_with("<unfinished ...>") {
                        unfinished.insert(thread, file);
                    } else {
                        *counts.bytes.entry(file).or_default() += result(call);
                    }
                }
            }
        }
        counts
    }

    /// Returns the number of times that our own database was synced.
    pub(crate) fn our_syncs(&self) -> f64 {
        count(self.syncs.get(OURS).copied().unwrap_or_default())
    }

    /// Returns the bytes written to our own database.
    pub(crate) fn our_bytes(&self) -> f64 {
        count(self.bytes.get(OURS).copied().unwrap_or_default())
    }

    /// Returns all counts, multiplied by a factor.
    pub(crate) fn times(&self, factor: f64) -> Value {
        let files = |counts: &BTreeMap<&'static str, u64>| {
            each(counts.iter().map(|(file, number)| (*file, *number)), factor)
        };
        let requests = self.requests.iter();
        json!({
            "requests": each(requests.map(|(what, number)| (&**what, *number)), factor),
            "fsyncs": files(&self.syncs), "writes": files(&self.writes), "bytes": files(&self.bytes),
        })
    }
}

fn each<'a>(counts: impl Iterator<Item = (&'a str, u64)>, factor: f64) -> Value {
    let mut all = 0;
    let mut object = Map::new();
    for (what, number) in counts {
        all += number;
        object.insert(what.to_owned(), json!(rounded(count(number) * factor)));
    }
    object.insert("all".to_owned(), json!(rounded(count(all) * factor)));
    Value::Object(object)
}

/// Counts of a bench are far below the 52 bits of a float's fraction.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn count(number: u64) -> f64 {
    number as f64
}

/// The name under which our own database is counted.
const OURS: &str = "ours";

/// Returns whose file this is.
fn whose(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let files = [
        ("relay.sqlite", OURS),
        ("matrix-sdk-crypto", "sdk_crypto"),
        ("matrix-sdk-state", "sdk_state"),
        ("matrix-sdk-event-cache", "sdk_event_cache"),
    ];
    let known = files.iter().find(|(begin, _)| name.starts_with(begin));
    known.map_or("others", |(_, whose)| whose)
}

/// Returns what the first argument, as in `3</path>, …`, stands for.
fn descriptor(arguments: &str) -> Option<&str> {
    let (_, behind) = arguments.split_once('<')?;
    let ends = [">,", ">)", "> "].iter().filter_map(|end| behind.find(end));
    Some(&behind[..ends.min()?])
}

/// Returns the bytes that a call wrote; nothing, if it failed.
fn result(call: &str) -> u64 {
    let result = call.rsplit_once("= ").map(|(_, result)| result.trim());
    result
        .and_then(|result| result.parse().ok())
        .unwrap_or_default()
}

/// Returns method and kind of the request that begins here, if one does: `PUT send m.reaction`.
fn request(arguments: &str) -> Option<String> {
    let begin = arguments.split('"').find_map(|text| {
        let method = METHODS.iter().find(|method| text.starts_with(**method))?;
        Some((
            method.trim_end(),
            text[method.len()..].split([' ', '?']).next()?,
        ))
    });
    let (method, path) = begin?;
    let path = path.strip_prefix("/_matrix/client/").unwrap_or(path);
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let kind = match *parts {
        [_, "rooms", _, "send", kind, ..] => format!("send {kind}"),
        [_, "rooms" | "user", _, kind, ..] | [_, kind @ ("sendToDevice" | "sync"), ..] => {
            kind.to_owned()
        }
        [_, first, second, ..] => format!("{first} {second}"),
        _ => path.to_owned(),
    };
    Some(format!("{method} {kind}"))
}
