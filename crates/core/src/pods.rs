//! Pods as other programs ask for them: read once from what the API server sent, kept in order, and
//! listed piece by piece while they change.
//!
//! What is kept of a pod is somebody else's choice ([`Store`] holds any value); here is what a pod
//! is called, which version it is, and how its [views](View) look.

mod object;
mod store;

pub use object::{Pod, View, read};
pub use store::{Applied, Store};
