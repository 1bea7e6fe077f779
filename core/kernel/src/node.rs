//! The node's side: an agent that runs the pods of a node, and the sessions into them.

mod agent;
mod logs;
mod session;
mod usage;

pub use self::{
    agent::{About, LogRequest, NodeAgent, NodeAgents, NodeContext, Notice, Report, Token, Versions},
    session::{Exit, Ports, Process, Session, SessionRequest, Streams, TermSize},
    usage::{
        Amounts, ContainerDetails, DetailMetering, Details, Disk, Measured, Metering, PodDetails, PodUsage, PodVolume,
        Space, Usage, VolumeMetering,
    },
};
