//! The computer and the program's size: figures that need no messages.

use std::fs::{self, File};
use std::io::Write as _;
use std::num::NonZero;
use std::thread;
use std::time::Instant;

use serde_json::json;

use crate::figures::{Figures, Series};
use crate::support::process::{relay_program, temporary_directory};

/// Names of the figures that [`measure`] can print.
pub(crate) const FIGURES: [&str; 3] = ["machine", "disk_sync", "binary_size"];

/// Number of writes to the disk that are measured.
const WRITES: usize = 100;

/// Measures the machine itself, so that other figures can be compared.
pub(crate) fn measure(figures: &Figures) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value_of = |text: String, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()));
        value.unwrap_or_else(|| "unknown".to_owned())
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let more = json!({
        "model": value_of(read("/proc/cpuinfo"), "model name"),
        "memory": value_of(read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load": read("/proc/loadavg").trim(),
    });
    let processors = u32::try_from(processors).expect("processors can be counted");
    figures.tell("machine", f64::from(processors), "processors", &more);

    let synced = disk_sync();
    let (median, summary) = (synced.median(), synced.summary());
    figures.tell("disk_sync", median, "ms", &summary);

    let program = fs::metadata(relay_program()).expect("the relay is built");
    let kibibytes = u32::try_from(program.len() / 1024).expect("the relay is smaller than 4 TiB");
    let megabytes = f64::from(kibibytes) * 1024.0 / 1e6;
    figures.tell("binary_size", megabytes, "MB", &json!({}));
}

/// Measures the time to write a page to the disk of the relay's homes, the lower bound of a commit.
pub(crate) fn disk_sync() -> Series {
    let directory = temporary_directory("disk");
    let mut file = File::create(directory.path().join("page")).expect("a file can be made");
    let mut series = Series::default();
    for _ in 0..WRITES {
        let began = Instant::now();
        file.write_all(&[0x5A; 4096])
            .expect("a page can be written");
        file.sync_data().expect("a page can be synced");
        series.add(began.elapsed());
    }
    series
}
