//! A real Kubernetes control plane and a real operator for tests, as plain processes on loopback.
//!
//! | module | what it is |
//! |---|---|
//! | [`process`] | a process that can't outlive the tests |
//! | [`certs`] | an authority and certificates for localhost |
//! | [`plane`] | etcd, the API server and the controllers: one of each for all tests of a run |
//! | [`cluster`] | requests to the API server, as raw JSON so that no field is lost on the way |
//! | [`kubectl`] | the command people use |
//! | [`operator`] | the program under test |
//! | [`webhook`] | its registration |
//! | [`impostor`] | servers that stand in for it and misbehave, or stand beside it |
//! | [`stored`] | what two stored pods have in common |
//! | [`wait`] | waiting for something that will be true soon |

pub mod certs;
pub mod cluster;
pub mod impostor;
pub mod kubectl;
pub mod operator;
pub mod plane;
pub mod process;
pub mod stored;
pub mod wait;
pub mod webhook;
