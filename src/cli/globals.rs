//! The flags that every command has, and what they stand for: home, configuration, log.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::home::{Home, HomeError, path_of, quoted};
use relay_config::{Choice, Config, Environment, Level, LoadError, Loaded, LogFormat, Logging};

/// The flags of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Globals {
    /// Directory where the relay keeps everything [env: `RELAY_HOME`] [default: ~/.relay]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) home: Option<PathBuf>,
    /// Configuration file [env: `RELAY_CONFIG`] [default: config.yaml in the home directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// How much is logged; beats `logging.level` and `logging.debug`
    #[arg(long, global = true, value_name = "LEVEL", value_parser = choices::<Level>())]
    pub(super) log_level: Option<Level>,
    /// In which form it is logged; beats `logging.format`
    #[arg(long, global = true, value_name = "FORMAT", value_parser = choices::<LogFormat>())]
    pub(super) log_format: Option<LogFormat>,
    /// Use the home directory even if it lies on a network file system
    #[arg(long, global = true)]
    pub(super) allow_network_home: bool,
}

/// The words of a key of the configuration; only there can the log be turned off.
fn choices<T: Choice + Clone + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let shown = T::VARIANTS.iter().zip(T::MEANINGS);
    let shown = shown.filter(|(word, _)| **word != "off").map(|it| {
        let meaning = it.1.trim().trim_end_matches('.');
        PossibleValue::new(*it.0).help(meaning)
    });
    let others = T::SPELLINGS
        .iter()
        .map(|it| PossibleValue::new(*it).hide(true));
    PossibleValuesParser::new(shown.chain(others)).try_map(|word| word.parse::<T>())
}

impl Globals {
    /// Locates the home directory; creates nothing.
    pub(super) fn home(&self) -> Result<Home, HomeError> {
        Home::locate(self.home.as_deref(), |name| std::env::var_os(name))
    }

    pub(super) fn named_config(&self) -> Option<PathBuf> {
        let variable = || path_of(std::env::var_os("RELAY_CONFIG"));
        self.config.clone().or_else(variable)
    }

    pub(super) fn config_path(&self, home: &Home) -> PathBuf {
        self.named_config().unwrap_or_else(|| home.config())
    }

    /// Loads the configuration; the environment overrides the file, and these flags override both.
    pub(super) fn load_config(&self, home: &Home) -> Result<Loaded, LoadError> {
        let path = self.config_path(home);
        // An explicitly given file must exist: the environment does not replace it.
        if self.named_config().is_some() && !path.exists() {
            return Err(LoadError::Missing(path));
        }
        let mut loaded = Config::load(&path, &Environment::of_process())?;
        self.overrule(&mut loaded.config.logging);
        Ok(loaded)
    }

    /// Returns the log settings before, or without, a configuration.
    pub(super) fn logging(&self) -> Logging {
        let mut logging = Logging::default();
        self.overrule(&mut logging);
        logging
    }

    fn overrule(&self, logging: &mut Logging) {
        if let Some(level) = self.log_level {
            logging.level = level;
            logging.debug.clear();
        }
        logging.format = self.log_format.unwrap_or(logging.format);
    }

    pub(super) fn missing_hint(&self, home: &Home) -> String {
        if let Some(hint) = home.hint() {
            return hint;
        }
        if let Some(path) = self.named_config() {
            let path = quoted(&path);
            return format!("write one with `relay config generate --output {path}`");
        }
        mmrelay_hint().unwrap_or_else(|| "write one with `relay config generate`".to_owned())
    }
}

/// Returns the path of this user's MMRelay configuration, if it exists, and the command that uses it.
pub(super) fn mmrelay_hint() -> Option<String> {
    let path = std::env::home_dir()?.join(".mmrelay/config.yaml");
    if !path.is_file() {
        return None;
    }
    let at = path.display();
    let checked = Config::load(&path, &Environment::of_process());
    let (how, command) = match checked {
        Ok(_) => ("works as it is", "relay --config"),
        Err(_) => ("needs a few changes", "relay config check --config"),
    };
    let quoted = quoted(&path);
    Some(format!(
        "MMRelay's configuration is in `{at}`, and {how}: `{command} {quoted}`; `relay import mmrelay` takes over what MMRelay \
         knows"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_beats_every_level_of_the_configuration() {
        let globals = Globals {
            log_level: Some(Level::Warn),
            log_format: Some(LogFormat::Json),
            ..Globals::default()
        };
        let mut logging = Logging {
            debug: vec![(relay_config::Component::Radio, Level::Trace)],
            ..Logging::default()
        };
        globals.overrule(&mut logging);
        assert_eq!(logging.level, Level::Warn);
        assert_eq!(logging.format, LogFormat::Json);
        assert_eq!(logging.debug, []);
    }
}
