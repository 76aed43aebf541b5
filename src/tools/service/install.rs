//! Installs and removes the service, and tells each step. What stands there already is respected: another's unit, another's
//! home, and what the relay has stored.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Group, Uid};

use super::account;
use super::systemd::{
    self, Done, Purpose, STOP_LIMIT, ServiceError, failed, systemctl, systemctl_within,
};
use super::unit::{self, ACCOUNT, NAME, Scope, Unit};
use crate::home::{Home, Lock, path_of, quoted};
use relay_matrix::Files;

/// The group that serial ports belong to, on most distributions and on others, and that of Bluetooth.
const SERIAL_GROUPS: [&str; 2] = ["dialout", "uucp"];
const BLUETOOTH_GROUP: &str = "bluetooth";
/// Directories of packages' units.
const OF_PACKAGES: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];

/// What is to be installed.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) scope: Scope,
    pub(crate) home: &'a Home,
    /// This program.
    pub(crate) program: PathBuf,
    /// A configuration elsewhere than in the home.
    pub(crate) config: Option<PathBuf>,
    pub(crate) allow_network_home: bool,
    /// Replace a unit that we have not written.
    pub(crate) force: bool,
}

impl Order<'_> {
    fn config_path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| self.home.config())
    }
}

/// Installs the service, or brings an older one of ours up to date. Each step is told; returns the commands that remain to be
/// given.
pub(crate) async fn install(order: &Order<'_>, tell: &mut dyn FnMut(&str)) -> Done<Vec<String>> {
    let Order { scope, home, .. } = *order;
    systemd::check_manager(scope, Purpose::Install).await?;
    for path in order.config.iter().chain([&order.program]) {
        check_plain(path)?;
    }
    check_plain(home.path())?;
    let path = place(scope)?;
    let before = read(&path)?;
    let is_foreign = before.as_ref().is_some_and(|it| !unit::is_ours(it));
    if is_foreign && !order.force {
        return Err(ServiceError::ForeignUnit {
            path,
            purpose: Purpose::Install,
        });
    }
    if scope == Scope::System {
        prepare_system(order, before.is_some(), tell).await?;
    }
    let text = unit_text(order);
    replace(&path, before.as_deref(), &text, tell)?;
    systemctl(scope, &["daemon-reload"]).await?;
    systemctl(scope, &["enable", NAME]).await?;
    tell("the service is enabled: it starts with the system");
    let is_replaced = before.is_some_and(|it| it != text);
    let mut next = setting_up(order);
    next.extend(start(order, is_replaced, tell).await?);
    Ok(next)
}

/// Makes the account and the home of a service of the system. Fails if it could not run with them.
async fn prepare_system(order: &Order<'_>, is_installed: bool, tell: &mut dyn FnMut(&str)) -> Done {
    check_root()?;
    check_no_package(is_installed, Purpose::Install)?;
    check_program(&order.program)?;
    if let Some(config) = order.config.as_ref().filter(|it| unit::is_hidden(it)) {
        let (path, home) = (config.clone(), order.home.config());
        return Err(ServiceError::HiddenConfig { path, home });
    }
    account::make(tell).await?;
    account::hand_home_over(order.home.path(), tell)
}

fn unit_text(order: &Order<'_>) -> String {
    let exists = |it: &&str| matches!(Group::from_name(it), Ok(Some(_)));
    let serial = SERIAL_GROUPS.into_iter().find(exists);
    let bluetooth = Some(BLUETOOTH_GROUP).filter(exists);
    let groups: Vec<_> = serial.into_iter().chain(bluetooth).collect();
    let unit = Unit {
        scope: order.scope,
        program: &order.program,
        home: order.home.path(),
        config: order.config.as_deref(),
        allow_network_home: order.allow_network_home,
        groups: &groups,
    };
    unit.text()
}

/// Writes a unit, and keeps the one that stood there before.
fn replace(path: &Path, before: Option<&str>, text: &str, tell: &mut dyn FnMut(&str)) -> Done {
    let shown = path.display();
    match before {
        Some(before) if before == text => tell(&format!("{shown} is up to date")),
        Some(before) => {
            let old = path.with_extension("service.old");
            write(&old, before)?;
            write(path, text)?;
            let old = old.display();
            tell(&format!("{shown} is replaced; the old one is {old}"));
        }
        None => {
            write(path, text)?;
            tell(&format!("{shown} is written"));
        }
    }
    Ok(())
}

/// Returns the commands that the relay lacks before it can carry messages.
fn setting_up(order: &Order<'_>) -> Vec<String> {
    let as_user = match order.scope {
        Scope::System => format!("sudo -u {ACCOUNT} "),
        Scope::User => String::new(),
    };
    let (program, at) = (quoted(&order.program), quoted(order.home.path()));
    let relay = |words: &str| format!("{as_user}{program} --home {at} {words}");
    let mut next = Vec::new();
    if !order.config_path().exists() {
        next.push(relay("config generate"));
        let (config, check) = (order.config_path(), relay("config check"));
        next.push(format!("edit {}, then: {check}", config.display()));
    }
    if !Files::new(order.home.matrix()).session().exists() {
        next.push(relay("auth login"));
    }
    next
}

