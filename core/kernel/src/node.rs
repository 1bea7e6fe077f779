//! The node's side: an agent that runs the pods of a node, and the sessions into them.

mod session;

pub use self::session::{Exit, Ports, Process, Session, SessionRequest, Streams, TermSize};
