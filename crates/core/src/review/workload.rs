//! Workloads in a review: which kinds there are, and what of one tells about the pods that it will
//! make.

use std::borrow::Cow;

use crate::inject::Note;
use crate::inject::note;
use crate::json::{Kind as Json, Reader, Result, Str};
use crate::pod::{Pod, Volume, VolumeKind};

/// Prefix of the operator's annotations.
const PREFIX: &str = "admission.datakit/";
/// So many claim templates of a StatefulSet are looked at.
const MOST_CLAIMS: usize = 500;

/// A kind of workload that is validated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    group: &'static str,
    resource: &'static str,
    /// As in its objects.
    pub(super) name: &'static str,
    /// Where its template is, as people write it.
    place: &'static str,
    /// The same below `spec`, key by key.
    path: &'static [&'static str],
}

const TEMPLATE: (&str, &[&str]) = ("spec.template", &["template"]);

static KINDS: [Kind; 5] = [
    Kind::of("apps", "deployments", "Deployment", TEMPLATE),
    Kind::of("apps", "statefulsets", "StatefulSet", TEMPLATE),
    Kind::of("apps", "daemonsets", "DaemonSet", TEMPLATE),
    Kind::of("batch", "jobs", "Job", TEMPLATE),
    Kind::of(
        "batch",
        "cronjobs",
        "CronJob",
        (
            "spec.jobTemplate.spec.template",
            &["jobTemplate", "spec", "template"],
        ),
    ),
];

/// A workload as far as it tells about its pods.
#[derive(Debug, Default)]
pub(super) struct Workload<'a> {
    /// `metadata.name`
    pub(super) name: Str<'a>,
    /// `metadata.generateName`
    pub(super) generate_name: Str<'a>,
    /// Whether it is about to go.
    pub(super) is_deleted: bool,
    /// Whether a controller made it, as a CronJob makes Jobs.
    pub(super) is_made: bool,
    /// The operator's annotations on the workload itself, or on a CronJob's template of Jobs.
    annotations: Vec<Str<'a>>,
    /// What its pods are made from.
    pub(super) pod: Pod<'a>,
    /// The template's text; empty if there is none.
    pub(super) template: &'a str,
    /// Volumes that a StatefulSet adds to each of its pods.
    claims: Vec<Str<'a>>,
}

impl Kind {
    const fn of(
        group: &'static str,
        resource: &'static str,
        name: &'static str,
        (place, path): (&'static str, &'static [&'static str]),
    ) -> Self {
        Self {
            group,
            resource,
            name,
            place,
            path,
        }
    }

    /// The kind of a resource, if it is one that is validated.
    pub(super) fn find(group: &str, version: &str, resource: &str) -> Option<&'static Self> {
        let mut kinds = KINDS.iter();
        kinds.find(|kind| kind.group == group && kind.resource == resource && version == "v1")
    }

    /// Reads a workload of this kind.
    pub(super) fn read<'a>(&self, text: &'a str) -> Result<Workload<'a>> {
        let mut workload = Workload::default();
        let mut reader = Reader::new(text);
        workload.read(&mut reader, self.path)?;
        reader.end()?;
        workload.become_pods();
        Ok(workload)
    }

    /// What stands on the workload and has no effect there.
    pub(super) fn misplaced(&self, workload: &Workload<'_>) -> Vec<Note> {
        let mut notes = Vec::new();
        for key in &workload.annotations {
            if workload.pod.annotation(key).is_some() {
                continue;
            }
            note::add(&mut notes, Note::MISPLACED_ANNOTATION, || {
                Note::MisplacedAnnotation {
                    annotation: key.clone().into_owned(),
                    kind: self.name.to_owned(),
                    template: self.place.to_owned(),
                }
            });
        }
        notes
    }
}

impl<'a> Workload<'a> {
    fn read(&mut self, reader: &mut Reader<'a>, template: &[&str]) -> Result<()> {
        reader.object(|reader, key| match key {
            "metadata" => self.read_metadata(reader),
            "spec" => self.read_spec(reader, template),
            _ => reader.skip().map(|_| ()),
        })
    }

    /// Reads an object on the way to the template; `path` is what is left of it.
    fn read_spec(&mut self, reader: &mut Reader<'a>, path: &[&str]) -> Result<()> {
        let Some((next, rest)) = path.split_first() else {
            self.template = Reader::clone(reader).skip()?;
            self.pod = Pod::read(reader)?;
            return Ok(());
        };
        reader.object(|reader, key| match key {
            key if key == *next => self.read_spec(reader, rest),
            "volumeClaimTemplates" => self.read_claims(reader),
            // Of a CronJob's template of Jobs.
            "metadata" => reader.object(|reader, key| match key {
                "annotations" => self.read_annotations(reader),
                _ => reader.skip().map(|_| ()),
            }),
            _ => reader.skip().map(|_| ()),
        })
    }

    fn read_annotations(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        reader.entries(|reader, key| {
            if key.starts_with(PREFIX) {
                self.annotations.push(key);
            }
            reader.skip().map(|_| ())
        })
    }

    fn read_metadata(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        reader.object(|reader, key| {
            match key {
                "name" => self.name = reader.string()?.unwrap_or_default(),
                "generateName" => self.generate_name = reader.string()?.unwrap_or_default(),
                "deletionTimestamp" => {
                    self.is_deleted = reader.kind()? != Json::Null;
                    reader.skip()?;
                }
                "ownerReferences" => reader.array(|reader, _| {
                    reader.object(|reader, key| {
                        match key {
                            "controller" => self.is_made |= reader.bool()?.unwrap_or_default(),
                            _ => drop(reader.skip()?),
                        }
                        Ok(())
                    })
                })?,
                "annotations" => self.read_annotations(reader)?,
                _ => drop(reader.skip()?),
            }
            Ok(())
        })
    }

    fn read_claims(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        reader.array(|reader, _| {
            let mut name = Str::default();
            reader.object(|reader, key| match key {
                "metadata" => reader.object(|reader, key| {
                    match key {
                        "name" => name = reader.string()?.unwrap_or_default(),
                        _ => drop(reader.skip()?),
                    }
                    Ok(())
                }),
                _ => reader.skip().map(|_| ()),
            })?;
            if !name.is_empty() && self.claims.len() < MOST_CLAIMS {
                self.claims.push(std::mem::take(&mut name));
            }
            Ok(())
        })
    }

    /// Makes of the template what its controller makes of it: names that it gives count for
    /// nothing, and a StatefulSet adds a volume for each claim.
    fn become_pods(&mut self) {
        let pod = &mut self.pod;
        pod.name = Cow::Borrowed("");
        pod.generate_name = Cow::Borrowed("");
        pod.namespace = Cow::Borrowed("");
        pod.owner = None;
        for name in std::mem::take(&mut self.claims) {
            pod.volumes.retain(|volume| volume.name != name);
            let kind = VolumeKind::Claim;
            pod.volumes.push(Volume { name, kind });
        }
    }
}
