//! Requests and limits of a container to add.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use crate::json::write_string;
use crate::pod::view::ResourceSide;
use crate::quantity::Quantity;

/// A container's `resources`: its amounts, and the JSON that says them. It can't be changed once it
/// is made, so that the two always agree.
#[derive(Debug, Clone)]
pub struct Resources {
    requests: Option<ResourceList>,
    limits: Option<ResourceList>,
    json: String,
    /// The same without some limits: by which of the first few are left out, a bit each. Each is
    /// made when it is first wanted; the configured resources of a feature are wanted by every
    /// review.
    fewer: Arc<[OnceLock<Resources>]>,
}

/// So many limits at most are left out of resources that are made once for all.
const FEW_LIMITS: usize = 3;

/// Amounts by resource, in the order in which they are written. A container has a handful.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceList {
    amounts: Vec<(Cow<'static, str>, Quantity)>,
}

impl Resources {
    /// The resources with these lists; `None` leaves a list out.
    pub fn new(requests: Option<ResourceList>, limits: Option<ResourceList>) -> Self {
        let mut json = vec![b'{'];
        for (side, list) in [
            (ResourceSide::Requests, &requests),
            (ResourceSide::Limits, &limits),
        ] {
            let Some(list) = list else {
                continue;
            };
            if json.len() > 1 {
                json.push(b',');
            }
            write_string(&mut json, side.as_str());
            json.push(b':');
            list.write(&mut json);
        }
        json.push(b'}');
        Self {
            requests,
            limits,
            json: String::from_utf8_lossy(&json).into_owned(),
            fewer: Arc::default(),
        }
    }

    /// The same, ready to be asked for [`without_limits`](Self::without_limits) often.
    #[must_use]
    pub fn prepared(mut self) -> Self {
        self.fewer = (0..1 << FEW_LIMITS).map(|_| OnceLock::new()).collect();
        self
    }

    /// The same without the limits that `is_left_out` names; nothing where that isn't
    /// [`prepared`](Self::prepared), or there are too many limits.
    pub fn without_limits(&self, is_left_out: impl Fn(&str) -> bool) -> Option<&Self> {
        let limits = self.limits.as_ref()?;
        if limits.amounts.len() > FEW_LIMITS {
            return None;
        }
        let names = limits.iter().enumerate();
        let left_out = names.fold(0, |bits, (at, (name, _))| {
            bits | usize::from(is_left_out(name)) << at
        });
        let made = || {
            let kept = limits.amounts.iter().enumerate();
            let kept = kept.filter(|(at, _)| left_out >> at & 1 == 0);
            let amounts: Vec<_> = kept.map(|(_, amount)| amount.clone()).collect();
            let limits = (!amounts.is_empty()).then_some(ResourceList { amounts });
            Self::new(self.requests.clone(), limits)
        };
        Some(self.fewer.get(left_out)?.get_or_init(made))
    }

    /// Each amount with its list and resource.
    pub fn iter(&self) -> impl Iterator<Item = (ResourceSide, &str, &Quantity)> {
        let side = |side, list| {
            let amounts = Option::into_iter(list).flat_map(ResourceList::iter);
            amounts.map(move |(resource, amount)| (side, resource, amount))
        };
        side(ResourceSide::Requests, self.requests.as_ref())
            .chain(side(ResourceSide::Limits, self.limits.as_ref()))
    }

    /// The JSON object, compact.
    pub fn as_json(&self) -> &str {
        &self.json
    }
}

/// What is only made when it is wanted makes no difference.
impl PartialEq for Resources {
    fn eq(&self, other: &Self) -> bool {
        self.requests == other.requests && self.limits == other.limits
    }
}

impl Eq for Resources {}

impl ResourceList {
    /// The amount of a resource.
    pub fn get(&self, resource: &str) -> Option<&Quantity> {
        self.iter()
            .find_map(|(name, amount)| (name == resource).then_some(amount))
    }

    /// Each resource with its amount.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Quantity)> {
        self.amounts
            .iter()
            .map(|(resource, amount)| (resource.as_ref(), amount))
    }

    /// Whether no resource has an amount.
    pub fn is_empty(&self) -> bool {
        self.amounts.is_empty()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, (resource, amount)) in self.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(out, resource);
            out.push(b':');
            write_string(out, amount.as_str());
        }
        out.push(b'}');
    }
}

/// Of two amounts of one resource, the first counts.
impl<R: Into<Cow<'static, str>>> FromIterator<(R, Quantity)> for ResourceList {
    fn from_iter<I: IntoIterator<Item = (R, Quantity)>>(amounts: I) -> Self {
        let mut list = Self::default();
        for (resource, amount) in amounts {
            let resource = resource.into();
            if list.get(&resource).is_none() {
                list.amounts.push((resource, amount));
            }
        }
        list
    }
}
