//! The page: one file, and the policy that lets browsers run nothing but what is in it.

use std::sync::LazyLock;

use base64_simd::STANDARD;
use http::header::CONTENT_SECURITY_POLICY;
use http::{HeaderValue, StatusCode};
use hyper::body::Bytes;

use crate::http::respond;
use crate::listen::Answer;
use crate::tls::provider::sha256;

const PAGE: &str = include_str!("page.html");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| policy(PAGE).parse().ok());

/// The page. Without a policy it isn't sent.
pub(super) fn answer() -> Answer {
    let Some(policy) = &*POLICY else {
        return respond::text(StatusCode::INTERNAL_SERVER_ERROR, "the page is damaged");
    };
    let mut answer = respond::with_body(StatusCode::OK, HTML, Bytes::from_static(PAGE.as_bytes()));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
    answer
}

/// Only the script and the style of the page itself, known by their SHA-256
/// (<https://www.w3.org/TR/CSP3/#grammardef-hash-source>), and requests to where it is from.
fn policy(page: &str) -> String {
    let hash = |tag: &str| {
        let inside = element(page, tag).unwrap_or_default();
        STANDARD.encode_to_string(sha256(inside.as_bytes()))
    };
    let (script, style) = (hash("script"), hash("style"));
    format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// What is inside the first element that is opened by this tag without attributes.
fn element<'a>(page: &'a str, tag: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("<{tag}>"))?;
    Some(rest.split_once(&format!("</{tag}>"))?.0)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    type Texts = BTreeMap<String, BTreeMap<String, String>>;

    fn texts() -> Texts {
        let (_, rest) = PAGE
            .split_once(r#"<script type="application/json" id="texts">"#)
            .unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    /// What stands between two texts, each time.
    fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
        let parts = text.split(before).skip(1);
        parts
            .filter_map(|part| Some(part.split_once(after)?.0))
            .collect()
    }

    #[test]
    fn both_languages_have_all_texts() {
        let texts = texts();
        let keys = |language: &str| texts[language].keys().collect::<BTreeSet<_>>();
        assert_eq!(keys("en"), keys("zh"));
        for (key, text) in texts.values().flatten() {
            assert!(!text.is_empty(), "{key}");
        }
        let script = element(PAGE, "script").unwrap();
        let mut used: BTreeSet<&str> = between(PAGE, "data-text=\"", "\"").into_iter().collect();
        used.extend(between(PAGE, "data-label=\"", "\""));
        used.extend(between(script, " t(\"", "\""));
        used.extend(between(script, "(t(\"", "\""));
        let known = keys("en");
        for key in &used {
            assert!(known.contains(&(*key).to_owned()), "no text `{key}`");
        }
        assert!(used.len() > 20, "{used:?}");
        // The page says the same before its script runs.
        for key in between(PAGE, "data-text=\"", "\"") {
            let shown = between(PAGE, &format!("data-text=\"{key}\">"), "<");
            assert_eq!(shown, [texts["en"][key].as_str()], "{key}");
        }
    }

    /// Names are strangers' text.
    #[test]
    fn nothing_becomes_markup() {
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
        ] {
            assert!(!PAGE.contains(way), "{way}");
        }
        // Nothing is loaded from elsewhere, and no handler stands in an attribute.
        for way in ["http:", "https:", "//", " onclick=", " onload=", " style="] {
            let found = PAGE.lines().find(|line| {
                let code = line.trim_start();
                code.contains(way) && !code.starts_with("//")
            });
            assert_eq!(found, None, "{way}");
        }
        let policy = policy(PAGE);
        assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
        assert_eq!(between(PAGE, "<script>", "</script>").len(), 1);
        assert_eq!(between(PAGE, "<style>", "</style>").len(), 1);
    }

    /// As WCAG 2.2 counts it, <https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio>.
    #[test]
    fn texts_can_be_read_in_both_themes() {
        let light = |hex: &str| {
            let channel = |at: usize| {
                let value = u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
                let value = f64::from(value) / 255.0;
                match value <= 0.04045 {
                    true => value / 12.92,
                    false => ((value + 0.055) / 1.055).powf(2.4),
                }
            };
            0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
        };
        let themes = between(PAGE, ":root {", "}");
        assert_eq!(themes.len(), 2);
        for theme in themes {
            let colour = |name: &str| {
                let found = between(theme, &format!("--{name}: #"), ";");
                light(found[0])
            };
            let check = |text: &str, behind: &str, least: f64| {
                let (a, b) = (colour(text), colour(behind));
                let ratio = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(ratio >= least, "{text} on {behind}: {ratio:.2} in {theme}");
            };
            for text in ["text", "muted", "accent", "good", "bad", "doubt"] {
                for behind in ["card", "page"] {
                    check(text, behind, 4.5);
                }
            }
            for text in ["text", "muted"] {
                check(text, "code", 4.5);
            }
            // A button that is pressed, and the borders of what can be used.
            check("card", "accent", 4.5);
            check("muted", "card", 3.0);
        }
    }

    #[test]
    fn it_can_be_used_without_a_mouse_or_eyes() {
        for part in [
            "<html lang=\"en\">",
            "<header>",
            "<main>",
            "<noscript>",
            "scope: \"col\"",
            "scope: \"row\"",
            ":focus-visible",
            "prefers-reduced-motion",
            "prefers-color-scheme",
            "role=\"alert\"",
            "class=\"skip\"",
            "document.documentElement.lang =",
        ] {
            assert!(PAGE.contains(part), "{part}");
        }
        assert_eq!(between(PAGE, "<h1", ">").len(), 1);
        for section in between(PAGE, "<section", "</section>") {
            let named = between(section, "aria-labelledby=\"", "\"")[0];
            assert!(section.contains(&format!("<h2 id=\"{named}\"")), "{named}");
        }
    }
}
