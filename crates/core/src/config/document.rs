//! The document as a whole: the settings of the operator, and the rules of each form in their order
//! of precedence.

use std::net::{Ipv4Addr, SocketAddr};

use super::env_overrides::{self, EnvOverrides};
use super::keys::{Key, Kind};
use super::lowering::{Lowering, Parsed};
use super::reader::{Reader, Section, find_choice};
use super::rule::{Feature, Rule};
use super::syntax;
use super::tree::{self, ConfigError, Node};
use super::{
    AdmissionLimits, Config, DEFAULT_LISTEN, LogLevel, Policy, env_from, policy, status, v1, v2,
    validation,
};
use crate::diagnostic::{Code, Diagnostic};

/// The keys of the whole.
pub(super) static ROOT: [Key; 10] = [
    Key::new("server_listen", Kind::Listen, "`address:port` or `:port`").or("\"0.0.0.0:9543\""),
    Key::new(
        "log_level",
        Kind::Choice(|| LogLevel::ALL.map(LogLevel::as_str).to_vec()),
        "`debug`, `info`, `warn`, `error`",
    )
    .or("\"info\""),
    Key::new(
        v1::KEY,
        Kind::Object(&v1::SECTIONS),
        "a section for each feature",
    ),
    Key::new(
        v2::KEY,
        Kind::Object(&v2::RULES),
        "a list of rules for each feature",
    ),
    Key::new(
        v2::MUTATE,
        Kind::Object(&v2::MUTATIONS),
        "what the agent is told to collect",
    ),
    Key::new(
        policy::KEY,
        Kind::Object(&policy::FEATURES),
        "who may ask for what",
    ),
    Key::new(
        env_from::KEY,
        Kind::Objects(&env_from::KEYS),
        "ConfigMaps and Secrets whose `envFrom` defines a start-up variable",
    ),
    Key::new(
        validation::KEY,
        Kind::Object(&validation::KEYS),
        "what is refused when workloads are applied",
    ),
    Key::new(
        status::KEY,
        Kind::Object(&status::KEYS),
        "what pods are told of themselves",
    ),
    Key::new(
        "admission_limits",
        Kind::Object(&LIMITS),
        "what a review may lead to",
    ),
];

static LIMITS: [Key; 3] = [
    limit(0, "containers and init containers of a pod that is changed").or("500"),
    limit(1, "operations of a patch; logfwd counts each of its directories once for every container before it begins").or("10000"),
    limit(2, "bytes of a patch as JSON, before it is encoded for the answer").or("1048576"),
];

const fn limit(at: usize, about: &'static str) -> Key {
    let (name, most) = AdmissionLimits::KEYS[at];
    let most = most as u64;
    Key::new(name, Kind::Whole { least: 1, most }, about)
}

/// See [`Config::load`].
pub(super) fn load(
    text: &str,
    overrides: &EnvOverrides,
) -> Result<(Config, Vec<Diagnostic>), ConfigError> {
    let mut reader = Reader::default();
    let entries = if syntax::strip_mark(text).trim().is_empty() {
        reader.report(
            Diagnostic::warning("", "the configuration is empty, so nothing is injected")
                .code(Code::InjectsNothing),
        );
        Vec::new()
    } else {
        tree::parse(text)?
    };
    Ok(lower(reader, entries, overrides))
}

/// What a document without a word comes to.
pub(super) fn empty() -> Config {
    lower(Reader::default(), Vec::new(), &EnvOverrides::default()).0
}

fn lower(
    mut reader: Reader,
    mut entries: Vec<(String, Node)>,
    overrides: &EnvOverrides,
) -> (Config, Vec<Diagnostic>) {
    let misplaced = take_misplaced_policies(&mut entries);
    let root = reader.section(String::new(), &entries, &ROOT);
    let policy = policy::read(&mut reader, &root, misplaced);
    let mut lowering = Lowering { reader, overrides };
    let config = lowering.config(&root, policy);
    (config, lowering.reader.diagnostics)
}

/// Policies that stand where nothing reads them, or under a misspelt key.
fn take_misplaced_policies(root: &mut Vec<(String, Node)>) -> Vec<String> {
    let mut found = policy::take_misplaced("", root, &ROOT);
    for inject in objects(root, v1::KEY) {
        found.extend(policy::take_misplaced(v1::KEY, inject, &v1::SECTIONS));
        for form in &v1::FORMS {
            let path = format!("{}.{}", v1::KEY, form.feature);
            for section in objects(inject, form.feature.as_str()) {
                found.extend(policy::take_misplaced(&path, section, form.keys));
            }
        }
    }
    for inject in objects(root, v2::KEY) {
        found.extend(policy::take_misplaced(v2::KEY, inject, &v2::RULES));
        for list in &v2::LISTS {
            for (path, rule) in rules_of(inject, list.key) {
                found.extend(policy::take_misplaced(&path, rule, list.keys));
            }
        }
    }
    found
}

fn objects<'n>(
    entries: &'n mut [(String, Node)],
    key: &str,
) -> impl Iterator<Item = &'n mut Vec<(String, Node)>> {
    entries
        .iter_mut()
        .filter_map(move |(name, node)| match node {
            Node::Object(entries) if name.eq_ignore_ascii_case(key) => Some(entries),
            _ => None,
        })
}

