//! What plugins that speak gRPC have in common: channels to sockets, calls word by word, servers at sockets, codes of errors,
//! and the `main` of a program that is a plugin. It knows no protocol.

mod channel;
mod code;
mod program;
mod raw;
mod socket;
mod work;

pub use self::{
    channel::open,
    code::{code_of, kind_of, may_be_done},
    program::{Serve, main, socket_of},
    raw::{RawAnswer, raw},
    socket::listen,
    work::{answer, lacks},
};
/// What programs of plugins are handed.
pub use windlass_machine::Machine;
