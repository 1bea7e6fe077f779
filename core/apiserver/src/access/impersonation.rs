//! Acting as somebody else (`Impersonate-*` headers), where that is allowed.

use std::collections::BTreeMap;

use windlass_kernel::{
    Authorizer, Identity, Result,
    access::{Attributes, Decision},
    error::{Error, ErrorKind},
};

use super::authenticators::AUTHENTICATED;

/// Whom a request wants to act as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impersonation {
    /// The user's name.
    pub user: String,
    /// The user's uid.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// The extras, by lower-case key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    /// Whether the request asks for nothing of the kind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The identity asked for.
///
/// # Errors
///
/// [`BadRequest`](ErrorKind::BadRequest) where no user is named, [`Forbidden`](ErrorKind::Forbidden) where `own` may not
/// act as one of the things asked for.
pub async fn impersonate(own: &Identity, wanted: Impersonation, authorizer: &dyn Authorizer) -> Result<Identity> {
    if wanted.user.is_empty() {
        let text = "requested [{UID,Group,Extra}] without impersonating a user";
        return Err(Error::new(ErrorKind::BadRequest, text));
    }
    let account = account_of(&wanted.user);
    match account {
        Some((namespace, name)) => check(own, authorizer, &ask("", "serviceaccounts", "", namespace, name)).await?,
        None => check(own, authorizer, &ask("", "users", "", "", &wanted.user)).await?,
    }
    for group in &wanted.groups {
        check(own, authorizer, &ask("", "groups", "", "", group)).await?;
    }
    for (key, values) in &wanted.extra {
        for value in values {
            check(own, authorizer, &ask("authentication.k8s.io", "userextras", key, "", value)).await?;
        }
    }
    if !wanted.uid.is_empty() {
        check(own, authorizer, &ask("authentication.k8s.io", "uids", "", "", &wanted.uid)).await?;
    }
    let mut groups = wanted.groups;
    if let (true, Some((namespace, _))) = (groups.is_empty(), account) {
        groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
    }
    let by_default = if wanted.user == "system:anonymous" { "system:unauthenticated" } else { AUTHENTICATED };
    if !groups.iter().any(|group| group == AUTHENTICATED || group == "system:unauthenticated") {
        groups.push(by_default.into());
    }
    Ok(Identity { name: wanted.user, uid: wanted.uid, groups, extra: wanted.extra })
}

/// The namespace and name of a service account's user name.
pub(crate) fn account_of(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':').filter(|(ns, name)| !ns.is_empty() && !name.is_empty())
}

fn ask(group: &str, resource: &str, subresource: &str, namespace: &str, name: &str) -> Attributes {
    Attributes {
        verb: "impersonate".into(),
        group: group.into(),
        version: if group.is_empty() { String::new() } else { "v1".into() },
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        ..Attributes::default()
    }
}

async fn check(own: &Identity, authorizer: &dyn Authorizer, ask: &Attributes) -> Result<()> {
    match authorizer.authorize(own, ask).await? {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(forbidden(own, ask, &reason)),
    }
}

/// The refusal of a request, in the words clients match on.
pub(crate) fn forbidden(own: &Identity, ask: &Attributes, reason: &str) -> Error {
    let user = &own.name;
    let message = if ask.resource.is_empty() {
        format!("forbidden: User \"{user}\" cannot {} path \"{}\"", ask.verb, ask.path)
    } else {
        let full = if ask.group.is_empty() { ask.resource.clone() } else { format!("{}.{}", ask.resource, ask.group) };
        let slash = if ask.subresource.is_empty() { String::new() } else { format!("/{}", ask.subresource) };
        let what = if ask.name.is_empty() { String::new() } else { format!(" \"{}\"", ask.name) };
        let place = if ask.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{}\"", ask.namespace)
        };
        format!(
            "{full}{what} is forbidden: User \"{user}\" cannot {} resource \"{}{slash}\" in API group \"{}\" {place}",
            ask.verb, ask.resource, ask.group
        )
    };
    let message = if reason.is_empty() { message } else { format!("{message}: {reason}") };
    Error::new(ErrorKind::Forbidden, message).detailed(|details| {
        details.name = ask.name.clone();
        details.group = ask.group.clone();
        details.kind = ask.resource.clone();
    })
}
