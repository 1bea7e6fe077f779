//! CRI: drive any container runtime over its socket.
