//! Tables for people: aligned columns, cells wrapped to the terminal's width.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::visible::visible;

/// Narrower than this, a table has no room for its columns and is written as a list.
const NARROW: usize = 72;
/// A column of text is not made narrower than this.
const LEAST: usize = 16;
const GAP: usize = 2;

/// A table of `N` columns, of which those with an index from `wraps_from` on may be wrapped. What
/// can't be seen in a cell is escaped: cells quote strangers.
pub(super) struct Table<const N: usize> {
    /// Head of each column.
    pub(super) head: [&'static str; N],
    /// The first column whose cells may be wrapped.
    pub(super) wraps_from: usize,
    /// The cells.
    pub(super) rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// The table with lines of at most `width` columns of a terminal, as far as its content allows.
    /// Columns without content are left out.
    pub(super) fn render(&self, width: usize) -> String {
        let visible = Self {
            rows: (self.rows.iter())
                .map(|row| row.each_ref().map(|cell| visible(cell).into_owned()))
                .collect(),
            ..*self
        };
        visible.render_visible(width)
    }

    fn render_visible(&self, width: usize) -> String {
        let mut out = String::new();
        match self.widths(width) {
            Some(widths) => {
                self.render_row(&self.head.map(str::to_owned), &widths, &mut out);
                self.rows
                    .iter()
                    .for_each(|row| self.render_row(row, &widths, &mut out));
            }
            None => self.render_list(width, &mut out),
        }
        out
    }

    /// Each column's width, 0 for those that are left out; none if there is no room for a table.
    fn widths(&self, width: usize) -> Option<[usize; N]> {
        let mut natural = [0; N];
        for (column, natural) in natural.iter_mut().enumerate() {
            let cells = self.rows.iter().map(|row| length(&row[column]));
            let longest = cells.max().unwrap_or_default();
            *natural = if longest == 0 {
                0
            } else {
                longest.max(length(self.head[column]))
            };
        }
        let shown = natural.iter().filter(|width| **width > 0).count();
        let gaps = GAP * shown.saturating_sub(1);
        if natural.iter().sum::<usize>() + gaps <= width {
            return Some(natural);
        }
        let fixed: usize = natural[..self.wraps_from].iter().sum();
        let mut room = width.checked_sub(fixed + gaps)?;
        let mut open: Vec<usize> = (self.wraps_from..N)
            .filter(|column| natural[*column] > 0)
            .collect();
        if width < NARROW || room < LEAST * open.len() {
            return None;
        }
        // Columns that need less than an equal share get what they need; the others share the rest.
        while !open.is_empty() {
            let share = room / open.len();
            let (modest, greedy): (Vec<_>, Vec<_>) =
                open.iter().partition(|column| natural[**column] <= share);
            if modest.is_empty() {
                open.iter().for_each(|column| natural[*column] = share);
                break;
            }
            room -= modest.iter().map(|column| natural[*column]).sum::<usize>();
            open = greedy;
        }
        Some(natural)
    }

    fn render_row(&self, row: &[String; N], widths: &[usize; N], out: &mut String) {
        let cells: Vec<Vec<String>> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| wrap(cell, *width))
            .collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or_default();
        for line in 0..height {
            let mut text = String::new();
            for (cell, width) in cells.iter().zip(widths).filter(|(_, width)| **width > 0) {
                let part = cell.get(line).map_or("", String::as_str);
                // Not by a format's width, which counts characters: Chinese ones take two columns.
                let blanks = width.saturating_sub(length(part)) + GAP;
                _ = write!(text, "{part}{:blanks$}", "");
            }
            out.push_str(text.trim_end());
            out.push('\n');
        }
    }

    /// One block a row: the first two cells on a line, then one line for each further cell.
    fn render_list(&self, width: usize, out: &mut String) {
        let label = self
            .head
            .iter()
            .map(|head| length(head))
            .max()
            .unwrap_or_default();
        for row in &self.rows {
            let title: Vec<&str> = row[..2]
                .iter()
                .filter(|cell| !cell.is_empty())
                .map(String::as_str)
                .collect();
            // What belongs to the row before has no name of its own.
            let indent = if row[0].is_empty() { "  " } else { "" };
            _ = writeln!(out, "{indent}{}", title.join(": "));
            for (head, cell) in self
                .head
                .iter()
                .zip(row)
                .skip(2)
                .filter(|(_, cell)| !cell.is_empty())
            {
                let lines = wrap(cell, width.saturating_sub(label + 4).max(LEAST));
                for (index, line) in lines.iter().enumerate() {
                    let head = if index == 0 {
                        head.to_lowercase()
                    } else {
                        String::new()
                    };
                    _ = writeln!(out, "  {head:<label$}  {line}");
                }
            }
        }
    }
}

