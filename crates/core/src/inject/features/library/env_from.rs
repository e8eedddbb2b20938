//! Start-up variables that come by `envFrom`. What its sources hold can't be seen; the
//! configuration may say which of them define a variable.

use std::borrow::Cow;

use crate::config::{EnvFrom, EnvFromKind};
use crate::json::{Reader, Result as JsonResult};
use crate::pod::view::Container;

/// A source of `envFrom`.
struct Source<'c> {
    kind: EnvFromKind,
    name: Cow<'c, str>,
    /// Whether the container starts without it as well.
    is_optional: bool,
}

/// Whether the configuration says that a container gets the variable by `envFrom`.
///
/// The kubelet knows what comes by `envFrom` before it expands the container's own variables
/// (`makeEnvironmentVariables`), so that a value may refer to it, under the same name even. An
/// optional source may be missing: the reference would stay in the value as it is written.
pub(super) fn is_defined(
    container: &Container<'_>,
    variable: &str,
    namespace: &str,
    known: &EnvFrom,
) -> bool {
    let mut defined = false;
    if !known.sources.is_empty() {
        each(container, variable, |source| {
            defined |= !source.is_optional
                && known.defines(variable, namespace, source.kind, &source.name);
        });
    }
    defined
}

/// The first source of `envFrom` that may define a variable, for people.
pub(super) fn may_define(container: &Container<'_>, variable: &str) -> Option<String> {
    let mut found = None;
    each(container, variable, |source| {
        found.get_or_insert_with(|| format!("{} `{}`", source.kind.as_str(), source.name));
    });
    found
}

/// Calls `take` with the sources whose prefix doesn't keep them from defining a variable.
fn each<'c>(container: &Container<'c>, variable: &str, mut take: impl FnMut(Source<'c>)) {
    if container.env_from.is_empty() {
        return;
    }
    // The text has been stepped over before, so that it is JSON; another type than expected ends
    // the search.
    let _: JsonResult<()> = Reader::new(container.env_from).array(|reader, _| {
        let mut may = true;
        let mut found = None;
        reader.object(|reader, key| {
            match key {
                "prefix" => may = variable.starts_with(&*reader.string()?.unwrap_or_default()),
                "configMapRef" => found = read(reader, EnvFromKind::ConfigMap)?,
                "secretRef" => found = read(reader, EnvFromKind::Secret)?,
                _ => {
                    reader.skip()?;
                }
            }
            Ok(())
        })?;
        if let Some(source) = found.filter(|_| may) {
            take(source);
        }
        Ok(())
    });
}

fn read<'c>(reader: &mut Reader<'c>, kind: EnvFromKind) -> JsonResult<Option<Source<'c>>> {
    let mut name = None;
    let mut is_optional = false;
    reader.object(|reader, key| {
        match key {
            "name" => name = reader.string()?,
            "optional" => is_optional = reader.bool()?.unwrap_or_default(),
            _ => {
                reader.skip()?;
            }
        }
        Ok(())
    })?;
    Ok(name.map(|name| Source {
        kind,
        name,
        is_optional,
    }))
}
