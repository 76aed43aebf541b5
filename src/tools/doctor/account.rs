//! Deciding on the account: the login, the device, the backup of its keys.

use super::limit::failed_by;
use super::report::{Finding, Side};
use crate::daemon::DeviceHeld;
use crate::daemon::checks::{check, failed, ok, skipped, warning};
use crate::daemon::status::CheckResult;
use relay_matrix::auth::{KeyBackup, LoginStatus, RECOVER};

/// The names of the checks of a login, in their order.
pub(super) const OF_LOGIN: [&str; 3] = ["session", "verification", "key_backup"];

/// `held`: another relay uses the device.
pub(super) fn findings(status: &LoginStatus, held: Option<&DeviceHeld>) -> Vec<Finding> {
    let (user, device) = (&status.user_id, &status.device_id);
    let unasked = if status.is_aged() {
        "the access token has to be renewed first, which a running relay does"
    } else {
        "the homeserver does not accept the login"
    };
    let session = match (&status.refused, held, &status.damage) {
        (Some(refused), _, _) => check(CheckResult::Failed, refused, None),
        (None, Some(held), _) => failed_by(held),
        (None, None, Some(damage)) => check(CheckResult::Failed, damage, None),
        (None, None, None) if status.is_aged() => ok(format!(
            "{user}, device {device}: the access token has aged; a running relay renews it, and the check `sync` says if it cannot"
        )),
        (None, None, None) => ok(format!(
            "{user}, device {device}: the homeserver accepts the login"
        )),
    };
    let verification = match status.device_verified {
        Some(true) => ok("the device is verified by its owner"),
        Some(false) => warning("the device is not verified by its owner", status.recovery()),
        None => skipped(unasked),
    };
    let backup = match (status.key_backup, status.key_backup_on_server) {
        (KeyBackup::On, _) => ok("the device's room keys are backed up"),
        (KeyBackup::Unused, _) => {
            let text =
                "the account has a backup that another login made, and this device does not use it";
            warning(text, RECOVER)
        }
        (KeyBackup::Off, _) => {
            let text = "the account has no backup of room keys: they are on this machine only";
            warning(text, "`relay auth login --force` sets one up")
        }
        (KeyBackup::Unknown, Some(_)) => {
            let text = "the account has a backup; whether this device uses it is not known";
            warning(text, "`relay auth login --force` makes sure")
        }
        (KeyBackup::Unknown, None) => skipped(unasked),
    };
    let checks = OF_LOGIN.into_iter().zip([session, verification, backup]);
    let mut found: Vec<_> = checks
        .map(|(name, it)| Side::Matrix.finds(name, it))
        .collect();
    if let Some(path) = &status.recovery_key_file {
        let text = format!("the recovery key still lies in `{}`", path.display());
        let left = warning(text, "move it to a safe place");
        found.push(Side::Matrix.finds("recovery_key", left));
    }
    found
}

/// The checks of a login of which nothing is known.
pub(super) fn unknown(why: &str) -> Vec<Finding> {
    let names = OF_LOGIN.into_iter();
    names
        .map(|name| Side::Matrix.finds(name, skipped(why)))
        .collect()
}

/// The checks where nobody has logged in.
pub(super) fn nobody() -> Vec<Finding> {
    let mut found = unknown("nobody has logged in");
    if let Some(session) = found.first_mut() {
        *session = Side::Matrix.finds(
            "session",
            failed("not logged in to Matrix", "run `relay auth login`"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_matrix::auth::LoginMethod;

    fn status(change: impl FnOnce(&mut LoginStatus)) -> Vec<(String, CheckResult, String)> {
        let mut status = LoginStatus {
            login: LoginMethod::Password,
            login_service: None,
            user_id: "@relay:example.org".try_into().unwrap(),
            device_id: "DEVICE".into(),
            homeserver: "https://example.org".parse().unwrap(),
            token_alive: true,
            refused: None,
            device_verified: Some(true),
            identity_is_incomplete: false,
            key_backup: KeyBackup::On,
            key_backup_on_server: Some(true),
            recovery_key_file: None,
            damage: None,
        };
        change(&mut status);
        let found = findings(&status, None).into_iter();
        found
            .map(|it| (it.check.name, it.check.result, it.check.text))
            .collect()
    }

    #[test]
    fn a_login_that_is_well_is_told_as_such() {
        let found = status(|_| {});
        assert!(found.iter().all(|it| it.1 == CheckResult::Ok), "{found:?}");
        assert_eq!(found.len(), OF_LOGIN.len());
        assert!(found[0].2.contains("@relay:example.org, device DEVICE"));
    }

    #[test]
    fn a_dead_login_fails_and_what_hangs_on_it_is_skipped() {
        let found = status(|status| {
            status.refused = Some("the homeserver does not accept the login".to_owned());
            (status.device_verified, status.key_backup) = (None, KeyBackup::Unknown);
            status.key_backup_on_server = None;
        });
        let results: Vec<_> = found.iter().map(|it| it.1).collect();
        assert_eq!(
            results,
            [
                CheckResult::Failed,
                CheckResult::Skipped,
                CheckResult::Skipped
            ]
        );
    }

    #[test]
    fn a_token_that_has_aged_is_neither_accepted_nor_refused() {
        let found = status(|status| {
            (status.device_verified, status.key_backup) = (None, KeyBackup::Unknown);
            status.key_backup_on_server = None;
        });
        let says = |word: &str| found.iter().any(|it| it.2.contains(word));
        assert!(says("renew") && !says("accept"), "{found:?}");
    }

    #[test]
    fn keys_that_are_gone_from_this_machine_end_the_login_too() {
        let found = status(|status| status.damage = Some("the key is missing".to_owned()));
        assert_eq!(
            (found[0].1, &*found[0].2),
            (CheckResult::Failed, "the key is missing")
        );
    }

    #[test]
    fn what_a_person_should_do_one_day_is_a_warning() {
        for change in [
            |status: &mut LoginStatus| status.device_verified = Some(false),
            |status: &mut LoginStatus| status.key_backup = KeyBackup::Off,
            |status: &mut LoginStatus| status.key_backup = KeyBackup::Unused,
            |status: &mut LoginStatus| status.key_backup = KeyBackup::Unknown,
            |status: &mut LoginStatus| status.recovery_key_file = Some("recovery.key".into()),
        ] {
            let found = status(change);
            let warned = found.iter().filter(|it| it.1 == CheckResult::Warning);
            assert_eq!(warned.count(), 1, "{found:?}");
        }
    }
}
