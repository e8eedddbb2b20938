//! Files that others control: read with a limit, and written without following or replacing what
//! isn't a file.
//!
//! A path may lead to a pipe that nobody writes to, to a device without an end, or to a link that
//! somebody prepared. None of these may hang this process, fill its memory or let it write where it
//! wasn't meant to.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A configuration may have this many bytes; a ConfigMap has at most 1 MiB.
pub const MAX_CONFIG: u64 = 4 * MIB;
/// A file with certificates or a key may have this many bytes; a Secret has at most 1 MiB.
pub const MAX_CERTIFICATE: u64 = MIB;

const MIB: u64 = 1024 * 1024;

/// How many names for a temporary file are tried. Each is another one; all are taken only by
/// intent.
const ATTEMPTS: u32 = 16;

/// Why a file is not read, or not replaced.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// What the operating system says.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is too large.
    #[error("it has more than {} MiB, the most that is read of such a file", limit / MIB)]
    TooLarge {
        /// The most it may have, in bytes.
        limit: u64,
    },
    /// It is something else than a file.
    #[error("it is {found}, expected a regular file or a link to one")]
    NotAFile {
        /// What it is, with an article.
        found: &'static str,
    },
    /// There is something that must not be replaced.
    #[error(
        "there is {found}, which is not replaced; expected a regular file or nothing: name another path or remove it"
    )]
    InTheWay {
        /// What it is, with an article.
        found: &'static str,
    },
}

/// Reads a regular file, or one that links lead to, of at most `limit` bytes. Never waits for a
/// pipe.
///
/// # Errors
///
/// If there is no such file, it can't be read, or has more bytes.
pub fn read_regular(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    // Opening a pipe waits for a writer unless told not to; a regular file is the same either way.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        let found = kind(metadata.file_type());
        return Err(FileError::NotAFile { found });
    }
    read(file, &metadata, limit)
}

/// Reads a file of any kind to its end, but at most `limit` bytes. A pipe is waited for.
///
/// # Errors
///
/// If there is no such file, it can't be read, or has more bytes.
pub fn read_any(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    read(file, &metadata, limit)
}

/// Reads to the end, but at most `limit` bytes.
///
/// # Errors
///
/// If reading fails or there are more bytes.
pub fn read_to_end(reader: impl Read, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    // One byte more than may be there tells whether there is more.
    reader.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { limit });
    }
    Ok(bytes)
}

fn read(file: File, metadata: &Metadata, limit: u64) -> Result<Vec<u8>, FileError> {
    if metadata.is_file() && metadata.len() > limit {
        return Err(FileError::TooLarge { limit });
    }
    read_to_end(file, limit)
}

/// Puts a regular file with these bytes at the path, so that a reader sees either what was there or
/// all of them. Only a regular file gives way: a link isn't followed, and a device, pipe or folder
/// stays what it is.
///
/// # Errors
///
/// If there is something else, or the folder is missing, full or not writable. Then nothing has
/// changed.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let name = path.file_name().ok_or(FileError::InTheWay {
        found: "a directory",
    })?;
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() => {
            let found = kind(there.file_type());
            return Err(FileError::InTheWay { found });
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        Ok(_) | Err(_) => {}
    }
    let (mut file, temporary) = create_beside(path, name)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&temporary);
        return Err(error.into());
    }
    // That the name survives a power cut matters to nobody who can't start again; not every file
    // system can promise it.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let _ = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
    Ok(())
}

/// A new file in the same folder. What has its name already, a link above all, is left alone.
fn create_beside(path: &Path, name: &std::ffi::OsStr) -> io::Result<(File, PathBuf)> {
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.{attempt}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary);
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
        {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into()))
}

