//! What becomes of changed manifests: they are printed, put in the place of the files, or shown as
//! a difference.

use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use datakit_operator_manifest::{Document, Format, Input, ReadError, Source, Writer};
use similar::TextDiff;

use super::manifests::{self, ManifestArgs};
use super::{Streams, Usage};
use crate::error::Chain;
use crate::file;

/// Flags of the subcommands that change manifests.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// As --filename.
    #[arg(value_name = "FILE|DIR|URL|-")]
    pub(super) named: Vec<Input>,

    /// Change the files instead of printing them. A file with a document that can't be parsed stays
    /// as it is.
    #[arg(short, long, conflicts_with = "output")]
    in_place: bool,

    /// Tell about errors only.
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// What becomes of what is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlet {
    /// Printed, one after the other.
    Printed(Format),
    /// Put in the place of each file.
    InPlace,
    /// Shown as a unified difference.
    Diff,
}

impl Args {
    /// Whether files are changed.
    ///
    /// # Errors
    /// Where there is something to change that is no file.
    pub(super) fn changes_files(&self, manifests: &ManifestArgs) -> Result<bool, Usage> {
        let mut inputs = manifests.inputs.iter().chain(&self.named);
        let is_no_file = |input: &&Input| !matches!(input, Input::Path(_));
        match inputs.find(is_no_file).filter(|_| self.in_place) {
            None => Ok(self.in_place),
            Some(input) => {
                let what = match input {
                    Input::Url(url) => url,
                    _ => "standard input",
                };
                Err(Usage(anyhow!(
                    "--in-place changes files, and {what} is none; leave --in-place out to have the result printed"
                )))
            }
        }
    }
}

/// Changes each of the sources by `change`, which writes it and returns the number of errors in it.
/// Returns the number of all, with those of sources that can't be read.
///
/// # Errors
/// For output that can't be written.
pub(super) fn each<'s>(
    sources: &'s [Result<Source, ReadError>],
    outlet: Outlet,
    streams: &mut Streams<'_>,
    mut change: impl FnMut(&'s Source, &mut Writer<'_, 's>, &mut dyn Write) -> anyhow::Result<usize>,
) -> anyhow::Result<usize> {
    let Streams { stdout, stderr, .. } = streams;
    let mut errors = 0;
    if let Outlet::Printed(format) = outlet {
        let mut writer = Writer::new(&mut **stdout, format);
        for source in sources {
            errors += match readable(source, &mut **stderr)? {
                Some(source) => change(source, &mut writer, &mut **stderr)?,
                None => 1,
            };
        }
        return Ok(errors);
    }
    for source in sources {
        let Some(source) = readable(source, &mut **stderr)? else {
            errors += 1;
            continue;
        };
        let mut changed = Vec::new();
        let format = manifests::natural_format(std::iter::once(source));
        let mut writer = Writer::new(&mut changed, format);
        let wrong = change(source, &mut writer, &mut **stderr)?;
        errors += wrong;
        let changed = String::from_utf8(changed).context("failed to write text")?;
        let (before, name) = (source.whole(), &source.name);
        if outlet == Outlet::Diff {
            let diff = TextDiff::from_lines(&before, &changed);
            write!(stdout, "{}", diff.unified_diff().header(name, name))?;
        } else if wrong > 0 {
            // What can't be parsed isn't written, and must not be lost.
            writeln!(stderr, "error: `{name}` is left as it is")?;
        } else if changed != before
            && let Err(error) = put(Path::new(name), &changed)
        {
            errors += 1;
            writeln!(stderr, "error: failed to change `{name}`: {error:#}")?;
        }
    }
    Ok(errors)
}

/// That a document's comments are lost.
pub(super) fn written_anew(source: &Source, document: &Document) -> String {
    format!(
        "note: document {} of `{}` is written anew, without its comments: the changes don't fit into its text",
        document.number, source.name
    )
}

/// A source that could be read; else it is said why not.
fn readable<'s>(
    source: &'s Result<Source, ReadError>,
    stderr: &mut dyn Write,
) -> std::io::Result<Option<&'s Source>> {
    match source {
        Ok(source) => Ok(Some(source)),
        Err(error) => {
            writeln!(stderr, "error: {}", Chain(error))?;
            Ok(None)
        }
    }
}

/// Replaces the file, or the one that a link leads to, and keeps who may read it.
fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    let path = path.canonicalize()?;
    let permissions = std::fs::metadata(&path)?.permissions();
    file::replace(&path, text.as_bytes())?;
    std::fs::set_permissions(&path, permissions)?;
    Ok(())
}
