//! Contract 7: leases.

use std::time::Duration;

use windlass_kernel::{
    ErrorKind,
    store::{LeaseId, ReadAt},
};

use super::{Check, Fixture, Need, apply, leased, list, next, put, watch};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "leased_keys_vanish_together", need: None, run: |f| Box::pin(leased_keys_vanish_together(f)) },
    Check { name: "leases_are_never_early", need: None, run: |f| Box::pin(leases_are_never_early(f)) },
    Check { name: "a_renewal_starts_anew", need: None, run: |f| Box::pin(a_renewal_starts_anew(f)) },
    Check { name: "a_revoked_lease_ends_at_once", need: None, run: |f| Box::pin(a_revoked_lease_ends_at_once(f)) },
    Check { name: "keys_leave_a_lease", need: None, run: |f| Box::pin(keys_leave_a_lease(f)) },
    Check { name: "leases_end_each_in_its_time", need: None, run: |f| Box::pin(leases_end_each_in_its_time(f)) },
    Check {
        name: "a_lease_that_does_not_exist_is_refused",
        need: None,
        run: |f| Box::pin(unknown_leases_are_refused(f)),
    },
    Check {
        name: "a_restart_extends_leases",
        need: Some(Need::Restart),
        run: |f| Box::pin(a_restart_extends_leases(f)),
    },
];

const TTL: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(1);

/// Contract 7: all keys of a lease vanish in one revision, and watches see it.
async fn leased_keys_vanish_together(Fixture { store, advance, .. }: Fixture) {
    let lease = store.grant(TTL).await.unwrap();
    let written = apply(&store, [leased("/a", lease), leased("/b", lease), put("/c", "stays")]).await;
    let mut changes = watch(&store, "/", written).await;
    advance(TTL + MOMENT).await;
    let (first, second) = (next(&mut changes).await, next(&mut changes).await);
    assert_eq!((first.key().as_str(), second.key().as_str()), ("/a", "/b"));
    assert!(first.after.is_none() && second.after.is_none());
    assert!(first.before.as_ref().is_some_and(|before| before.lease == Some(lease)));
    assert_eq!(first.revision, second.revision);
    assert_eq!(list(&store, "/", ReadAt::Latest).await, "/c=stays");
}

/// Contract 7: nothing vanishes before the time to live has passed.
async fn leases_are_never_early(Fixture { store, advance, .. }: Fixture) {
    let lease = store.grant(TTL).await.unwrap();
    let written = apply(&store, [leased("/a", lease)]).await;
    for _ in 0..10 {
        advance(TTL / 10 - MOMENT).await;
        assert_eq!(list(&store, "/", ReadAt::Latest).await, "/a=leased");
    }
    let mut changes = watch(&store, "/", written).await;
    advance(MOMENT * 11).await;
    assert!(next(&mut changes).await.after.is_none());
}

/// Contract 7: a renewal starts the time to live anew; after the end there is nothing to renew.
async fn a_renewal_starts_anew(Fixture { store, advance, .. }: Fixture) {
    let lease = store.grant(TTL).await.unwrap();
    let written = apply(&store, [leased("/a", lease)]).await;
    for _ in 0..5 {
        advance(TTL - MOMENT).await;
        store.renew(lease).await.expect("the lease has not ended");
        assert_eq!(list(&store, "/", ReadAt::Latest).await, "/a=leased");
    }
    let mut changes = watch(&store, "/", written).await;
    advance(TTL + MOMENT).await;
    assert!(next(&mut changes).await.after.is_none());
    let error = store.renew(lease).await.expect_err("the lease has ended");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// Contract 7: revoking ends a lease at once, and again is no error.
async fn a_revoked_lease_ends_at_once(Fixture { store, .. }: Fixture) {
    let lease = store.grant(TTL).await.unwrap();
    let written = apply(&store, [leased("/a", lease), leased("/b", lease)]).await;
    let mut changes = watch(&store, "/", written).await;
    store.revoke(lease).await.unwrap();
    assert_eq!(list(&store, "/", ReadAt::Latest).await, "");
    let (first, second) = (next(&mut changes).await, next(&mut changes).await);
    assert_eq!(first.revision, second.revision);
    store.revoke(lease).await.expect("revoking is idempotent");
    assert_eq!(store.renew(lease).await.expect_err("the lease has ended").kind(), ErrorKind::NotFound);
}

/// Contract 7: a key written without the lease, or with another one, does not die with it.
async fn keys_leave_a_lease(Fixture { store, .. }: Fixture) {
    let lease = store.grant(TTL).await.unwrap();
    let other = store.grant(TTL).await.unwrap();
    assert_ne!(lease, other);
    apply(&store, [leased("/a", lease), leased("/b", lease), leased("/c", lease)]).await;
    apply(&store, [put("/a", "free"), leased("/b", other)]).await;
    store.revoke(lease).await.unwrap();
    assert_eq!(list(&store, "/", ReadAt::Latest).await, "/a=free /b=leased");
    store.revoke(other).await.unwrap();
    assert_eq!(list(&store, "/", ReadAt::Latest).await, "/a=free");
}

/// Contract 7: a lease granted later with a shorter time ends first.
async fn leases_end_each_in_its_time(Fixture { store, advance, .. }: Fixture) {
    let long = store.grant(TTL * 3).await.unwrap();
    let short = store.grant(TTL).await.unwrap();
    let written = apply(&store, [leased("/long", long), leased("/short", short)]).await;
    let mut changes = watch(&store, "/", written).await;
    advance(TTL + MOMENT).await;
    assert_eq!(next(&mut changes).await.key().as_str(), "/short");
    assert_eq!(list(&store, "/", ReadAt::Latest).await, "/long=leased");
    advance(TTL * 2).await;
    assert_eq!(next(&mut changes).await.key().as_str(), "/long");
}

/// Contract 7: a key cannot be put under a lease that is not there.
async fn unknown_leases_are_refused(Fixture { store, .. }: Fixture) {
    let latest = store.latest().await.unwrap();
    let error = store.txn(super::txn([put("/b", "1"), leased("/a", LeaseId(77))])).await.expect_err("no such lease");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(store.latest().await.unwrap(), latest);
    assert_eq!(list(&store, "/", ReadAt::Latest).await, "");
}

/// Contract 7: after a restart a lease has at least its full time again.
async fn a_restart_extends_leases(fixture: Fixture) {
    let Fixture { store, advance, restart: Some(restart) } = fixture else { return };
    let lease = store.grant(TTL).await.unwrap();
    apply(&store, [leased("/a", lease)]).await;
    advance(TTL / 2).await;
    let Fixture { store, advance, .. } = restart(store).await;
    advance(TTL - MOMENT).await;
    assert_eq!(list(&store, "/", ReadAt::Latest).await, "/a=leased");
    let mut changes = watch(&store, "/", store.latest().await.unwrap()).await;
    advance(MOMENT * 2).await;
    assert!(next(&mut changes).await.after.is_none());
    let more = store.grant(TTL).await.unwrap();
    assert_ne!(more, lease, "a lease is not granted twice");
}
