//! One suite per kernel trait, for anyone's implementation.