/// The rules of a list, and where each stands.
fn rules_of<'n>(
    section: &'n mut [(String, Node)],
    key: &str,
) -> impl Iterator<Item = (String, &'n mut Vec<(String, Node)>)> {
    let path = format!("{}.{key}", v2::KEY);
    let lists = section
        .iter_mut()
        .filter_map(move |(name, node)| match node {
            Node::Array(items) if name.eq_ignore_ascii_case(key) => Some(items),
            _ => None,
        });
    let items = lists.flat_map(|items| items.iter_mut().enumerate());
    items.filter_map(move |(index, item)| match item {
        Node::Object(entries) => Some((format!("{path}[{index}]"), entries)),
        _ => None,
    })
}

impl Lowering<'_> {
    fn config(&mut self, root: &Section<'_>, policy: Policy) -> Config {
        let server_listen = self.setting(
            root,
            "server_listen",
            env_overrides::SERVER_LISTEN,
            parse_listen,
        );
        let log_level = self.setting(root, "log_level", env_overrides::LOG_LEVEL, parse_level);
        let rules = self.rules(root);
        let config = Config {
            server_listen: server_listen.unwrap_or(DEFAULT_LISTEN),
            log_level: log_level.unwrap_or_default(),
            rules,
            limits: self.limits(root),
            policy,
            env_from: env_from::read(&mut self.reader, root),
            validation: validation::read(&mut self.reader, root),
            status: status::read(&mut self.reader, root),
        };
        self.report_forbidden(&config);
        config
    }

    /// The rules of all forms, those that win first: `admission_inject`, then
    /// `admission_inject_v2`.
    fn rules(&mut self, root: &Section<'_>) -> Vec<Rule> {
        let v1 = self.v1(root);
        let v2 = self.v2(root);
        let is_in_v2 = |feature: Feature| v2.iter().any(|rule| rule.feature == feature);
        let both: Vec<&str> = Feature::ALL
            .into_iter()
            .filter(|feature| is_in_v2(*feature))
            .filter(|feature| {
                v1.iter()
                    .any(|rule| rule.feature == *feature && rule.is_given())
            })
            .map(Feature::as_str)
            .collect();
        if !both.is_empty() {
            self.reader.report(Diagnostic::warning(
                v2::KEY,
                format!(
                    "{} configures {} as well, and is asked first",
                    v1::KEY,
                    both.join(", ")
                ),
            ));
        }
        // What v1 can't give must not keep v2 from giving it; it only says what is missing.
        let (last, mut rules): (Vec<Rule>, Vec<Rule>) = v1
            .into_iter()
            .partition(|rule| rule.image.is_none() && is_in_v2(rule.feature));
        rules.extend(v2);
        rules.extend(last);
        rules.extend(self.loggings(root));
        rules
    }

    /// Says which features no namespace may have although rules select pods for them.
    fn report_forbidden(&mut self, config: &Config) {
        for feature in Feature::ALL {
            if !config.policy.of(feature).namespaces.is_none() {
                continue;
            }
            let mut selecting = config.rules_of(feature).filter(|rule| {
                !rule.when.annotation
                    || !rule.when.namespaces.is_empty()
                    || !rule.when.labels.is_empty()
            });
            if let Some(rule) = selecting.next() {
                self.reader.report(
                    Diagnostic::warning(
                        rule.section.as_str(),
                        format!(
                            "its selectors are without effect: {}.{feature} allows no namespace",
                            policy::KEY
                        ),
                    )
                    .code(Code::WithoutEffect),
                );
            }
        }
    }

    fn limits(&mut self, root: &Section<'_>) -> AdmissionLimits {
        let section = self.reader.object(root, "admission_limits", &LIMITS);
        let mut limits = AdmissionLimits::default();
        let keys = AdmissionLimits::KEYS;
        for ((key, most), limit) in keys.into_iter().zip(limits.values()) {
            let Some(node) = section.get(key) else {
                continue;
            };
            let given = match node {
                Node::Number(number) => number.as_u64().and_then(|n| usize::try_from(n).ok()),
                _ => None,
            };
            match given.filter(|given| (1..=most).contains(given)) {
                Some(given) => *limit = given,
                None => self.reader.report(
                    Diagnostic::error(
                        section.path(key),
                        format!("expected a whole number from 1 to {most}; using {limit}"),
                    )
                    .found(node.to_string()),
                ),
            }
        }
        limits
    }
}

/// An address and port, or `:port` for all IPv4 addresses.
fn parse_listen(text: &str) -> Parsed<SocketAddr> {
    let port_only = text
        .strip_prefix(':')
        .and_then(|port| port.parse::<u16>().ok())
        .map(|port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    let local = text
        .strip_prefix("localhost:")
        .and_then(|port| port.parse::<u16>().ok())
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    match port_only.or(local).or_else(|| text.parse().ok()) {
        Some(address) => Ok((address, None)),
        None => Err(Diagnostic::error(
            "",
            "expected an address and a port, such as 0.0.0.0:9543 or :9543; ignored",
        )
        .found(text)),
    }
}

fn parse_level(text: &str) -> Parsed<LogLevel> {
    match find_choice(text, &LogLevel::ALL, LogLevel::as_str) {
        Ok(level) => Ok((level, None)),
        Err(error) => Err(Diagnostic {
            message: format!("{}; ignored", error.message),
            ..error
        }),
    }
}
