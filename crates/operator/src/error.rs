//! How an error is told: one line, with what caused it.

use std::error::Error;
use std::fmt::{Display, Formatter, Result};

/// Shows an error with its causes, joined by colons, each said once.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl Display for Chain<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let mut said = self.0.to_string();
        formatter.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Libraries tend to repeat the cause in the message.
            if !said.contains(&text) {
                write!(formatter, ": {text}")?;
                said = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn causes_are_said_once() {
        let check = |causes: &[&'static str], want: &str| {
            let mut causes = causes.iter().rev();
            let first = anyhow!(*causes.next().unwrap());
            let error = causes.fold(first, |error, context| error.context(*context));
            assert_eq!(Chain(error.as_ref()).to_string(), want);
        };
        check(&["a"], "a");
        check(
            &["failed to ask", "reset", "closed"],
            "failed to ask: reset: closed",
        );
        check(
            &["failed: reset", "reset", "closed"],
            "failed: reset: closed",
        );
    }
}
