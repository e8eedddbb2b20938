//! The closed list of notes: what was done differently than asked, or asked in vain.
//!
//! Like a [reason](super::reason), each has a code, a sentence with the values a person needs, and
//! a remedy.

mod sentences;

use crate::code;
use crate::pod::hiding::What;
use crate::version::KubernetesVersion;

/// So many notes of one kind are kept. A pod can give rise to as many as it has entries, and nobody
/// would read them.
const MOST_OF_A_KIND: usize = 20;

/// What was done differently than asked, or asked in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The version is no image tag; the configured image was used.
    VersionIgnored {
        /// The annotation.
        annotation: &'static str,
        /// Its value.
        value: String,
    },
    /// A second language was asked for; a pod gets one.
    LanguageIgnored {
        /// The annotation that lost.
        annotation: &'static str,
        /// The language that won.
        chosen: &'static str,
    },
    /// No volume can be mounted for a log path.
    LogPathSkipped {
        /// The path as written.
        path: String,
        /// Why.
        problem: PathProblem,
    },
    /// A container has its own volume at a path whose content is collected or shared from another
    /// container.
    NotShared {
        /// The container.
        container: String,
        /// The path.
        path: String,
    },
    /// The sidecar will keep a Job from completing.
    KeepsJobRunning {
        /// Why no native sidecar could be used.
        because: NotNative,
    },
    /// A configured tag refers to a variable that the container defines too late.
    TagLeftOut {
        /// The container.
        container: String,
        /// The tag.
        tag: String,
        /// Whether blanks separate the container's tags, and this one holds a blank; else a
        /// variable that it refers to is defined too late.
        is_split: bool,
    },
    /// A key inside an annotation is probably misspelled.
    UnknownKey {
        /// The path of the key.
        path: String,
        /// What was probably meant.
        suggestion: String,
    },
    /// An annotation under our prefix that has no meaning.
    UnknownAnnotation {
        /// Its name.
        annotation: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// An annotation that other versions of the operator act on.
    AnnotationOfOtherVersion {
        /// Its name.
        annotation: String,
    },
    /// A LimitRange wants other requests or limits than configured.
    ResourcesFitted {
        /// The added container.
        container: &'static str,
        /// The LimitRange; of several, their names.
        limit_range: String,
        /// What it got.
        changes: String,
    },
    /// A switch that holds no boolean, and therefore leaves the feature on.
    SwitchUnreadable {
        /// The annotation.
        annotation: String,
        /// Its value.
        value: String,
    },
    /// An annotation whose value can't be used, where the configuration says enough without it.
    AnnotationIgnored {
        /// The annotation.
        annotation: &'static str,
        /// What is wrong with it, and where.
        problem: String,
    },
    /// The agent collects the files of a volume once for each container that has it.
    CollectedForEach {
        /// How many containers of the application there are.
        count: usize,
    },
    /// A container doesn't mount a volume of the pod's own that others share with the sidecar.
    NotMounted {
        /// The container.
        container: String,
        /// The volume.
        volume: String,
        /// Where the others have it.
        path: String,
    },
    /// A new volume hides what the image has there, which only its author knows.
    MayHide {
        /// The directory.
        directory: String,
    },
    /// What is added to a Guaranteed pod gets requests equal to its limits.
    QosKept {
        /// The added container.
        container: &'static str,
        /// What it got.
        amounts: String,
    },
    /// The configuration chooses resources, which a BestEffort pod doesn't stay one with.
    QosChanged {
        /// The added container.
        container: &'static str,
    },
    /// A part of logfwd's annotation names no log files, beside others that do.
    NothingToCollect {
        /// Where.
        place: String,
    },
    /// The sidecar can't find DataKit by what it is told.
    Address {
        /// Where that stands.
        place: String,
        /// What is wrong.
        problem: AddressProblem,
    },
    /// A pattern of log files means something else than it seems to.
    LogPattern {
        /// The pattern.
        path: String,
        /// What is wrong.
        problem: PatternProblem,
    },
    /// The sidecar's version doesn't read all of the annotation.
    ImageOfLogfwd {
        /// The image.
        image: String,
        /// What it doesn't read.
        problem: ImageProblem,
    },
    /// JAVA_TOOL_OPTIONS is longer than every JVM reads.
    JavaOptionsLong {
        /// The container.
        container: String,
        /// Its length in bytes.
        length: usize,
    },
    /// The JVM loads another agent, too.
    SecondAgent {
        /// The container.
        container: String,
        /// The other agent.
        agent: String,
    },
    /// A variable of the container's refers to one that is added below it.
    DefinedBelow {
        /// The container.
        container: String,
        /// Its variable.
        variable: String,
        /// The added one.
        refers_to: String,
    },
    /// A source of `envFrom` may define a variable that is set now.
    EnvFrom {
        /// The container.
        container: String,
        /// The variable.
        variable: &'static str,
        /// The source.
        source: String,
    },
    /// The library counts toward a small limit of `ephemeral-storage`.
    EphemeralStorage {
        /// The limit of the containers together.
        limit: String,
    },
    /// An annotation stands on a workload and not on its pod template.
    MisplacedAnnotation {
        /// The annotation.
        annotation: String,
        /// The workload's kind.
        kind: String,
        /// Where its template is, such as `spec.template`.
        template: String,
    },
    /// Further notes of one kind, which are only counted.
    More {
        /// The code of the kind.
        kind: &'static str,
        /// How many.
        count: usize,
    },
}

