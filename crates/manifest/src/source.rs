//! Finding and reading the texts that a command line names.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Source;

/// Names one text or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// `-`.
    Stdin,
    /// `http://…` or `https://…`.
    Url(String),
    /// A file, a directory that is searched for `*.yaml`, `*.yml` and `*.json`, or a pattern of
    /// such paths where nothing has the pattern's own name.
    Path(PathBuf),
}

/// What reading takes from outside.
pub struct Surroundings<'s> {
    /// Standard input.
    pub stdin: &'s mut dyn Read,
    /// Gets what is at a URL.
    pub fetch: &'s dyn Fn(&str) -> io::Result<Vec<u8>>,
    /// Is told how many texts have been read so far.
    pub progress: &'s mut dyn FnMut(usize),
}

impl FromStr for Input {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_url = |scheme: &str| {
            text.get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        Ok(if text == "-" {
            Self::Stdin
        } else if is_url("http://") || is_url("https://") {
            Self::Url(text.to_owned())
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
    /// A pattern that no path fits.
    #[error("found nothing that fits the pattern `{pattern}`")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// A directory without manifests.
    #[error("found no *.yaml, *.yml or *.json file in `{name}`")]
    Empty {
        /// The directory.
        name: String,
    },
}

/// Reads everything that the inputs name: files as they come, directories recursively and sorted by
/// path, what a pattern fits sorted as well.
///
/// Hidden directories below a given one are left out, and links to directories are not followed. A
/// text that can't be read doesn't keep the others from being read.
pub fn read(inputs: &[Input], around: &mut Surroundings<'_>) -> Vec<Result<Source, ReadError>> {
    let mut sources = Vec::new();
    for input in inputs {
        match input {
            Input::Stdin => {
                let mut bytes = Vec::new();
                let result = around.stdin.read_to_end(&mut bytes).map(|_| bytes);
                sources.push(source("-", result));
            }
            Input::Url(url) => sources.push(source(url, (around.fetch)(url))),
            Input::Path(path) => match fitting(path) {
                Some(paths) if paths.is_empty() => sources.push(Err(ReadError::NoMatch {
                    pattern: path.display().to_string(),
                })),
                Some(paths) => {
                    for path in paths {
                        read_path(&path, around, &mut sources);
                    }
                }
                None => read_path(path, around, &mut sources),
            },
        }
        (around.progress)(sources.len());
    }
    sources
}

/// The paths that a pattern fits; none if this is a path, or no pattern.
fn fitting(path: &Path) -> Option<Vec<PathBuf>> {
    let text = path.to_str()?;
    if path.exists() || !text.contains(['*', '?', '[']) {
        return None;
    }
    let paths = glob::glob(text).ok()?;
    Some(paths.filter_map(Result::ok).collect())
}

fn read_path(
    path: &Path,
    around: &mut Surroundings<'_>,
    sources: &mut Vec<Result<Source, ReadError>>,
) {
    if !path.is_dir() {
        sources.push(source(&path.display().to_string(), fs::read(path)));
        return;
    }
    let mut files = Vec::new();
    walk(path, &mut files, sources);
    files.sort();
    if files.is_empty() {
        sources.push(Err(ReadError::Empty {
            name: path.display().to_string(),
        }));
    }
    for file in files {
        sources.push(source(&file.display().to_string(), fs::read(&file)));
        (around.progress)(sources.len());
    }
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