/// Cuts a text into lines of at most `width` columns: at blanks, and inside words that are longer
/// than a line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    if width == 0 {
        return Vec::new();
    }
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut word = word;
        if !line.is_empty() {
            if length(&line) + 1 + length(word) <= width {
                line.push(' ');
                line.push_str(word);
                continue;
            }
            lines.push(std::mem::take(&mut line));
        }
        while length(word) > width {
            let limit = fitting(word, width);
            // Behind a separator, if there is one that doesn't leave most of the line empty.
            let behind = |separators: &[char]| {
                let cut = word[..limit].rfind(separators).map(|at| at + 1);
                cut.filter(|cut| *cut * 2 >= limit)
            };
            let cut = behind(&['/'])
                .or_else(|| behind(&['.', '-', ',', ':', '_']))
                .unwrap_or(limit);
            lines.push(word[..cut].to_owned());
            word = &word[cut..];
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// How many bytes of a word, which is longer, fit into a line; at least one character does.
fn fitting(word: &str, width: usize) -> usize {
    let mut used = 0;
    for (at, character) in word.char_indices() {
        used += character.width().unwrap_or_default();
        if used > width && at > 0 {
            return at;
        }
    }
    word.len()
}

/// How many columns of a terminal a text takes.
fn length(text: &str) -> usize {
    text.width()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(width: usize, expected: &Expect) {
        let row = |cells: [&str; 5]| cells.map(str::to_owned);
        let table = Table {
            head: [
                "FEATURE",
                "OUTCOME",
                "ASKED FOR BY",
                "REASON",
                "WHAT TO CHANGE",
            ],
            wraps_from: 2,
            rows: vec![
                row([
                    "ddtrace (java)",
                    "injected",
                    "annotation admission.datakit/java-lib.version",
                    "",
                    "",
                ]),
                row(["logfwd", "not requested", "", "", ""]),
                row([
                    "profiler (java)",
                    "skipped",
                    "annotation admission.datakit/java-profiler.version",
                    "the pod uses the node's process namespace",
                    "remove hostPID",
                ]),
            ],
        };
        let rendered = table.render(width);
        assert!(
            rendered.lines().all(|line| length(line) <= width),
            "{rendered}"
        );
        expected.assert_eq(&rendered);
    }

    #[test]
    fn tables_fit_the_terminal() {
        check(
            200,
            &expect![[r#"
            FEATURE          OUTCOME        ASKED FOR BY                                        REASON                                     WHAT TO CHANGE
            ddtrace (java)   injected       annotation admission.datakit/java-lib.version
            logfwd           not requested
            profiler (java)  skipped        annotation admission.datakit/java-profiler.version  the pod uses the node's process namespace  remove hostPID
        "#]],
        );
        check(
            100,
            &expect![[r#"
                FEATURE          OUTCOME        ASKED FOR BY               REASON                     WHAT TO CHANGE
                ddtrace (java)   injected       annotation
                                                admission.datakit/
                                                java-lib.version
                logfwd           not requested
                profiler (java)  skipped        annotation                 the pod uses the node's    remove hostPID
                                                admission.datakit/         process namespace
                                                java-profiler.version
            "#]],
        );
        check(
            40,
            &expect![[r#"
            ddtrace (java): injected
              asked for by    annotation
                              admission.datakit/
                              java-lib.version
            logfwd: not requested
            profiler (java): skipped
              asked for by    annotation
                              admission.datakit/
                              java-profiler.version
              reason          the pod uses the
                              node's process
                              namespace
              what to change  remove hostPID
        "#]],
        );
    }

    /// Chinese characters take two columns, accents of their own none.
    #[test]
    fn columns_align_whatever_the_script() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let table = Table {
            head: ["NAME", "VALUE", "NOTE"],
            wraps_from: 1,
            rows: vec![
                row(["标签", "值", "a"]),
                row([
                    "team",
                    "支付网关与结算系统由平台团队维护，请勿随意修改此处的标签",
                    "b",
                ]),
                row(["cafe\u{301}", "v", "c"]),
            ],
        };
        let rendered = table.render(72);
        expect![[r#"
            NAME  VALUE                                                     NOTE
            标签  值                                                        a
            team  支付网关与结算系统由平台团队维护，请勿随意修改此处的标签  b
            café  v                                                         c
        "#]]
        .assert_eq(&rendered);
    }

    #[test]
    fn nothing_hides_in_a_cell() {
        for width in [100, 40] {
            let table = Table {
                head: ["A", "B"],
                wraps_from: 1,
                rows: vec![["a\u{1b}[2J\u{202e}".to_owned(), "b\nc\u{200b}".to_owned()]],
            };
            let rendered = table.render(width);
            for shown in ["a\\u{1b}[2J\\u{202e}", "b\\nc\\u{200b}"] {
                assert!(rendered.contains(shown), "{rendered:?}");
            }
        }
    }

    #[test]
    fn wrapping() {
        let check =
            |text: &str, width, lines: &[&str]| assert_eq!(wrap(text, width), lines, "{text}");
        check("", 5, &[]);
        check("a bc def", 4, &["a bc", "def"]);
        check(
            "admission.datakit/java-lib",
            20,
            &["admission.datakit/", "java-lib"],
        );
        check("aéìõü", 2, &["aé", "ìõ", "ü"]);
        check("支付网关", 5, &["支付", "网关"]);
        check("支付网关", 1, &["支", "付", "网", "关"]);
        check("e\u{301}e\u{301}", 1, &["e\u{301}", "e\u{301}"]);
        check("x", 0, &[]);
    }
}
