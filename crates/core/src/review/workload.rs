//! Workloads in a review: which kinds there are, and what of one tells about the pods that it will
//! make.

use std::borrow::Cow;

use crate::inject::Note;
use crate::inject::annotation;
use crate::inject::note;
use crate::json::{Kind as Json, Reader, Result, Str};
use crate::pod::{Pod, Volume, VolumeKind};

use super::excerpt;

/// Prefix of the operator's annotations.
const PREFIX: &str = "admission.datakit/";
/// So many claim templates of a StatefulSet are looked at.
const MOST_CLAIMS: usize = 500;

/// A kind of workload that is validated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    group: &'static str,
    resource: &'static str,
    /// As in its objects; empty for those that aren't known.
    name: &'static str,
    /// Where its template may be.
    places: &'static [Place],
}

/// Where a workload has its pod template.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// As people write it.
    written: &'static str,
    /// The same below `spec`, key by key.
    path: &'static [&'static str],
}

static PLACES: [Place; 2] = [
    Place {
        written: "spec.template",
        path: &["template"],
    },
    Place {
        written: "spec.jobTemplate.spec.template",
        path: &["jobTemplate", "spec", "template"],
    },
];

static KINDS: [Kind; 5] = [
    Kind::of(
        "apps",
        "deployments",
        "Deployment",
        PLACES.first_chunk::<1>().unwrap(),
    ),
    Kind::of(
        "apps",
        "statefulsets",
        "StatefulSet",
        PLACES.first_chunk::<1>().unwrap(),
    ),
    Kind::of(
        "apps",
        "daemonsets",
        "DaemonSet",
        PLACES.first_chunk::<1>().unwrap(),
    ),
    Kind::of("batch", "jobs", "Job", PLACES.first_chunk::<1>().unwrap()),
    Kind::of(
        "batch",
        "cronjobs",
        "CronJob",
        PLACES.last_chunk::<1>().unwrap(),
    ),
];

/// Any other kind, for which the registration asks.
static OTHER: Kind = Kind::of("", "", "", &PLACES);

/// A workload as far as it tells about its pods.
#[derive(Debug, Default)]
pub(super) struct Workload<'a> {
    /// As it says itself; empty if it doesn't.
    pub(super) kind: Str<'a>,
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
    /// Where that is.
    place: Option<&'static Place>,
    /// Volumes that a StatefulSet adds to each of its pods.
    claims: Vec<Str<'a>>,
}

impl Kind {
    const fn of(
        group: &'static str,
        resource: &'static str,
        name: &'static str,
        places: &'static [Place],
    ) -> Self {
        Self {
            group,
            resource,
            name,
            places,
        }
    }

    /// The kind of a resource, if it is one that is validated. Which others than those of
    /// Kubernetes there are is up to the registration of the webhook; pods themselves are none.
    pub(super) fn find(group: &str, version: &str, resource: &str) -> Option<&'static Self> {
        let mut kinds = KINDS.iter();
        match kinds.find(|kind| kind.group == group && kind.resource == resource) {
            Some(kind) => (version == "v1").then_some(kind),
            None => (!group.is_empty()).then_some(&OTHER),
        }
    }

    /// Its name, for people. `said` is what the object says, which counts for kinds that aren't
    /// known.
    pub(super) fn name<'n>(&self, said: &'n str) -> Cow<'n, str> {
        match (self.name, said) {
            ("", "") => Cow::Borrowed("object"),
            ("", said) => excerpt(said),
            (known, _) => Cow::Borrowed(known),
        }
    }

    /// Its name, for the record.
    pub(super) fn recorded<'n>(&self, said: Str<'n>) -> Str<'n> {
        match self.name {
            "" => said,
            known => Str::Borrowed(known),
        }
    }

    /// Where its template may be, for people.
    pub(super) fn places(&self) -> String {
        let places: Vec<&str> = self.places.iter().map(|place| place.written).collect();
        places.join(" or ")
    }

    /// Reads a workload of this kind.
    pub(super) fn read<'a>(&self, text: &'a str) -> Result<Workload<'a>> {
        let mut workload = Workload::default();
        let mut reader = Reader::new(text);
        workload.read(&mut reader, self.places)?;
        reader.end()?;
        workload.become_pods();
        Ok(workload)
    }

    /// What stands on the workload and has no effect there.
    pub(super) fn misplaced(&self, workload: &Workload<'_>) -> Vec<Note> {
        let mut notes = Vec::new();
        let Some(place) = workload.place else {
            return notes;
        };
        for key in &workload.annotations {
            if workload.pod.annotation(key).is_some() {
                continue;
            }
            note::add(&mut notes, Note::MISPLACED_ANNOTATION, || {
                Note::MisplacedAnnotation {
                    annotation: key.clone().into_owned(),
                    kind: self.name(&workload.kind).into_owned(),
                    template: place.written.to_owned(),
                }
            });
        }
        notes
    }
}

impl<'a> Workload<'a> {
    /// Whether it has a pod template.
    pub(super) fn has_template(&self) -> bool {
        self.place.is_some()
    }

    fn read(&mut self, reader: &mut Reader<'a>, places: &'static [Place]) -> Result<()> {
        reader.object(|reader, key| match key {
            "kind" => {
                self.kind = reader.string()?.unwrap_or_default();
                Ok(())
            }
            "metadata" => self.read_metadata(reader),
            "spec" => reader.object(|reader, key| {
                match places.iter().find(|place| place.path.first() == Some(&key)) {
                    Some(place) => self.read_template(reader, place, 1),
                    None => self.read_beside(reader, key),
                }
            }),
            _ => reader.skip().map(|_| ()),
        })
    }

    /// Reads an object on the way to the template, `depth` keys down its path, or the template.
    fn read_template(
        &mut self,
        reader: &mut Reader<'a>,
        place: &'static Place,
        depth: usize,
    ) -> Result<()> {
        let Some(next) = place.path.get(depth) else {
            self.place = Some(place);
            self.template = Reader::clone(reader).skip()?;
            self.pod = Pod::read(reader)?;
            return Ok(());
        };
        reader.object(|reader, key| {
            if key == *next {
                self.read_template(reader, place, depth + 1)
            } else {
                self.read_beside(reader, key)
            }
        })
    }

    /// Reads what stands beside the way to the template.
    fn read_beside(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<()> {
        match key {
            "volumeClaimTemplates" => self.read_claims(reader),
            // Of a CronJob's template of Jobs.
            "metadata" => reader.object(|reader, key| match key {
                "annotations" => self.read_annotations(reader),
                _ => reader.skip().map(|_| ()),
            }),
            _ => reader.skip().map(|_| ()),
        }
    }

    fn read_annotations(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        reader.entries(|reader, key| {
            if key.starts_with(PREFIX) && key != annotation::STATUS {
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
