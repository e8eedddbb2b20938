//! What can be told of the image without making it.

use std::process::Command;

use anyhow::{Context, Result};
use datakit_operator_e2e::helm::linked_libraries;
use datakit_operator_e2e::repository::repository;

/// A base image without a distribution has little; a library too many, and no pod would start.
#[test]
#[ignore = "needs the operator: run e2e/run"]
fn has_what_the_program_links_to() -> Result<()> {
    let script = std::fs::read_to_string(repository().join("deploy/image"))?;
    let base = script
        .lines()
        .find_map(|line| line.trim().strip_prefix("[BASE_IMAGE]="));
    let base = base.context("no BASE_IMAGE in deploy/image")?;
    assert!(
        base.starts_with("gcr.io/distroless/cc-"),
        "what does {base} have?"
    );
    let unexpected: Vec<_> = linked_libraries()?
        .into_iter()
        .filter(|library| {
            let name = library.rsplit('/').next().unwrap_or_default();
            let there = [
                "linux-vdso.so",
                "ld-linux",
                "libc.so.",
                "libm.so.",
                "libgcc_s.so.",
            ];
            !there.iter().any(|begin| name.starts_with(begin))
        })
        .collect();
    assert_eq!(unexpected, [""; 0], "not in the base image");
    Ok(())
}

/// The image is built on base images by digest, and on nothing else.
#[test]
fn has_its_base_by_digest() -> Result<()> {
    let dockerfile = std::fs::read_to_string(repository().join("Dockerfile"))?;
    let bases = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("FROM "));
    let bases: Vec<_> = bases.collect();
    assert_eq!(
        bases,
        [
            "--platform=$BUILDPLATFORM ${BUILD_IMAGE:?use deploy/image} AS build",
            "${BASE_IMAGE:?use deploy/image}",
        ]
    );
    let check = |lines: &str| -> Result<(bool, String)> {
        let file = std::env::temp_dir().join(format!("base-images-{}", std::process::id()));
        std::fs::write(&file, lines)?;
        let mut command = Command::new(repository().join("deploy/image"));
        let output = command.arg("--check").arg(&file).output()?;
        std::fs::remove_file(&file)?;
        let said = String::from_utf8(output.stderr)?;
        Ok((output.status.success(), said))
    };
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let build = format!("docker.io/library/rust:1.95-trixie@{digest}");
    let base = format!("gcr.io/distroless/cc-debian13:nonroot@{digest}");
    assert_eq!(check(&format!("{build}\n{base}\n"))?, (true, String::new()));
    for (lines, why) in [
        (String::new(), "has no line for"),
        (format!("{build}\n"), "has no line for gcr.io"),
        (
            format!("{build}\n{}\n", base.replace("cdef", "cde")),
            "expected one line",
        ),
        (format!("{build}\n{base}\n{base}\n"), "expected one line"),
        (
            format!("{build}\nevil.example/{base}\n"),
            "expected one line",
        ),
    ] {
        let (accepted, said) = check(&lines)?;
        assert!(!accepted && said.contains(why), "{lines}: {said}");
    }
    // What is committed, if anything is.
    let committed = repository().join("deploy/base-images");
    if committed.exists() {
        let (accepted, said) = check(&std::fs::read_to_string(committed)?)?;
        assert!(accepted, "{said}");
    }
    Ok(())
}
