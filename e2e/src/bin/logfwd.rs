//! A stand-in for the log sidecar: it reads its settings where the public one does, follows the
//! files, and reports each line.
//!
//! Of the variables `LOGFWD_JSON_CONFIG` has the instances, all of them count, and it may be a
//! single one; where to report to is `LOGFWD_DATAKIT_HOST` and `_PORT` if both are set, else the
//! first `datakit_addr`. Without any it says so and ends well, as the public one does from 1.86 on.
//! A report is a line of JSON over TCP.

#![allow(clippy::print_stdout, reason = "it is a program of its own")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

const PAUSE: Duration = Duration::from_millis(100);

/// A pattern of files, and the settings they are collected with.
struct Logging {
    pattern: String,
    settings: Value,
}

/// How far a file has been read.
#[derive(Default)]
struct Progress {
    offset: u64,
    rest: Vec<u8>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let instances = match set("LOGFWD_JSON_CONFIG") {
        Some(text) => serde_json::from_str(&text).context("LOGFWD_JSON_CONFIG")?,
        None => json!([]),
    };
    let instances = match instances {
        Value::Array(instances) => instances,
        one => vec![one],
    };
    let stated = instances
        .iter()
        .filter_map(|one| one["datakit_addr"].as_str());
    let stated = stated
        .map(str::to_owned)
        .find(|address| !address.is_empty());
    let address = match (set("LOGFWD_DATAKIT_HOST"), set("LOGFWD_DATAKIT_PORT")) {
        (Some(host), Some(port)) => Some(format!("{host}:{port}")),
        _ => stated,
    };
    let Some(address) = address else {
        println!("no address to report to");
        return Ok(());
    };
    let loggings: Vec<_> = instances.iter().flat_map(loggings).collect();
    println!("{} patterns, to {address}", loggings.len());

    let mut told_to_end = signal(SignalKind::terminate())?;
    let mut files = BTreeMap::new();
    let mut connection = tokio::select! {
        _ = told_to_end.recv() => return Ok(()),
        connection = connect(&address) => connection,
    };
    loop {
        let ended = tokio::select! {
            _ = told_to_end.recv() => true,
            () = tokio::time::sleep(PAUSE) => false,
        };
        // Also what was written just before the end.
        for logging in &loggings {
            for report in read(logging, &mut files)? {
                writeln!(connection, "{report}")?;
            }
        }
        if ended {
            return Ok(());
        }
    }
}

async fn connect(address: &str) -> TcpStream {
    loop {
        match TcpStream::connect(address) {
            Ok(connection) => return connection,
            Err(error) => println!("{address}: {error}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn loggings(instance: &Value) -> Vec<Logging> {
    let mut all = Vec::new();
    for settings in instance["loggings"].as_array().into_iter().flatten() {
        for pattern in settings["logfiles"].as_array().into_iter().flatten() {
            all.push(Logging {
                pattern: pattern.as_str().unwrap_or_default().to_owned(),
                settings: settings.clone(),
            });
        }
    }
    all
}

/// What has been added to the files of a pattern.
fn read(logging: &Logging, files: &mut BTreeMap<PathBuf, Progress>) -> Result<Vec<Value>> {
    let mut reports = Vec::new();
    let parts: Vec<_> = logging
        .pattern
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    let mut found = Vec::new();
    find(Path::new("/"), &parts, &mut found);
    for path in found {
        let progress = files.entry(path.clone()).or_default();
        let mut file = File::open(&path)?;
        file.seek(SeekFrom::Start(progress.offset))?;
        progress.offset += file.read_to_end(&mut progress.rest)? as u64;
        while let Some(end) = progress.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<_> = progress.rest.drain(..=end).collect();
            reports.push(json!({
                "file": path, "line": String::from_utf8_lossy(&line).trim_end(),
                "source": logging.settings["source"], "service": logging.settings["service"],
                "tags": logging.settings["tags"],
            }));
        }
    }
    Ok(reports)
}

/// The files that a pattern names: `*` is any text without `/`, `**` any directories.
fn find(below: &Path, parts: &[&str], found: &mut Vec<PathBuf>) {
    let Some((first, rest)) = parts.split_first() else {
        if below.is_file() {
            found.push(below.to_owned());
        }
        return;
    };
    if *first == "**" {
        find(below, rest, found);
    }
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let path = entry.path();
        if *first == "**" && path.is_dir() {
            find(&path, parts, found);
        } else if fits(first.as_bytes(), name.to_string_lossy().as_bytes()) {
            find(&path, rest, found);
        }
    }
}

fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), None) => fits(rest, name),
        (Some((b'*', rest)), Some((_, after))) => fits(rest, name) || fits(pattern, after),
        (Some((wanted, rest)), Some((found, after))) => wanted == found && fits(rest, after),
        (None, Some(_)) | (Some(_), None) => false,
    }
}