/// Starts the service if it can do something; returns the commands that remain for that.
async fn start(
    order: &Order<'_>,
    is_replaced: bool,
    tell: &mut dyn FnMut(&str),
) -> Done<Vec<String>> {
    let scope = order.scope;
    let (systemctl_words, status) = match scope {
        Scope::System => ("sudo systemctl", "service status"),
        Scope::User => ("systemctl --user", "service status --user"),
    };
    let mut next = Vec::new();
    let is_running = systemctl(scope, &["is-active", NAME]).await.is_ok();
    let is_configured = order.config_path().exists();
    if is_running && is_replaced {
        next.push(format!("{systemctl_words} restart relay"));
    } else if let (false, Some(holder)) = (is_running, Lock::holder(order.home)) {
        tell(&format!(
            "not started: another relay runs in this home ({holder})"
        ));
        next.push(format!("end that one, then: {systemctl_words} start relay"));
    } else if !is_running && is_configured {
        // Not waited for: a large database may take minutes to open.
        systemctl(scope, &["start", "--no-block", NAME]).await?;
        tell("the service is being started");
    } else if !is_running {
        next.push(format!("{systemctl_words} start relay"));
    }
    if scope == Scope::User
        && let Some(user) = account::without_linger().await
    {
        next.push(format!(
            "so that it also runs while you are not logged in: sudo loginctl enable-linger {user}"
        ));
    }
    next.push(format!("{} {status}", quoted(&order.program)));
    Ok(next)
}

/// Stops and removes the service, if it is ours. The relay's data stay.
pub(crate) async fn uninstall(scope: Scope, force: bool, tell: &mut dyn FnMut(&str)) -> Done {
    systemd::check_manager(scope, Purpose::Uninstall).await?;
    let path = place(scope)?;
    let Some(text) = read(&path)? else {
        if scope == Scope::System {
            check_no_package(false, Purpose::Uninstall)?;
        }
        tell(&format!(
            "no service is installed: there is no {}",
            path.display()
        ));
        return Ok(());
    };
    if !unit::is_ours(&text) && !force {
        return Err(ServiceError::ForeignUnit {
            path,
            purpose: Purpose::Uninstall,
        });
    }
    if scope == Scope::System {
        check_root()?;
    }
    systemctl_within(scope, &["disable", "--now", NAME], STOP_LIMIT).await?;
    tell("the service is stopped, and starts no more");
    remove(&path)?;
    tell(&format!("{} is removed", path.display()));
    let old = path.with_extension("service.old");
    // What was never ours stays.
    if read(&old)?.is_some_and(|it| unit::is_ours(&it)) {
        remove(&old)?;
        tell(&format!("{} is removed", old.display()));
    }
    systemctl(scope, &["daemon-reload"]).await?;
    // Fails if there is nothing to forget.
    drop(systemctl(scope, &["reset-failed", NAME]).await);
    if let Some(home) = unit::home_of(&text) {
        tell(&format!(
            "{} is left as it is: configuration, login, keys and what waits to be sent",
            home.display()
        ));
    }
    if scope == Scope::System && account::exists() {
        tell(&format!(
            "the user {ACCOUNT} is left as it is: it owns these files"
        ));
    }
    Ok(())
}

/// Returns the path of the unit that we write.
pub(super) fn place(scope: Scope) -> Done<PathBuf> {
    let directory = match scope {
        Scope::System => PathBuf::from("/etc/systemd/system"),
        Scope::User => {
            let config = path_of(std::env::var_os("XDG_CONFIG_HOME"));
            let config = config.or_else(|| Some(std::env::home_dir()?.join(".config")));
            config.ok_or(ServiceError::NoUserHome)?.join("systemd/user")
        }
    };
    Ok(directory.join(NAME))
}

/// Reads a unit that may not be there.
pub(super) fn read(path: &Path) -> Done<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(failed(path)(cause)),
    }
}

/// Replaces a unit at once or not at all; everybody may read it.
fn write(path: &Path, text: &str) -> Done {
    let new = path.with_extension("service.new");
    let written = || -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().map_err(failed(path))
}

fn remove(path: &Path) -> Done {
    fs::remove_file(path).map_err(failed(path))
}

/// Fails if a path has characters that would end its line in the unit.
fn check_plain(path: &Path) -> Done {
    match path.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(()),
        Some(_) | None => Err(ServiceError::OddPath {
            path: path.to_owned(),
        }),
    }
}

fn check_root() -> Done {
    if Uid::effective().is_root() {
        Ok(())
    } else {
        Err(ServiceError::NotRoot)
    }
}

/// Fails if a package has brought a unit: ours would hide its updates.
fn check_no_package(is_ours_there: bool, purpose: Purpose) -> Done {
    let units = OF_PACKAGES.iter().map(|it| Path::new(it).join(NAME));
    match units.into_iter().find(|path| path.exists()) {
        Some(path) if !is_ours_there => Err(ServiceError::PackageUnit { path, purpose }),
        Some(_) | None => Ok(()),
    }
}

/// Fails if another user cannot run the program, or the unit would hide it.
fn check_program(program: &Path) -> Done {
    let refused = |reason| {
        Err(ServiceError::Program {
            program: program.to_owned(),
            reason,
        })
    };
    if unit::is_hidden(program) {
        return refused("homes of users are hidden from it".to_owned());
    }
    for path in program.ancestors() {
        let mode = fs::metadata(path).map_err(failed(path))?.mode();
        if mode & 0o001 == 0 {
            let path = path.display();
            return refused(format!("`{path}` is closed to other users"));
        }
    }
    Ok(())
}
