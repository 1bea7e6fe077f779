//! Fakes that keep every contract, the virtual clock and the seeded executor.
