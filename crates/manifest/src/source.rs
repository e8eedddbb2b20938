//! Finding and reading the texts that `-f` names.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Source;

/// The argument of one `-f`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// `-`.
    Stdin,
    /// A file, or a directory that is searched for `*.yaml`, `*.yml` and `*.json`.
    Path(PathBuf),
}

impl FromStr for Input {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "-" {
            Self::Stdin
        } else {
            Self::Path(text.into())
        })
    }
}

/// A file that could not be read as text.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system says why.
    #[error("failed to read `{name}`")]
    Io {
        /// The path, or `-`.
        name: String,
        /// The reason.
        source: io::Error,
    },
    /// Not UTF-8.
    #[error(
        "failed to read `{name}` as text: it is not UTF-8 from byte {offset} on; convert it, for instance with iconv"
    )]
    Encoding {
        /// The path, or `-`.
        name: String,
        /// The first byte that doesn't fit, counted from 1.
        offset: usize,
    },
    /// A directory without manifests.
    #[error("found no *.yaml, *.yml or *.json file in `{name}`")]
    Empty {
        /// The directory.
        name: String,
    },
}

/// Reads everything that the inputs name: files as they come, directories recursively and sorted by
/// path.
///
/// Hidden directories below a given one are left out, and links to directories are not followed. A
/// text that can't be read doesn't keep the others from being read.
pub fn read(inputs: &[Input], stdin: &mut dyn Read) -> Vec<Result<Source, ReadError>> {
    let mut sources = Vec::new();
    for input in inputs {
        match input {
            Input::Stdin => {
                let mut bytes = Vec::new();
                let result = stdin.read_to_end(&mut bytes).map(|_| bytes);
                sources.push(source("-", result));
            }
            Input::Path(path) if path.is_dir() => {
                let mut files = Vec::new();
                walk(path, &mut files, &mut sources);
                files.sort();
                if files.is_empty() {
                    sources.push(Err(ReadError::Empty {
                        name: path.display().to_string(),
                    }));
                }
                sources.extend(
                    files
                        .iter()
                        .map(|file| source(&file.display().to_string(), fs::read(file))),
                );
            }
            Input::Path(path) => sources.push(source(&path.display().to_string(), fs::read(path))),
        }
    }
    sources
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>, errors: &mut Vec<Result<Source, ReadError>>) {
    let entries = match fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) => {
            return errors.push(Err(ReadError::Io {
                name: directory.display().to_string(),
                source: error,
            }));
        }
    };
    for entry in entries {
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().first() == Some(&b'.');
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory && !hidden {
            walk(&path, files, errors);
        } else if !is_directory && is_manifest(&path) && !path.is_dir() {
            files.push(path);
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

fn source(name: &str, bytes: io::Result<Vec<u8>>) -> Result<Source, ReadError> {
    let bytes = bytes.map_err(|error| ReadError::Io {
        name: name.to_owned(),
        source: error,
    })?;
    let text = String::from_utf8(bytes).map_err(|error| ReadError::Encoding {
        name: name.to_owned(),
        offset: error.utf8_error().valid_up_to() + 1,
    })?;
    Ok(Source::parse(name, &text))
}