/// What is wrong with the address of DataKit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressProblem {
    /// There is none.
    Missing,
    /// It is a URL.
    Scheme,
    /// It has no port, or no host.
    NoPort,
    /// Its port is none.
    Port,
}

/// What is wrong with a pattern of log files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternProblem {
    /// Several paths in one text.
    List,
    /// A variable as a shell writes it, which nobody expands here.
    ShellVariable,
    /// A variable that the sidecar doesn't have.
    Undefined(String),
}

/// What a version of logfwd doesn't read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageProblem {
    /// The annotation.
    IgnoresAnnotation,
    /// More than its first instance.
    FirstInstance,
}

/// Why no volume can be mounted for a log path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathProblem {
    /// Containers know absolute paths only.
    Relative,
    /// A colon or control character, which no mount path may have.
    Unmountable,
    /// Longer than any path can be.
    TooLong,
    /// A directory that the container's system needs.
    System(String),
    /// A directory that the sidecar itself needs.
    Sidecar(String),
    /// A container has something else mounted there or above.
    Taken {
        /// The container.
        container: String,
        /// What is mounted.
        what: &'static str,
        /// Where.
        path: String,
    },
    /// A volume would hide something that a container runs or reads.
    Hides {
        /// The container.
        container: String,
        /// The directory of the volume.
        directory: String,
        /// What it would hide.
        what: What,
        /// Where that is.
        path: String,
    },
}

/// Why the log sidecar of a pod that is meant to end is no native sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNative {
    /// The configuration says so.
    Configured,
    /// The cluster's version isn't known.
    VersionUnknown,
    /// The cluster may have nodes that don't know native sidecars.
    OldNodes(KubernetesVersion),
    /// The cluster has no native sidecars, although the configuration asks for one.
    OldCluster(KubernetesVersion),
}

impl Note {
    pub(crate) const LOG_PATH_SKIPPED: &'static str = Self::CODES[2];
    pub(crate) const NOT_SHARED: &'static str = Self::CODES[3];
    pub(crate) const TAG_LEFT_OUT: &'static str = Self::CODES[5];
    pub(crate) const UNKNOWN_ANNOTATION: &'static str = Self::CODES[7];
    pub(crate) const OTHER_VERSION: &'static str = Self::CODES[8];
    pub(crate) const SWITCH_UNREADABLE: &'static str = Self::CODES[10];
    pub(crate) const NOT_MOUNTED: &'static str = Self::CODES[14];
    pub(crate) const MAY_HIDE: &'static str = Self::CODES[15];
    pub(crate) const NOTHING_TO_COLLECT: &'static str = Self::CODES[18];
    pub(crate) const ADDRESS: &'static str = Self::CODES[19];
    pub(crate) const LOG_PATTERN: &'static str = Self::CODES[20];
    pub(crate) const DEFINED_BELOW: &'static str = Self::CODES[24];
    pub(crate) const ENV_FROM: &'static str = Self::CODES[25];
    pub(crate) const MISPLACED_ANNOTATION: &'static str = Self::CODES[27];

    /// Every code, for the closed label set of the metrics.
    pub const CODES: [&str; code::NOTES.len()] = code::NOTES;

