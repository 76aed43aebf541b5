//! Who the service runs as: its account, and the home that belongs to it.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use nix::unistd::{Uid, User};

use super::systemd::{Done, LIMIT, ServiceError, failed, run};
use super::unit::{ACCOUNT, ACCOUNT_LINE, STATE_DIRECTORY};
use relay_disk::create_private_directory;

/// Returns whether the account of the system's service is there.
pub(super) fn exists() -> bool {
    matches!(User::from_name(ACCOUNT), Ok(Some(_)))
}

/// Makes the user of the service, if there is none.
pub(super) async fn make(tell: &mut dyn FnMut(&str)) -> Done {
    if exists() {
        return Ok(());
    }
    let made = run("systemd-sysusers", &["--inline", ACCOUNT_LINE], LIMIT).await;
    if let Err(ServiceError::Start { .. }) = made {
        // A systemd that was built without it.
        let home = ["--home-dir", STATE_DIRECTORY, "--no-create-home"];
        let shell = ["--shell", "/usr/sbin/nologin"];
        let words = ["--system", "--user-group"].into_iter();
        let words: Vec<_> = words.chain(home).chain(shell).chain([ACCOUNT]).collect();
        run("useradd", &words, LIMIT).await?;
    } else {
        made?;
    }
    tell(&format!(
        "the user {ACCOUNT} is made: the service runs as it"
    ));
    Ok(())
}

/// Makes the home, if there is none. One that belongs to somebody else is left to them.
pub(super) fn hand_home_over(home: &Path, tell: &mut dyn FnMut(&str)) -> Done {
    let missing = || ServiceError::Failed {
        command: format!("getent passwd {ACCOUNT}"),
        said: "no such user".to_owned(),
    };
    let user = User::from_name(ACCOUNT)
        .ok()
        .flatten()
        .ok_or_else(missing)?;
    let owner = match fs::metadata(home) {
        Ok(metadata) => Uid::from_raw(metadata.uid()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = create_private_directory(home);
            let made =
                made.and_then(|()| chown(home, Some(user.uid.as_raw()), Some(user.gid.as_raw())));
            made.map_err(failed(home))?;
            tell(&format!(
                "{} is made: the home of the service",
                home.display()
            ));
            return Ok(());
        }
        Err(cause) => return Err(failed(home)(cause)),
    };
    if owner == user.uid {
        return Ok(());
    }
    let name = User::from_uid(owner).ok().flatten().map(|it| it.name);
    Err(ServiceError::ForeignHome {
        home: home.to_owned(),
        owner: name.unwrap_or_else(|| format!("the user {owner}")),
    })
}

/// Returns this user's name if their services end when they log out.
pub(super) async fn without_linger() -> Option<String> {
    let user = User::from_uid(Uid::effective()).ok()??.name;
    let words = ["show-user", &user, "--property=Linger", "--value"];
    let lingers = run("loginctl", &words, LIMIT).await.ok()?;
    (lingers != "yes").then_some(user)
}
