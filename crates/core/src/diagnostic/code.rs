//! What kind of finding a diagnostic is, for programs that read them.

/// The kind of a finding. Its name never changes once it is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The document isn't JSON.
    NotJson,
    /// The document is JSON, but not an object.
    NotAnObject,
    /// Nothing is injected at all.
    InjectsNothing,
    /// A key that nobody reads.
    UnknownKey,
    /// A known key in another case.
    KeyCase,
    /// A key or name that appears more than once.
    Repeated,
    /// A value of another type than the key has.
    WrongType,
    /// A value that can't be used, for any other reason.
    InvalidValue,
    /// A word that is none of those that the key has.
    UnknownWord,
    /// A namespace pattern or label selector that can't be read.
    InvalidSelector,
    /// A label key that no pod can have.
    LabelKey,
    /// A rule that is left out.
    RuleDisabled,
    /// A setting that does nothing where it stands.
    WithoutEffect,
    /// A deprecated environment variable.
    Deprecated,
    /// A reference that stays text, or a variable that is defined too late.
    Reference,
    /// An image that means another version on each node: without tag.
    ImageTag,
    /// An image whose tag is moved: `latest`.
    ImageLatest,
    /// Anything else that may not be meant.
    Doubtful,
    /// A namespace pattern that fits more than it seems to.
    UnanchoredPattern,
    /// A condition that no pod can fulfil.
    NeverFits,
    /// A rule that an earlier one leaves nothing for.
    Shadowed,
    /// Two libraries for the same pods, of which each gets one.
    TwoLibraries,
    /// A credential in plain text.
    Credentials,
    /// Something that the configured version of logfwd doesn't read.
    LogfwdVersion,
    /// Of a conversion: something that had no effect isn't there any more.
    LeftOut,
    /// Of a conversion: what the rules do isn't the same in every case.
    Differs,
}

impl Code {
    /// Every code, its name, and what it says.
    const TABLE: [(Self, &'static str); 26] = [
        (Self::NotJson, "not_json"),
        (Self::NotAnObject, "not_an_object"),
        (Self::InjectsNothing, "injects_nothing"),
        (Self::UnknownKey, "unknown_key"),
        (Self::KeyCase, "key_case"),
        (Self::Repeated, "repeated"),
        (Self::WrongType, "wrong_type"),
        (Self::InvalidValue, "invalid_value"),
        (Self::UnknownWord, "unknown_word"),
        (Self::InvalidSelector, "invalid_selector"),
        (Self::LabelKey, "label_key"),
        (Self::RuleDisabled, "rule_disabled"),
        (Self::WithoutEffect, "without_effect"),
        (Self::Deprecated, "deprecated"),
        (Self::Reference, "reference"),
        (Self::ImageTag, "image_tag"),
        (Self::ImageLatest, "image_latest"),
        (Self::Doubtful, "doubtful"),
        (Self::UnanchoredPattern, "unanchored_pattern"),
        (Self::NeverFits, "never_fits"),
        (Self::Shadowed, "shadowed"),
        (Self::TwoLibraries, "two_libraries"),
        (Self::Credentials, "credentials"),
        (Self::LogfwdVersion, "logfwd_version"),
        (Self::LeftOut, "left_out"),
        (Self::Differs, "differs"),
    ];

    /// Every code.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::TABLE.iter().map(|(code, _)| *code)
    }

    /// The name, in small letters joined by `_`.
    pub fn as_str(self) -> &'static str {
        // The table is in the order of the variants, as a test makes sure.
        Self::TABLE[self as usize].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        for (index, code) in Code::all().enumerate() {
            assert_eq!(code as usize, index, "{code:?}");
        }
        let mut names: Vec<&str> = Code::all().map(Code::as_str).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::TABLE.len());
    }
}
