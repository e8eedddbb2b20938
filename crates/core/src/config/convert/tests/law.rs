//! Converting changes what a document looks like, not what pods get from it.

use proptest::prelude::*;

use super::converted;
use crate::config::rule::{Extra, Feature, Language, Rule};
use crate::config::{Config, ContainerSettings, EnvOverrides, SidecarMode};
use crate::diagnostic::Severity;

/// One of several texts.
fn any(of: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(of)
}

/// Documents with sections, and perhaps rules: some of the values fit their keys, some don't.
fn documents() -> impl Strategy<Value = String> {
    let image = || any(&["\"a:1\"", "\"b:1\"", "\"\"", "null", "7", "\"NO IMAGE\""]);
    let images = |keys: [&'static str; 3]| {
        [image(), image(), image()].prop_map(move |images| {
            let entries = keys.iter().zip(images);
            let entries: Vec<String> = entries
                .map(|(key, image)| format!("\"{key}\":{image}"))
                .collect();
            entries.join(",")
        })
    };
    let settings = any(&[
        "",
        ",\"envs\":{\"A\":\"1\",\"B\":2},\"resources\":{\"limits\":{\"cpu\":\"1\"}}",
        ",\"image_pull_policy\":\"Never\",\"security_context\":{\"runAsUser\":7}",
        ",\"image_pull_policy\":\"never\",\"resources\":{\"limits\":{\"cpu\":\"x\"}}",
        ",\"Image_Pull_Policy\":\"\",\"envs\":[],\"envs\":{\"C\":\"3\"},\"unknown\":1",
        ",\"sidecar_mode\":\"native\",\"options\":{}",
    ]);
    let namespace = any(&[
        "{\"namespace\":\"^a$\",\"language\":\"java\"}",
        "{\"namespace\":\"a\",\"language\":\"python\"}",
        "{\"namespace\":\"*\",\"language\":\"js\"}",
        "{\"namespace\":\"b\",\"language\":\"golang\"}",
        "{\"namespace\":\"(\",\"language\":\"java\"}",
        "{\"namespace\":\"b\"}",
        "null",
    ]);
    let label = any(&[
        "{\"labelselector\":\"app=a\",\"language\":\"python\"}",
        "{\"labelselector\":\"app\",\"language\":\"java\"}",
        "{\"labelselector\":\"\",\"language\":\"java\"}",
        "\"app\"",
    ]);
    let selectors = (
        prop::collection::vec(namespace, 0..4),
        prop::collection::vec(label, 0..3),
    )
        .prop_map(|(namespaces, labels)| {
            format!(
                ",\"enabled_namespaces\":[{}],\"enabled_labelselectors\":[{}]",
                namespaces.join(","),
                labels.join(",")
            )
        });
    let section = move |keys| {
        (images(keys), settings.clone(), selectors.clone()).prop_map(
            |(images, settings, selectors)| {
                format!("{{\"images\":{{{images}}}{settings}{selectors}}}")
            },
        )
    };
    let rules = any(&[
        "",
        ",\"admission_inject_v2\":{\"ddtraces\":[{\"namespace_selectors\":[\"b\"],\"language\":\"php\",\"image\":\"v2:1\"}]}",
        ",\"admission_inject_v2\":{\"profilers\":[{\"label_selectors\":[\"app\"],\"language\":\"golang\",\"image\":\"v2:1\"}],\"logfwds\":null}",
        ",\"admission_inject_v2\":{\"logfwds\":[{}]}",
    ]);
    (
        section(["java_agent_image", "python_agent_image", "js_agent_image"]),
        section(["logfwd_image", "x", "y"]),
        section(["java_profiler_image", "python_profiler_image", "golang_profiler_image"]),
        rules,
    )
        .prop_map(|(ddtrace, logfwd, profiler, rules)| {
            format!(
                "{{\"admission_inject\":{{\"ddtrace\":{ddtrace},\"logfwd\":{logfwd},\"profiler\":{profiler}}}{rules}}}"
            )
        })
}

/// What a pod gets of a feature: the image, the language and the settings of the first rule that
/// fits it, unless that has no image.
type Given = Option<(
    String,
    Option<Language>,
    ContainerSettings,
    Option<SidecarMode>,
)>;

/// `asked` are the languages that annotations ask for.
fn given(
    config: &Config,
    feature: Feature,
    namespace: &str,
    app: Option<&str>,
    asked: &[Option<Language>],
) -> Given {
    let fits = |rule: &&Rule| {
        let when = &rule.when;
        let in_namespace = when
            .namespaces
            .iter()
            .any(|pattern| pattern.matches(namespace));
        let with_labels = when
            .labels
            .iter()
            .any(|selector| selector.matches(|key| app.filter(|_| key == "app")));
        (when.namespaces.is_empty() || in_namespace)
            && (when.labels.is_empty() || with_labels)
            && (!when.annotation || asked.contains(&rule.language))
    };
    let rule = config.rules_of(feature).find(fits)?;
    let mode = match &rule.extra {
        Extra::Logfwd { sidecar_mode, .. } => Some(*sidecar_mode),
        _ => None,
    };
    let image = rule.image.as_ref()?.as_str().to_owned();
    Some((image, rule.language, rule.container.as_ref().clone(), mode))
}

proptest! {
    /// Whatever a document says, pods get the same from it once it is converted, unless an error
    /// says that they don't.
    #[test]
    fn pods_get_the_same(text in documents()) {
        let converted = converted(&text);
        let load = |text: &str| Config::load(text, &EnvOverrides::default()).unwrap().0;
        let (before, after) = (load(&text), load(&converted.document));
        let says_so = converted.remarks.iter().any(|remark| remark.severity == Severity::Error);
        let languages = [Language::Java, Language::Python, Language::Nodejs, Language::Golang].map(Some);
        let asking: [&[Option<Language>]; 6] =
            [&[], &[None], &languages[..1], &languages[1..2], &languages[2..], &languages];
        for feature in [Feature::Ddtrace, Feature::Logfwd, Feature::Profiler] {
            for namespace in ["a", "ab", "b"] {
                for app in [None, Some("a"), Some("b")] {
                    for asked in asking {
                        let before = given(&before, feature, namespace, app, asked);
                        let after = given(&after, feature, namespace, app, asked);
                        prop_assert!(
                            before == after || says_so,
                            "{text}\n{}\n{feature} {namespace} {app:?} {asked:?}: {before:?} {after:?}",
                            converted.document
                        );
                    }
                }
            }
        }
        let again = super::converted(&converted.document);
        prop_assert_eq!(again.document, converted.document);
    }
}
