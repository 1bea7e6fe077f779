//! The scheduler: the framework and the default plugins.
