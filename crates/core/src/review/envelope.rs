//! What is around the object of a review: who asks what about it, and to whom the answer goes.

use crate::json::{self, Reader, Str};
use crate::pod::Pod;

use super::{Disposition, LONGEST_UID, Record, excerpt};

/// The parts of an AdmissionReview that matter.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a> {
    pub(super) api_version: Str<'a>,
    pub(super) kind: Str<'a>,
    pub(super) has_request: bool,
    pub(super) uid: Str<'a>,
    pub(super) group: Str<'a>,
    pub(super) version: Str<'a>,
    pub(super) resource: Str<'a>,
    pub(super) sub_resource: Str<'a>,
    pub(super) operation: Str<'a>,
    pub(super) namespace: Str<'a>,
    pub(super) dry_run: bool,
    /// The object, read on the way.
    pub(super) pod: Option<Pod<'a>>,
    /// The object's text, where it wasn't.
    pub(super) object: Option<&'a str>,
    /// The text of what an update replaces.
    pub(super) old_object: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    /// Reads the review. With `into_object` the object is read on the way if what came before says
    /// that it is a pod to inject; the API server writes it in that order.
    pub(super) fn read(&mut self, text: &'a str, into_object: bool) -> json::Result<()> {
        let mut reader = Reader::new(text);
        reader.object(|reader, key| {
            match key {
                "apiVersion" => self.api_version = reader.string()?.unwrap_or_default(),
                "kind" => self.kind = reader.string()?.unwrap_or_default(),
                "request" => {
                    self.has_request = reader.kind()? == json::Kind::Object;
                    reader.object(|reader, key| self.read_request(reader, key, into_object))?;
                }
                _ => {
                    reader.skip()?;
                }
            }
            Ok(())
        })?;
        reader.end()
    }

    fn read_request(
        &mut self,
        reader: &mut Reader<'a>,
        key: &str,
        into_object: bool,
    ) -> json::Result<()> {
        match key {
            "uid" => self.uid = reader.string()?.unwrap_or_default(),
            "resource" => reader.object(|reader, key| {
                match key {
                    "group" => self.group = reader.string()?.unwrap_or_default(),
                    "version" => self.version = reader.string()?.unwrap_or_default(),
                    "resource" => self.resource = reader.string()?.unwrap_or_default(),
                    _ => {
                        reader.skip()?;
                    }
                }
                Ok(())
            })?,
            "subResource" => self.sub_resource = reader.string()?.unwrap_or_default(),
            "operation" => self.operation = reader.string()?.unwrap_or_default(),
            "namespace" => self.namespace = reader.string()?.unwrap_or_default(),
            "dryRun" => self.dry_run = reader.bool()?.unwrap_or_default(),
            "object" if into_object && self.is_about_pods() && self.operation == "CREATE" => {
                self.object = None;
                self.pod = Some(Pod::read(reader)?);
            }
            "object" => {
                self.pod = None;
                self.object = Some(reader.skip()?);
            }
            "oldObject" => self.old_object = Some(reader.skip()?),
            _ => {
                reader.skip()?;
            }
        }
        Ok(())
    }

    /// Why this isn't a review that can be answered.
    pub(super) fn problem(&self) -> Option<String> {
        if self.api_version != "admission.k8s.io/v1" || self.kind != "AdmissionReview" {
            return Some(format!(
                "expected an AdmissionReview of admission.k8s.io/v1, found kind `{}` of apiVersion `{}`",
                excerpt(&self.kind),
                excerpt(&self.api_version)
            ));
        }
        if !self.has_request {
            return Some("the AdmissionReview has no `request`".to_owned());
        }
        if self.uid.is_empty() {
            return Some("the AdmissionReview has no `request.uid` to answer to".to_owned());
        }
        if self.uid.len() > LONGEST_UID {
            return Some(format!(
                "`request.uid` of the AdmissionReview has {} bytes and may have {LONGEST_UID}",
                self.uid.len()
            ));
        }
        None
    }

    pub(super) fn is_about_pods(&self) -> bool {
        self.resource == "pods"
            && self.group.is_empty()
            && self.version == "v1"
            && self.sub_resource.is_empty()
    }

    pub(super) fn resource(&self) -> String {
        let parts = [
            &self.group,
            &self.version,
            &self.resource,
            &self.sub_resource,
        ];
        let parts = parts.iter().filter(|part| !part.is_empty());
        let name = parts
            .map(std::convert::AsRef::as_ref)
            .collect::<Vec<_>>()
            .join("/");
        format!("`{}`", excerpt(&name))
    }

    pub(super) fn take_pod(&mut self) -> json::Result<Pod<'a>> {
        match (self.pod.take(), self.object) {
            (Some(pod), _) => Ok(pod),
            (None, object) => {
                let mut reader = Reader::new(object.unwrap_or("null"));
                Pod::read(&mut reader)
            }
        }
    }

    pub(super) fn record(self, disposition: Disposition) -> Record<'a> {
        Record {
            uid: self.uid,
            namespace: self.namespace,
            operation: self.operation,
            dry_run: self.dry_run,
            disposition,
            ..Record::default()
        }
    }
}
