//! How the service stands: what systemd knows of it, and what the relay says itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::install::{place, read};
use super::systemd::{self, Purpose, ServiceError, systemctl};
use super::unit::{self, NAME, Scope};
use crate::daemon::times;
use crate::home::Home;
use crate::tools::{control, printable};
use relay_model::Chain;

/// What systemd is asked for. Source: `org.freedesktop.systemd1(5)`.
const PROPERTIES: &str = "--property=LoadState,ActiveState,SubState,UnitFileState,FragmentPath,NeedDaemonReload,MainPID,\
                          StateChangeTimestamp,StatusText,WatchdogUSec,NRestarts,Result,ExecMainCode,ExecMainStatus,\
                          ExecMainExitTimestamp";

/// The object that `relay service status --json` prints.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ServiceStatus {
    /// Whether there is a unit.
    pub(crate) installed: bool,
    /// Its file.
    pub(crate) unit: Option<String>,
    /// Whether it starts with the system: systemd's word (`enabled`, `disabled`, `masked` …).
    pub(crate) enabled: Option<String>,
    /// Whether it runs.
    pub(crate) running: bool,
    /// systemd's words, as `active (running)`.
    pub(crate) state: Option<String>,
    /// Since when, in systemd's words.
    pub(crate) since: Option<String>,
    pub(crate) pid: Option<u32>,
    /// The limit of the watchdog, as `3min`; `None`: there is none.
    pub(crate) watchdog: Option<String>,
    /// How often systemd has started it again by itself.
    pub(crate) restarts: u64,
    /// How it ended last: an exit code, a signal, or that of systemd.
    pub(crate) last_end: Option<String>,
    /// When.
    pub(crate) last_end_at: Option<String>,
    /// Whether the unit was changed since systemd has read it.
    pub(crate) reload_needed: bool,
    /// Whether it is a service of this user's, for the cure of that.
    #[serde(skip)]
    pub(crate) is_users: bool,
    /// What the relay has told systemd.
    pub(crate) says: Option<String>,
    /// The home that the unit names.
    pub(crate) home: Option<String>,
    /// The first line of `relay status`, or why it cannot be asked.
    pub(crate) relay: Option<String>,
}

/// Asks systemd, and the relay itself.
pub(crate) async fn status(scope: Scope, home: &Home) -> Result<ServiceStatus, ServiceError> {
    systemd::check_manager(scope, Purpose::Status).await?;
    let told = systemctl(scope, &["show", PROPERTIES, NAME]).await?;
    let mut status = of_properties(&told);
    status.is_users = scope == Scope::User;
    if !status.installed {
        return Ok(status);
    }
    let text = read(&place(scope)?)?.unwrap_or_default();
    let named = unit::home_of(&text);
    let home = named
        .and_then(|it| Home::locate(Some(&it), |_| None).ok())
        .unwrap_or_else(|| home.clone());
    status.home = Some(home.path().display().to_string());
    if status.running {
        let asked = control::status(&home).await;
        status.relay = Some(match asked {
            Ok(told) => first_line(&crate::tools::status::lines(&told)),
            Err(error) => format!("cannot be asked: {}", Chain(&error)),
        });
    }
    Ok(status)
}

fn first_line(lines: &str) -> String {
    let line = lines.lines().next().unwrap_or_default();
    line.strip_prefix("relay").unwrap_or(line).trim().to_owned()
}

/// Reads what `systemctl show` prints: a property a line.
fn of_properties(told: &str) -> ServiceStatus {
    let properties: BTreeMap<_, _> = told.lines().filter_map(|it| it.split_once('=')).collect();
    let text = |name: &str| {
        let value = properties.get(name).copied().unwrap_or_default();
        (!value.is_empty() && value != "n/a").then(|| value.to_owned())
    };
    let number = |name: &str| {
        text(name)
            .and_then(|it| it.parse::<u32>().ok())
            .unwrap_or(0)
    };
    let active = text("ActiveState").unwrap_or_default();
    let sub = text("SubState").unwrap_or_default();
    let installed = properties
        .get("LoadState")
        .is_some_and(|it| *it != "not-found");
    ServiceStatus {
        installed,
        unit: text("FragmentPath"),
        enabled: text("UnitFileState"),
        running: matches!(active.as_str(), "active" | "reloading" | "activating")
            && number("MainPID") != 0,
        state: installed.then(|| format!("{active} ({sub})")),
        since: text("StateChangeTimestamp"),
        pid: Some(number("MainPID")).filter(|pid| *pid != 0),
        watchdog: text("WatchdogUSec").filter(|it| it != "0" && it != "infinity"),
        restarts: number("NRestarts").into(),
        last_end: last_end(
            &text("Result").unwrap_or_default(),
            number("ExecMainCode"),
            number("ExecMainStatus"),
        ),
        last_end_at: text("ExecMainExitTimestamp"),
        reload_needed: text("NeedDaemonReload").as_deref() == Some("yes"),
        is_users: false,
        says: text("StatusText"),
        home: None,
        relay: None,
    }
}

