//! Container images as OCI archives, written without an engine.
//!
//! An archive says nothing of when and where it was written: the same contents give the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ring::digest;
use serde_json::{Value, json};

const BLOCK: usize = 512;
/// The longest name that fits into a header; longer ones come in an entry of their own before it.
const LONGEST_NAME: usize = 100;

/// An image of one layer.
#[derive(Clone, Debug)]
pub struct Image {
    reference: String,
    files: BTreeMap<String, Entry>,
    config: Value,
}

#[derive(Clone, Debug)]
enum Entry {
    Directory { mode: u32 },
    File { mode: u32, content: Content },
    Link { target: String },
}

#[derive(Clone, Debug)]
enum Content {
    Bytes(Vec<u8>),
    Of(PathBuf),
}

impl Image {
    /// An empty image. `reference` is its full name, with registry and tag.
    #[must_use]
    pub fn new(reference: &str) -> Self {
        Self {
            reference: reference.to_owned(),
            files: BTreeMap::new(),
            config: json!({}),
        }
    }

    /// Its full name.
    #[must_use]
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// Sets a field of the configuration, such as `Entrypoint`, `Cmd`, `Env`, `WorkingDir` or
    /// `User`.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.config[field] = value.into();
        self
    }

    /// Adds a directory.
    #[must_use]
    pub fn directory(mut self, path: &str, mode: u32) -> Self {
        self.put(path, Entry::Directory { mode });
        self
    }

    /// Adds a file with this content.
    #[must_use]
    pub fn file(mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        let content = Content::Bytes(content.into());
        self.put(path, Entry::File { mode, content });
        self
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(mut self, path: &str, target: &str) -> Self {
        let target = target.to_owned();
        self.put(path, Entry::Link { target });
        self
    }

    /// Adds a file, or a directory with all in it, as it is on this machine. Neither devices nor
    /// sockets are taken.
    pub fn copy(mut self, from: &Path, to: &str) -> Result<Self> {
        self.take(from, to.trim_matches('/'))
            .with_context(|| format!("failed to take `{}` into an image", from.display()))?;
        Ok(self)
    }

    /// Adds the program and the shared libraries that it can't start without, where it looks for
    /// them.
    pub fn program(self, program: &Path, to: &str) -> Result<Self> {
        let printed = std::process::Command::new("ldd").arg(program).output()?;
        let mut image = self.copy(program, to)?;
        for word in String::from_utf8(printed.stdout)?.split_whitespace() {
            if word.starts_with('/') {
                image = image.copy(&std::fs::canonicalize(word)?, word)?;
            }
        }
        Ok(image)
    }

    /// Writes the archive.
    pub fn write(&self, archive: &Path) -> Result<()> {
        let layer = archive.with_added_extension("layer");
        let written = self.write_with(archive, &layer);
        // Nothing is lost when it isn't there.
        let _ = std::fs::remove_file(&layer);
        written.with_context(|| format!("failed to write image `{}`", self.reference))
    }

    fn write_with(&self, archive: &Path, layer: &Path) -> Result<()> {
        let mut hashed = Hashed::new(BufWriter::new(File::create(layer)?));
        self.write_layer(&mut hashed)?;
        let (layer_digest, layer_size) = hashed.finish()?;

        let config = json!({
            "architecture": architecture(), "os": "linux", "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        });
        let config = config.to_string();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest_of(config.as_bytes()), "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer_digest, "size": layer_size,
            }],
        });
        let manifest = manifest.to_string();
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest_of(manifest.as_bytes()), "size": manifest.len(),
                "annotations": {"io.containerd.image.name": self.reference},
            }],
        });
        let mut out = BufWriter::new(File::create(archive)?);
        for (name, content) in [
            (
                "oci-layout".to_owned(),
                r#"{"imageLayoutVersion":"1.0.0"}"#.to_owned(),
            ),
            ("index.json".to_owned(), index.to_string()),
            (blob(&digest_of(manifest.as_bytes())), manifest),
            (blob(&digest_of(config.as_bytes())), config),
        ] {
            write_file(
                &mut out,
                &name,
                0o644,
                content.len() as u64,
                content.as_bytes(),
            )?;
        }
        let name = blob(&layer_digest);
        write_file(&mut out, &name, 0o644, layer_size, File::open(layer)?)?;
        out.write_all(&[0; 2 * BLOCK])?;
        out.flush()?;
        Ok(())
    }

    fn write_layer(&self, out: &mut impl Write) -> Result<()> {
        for (path, entry) in &self.files {
            match entry {
                Entry::Directory { mode } => {
                    write_header(out, &format!("{path}/"), b'5', *mode, 0, "")?;
                }
                Entry::Link { target } => write_header(out, path, b'2', 0o777, 0, target)?,
                Entry::File { mode, content } => match content {
                    Content::Bytes(bytes) => {
                        write_file(out, path, *mode, bytes.len() as u64, bytes.as_slice())?;
                    }
                    Content::Of(source) => {
                        let file = File::open(source)
                            .with_context(|| format!("failed to open `{}`", source.display()))?;
                        let size = file.metadata()?.len();
                        write_file(out, path, *mode, size, BufReader::new(file))?;
                    }
                },
            }
        }
        out.write_all(&[0; 2 * BLOCK])?;
        Ok(())
    }

    fn take(&mut self, from: &Path, to: &str) -> Result<()> {
        let metadata = std::fs::symlink_metadata(from)?;
        let mode = metadata.permissions().mode() & 0o7777;
        let kind = metadata.file_type();
        if kind.is_symlink() {
            let target = std::fs::read_link(from)?;
            let target = target.to_str().context("a link to what is not UTF-8")?;
            let target = target.to_owned();
            self.put(to, Entry::Link { target });
        } else if kind.is_dir() {
            // The root of an image has no entry of its own.
            if !to.is_empty() {
                self.put(to, Entry::Directory { mode });
            }
            for entry in std::fs::read_dir(from)? {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_str().context("a name that is not UTF-8")?;
                let to = format!("{to}/{name}");
                self.take(&entry.path(), to.trim_start_matches('/'))?;
            }
        } else if kind.is_file() {
            let content = Content::Of(from.to_owned());
            self.put(to, Entry::File { mode, content });
        }
        Ok(())
    }

    /// Adds an entry and the directories that it is in.
    fn put(&mut self, path: &str, entry: Entry) {
        let path = path.trim_matches('/');
        for (at, _) in path.match_indices('/') {
            let above = path[..at].to_owned();
            let above = self.files.entry(above);
            above.or_insert(Entry::Directory { mode: 0o755 });
        }
        self.files.insert(path.to_owned(), entry);
    }
}

