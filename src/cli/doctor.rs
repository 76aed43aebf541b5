//! `relay doctor`: the examination of the relay, its homeserver and its radio.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::failure::{CommandResult, Failure, success_if};
use super::output::{note_handed_over, print, show};
use super::{Globals, interruptible, progress};
use crate::daemon::checks::{check, ok};
use crate::daemon::status::{Check, CheckResult};
use crate::home::{Home, utc};
use crate::tools::bundle::{Bundle, Configuration};
use crate::tools::doctor::{self, Extent, Patient, Report, Side};
use relay_config::{LoadError, Loaded};
use relay_model::{Chain, Explained as _};

/// Number of mistakes or warnings of the configuration that are told; `relay config check` tells all.
const MOST_TOLD: usize = 5;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Examine this side only
    #[arg(value_enum, value_name = "SIDE", conflicts_with = "quick")]
    side: Option<OneSide>,
    /// Ask the running relay only: an answer within seconds, for health checks
    #[arg(long)]
    quick: bool,
    /// Write a new file with what a report of a defect needs, without secrets, texts, names and places
    #[arg(long, value_name = "FILE", conflicts_with_all = ["side", "quick", "json"])]
    bundle: Option<PathBuf>,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OneSide {
    /// The homeserver, the account, the rooms
    Matrix,
    /// The radio, and its channels
    Radio,
}

pub(super) async fn run(arguments: &DoctorArgs, globals: &Globals) -> CommandResult {
    let home = globals.home()?;
    if arguments.quick {
        let health = doctor::examine(&home).await;
        show(Some(&home), arguments.json, &health, doctor::lines)?;
        return Ok(success_if(health.healthy));
    }
    let loaded = globals.load_config(&home);
    if let Some(file) = &arguments.bundle {
        return write_bundle(file, &home, globals, &loaded).await;
    }
    let extent = match arguments.side {
        None => Extent::Whole,
        Some(OneSide::Matrix) => Extent::Only(Side::Matrix),
        Some(OneSide::Radio) => Extent::Only(Side::Radio),
    };
    let report = examine(&home, globals, loaded.as_ref(), extent).await?;
    show(Some(&home), arguments.json, &report, Report::lines)?;
    Ok(match loaded {
        Ok(_) => success_if(report.healthy),
        Err(error) => error.exit(),
    })
}

async fn write_bundle(
    file: &Path,
    home: &Home,
    globals: &Globals,
    loaded: &Result<Loaded, LoadError>,
) -> CommandResult {
    let logging = match loaded {
        Ok(loaded) => loaded.config.logging.clone(),
        Err(_) => globals.logging(),
    };
    let configuration = Configuration {
        path: &globals.config_path(home),
        loaded,
        logging: &logging,
    };
    let bundle = Bundle::begin(file)?;
    let report = examine(home, globals, loaded.as_ref(), Extent::Whole).await;
    let report = report.map_err(|failure| failure.to_string());
    let writing = bundle.write(home, &configuration, report);
    progress::of("writing the bundle", writing).await?;
    print(&format!(
        "{}\nRead it before you send it.\n",
        file.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Makes an examination; shows its progress, and what the radio handed over.
pub(super) async fn examine(
    home: &Home,
    globals: &Globals,
    loaded: Result<&Loaded, &LoadError>,
    extent: Extent,
) -> Result<Report, Failure> {
    let (doing, done) = watch::channel(None);
    let stop = CancellationToken::new();
    let patient = Patient {
        home,
        config: loaded.ok().map(|it| &it.config),
        configuration: configuration(home, globals, loaded),
        changed_at: changed_at(&globals.config_path(home)),
        allow_network_home: globals.allow_network_home,
    };
    let work = Box::pin(patient.examine(extent, &doing, stop.clone()));
    let examination = interruptible(&stop, progress::watch(|| *done.borrow(), work)).await?;
    note_handed_over(&examination.kept);
    if stop.is_cancelled() {
        return Err(anyhow!("interrupted").into());
    }
    Ok(examination.report)
}

/// Returns when a file was changed last, in UTC.
fn changed_at(path: &Path) -> Option<String> {
    let changed_at = std::fs::metadata(path).ok()?.modified().ok()?;
    Some(utc(changed_at))
}

/// Makes the check of the configuration.
fn configuration(home: &Home, globals: &Globals, loaded: Result<&Loaded, &LoadError>) -> Check {
    let path = globals.config_path(home);
    let path = path.display();
    let all = || Some("`relay config check` tells all of them".to_owned());
    match loaded {
        Ok(loaded) => {
            let warnings = loaded.warnings.iter().map(ToString::to_string);
            let told = told(warnings.chain(loaded.config.examples()).collect());
            match told {
                Some(told) => check(
                    CheckResult::Warning,
                    format!("{path}: no mistakes, but {told}"),
                    all(),
                ),
                None => ok(format!("{path}: no mistakes")),
            }
        }
        Err(LoadError::Wrong(problems)) => {
            let problems = problems.problems.iter().map(ToString::to_string);
            let told = told(problems.collect()).unwrap_or_default();
            check(CheckResult::Failed, told, all())
        }
        Err(error) => {
            let hint = match error {
                LoadError::Missing(_) => Some(globals.missing_hint(home)),
                LoadError::Read(..) | LoadError::Wrong(_) => error.hint(),
            };
            check(CheckResult::Failed, Chain(error).to_string(), hint)
        }
    }
}

/// Returns the first of these as one sentence; `None`: there are none.
fn told(sentences: Vec<String>) -> Option<String> {
    let more = sentences.len().saturating_sub(MOST_TOLD);
    let first: Vec<String> = sentences.into_iter().take(MOST_TOLD).collect();
    if first.is_empty() {
        return None;
    }
    let more = if more > 0 {
        format!("; and {more} more")
    } else {
        String::new()
    };
    Some(format!("{}{more}", first.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_mistakes_is_cut_and_counted() {
        let sentences = |count: usize| told((1..=count).map(|it| format!("wrong {it}")).collect());
        assert_eq!(sentences(0), None);
        assert_eq!(sentences(2).unwrap(), "wrong 1; wrong 2");
        assert!(sentences(8).unwrap().ends_with("wrong 5; and 3 more"));
    }
}
