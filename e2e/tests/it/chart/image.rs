//! What can be told of the image without making it.

use anyhow::{Context, Result};
use datakit_operator_e2e::helm::{linked_libraries, repository};

/// A base image without a distribution has little; a library too many, and no pod would start.
#[test]
#[ignore = "needs the operator: run e2e/run"]
fn has_what_the_program_links_to() -> Result<()> {
    let dockerfile = std::fs::read_to_string(repository().join("Dockerfile"))?;
    let base = dockerfile.lines().rfind(|line| line.starts_with("FROM "));
    let base = base.context("no FROM in the Dockerfile")?;
    assert!(
        base.starts_with("FROM gcr.io/distroless/cc-"),
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