    /// The code of the note.
    pub fn as_str(&self) -> &'static str {
        Self::CODES[self.index()]
    }

    /// The position in [`CODES`](Self::CODES).
    pub fn index(&self) -> usize {
        match self {
            Self::VersionIgnored { .. } => 0,
            Self::LanguageIgnored { .. } => 1,
            Self::LogPathSkipped { .. } => 2,
            Self::NotShared { .. } => 3,
            Self::KeepsJobRunning { .. } => 4,
            Self::TagLeftOut { .. } => 5,
            Self::UnknownKey { .. } => 6,
            Self::UnknownAnnotation { .. } => 7,
            Self::AnnotationOfOtherVersion { .. } => 8,
            Self::ResourcesFitted { .. } => 9,
            Self::SwitchUnreadable { .. } => 10,
            Self::More { .. } => 11,
            Self::AnnotationIgnored { .. } => 12,
            Self::CollectedForEach { .. } => 13,
            Self::NotMounted { .. } => 14,
            Self::MayHide { .. } => 15,
            Self::QosKept { .. } => 16,
            Self::QosChanged { .. } => 17,
            Self::NothingToCollect { .. } => 18,
            Self::Address { .. } => 19,
            Self::LogPattern { .. } => 20,
            Self::ImageOfLogfwd { .. } => 21,
            Self::JavaOptionsLong { .. } => 22,
            Self::SecondAgent { .. } => 23,
            Self::DefinedBelow { .. } => 24,
            Self::EnvFrom { .. } => 25,
            Self::EphemeralStorage { .. } => 26,
            Self::MisplacedAnnotation { .. } => 27,
        }
    }

    /// The container that it is about, if it is about one.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::NotShared { container, .. }
            | Self::EnvFrom { container, .. }
            | Self::DefinedBelow { container, .. }
            | Self::SecondAgent { container, .. }
            | Self::JavaOptionsLong { container, .. }
            | Self::NotMounted { container, .. }
            | Self::TagLeftOut { container, .. }
            | Self::LogPathSkipped {
                problem: PathProblem::Taken { container, .. } | PathProblem::Hides { container, .. },
                ..
            } => Some(container),
            Self::ResourcesFitted { container, .. }
            | Self::QosKept { container, .. }
            | Self::QosChanged { container } => Some(container),
            Self::LogPathSkipped { .. }
            | Self::VersionIgnored { .. }
            | Self::LanguageIgnored { .. }
            | Self::KeepsJobRunning { .. }
            | Self::UnknownKey { .. }
            | Self::UnknownAnnotation { .. }
            | Self::AnnotationOfOtherVersion { .. }
            | Self::SwitchUnreadable { .. }
            | Self::AnnotationIgnored { .. }
            | Self::CollectedForEach { .. }
            | Self::MayHide { .. }
            | Self::NothingToCollect { .. }
            | Self::Address { .. }
            | Self::LogPattern { .. }
            | Self::ImageOfLogfwd { .. }
            | Self::EphemeralStorage { .. }
            | Self::MisplacedAnnotation { .. }
            | Self::More { .. } => None,
        }
    }

    /// The index of the code, and how many notes of it there are: those that are only counted too.
    pub fn counted(&self) -> (usize, usize) {
        match self {
            Self::More { kind, count } => {
                let index = Self::CODES.iter().position(|code| code == kind);
                (index.unwrap_or(self.index()), *count)
            }
            _ => (self.index(), 1),
        }
    }
}

/// Adds a note, unless there are enough of its kind; then it is only counted.
pub(crate) fn add(notes: &mut Vec<Note>, kind: &'static str, note: impl FnOnce() -> Note) {
    if notes.len() < MOST_OF_A_KIND || is_wanted(notes, kind) {
        notes.push(note());
    }
}

/// The same for notes that were gathered without counting.
pub(crate) fn bounded(notes: Vec<Note>) -> Vec<Note> {
    if notes.len() <= MOST_OF_A_KIND {
        return notes;
    }
    let mut kept = Vec::new();
    for note in notes {
        match note {
            Note::More { kind, count } => more(&mut kept, kind, count),
            note => add(&mut kept, note.as_str(), || note),
        }
    }
    kept
}

/// Whether there are few notes of a kind; otherwise counts one more.
fn is_wanted(notes: &mut Vec<Note>, kind: &'static str) -> bool {
    let known = notes.iter().filter(|note| note.as_str() == kind).count();
    if known < MOST_OF_A_KIND {
        return true;
    }
    more(notes, kind, 1);
    false
}

fn more(notes: &mut Vec<Note>, of: &'static str, further: usize) {
    for note in notes.iter_mut() {
        if let Note::More { kind, count } = note
            && *kind == of
        {
            *count += further;
            return;
        }
    }
    notes.push(Note::More {
        kind: of,
        count: further,
    });
}
