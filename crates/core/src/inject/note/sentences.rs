//! What notes say to people: a sentence with the place and what was found, and a remedy.

use std::fmt;

use super::{AddressProblem, ImageProblem, NotNative, Note, PathProblem, PatternProblem};

impl Note {
    /// What a person can change.
    pub fn remedy(&self) -> String {
        match self {
            Self::VersionIgnored { .. } => "give a tag such as `v1.2.3`".to_owned(),
            Self::LanguageIgnored { annotation, .. } => format!("remove {annotation}"),
            Self::LogPathSkipped { problem, .. } => problem.remedy().to_owned(),
            Self::NotShared { .. } => "mount one emptyDir there in all containers".to_owned(),
            Self::KeepsJobRunning { because } => because.remedy().to_owned(),
            Self::TagLeftOut { is_split: true, .. } => {
                "separate the tags in DD_TAGS by commas".to_owned()
            }
            Self::TagLeftOut {
                is_split: false, ..
            } => "define the variable before DD_TAGS".to_owned(),
            Self::UnknownKey { suggestion, .. } => format!("did you mean `{suggestion}`?"),
            Self::UnknownAnnotation {
                suggestion: Some(meant),
                ..
            } => format!("did you mean `{meant}`?"),
            Self::UnknownAnnotation {
                suggestion: None, ..
            }
            | Self::AnnotationOfOtherVersion { .. } => "remove it".to_owned(),
            Self::ResourcesFitted { .. } => {
                "set resources of the feature in the operator's configuration to choose".to_owned()
            }
            Self::SwitchUnreadable { .. } => "use \"true\" or \"false\"".to_owned(),
            Self::AnnotationIgnored { annotation, .. } => {
                format!("correct the value of {annotation}")
            }
            Self::CollectedForEach { .. } => {
                "use logfwd, or annotate the container that writes with datakit/<container>.logs"
                    .to_owned()
            }
            Self::NotMounted { volume, path, .. } => {
                format!("mount `{volume}` at {path} there as well if it should")
            }
            Self::MayHide { .. } => {
                "log to a directory of its own, such as /var/log/app, or mount an emptyDir there yourself"
                    .to_owned()
            }
            Self::QosKept { .. } => {
                "set resources of the feature in the operator's configuration to choose the amounts"
                    .to_owned()
            }
            Self::QosChanged { .. } => {
                "leave resources of the feature out of the operator's configuration".to_owned()
            }
            Self::NothingToCollect { .. } => "give it `logfiles`, a list of paths".to_owned(),
            Self::Address { .. } => {
                "write host:port, such as datakit-service.datakit.svc:9533".to_owned()
            }
            Self::LogPattern { problem, .. } => match problem {
                PatternProblem::List => "write each as a text of its own: [\"/a/*.log\", \"/b/*.log\"]".to_owned(),
                PatternProblem::ShellVariable => "write $(NAME)".to_owned(),
                PatternProblem::Undefined(name) => format!(
                    "set {name} in envs of logfwd in the operator's configuration"
                ),
            },
            Self::ImageOfLogfwd { .. } => {
                "configure a logfwd image of version 1.91 or newer".to_owned()
            }
            Self::JavaOptionsLong { .. } => {
                "move options to the command line, or use JDK 9 or newer".to_owned()
            }
            Self::SecondAgent { .. } => "load one agent, unless the two are known to agree".to_owned(),
            Self::DefinedBelow { refers_to, .. } => {
                format!("define {refers_to} in the container, above it")
            }
            Self::EnvFrom { variable, .. } => {
                format!("take {variable} by `valueFrom` in `env`, which is extended")
            }
            Self::EphemeralStorage { .. } => {
                "raise limits.ephemeral-storage by the size of the library".to_owned()
            }
            Self::MisplacedAnnotation { template, .. } => {
                format!("move it to {template}.metadata.annotations")
            }
            Self::More { .. } => "correct those that are shown first".to_owned(),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VersionIgnored { annotation, value } => write!(
                f,
                "{annotation} `{}` is no image tag, the configured image was used",
                excerpt(value)
            ),
            Self::LanguageIgnored { annotation, chosen } => {
                write!(
                    f,
                    "{annotation} was ignored, a pod gets one language and {chosen} comes first"
                )
            }
            Self::LogPathSkipped { path, problem } => {
                write!(f, "no volume for log path `{}`: {problem}", excerpt(path))
            }
            Self::NotShared { container, path } => {
                write!(
                    f,
                    "container `{container}` has its own volume at {path}, which the sidecar does not see"
                )
            }
            Self::KeepsJobRunning { because } => write!(
                f,
                "the sidecar is an ordinary container and keeps the pod of a Job running for ever, because {because}"
            ),
            Self::TagLeftOut {
                container,
                tag,
                is_split,
            } => write!(
                f,
                "tag `{}` was not added to DD_TAGS of container `{container}`, {}",
                excerpt(tag),
                if *is_split {
                    "which is split at blanks"
                } else {
                    "its variable is defined later"
                }
            ),
            Self::UnknownKey { path, .. } => write!(f, "unknown key `{}`", excerpt(path)),
            Self::UnknownAnnotation { annotation, .. } => {
                write!(f, "annotation {} has no meaning", excerpt(annotation))
            }
            Self::AnnotationOfOtherVersion { annotation } => write!(
                f,
                "annotation {annotation} is not supported by this version of the operator"
            ),
            Self::ResourcesFitted {
                container,
                limit_range,
                changes,
            } => write!(
                f,
                "LimitRange `{limit_range}` gives container `{container}` {changes}"
            ),
            Self::AnnotationIgnored {
                annotation,
                problem,
            } => write!(f, "{annotation} was ignored: {problem}"),
            Self::CollectedForEach { count } => write!(
                f,
                "the pod has {count} containers, and the agent collects the files once for each"
            ),
            Self::NotMounted {
                container,
                volume,
                path,
            } => write!(
                f,
                "container `{container}` does not mount volume `{volume}`, so the sidecar does not see its {path}"
            ),
            Self::MayHide { directory } => write!(
                f,
                "the new volume at {directory} hides what the images have there"
            ),
            Self::QosKept { container, amounts } => write!(
                f,
                "the pod is Guaranteed and stays so: container `{container}` has requests equal to its limits, {amounts}"
            ),
            Self::QosChanged { container } => write!(
                f,
                "the pod was BestEffort and is Burstable with the configured resources of container `{container}`"
            ),
            Self::NothingToCollect { place } => write!(f, "`{place}` names no log files"),
            Self::Address { place, problem } => {
                let problem = match problem {
                    AddressProblem::Missing => {
                        "is in no instance, and LOGFWD_DATAKIT_HOST and LOGFWD_DATAKIT_PORT are not configured"
                    }
                    AddressProblem::Scheme => "is a URL",
                    AddressProblem::NoPort => "has no host or no port",
                    AddressProblem::Port => "has a port that is none",
                };
                write!(f, "`{place}` {problem}, so the sidecar finds no DataKit")
            }
            Self::LogPattern { path, problem } => {
                write!(f, "log path `{}` ", excerpt(path))?;
                match problem {
                    PatternProblem::List => {
                        f.write_str("is one path, although it looks like several")
                    }
                    PatternProblem::ShellVariable => {
                        f.write_str("holds a shell's variable, which nothing expands")
                    }
                    PatternProblem::Undefined(name) => {
                        write!(
                            f,
                            "refers to {}, which the sidecar does not have",
                            excerpt(name)
                        )
                    }
                }
            }
            Self::ImageOfLogfwd { image, problem } => match problem {
                ImageProblem::IgnoresAnnotation => {
                    write!(f, "logfwd of image `{image}` does not read the annotation")
                }
                ImageProblem::FirstInstance => write!(
                    f,
                    "logfwd of image `{image}` reads the first instance of the annotation alone"
                ),
            },
            Self::JavaOptionsLong { container, length } => write!(
                f,
                "JAVA_TOOL_OPTIONS of container `{container}` has {length} bytes, and JDK 8 reads 1023"
            ),
            Self::SecondAgent { container, agent } => write!(
                f,
                "the JVM of container `{container}` loads the agent {} as well",
                excerpt(agent)
            ),
            Self::DefinedBelow {
                container,
                variable,
                refers_to,
            } => write!(
                f,
                "{} of container `{container}` refers to {}, which is added below it and so stays unexpanded",
                excerpt(variable),
                excerpt(refers_to)
            ),
            Self::EnvFrom {
                container,
                variable,
                source,
            } => write!(
                f,
                "{source} may define {variable} of container `{container}`, which is overridden"
            ),
            Self::EphemeralStorage { limit } => write!(
                f,
                "the library is in a volume, which counts toward the pod's limit of ephemeral-storage, {limit}"
            ),
            Self::MisplacedAnnotation {
                annotation, kind, ..
            } => write!(
                f,
                "annotation {} stands on the {kind} itself, where it has no effect",
                excerpt(annotation)
            ),
            Self::More { kind, count } => write!(f, "{count} more notes of kind `{kind}`"),
            Self::SwitchUnreadable { annotation, value } => write!(
                f,
                "{annotation} is `{}`, which is no boolean and counts as true",
                excerpt(value)
            ),
        }
    }
}

