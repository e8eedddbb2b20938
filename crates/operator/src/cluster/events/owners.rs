//! What made what made the pod: a Deployment for a ReplicaSet, a CronJob for a Job. It is what
//! people have written and will look at.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, PartialObjectMeta};
use kube::{Client, Resource};
use tokio::time::timeout;

use crate::cluster::trouble::Trouble;
use crate::state::Object;

/// So many are remembered.
const MOST: usize = 1024;
/// The longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long not to ask after the API server has refused.
const REFUSED: Duration = Duration::from_secs(600);

/// Finds the owners of owners.
pub(super) struct Owners {
    client: Client,
    trouble: Trouble,
    /// By the uid of the object in between.
    known: HashMap<String, Object>,
    not_before: Instant,
    /// Whether the API server has refused, and that was said.
    refused: bool,
}

impl Owners {
    pub(super) fn new(client: Client, trouble: Trouble) -> Self {
        Self {
            client,
            trouble,
            known: HashMap::new(),
            not_before: Instant::now(),
            refused: false,
        }
    }

    /// Whether something has to be asked to tell the owner of this.
    pub(super) fn knows(&self, object: &Object) -> bool {
        !is_between(object) || self.known.contains_key(&object.uid)
    }

    /// What people look at: the object's owner where the object is made by one, else the object
    /// itself, also where it can't be told.
    pub(super) async fn of(&mut self, namespace: &str, object: Object) -> Object {
        if !is_between(&object) || Instant::now() < self.not_before {
            return object;
        }
        if let Some(owner) = self.known.get(&object.uid) {
            return owner.clone();
        }
        let asked = match object.kind.as_str() {
            "ReplicaSet" => ask::<ReplicaSet>(&self.client, namespace, &object).await,
            _ => ask::<Job>(&self.client, namespace, &object).await,
        };
        let owner = match asked {
            Ok(owner) => {
                self.trouble.worked();
                self.refused = false;
                owner.unwrap_or_else(|| object.clone())
            }
            Err(Unknown::Gone) => object.clone(),
            Err(Unknown::Refused(error)) => {
                // Without the right it is said once; Events are then on what is known.
                if !std::mem::replace(&mut self.refused, true) {
                    let _ = self.trouble.failed(&error);
                }
                self.not_before = Instant::now() + REFUSED;
                return object;
            }
            Err(Unknown::Late(elapsed)) => {
                let _ = self.trouble.failed(&elapsed);
                return object;
            }
        };
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.insert(object.uid, owner.clone());
        owner
    }
}

enum Unknown {
    /// It was deleted meanwhile.
    Gone,
    Refused(kube::Error),
    Late(tokio::time::error::Elapsed),
}

/// Whether people don't write such objects but have them made.
fn is_between(object: &Object) -> bool {
    let kind = (object.api_version.as_str(), object.kind.as_str());
    matches!(kind, ("apps/v1", "ReplicaSet") | ("batch/v1", "Job"))
}

/// The object's controller, if it has one.
async fn ask<K>(
    client: &Client,
    namespace: &str,
    object: &Object,
) -> Result<Option<Object>, Unknown>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    K: Clone + Debug,
{
    let api: Api<PartialObjectMeta<K>> = Api::namespaced(client.clone(), namespace);
    let found = match timeout(TIMEOUT, api.get_metadata(&object.name)).await {
        Ok(Ok(found)) => found,
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Err(Unknown::Gone),
        Ok(Err(error)) => return Err(Unknown::Refused(error)),
        Err(elapsed) => return Err(Unknown::Late(elapsed)),
    };
    if found.metadata.uid.as_deref() != Some(object.uid.as_str()) {
        return Err(Unknown::Gone);
    }
    let mut owners = found.metadata.owner_references.into_iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true));
    Ok(owner.map(|owner| Object {
        api_version: owner.api_version,
        kind: owner.kind,
        name: owner.name,
        uid: owner.uid,
    }))
}
