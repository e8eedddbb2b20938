//! Programs that know nothing of tracing. Their pods have the start-up variable already, by which
//! a library is loaded.

use anyhow::Result;
use datakit_operator_e2e::image::Image;
use datakit_operator_e2e::node::images::Contents;

/// A program in some language.
pub(super) struct Program {
    /// The language, as images and annotations have it.
    pub(super) short: &'static str,
    /// The language, as rules have it.
    pub(super) language: &'static str,
    pub(super) image: fn(&Contents) -> Result<Image>,
    /// The start-up variable.
    pub(super) variable: &'static str,
    /// What the pod sets it to.
    pub(super) own: &'static str,
}

pub(super) static JAVA: Program = Program {
    short: "java",
    language: "java",
    image: Contents::java,
    variable: "JAVA_TOOL_OPTIONS",
    own: "-Dof.the.user=its-own",
};

pub(super) static NODE_JS: Program = Program {
    short: "js",
    language: "nodejs",
    image: Contents::js,
    variable: "NODE_OPTIONS",
    own: "--max-old-space-size=200",
};

pub(super) static PYTHON: Program = Program {
    short: "python",
    language: "python",
    image: Contents::python,
    variable: "PYTHONPATH",
    own: "/app/more",
};
