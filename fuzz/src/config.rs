//! Any file as `config.yaml`: it is read, or each thing that is wrong is told with a place inside the file, on one line.

use relay_config::{Config, Environment};

/// A configuration of a relay, or of MMRelay.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    // YAML knows three ends of a line.
    let lines = text.split(['\n', '\r']).count();
    let findings = match Config::from_text("config.yaml", text, &Environment::default()) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => {
            assert!(!problems.problems.is_empty());
            problems.problems
        }
    };
    for finding in findings {
        assert!(finding.line.is_none_or(|line| (1..=lines).contains(&line)));
        let told = finding.to_string();
        assert!(told.starts_with("config.yaml"), "{told}");
        assert!(!told.chars().any(char::is_control), "{told:?}");
    }
}