/// How the main process ended. The code is that of `waitid(2)`: 1 exited, 2 killed, 3 dumped core; 0: it has not ended.
fn last_end(result: &str, code: u32, status: u32) -> Option<String> {
    match (result, code) {
        (_, 0) => None,
        ("watchdog", _) => Some("stuck: ended by the watchdog".to_owned()),
        ("timeout", _) => Some("ended by systemd: it took too long".to_owned()),
        ("oom-kill", _) => Some("ended by the system: out of memory".to_owned()),
        (_, 1) => Some(format!("exit code {status}")),
        (_, _) => Some(format!("signal {status}")),
    }
}

/// Returns the status for people.
pub(crate) fn lines(status: &ServiceStatus) -> String {
    let mut page = String::new();
    let mut line = |name: &str, text: &str| {
        let _ = writeln!(page, "{name:<13} {}", printable(text));
    };
    if !status.installed {
        line("service", "not installed");
        return page;
    }
    let known = |it: &Option<String>| it.clone().unwrap_or_else(|| "not known".to_owned());
    line(
        "service",
        &format!("{}, {}", known(&status.unit), known(&status.enabled)),
    );
    let pid = status.pid.map(|pid| format!(", process {pid}"));
    let since = status.since.as_ref().map(|it| format!(" since {it}"));
    let (pid, since) = (pid.unwrap_or_default(), since.unwrap_or_default());
    line("state", &format!("{}{since}{pid}", known(&status.state)));
    if status.running {
        let limit = status.watchdog.as_deref().unwrap_or("none");
        let restarts = times(status.restarts);
        line("watchdog", &format!("{limit}; started again {restarts}"));
    }
    if let Some(end) = &status.last_end {
        let at = status.last_end_at.as_ref().map(|it| format!(", {it}"));
        line("last end", &format!("{end}{}", at.unwrap_or_default()));
    }
    if status.reload_needed {
        let command = if status.is_users {
            "systemctl --user daemon-reload"
        } else {
            "sudo systemctl daemon-reload"
        };
        line(
            "unit",
            &format!("changed since systemd has read it: `{command}`"),
        );
    }
    for (name, text) in [
        ("home", &status.home),
        ("says", &status.says),
        ("relay", &status.relay),
    ] {
        if let Some(text) = text {
            line(name, text);
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `systemctl show` of systemd 252 prints it.
    const RUNNING: &str = "\
MainPID=4711
Result=success
NRestarts=1
StatusText=radio ready, homeserver connected
ExecMainExitTimestamp=
ExecMainCode=0
ExecMainStatus=0
LoadState=loaded
ActiveState=active
SubState=running
FragmentPath=/etc/systemd/system/relay.service
UnitFileState=enabled
NeedDaemonReload=no
WatchdogUSec=3min
StateChangeTimestamp=Sat 2026-01-31 12:00:10 UTC";

    #[test]
    fn a_running_service_is_told_with_its_watchdog_and_what_the_relay_says() {
        insta::assert_snapshot!(lines(&of_properties(RUNNING)), @r"
        service       /etc/systemd/system/relay.service, enabled
        state         active (running) since Sat 2026-01-31 12:00:10 UTC, process 4711
        watchdog      3min; started again once
        says          radio ready, homeserver connected
        ");
    }

    #[test]
    fn a_service_that_the_watchdog_ended_is_told_so() {
        let told = RUNNING
            .replace("Result=success", "Result=watchdog")
            .replace("ActiveState=active", "ActiveState=activating")
            .replace("SubState=running", "SubState=auto-restart")
            .replace("ExecMainCode=0", "ExecMainCode=2")
            .replace("MainPID=4711", "MainPID=0");
        let status = of_properties(&told);
        assert!(!status.running);
        assert_eq!(status.pid, None);
        assert!(lines(&status).contains("stuck: ended by the watchdog"));
    }

    #[test]
    fn a_unit_that_was_changed_is_read_again_by_whose_it_is() {
        let told = RUNNING.replace("NeedDaemonReload=no", "NeedDaemonReload=yes");
        let mut status = of_properties(&told);
        assert!(lines(&status).contains("`sudo systemctl daemon-reload`"));
        status.is_users = true;
        assert!(lines(&status).contains("`systemctl --user daemon-reload`"));
    }

    #[test]
    fn what_is_not_installed_is_told_in_one_line() {
        let told = "LoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0";
        let status = of_properties(told);
        assert_eq!(lines(&status), "service       not installed\n");
        assert_eq!(status.last_end, None);
    }
}
