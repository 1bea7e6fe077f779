//! A containerd of one's own.
