//! The admin key that a command shows: from a file, or from the environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// None was given.
    None,
    /// The text of this file.
    File(PathBuf, String),
    /// That of the variable `KLAMM_ADMIN_KEY`.
    Environment(String),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Key::None => "None",
            Key::File(..) => "File(***)",
            Key::Environment(_) => "Environment(***)",
        })
    }
}

impl Key {
    /// The key in `file`; without one that in `variable`, which counts as not there while it is empty.
    ///
    /// # Errors
    /// A file that cannot be read, or something that is no key.
    pub(super) fn find(file: Option<&Path>, variable: Option<OsString>) -> io::Result<Self> {
        if let Some(path) = file {
            let text = fs::read_to_string(path)
                .map_err(|error| io::Error::new(error.kind(), format!("--key-file {}: {error}", path.display())))?;
            let name = format!("--key-file {}", path.display());
            return Ok(Key::File(path.to_owned(), one_key(&text, &name)?));
        }
        match variable.filter(|value| !value.is_empty()) {
            None => Ok(Key::None),
            Some(value) => Ok(Key::Environment(one_key(&value.to_string_lossy(), "KLAMM_ADMIN_KEY")?)),
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Key::None => None,
            Key::File(_, text) | Key::Environment(text) => Some(text),
        }
    }

    /// What to do about a 401.
    pub(super) fn advice(&self) -> String {
        let wrong = "is not, or no longer, one of this klamm's admin.keys";
        match self {
            Key::None => "it needs an admin key: give --key-file FILE, or set KLAMM_ADMIN_KEY".to_owned(),
            Key::File(path, _) => format!("the key in --key-file {} {wrong}", path.display()),
            Key::Environment(_) => format!("the key in KLAMM_ADMIN_KEY {wrong}"),
        }
    }
}

/// `text` less the line break at its end. It goes into a header, as it is.
fn one_key(text: &str, name: &str) -> io::Result<String> {
    let key = text.trim_end_matches(['\r', '\n']);
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(io::Error::other(format!("{name} holds no key: one word was expected")));
    }
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_before_the_environment_and_its_line_break_is_no_part_of_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "sesame\r\n").unwrap();
        let both = Key::find(Some(&path), Some("other".into())).unwrap();
        assert_eq!(
            (both.text(), Key::find(None, Some("other".into())).unwrap().text()),
            (Some("sesame"), Some("other"))
        );
        assert_eq!((Key::find(None, Some("".into())).unwrap(), Key::find(None, None).unwrap()), (Key::None, Key::None));
        assert!(both.advice().contains("/key is not"), "{}", both.advice());
        assert!(!format!("{both:?}").contains("sesame"));
    }

    #[test]
    fn what_is_no_key_is_named_by_where_it_was_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for text in ["", "\n", "two words", "line\nbreak", "a\r\nX: y"] {
            fs::write(&path, text).unwrap();
            let error = Key::find(Some(&path), None).unwrap_err().to_string();
            assert!(error.ends_with("/key holds no key: one word was expected"), "{error}");
        }
        let error = Key::find(Some(&dir.path().join("nosuch")), None).unwrap_err().to_string();
        assert!(error.starts_with("--key-file ") && error.contains("No such file"), "{error}");
    }
}
