//! The built-in controllers: per kind a pure plan and a thin reconcile.
