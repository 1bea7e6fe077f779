//! What a driver says of itself.

use futures::FutureExt;

use super::{Check, Fixture, always};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_driver_has_a_name_and_a_version",
        clause: "GetPluginInfo: the name follows domain name notation, of 63 characters or less; vendor_version is required",
        needs: always,
        run: |f| named(f).boxed(),
    },
    Check {
        name: "a_driver_that_answers_is_ready",
        clause: "Probe: the plugin must return whether it is in a healthy state; it may be called many times",
        needs: always,
        run: |f| ready(f).boxed(),
    },
];

/// Contract 1: the same each time.
async fn named(fixture: Fixture) {
    let info = fixture.driver.info().await.expect("a driver says what it is");
    let name = info.name.as_str();
    assert!((1..=63).contains(&name.len()), "the name {name:?} has {} bytes", name.len());
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    assert!(name.chars().all(inside), "the name {name:?} is not one of a domain");
    assert!(ends(name.chars().next()) && ends(name.chars().last()), "the name {name:?} is not one of a domain");
    assert_ne!(info.version, "", "the version is empty");
    assert_eq!(fixture.driver.info().await.expect("again"), info, "the driver says something else now");
}

/// Contract 1: whoever answers does so in good health.
async fn ready(fixture: Fixture) {
    for _ in 0..3 {
        assert!(fixture.driver.ready().await.expect("a driver says whether it is ready"), "the driver is not ready");
    }
}
