//! Why this user may not read a file, on Windows. A directory is opened there as if it could not be read, too.

use std::path::Path;

/// Returns why, and the cure.
pub(super) fn explained(path: &Path) -> (String, String) {
    let (sentence, hint) = if path.is_dir() {
        ("it is a directory", "name the file in it")
    } else {
        let hint =
            "let this user read it (its properties, Security), or run the relay as a user who may";
        ("this user may not read it", hint)
    };
    (sentence.to_owned(), hint.to_owned())
}
