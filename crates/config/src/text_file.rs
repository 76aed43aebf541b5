//! Files that a person wrote: why one cannot be read, in words, with the cure.

#[cfg_attr(windows, path = "text_file/denied_windows.rs")]
mod denied;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use relay_model::Explained;

/// Why a file cannot be read as a text.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{}`: {why}", path.display())]
pub struct TextFileError {
    path: PathBuf,
    why: String,
    hint: Option<String>,
    /// There is no such file.
    pub(super) is_missing: bool,
}

impl TextFileError {
    fn new(path: &Path, why: impl Into<String>, hint: Option<&str>) -> Self {
        Self {
            path: path.to_owned(),
            why: why.into(),
            hint: hint.map(str::to_owned),
            is_missing: false,
        }
    }
}

impl Explained for TextFileError {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// Reads a text of at most `limit` bytes, without a byte order mark.
pub fn read_text(path: &Path, limit: u64) -> Result<String, TextFileError> {
    let hint = Some("save it as UTF-8 (an editor's \"Save as\" has the choice)");
    let utf16 = || TextFileError::new(path, "it is written in UTF-16", hint);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|cause| explained(path, &cause))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        let sentence = format!("it is larger than {limit} bytes");
        return Err(TextFileError::new(path, sentence, None));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(utf16());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..good).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let why = format!("it is not written in UTF-8 (line {line})");
        TextFileError::new(path, why, hint)
    })?;
    // Without a mark, Latin letters in UTF-16 are UTF-8 as well, with a NUL beside each.
    if text.contains('\0') {
        return Err(utf16());
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

fn explained(path: &Path, cause: &io::Error) -> TextFileError {
    match cause.kind() {
        io::ErrorKind::IsADirectory => {
            let hint = "name the file in it; a container makes a directory of a file to be mounted that is not there";
            TextFileError::new(path, "it is a directory", Some(hint))
        }
        io::ErrorKind::PermissionDenied => {
            let (sentence, hint) = denied::explained(path);
            TextFileError::new(path, sentence, Some(&hint))
        }
        kind => TextFileError {
            is_missing: kind == io::ErrorKind::NotFound,
            ..TextFileError::new(path, cause.to_string(), None)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        read_text(&path, 64).map_err(|error| error.why)
    }

    #[test]
    fn a_text_is_read_without_its_byte_order_mark() {
        assert_eq!(of(b"\xef\xbb\xbfabc\n").unwrap(), "abc\n");
        assert_eq!(of("grün".as_bytes()).unwrap(), "grün");
        assert_eq!(of(b"").unwrap(), "");
    }

    #[test]
    fn another_encoding_is_named_with_its_line() {
        for utf16 in [&b"\xff\xfea\0b\0"[..], b"\xfe\xff\0a\0b", b"a\0b\0\n\0"] {
            assert_eq!(of(utf16).unwrap_err(), "it is written in UTF-16");
        }
        assert!(of(b"a\nb\ncaf\xe9\n").unwrap_err().contains("line 3"));
        assert!(of(&[b'x'; 65]).unwrap_err().contains("larger than 64"));
    }

    #[test]
    fn what_cannot_be_read_has_its_cure() {
        let directory = tempfile::tempdir().unwrap();
        let error = read_text(directory.path(), 64).unwrap_err();
        let place = directory.path().display();
        assert_eq!(
            error.to_string(),
            format!("cannot read `{place}`: it is a directory")
        );
        assert!(error.hint().unwrap().contains("file"));
        let missing = read_text(&directory.path().join("none"), 64).unwrap_err();
        assert!(missing.is_missing);
        let denied = io::ErrorKind::PermissionDenied.into();
        let hint = explained(directory.path(), &denied).hint().unwrap();
        assert!(hint.contains("chown"), "{hint}");
    }
}
