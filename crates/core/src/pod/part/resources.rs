//! Requests and limits of a container to add.

use std::borrow::Cow;

use crate::json::write_string;
use crate::pod::view::ResourceSide;
use crate::quantity::Quantity;

/// A container's `resources`: its amounts, and the JSON that says them. It can't be changed once it is made, so that
/// the two always agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    requests: Option<ResourceList>,
    limits: Option<ResourceList>,
    json: String,
}

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
        }
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