/// Passes on what is written, and knows its digest.
struct Hashed<W> {
    out: W,
    context: digest::Context,
    size: u64,
}

impl<W: Write> Hashed<W> {
    fn new(out: W) -> Self {
        let context = digest::Context::new(&digest::SHA256);
        Self {
            out,
            context,
            size: 0,
        }
    }

    fn finish(mut self) -> Result<(String, u64)> {
        self.out.flush()?;
        Ok((named(&self.context.finish()), self.size))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.context.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn digest_of(bytes: &[u8]) -> String {
    named(&digest::digest(&digest::SHA256, bytes))
}

fn named(digest: &digest::Digest) -> String {
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", digits.collect::<String>())
}

fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn write_file(
    out: &mut impl Write,
    path: &str,
    mode: u32,
    size: u64,
    content: impl Read,
) -> Result<()> {
    write_header(out, path, b'0', mode, size, "")?;
    let copied = std::io::copy(&mut content.take(size), out)?;
    if copied != size {
        bail!("`{path}` has {copied} bytes, expected {size}; it was changed meanwhile");
    }
    pad(out, size)
}

fn pad(out: &mut impl Write, size: u64) -> Result<()> {
    let over = (size % BLOCK as u64) as usize;
    if over > 0 {
        out.write_all(&[0; BLOCK][over..])?;
    }
    Ok(())
}

/// A header as POSIX has it, with GNU's way of telling long names. Everything is owned by root, at
/// the beginning of time.
fn write_header(
    out: &mut impl Write,
    path: &str,
    kind: u8,
    mode: u32,
    size: u64,
    target: &str,
) -> Result<()> {
    for (kind, text) in [(b'L', path), (b'K', target)] {
        if text.len() > LONGEST_NAME {
            let size = text.len() as u64 + 1;
            write_header(out, "././@LongLink", kind, 0o644, size, "")?;
            out.write_all(text.as_bytes())?;
            out.write_all(&[0])?;
            pad(out, size)?;
        }
    }
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    let short = |text: &str| text.as_bytes()[..text.len().min(LONGEST_NAME)].to_vec();
    put(0, &short(path));
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000\x000000000\x00");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000\x00        ");
    put(156, &[kind]);
    put(157, &short(target));
    put(257, b"ustar  \x00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\x00 ").as_bytes());
    out.write_all(&header)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::process::Command;

    use super::*;

    #[test]
    fn others_read_what_is_written() {
        let folder = std::env::temp_dir().join(format!("image-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let long = format!("deep/{}/name", "x".repeat(120));
        let image = |content: &str| {
            Image::new("e2e.example/some:1")
                .with("Entrypoint", json!(["/bin/some"]))
                .file("/bin/some", 0o755, content)
                .file(&long, 0o600, "x".repeat(513))
                .link("/bin/other", "some")
        };
        let (first, second) = (folder.join("first.tar"), folder.join("second.tar"));
        image("hello").write(&first).unwrap();
        image("hello").write(&second).unwrap();
        let bytes = std::fs::read(&first).unwrap();
        assert!(bytes == std::fs::read(&second).unwrap());
        image("hellO").write(&second).unwrap();
        assert!(bytes != std::fs::read(&second).unwrap());

        let list = |archive: &Path| {
            let mut tar = Command::new("tar");
            let listed = tar.arg("-tf").arg(archive).output().unwrap();
            assert!(listed.status.success(), "{listed:?}");
            String::from_utf8(listed.stdout).unwrap()
        };
        let layer = list(&first).lines().last().unwrap().to_owned();
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&folder).arg("-xf").arg(&first);
        assert!(tar.status().unwrap().success());
        let content = std::fs::read(folder.join(&layer)).unwrap();
        assert_eq!(blob(&digest_of(&content)), layer);
        let files = list(&folder.join(layer));
        let above = long.trim_end_matches("name");
        let expected = ["bin/", "bin/other", "bin/some", "deep/", above, &long];
        assert_eq!(files.lines().collect::<Vec<_>>(), expected);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