/// What stands there, in words.
fn kind(kind: FileType) -> &'static str {
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        "no regular file"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    fn fifo(path: &Path) {
        let made = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    }

    #[test]
    fn only_regular_files_of_a_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("small"), "1234").unwrap();
        symlink("small", at("link")).unwrap();
        symlink("link", at("link-to-link")).unwrap();
        fifo(&at("pipe"));
        symlink("pipe", at("link-to-pipe")).unwrap();
        // A file of 100 MB with nothing in it.
        File::create(at("large"))
            .unwrap()
            .set_len(100_000_000)
            .unwrap();
        let check = |path: &Path, want: Result<&str, &str>| {
            let read = read_regular(path, 4).map_err(|error| error.to_string());
            assert_eq!(
                read.as_deref().map_err(String::as_str),
                want.map(str::as_bytes),
                "{}",
                path.display()
            );
        };
        for name in ["small", "link", "link-to-link"] {
            check(&at(name), Ok("1234"));
        }
        std::fs::write(at("longer"), "12345").unwrap();
        let too_large = "it has more than 0 MiB, the most that is read of such a file";
        check(&at("longer"), Err(too_large));
        check(&at("large"), Err(too_large));
        let expected =
            |found: &str| format!("it is {found}, expected a regular file or a link to one");
        check(&at("pipe"), Err(&expected("a pipe")));
        check(&at("link-to-pipe"), Err(&expected("a pipe")));
        check(folder.path(), Err(&expected("a directory")));
        check(Path::new("/dev/zero"), Err(&expected("a device")));
        check(&at("absent"), Err("No such file or directory (os error 2)"));
    }

    #[test]
    fn files_without_an_end_are_read_up_to_the_limit() {
        let endless = read_any(Path::new("/dev/zero"), MIB).unwrap_err();
        assert_eq!(
            endless.to_string(),
            "it has more than 1 MiB, the most that is read of such a file"
        );
        assert_eq!(read_any(Path::new("/dev/null"), MIB).unwrap(), b"");
    }

    #[test]
    fn only_a_regular_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let names = || {
            let mut names: Vec<_> = std::fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        replace(&at("ca.pem"), b"one").unwrap();
        replace(&at("ca.pem"), b"two").unwrap();
        assert_eq!(std::fs::read(at("ca.pem")).unwrap(), b"two");
        assert_eq!(names(), ["ca.pem"]);

        std::fs::write(at("victim"), "precious").unwrap();
        symlink("victim", at("link")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        std::fs::create_dir(at("dir")).unwrap();
        fifo(&at("pipe"));
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let before = names();
        for (path, found) in [
            (at("link"), "a symbolic link"),
            (at("dangling"), "a symbolic link"),
            (at("dir"), "a directory"),
            (at("pipe"), "a pipe"),
            (at("socket"), "a socket"),
            (PathBuf::from("/dev/null"), "a device"),
            (PathBuf::from("/dev/stdout"), "a symbolic link"),
            (PathBuf::from("/"), "a directory"),
        ] {
            let error = replace(&path, b"two").unwrap_err().to_string();
            assert!(error.contains(&format!("there is {found},")), "{error}");
        }
        assert_eq!(names(), before);
        assert_eq!(std::fs::read(at("victim")).unwrap(), b"precious");
        assert_eq!(std::fs::read_link(at("link")).unwrap(), Path::new("victim"));
    }

    /// Links prepared under the names that a temporary file may have are neither followed nor
    /// removed.
    #[test]
    fn prepared_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("victim"), "precious").unwrap();
        let prepared = |attempt: u32| at(&format!(".ca.pem.{}.{attempt}.tmp", std::process::id()));
        symlink("victim", prepared(0)).unwrap();
        replace(&at("ca.pem"), b"ours").unwrap();
        assert_eq!(std::fs::read(at("ca.pem")).unwrap(), b"ours");
        for attempt in 1..ATTEMPTS {
            symlink("victim", prepared(attempt)).unwrap();
        }
        let error = replace(&at("ca.pem"), b"again").unwrap_err();
        assert!(error.to_string().contains("File exists"), "{error}");
        assert_eq!(std::fs::read(at("ca.pem")).unwrap(), b"ours");
        assert_eq!(std::fs::read(at("victim")).unwrap(), b"precious");
    }
}