impl PathProblem {
    fn remedy(&self) -> &'static str {
        match self {
            Self::Relative => "write an absolute path",
            Self::Unmountable | Self::TooLong | Self::System(_) | Self::Sidecar(_) => {
                "log to a directory of its own, such as /var/log/app"
            }
            Self::Taken { .. } => "mount an emptyDir there, or log elsewhere",
            Self::Hides { .. } => "log to a directory that holds nothing else",
        }
    }
}

impl NotNative {
    fn remedy(self) -> &'static str {
        match self {
            Self::Configured => "set sidecar_mode to auto in the operator's configuration",
            Self::VersionUnknown => {
                "give the option --kubernetes-version to this command, or to the operator's `serve`"
            }
            Self::OldNodes(_) => "set sidecar_mode to native if every node runs 1.29 or newer",
            Self::OldCluster(_) => "upgrade the cluster to 1.29 or newer",
        }
    }
}

impl fmt::Display for PathProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative => f.write_str("it is no absolute path"),
            Self::Unmountable => {
                f.write_str("a path with a colon or control character can't be mounted")
            }
            Self::TooLong => f.write_str("no path can be that long"),
            Self::System(directory) => {
                write!(
                    f,
                    "{directory} is a system directory, which a volume would hide"
                )
            }
            Self::Sidecar(directory) => write!(f, "the sidecar itself needs {directory}"),
            Self::Taken {
                container,
                what,
                path,
            } => {
                write!(
                    f,
                    "container `{container}` has something else at {path} ({what})"
                )
            }
            Self::Hides {
                container,
                directory,
                what,
                path,
            } => {
                let what = what.describe(path, container);
                write!(f, "a volume at {directory} would hide {what}")
            }
        }
    }
}

impl fmt::Display for NotNative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("sidecar_mode is container"),
            Self::VersionUnknown => f.write_str("the Kubernetes version is not known"),
            Self::OldNodes(version) => {
                write!(
                    f,
                    "Kubernetes {version} may have nodes without native sidecars"
                )
            }
            Self::OldCluster(version) => write!(f, "Kubernetes {version} has no native sidecars"),
        }
    }
}

/// The beginning of a value of the user's, fit for one line.
fn excerpt(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut out: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}
