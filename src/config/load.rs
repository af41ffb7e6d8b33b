//! From sources to a valid [`Config`]: defaults < file < environment < flags, then secrets, types, names of users, rules.
//!
//! Promise: all faults are reported at once, each with its place and key path; a fault hides none but its own effects.

use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use super::Config;
use super::fault::{Fault, Faults, Origin, Path};
use super::secrets::Files;
use super::tree::Node;
use super::{accounts, overlay, typed, validate, yaml};

/// Where a configuration comes from. Kept for reloads.
#[derive(Clone, Default)]
pub struct Source {
    /// A file, or a directory whose `*.yaml` and `*.yml` are merged in the order of their names, the later over the
    /// earlier.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not begin with `KLAMM__` are passed over.
    pub env: Vec<(String, String)>,
    /// `--set`: key paths and values.
    pub flags: Vec<(String, String)>,
}

/// Names only: values may be secrets.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |pairs: &[(String, String)]| pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        f.debug_struct("Source")
            .field("file", &self.file)
            .field("env", &names(&self.env))
            .field("flags", &names(&self.flags))
            .finish()
    }
}

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// It.
    pub config: Config,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
    /// Every file that was read: a change of one of them asks for a reload.
    pub files: Vec<PathBuf>,
}

impl Source {
    /// The files of the configuration itself, in the order in which they are merged.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn files(&self) -> std::io::Result<Vec<PathBuf>> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        if !file.is_dir() {
            return Ok(vec![file.clone()]);
        }
        let mut files = Vec::new();
        for entry in std::fs::read_dir(file)? {
            let path = entry?.path();
            let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
            if yaml && !hidden && path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Where relative paths in the configuration start: at the directory of its file, else at the working directory.
    fn base(&self) -> &FilePath {
        match &self.file {
            Some(file) if file.is_dir() => file,
            Some(file) => file.parent().unwrap_or_else(|| FilePath::new("")),
            None => FilePath::new(""),
        }
    }
}

/// Loads, reads the secrets' files, and validates.
///
/// # Errors
///
/// All faults, in the order in which they were written. While a file is not readable as YAML, only that.
pub fn load(source: &Source) -> Result<Loaded, Faults> {
    let (mut root, mut files, twice) = merge(source)?;
    let mut secrets = Files::new(source.base());
    secrets.fill_properties(&mut root);
    let (mut config, mut faults) = typed::read::<Config>(&mut root);
    secrets.fill_keys(&mut config);
    faults.append(&mut secrets.faults);
    faults.extend(accounts::resolve(&mut config));
    // A rule broken by a value that is faulty in itself, and so was left out, is no news.
    let left_out: Vec<&Path> = faults.iter().map(|fault| &fault.path).chain(&secrets.unfilled).collect();
    let mut broken = validate::faults(&config);
    broken.retain(|fault| !left_out.iter().any(|path| path.touches(&fault.path)));
    faults.extend(broken.into_iter().chain(twice));
    if faults.is_empty() {
        files.append(&mut secrets.named);
        return Ok(Loaded { warnings: validate::warnings(&config), config, files });
    }
    for fault in &mut faults {
        fault.origin = fault.origin.take().or_else(|| root.place(&fault.path));
    }
    Err(Faults::sorted(faults))
}

/// The tree of all sources, the files it is from, and the faults that do not hinder reading on.
fn merge(source: &Source) -> Result<(Node, Vec<PathBuf>, Vec<Fault>), Faults> {
    let mut root = Node::empty();
    let mut faults = Vec::new();
    let mut unreadable = Vec::new();
    let files = source.files().map_err(|error| Faults(vec![unreadable_file(source.file.as_deref(), &error)]))?;
    if let (true, Some(directory)) = (files.is_empty(), &source.file) {
        let message = format!("{}: no *.yaml in this directory", directory.display());
        return Err(Faults(vec![Fault::new(Path::default(), message)]));
    }
    for file in &files {
        match read(file) {
            Ok((node, twice)) => {
                root.merge(node);
                faults.extend(twice);
            }
            Err(fault) => unreadable.push(fault),
        }
    }
    let mut env: Vec<_> = source.env.iter().collect();
    env.sort();
    let variables = env.into_iter().map(|(name, value)| overlay::variable(&mut root, name, value));
    unreadable.extend(variables.filter_map(Result::err));
    let flags = source.flags.iter().map(|(path, value)| overlay::flag(&mut root, path, value));
    unreadable.extend(flags.filter_map(Result::err));
    if unreadable.is_empty() { Ok((root, files, faults)) } else { Err(Faults::sorted(unreadable)) }
}

fn read(file: &FilePath) -> Result<(Node, Vec<Fault>), Fault> {
    let text = std::fs::read_to_string(file).map_err(|error| unreadable_file(Some(file), &error))?;
    let name: Arc<str> = file.display().to_string().into();
    yaml::parse(&text, &|line, column| Origin::File { name: name.clone(), line, column })
}

fn unreadable_file(file: Option<&FilePath>, error: &std::io::Error) -> Fault {
    let name = file.map(|file| file.display().to_string()).unwrap_or_default();
    Fault::new(Path::default(), format!("{name}: {error}"))
}
