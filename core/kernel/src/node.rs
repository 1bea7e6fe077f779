//! The node's side: an agent that runs the pods of a node, and the sessions into them.

mod agent;
mod session;

<<<<<<< HEAD
pub use self::{
    agent::{LogRequest, NodeAgent, NodeAgents, NodeContext, Notice, Report, Token},
    session::{Exit, Ports, Process, Session, SessionRequest, Streams, TermSize},
};
=======
pub use self::agent::{LogRequest, NodeAgent, NodeAgents, NodeContext, Notice, Report, Token};
pub use self::session::{Exit, Ports, Process, Session, SessionRequest, Streams, TermSize};
>>>>>>> rest
