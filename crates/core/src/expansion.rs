//! `$(NAME)` in environment variables, as the kubelet reads it: `$$` is a literal dollar sign, and
//! a name is replaced by the value of an entry further up in the same list
//! (<https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>).

/// The names that `text` refers to, in order, repetitions included.
pub fn references(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let at = rest.find('$')?;
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                rest = after;
            } else if let Some(after) = rest.strip_prefix('(') {
                // Without any closing parenthesis there is no name further on either.
                let end = after.find(')')?;
                let name = &after[..end];
                rest = &after[end + 1..];
                return Some(name);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::references;

    #[test]
    fn reads_as_the_kubelet_does() {
        for (text, expected) in [
            ("a:$(A),b:$(B_2)", vec!["A", "B_2"]),
            ("$$(A) $(B", vec![]),
            ("$$$(A)", vec!["A"]),
            ("$A $ (B) $", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(references(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
