//! The pod of a review: a borrowed view of what the user wrote, the parts that can be added to it,
//! and the draft that joins the two.
//!
//! A [`Pod`] can be read and never written: no type here turns a user's pod back into JSON, so a
//! field that we don't know can't be lost.

pub mod draft;
pub mod hiding;
pub mod index;
pub mod limits;
pub mod logs;
pub mod mentions;
pub mod nodes;
pub mod part;
pub mod path;
mod read;
pub mod runs;
pub mod verify;
pub mod view;

pub use draft::{Draft, Edits, Place};
pub(crate) use read::ANNOTATION_PREFIX;
pub use view::{
    Container, EnvSource, EnvVar, Mount, Owner, Pod, PodSecurity, Security, Volume, VolumeKind,
};

/// Up to this many entries or questions a list is simply looked through.
pub const FEW: usize = 8;
