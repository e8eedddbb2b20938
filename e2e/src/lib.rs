//! A real Kubernetes control plane and a real operator for tests, as plain processes on loopback.
//!
//! | module | what it is |
//! |---|---|
//! | [`process`] | a process that can't outlive the tests |
//! | [`certs`] | an authority and certificates for localhost |
//! | [`plane`] | etcd, the API server and the controllers: one of each for all tests of a run |
//! | [`cluster`] | requests to the API server, as raw JSON so that no field is lost on the way |
//! | [`kubectl`] | the command people use |
//! | [`helm`] | the chart's installer |
//! | [`msgpack`] | what tracing libraries write |
//! | [`node`] | a node that runs pods in containers |
//! | [`operator`] | the program under test |
//! | [`webhook`] | its registration |
//! | [`image`] | container images, made from files |
//! | [`impostor`] | servers that stand in for it and misbehave, or stand beside it |
//! | [`service`] | a Service and the addresses behind it |
//! | [`account`] | what a pod gets to talk to the API server |
//! | [`replica`] | one operator of several, each at an address of its own, as pods are |
//! | [`installation`] | an installation without a chart, and replicas as processes |
//! | [`kubelet`] | runs the pods of a namespace as processes, and tells the API server of them |
//! | [`mounted`] | files that change under a running program, as a kubelet writes them |
//! | [`collector`] | what the log sidecar reports to |
//! | [`connection`] | what a client of a webhook sees |
//! | [`cable`] | a way to a server that can be cut |
//! | [`caller`] | an HTTPS client as agents are one |
//! | [`agents`] | agents that ask which inputs they may run |
//! | [`referee`] | watches what they are told and what they do |
//! | [`trace_agent`] | what tracing libraries send their spans to |
//! | [`traffic`] | pods that are created all the time |
//! | [`stored`] | what two stored pods have in common |
//! | [`repository`] | the files that the tests are about |
//! | [`wait`] | waiting for something that will be true soon |

pub mod account;
pub mod agents;
pub mod cable;
pub mod caller;
pub mod certs;
pub mod cluster;
pub mod collector;
pub mod connection;
pub mod helm;
pub mod image;
pub mod impostor;
pub mod installation;
pub mod kubectl;
pub mod kubelet;
pub mod mounted;
pub mod msgpack;
pub mod node;
pub mod operator;
pub mod otlp;
pub mod plane;
mod pod;
pub mod process;
pub mod referee;
pub mod replica;
pub mod repository;
mod requests;
pub mod service;
pub mod stored;
pub mod trace_agent;
pub mod traffic;
pub mod wait;
pub mod webhook;
