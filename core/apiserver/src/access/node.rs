//! What nodes may do (the Node authorizer): read and write their own objects, and read what the pods on them use.
//!
//! What a request's body says is not seen here; admission looks at that (`NodeRestriction`).

mod graph;

use std::sync::Arc;

use async_trait::async_trait;
use windlass_api::selector::Fields;
use windlass_kernel::{
    Authorizer, Identity, Result, Store,
    access::{Attributes, Decision},
};

use self::graph::{Owned, Used, Uses, Volumes};
use super::{bootstrap, rbac::PolicyRule};
use crate::followed::Followed;

const USER: &str = "system:node:";
const GROUP: &str = "system:nodes";
const LEASES: &str = "kube-node-lease";
const ROLE: &str = "system:node";

/// The node that an identity speaks for; `None` where it is no node, empty where it does not say which.
pub(crate) fn node_of(identity: &Identity) -> Option<&str> {
    if !identity.belongs_to(GROUP) {
        return None;
    }
    Some(identity.name.strip_prefix(USER).unwrap_or_default())
}

/// Lets nodes do what they need for the pods on them; of everyone else it says nothing.
#[derive(Debug)]
pub struct NodeAuthorizer {
    pods: Followed<Uses>,
    volumes: Followed<Volumes>,
    attachments: Followed<Owned>,
    slices: Followed<Owned>,
    /// What all nodes may do alike.
    rules: Vec<PolicyRule>,
}

impl NodeAuthorizer {
    /// Reads pods and volumes from `store`, from the first request of a node on.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>) -> Self {
        let role = bootstrap::drafts().into_iter().find(|draft| draft.names().1 == ROLE);
        let rules = role.map(|role| role.rules()).unwrap_or_default().into_iter();
        let rules = rules.filter_map(|rule| serde_json::from_value(rule).ok()).collect();
        Self {
            pods: Followed::new(Arc::clone(store), "/registry/core/pods/"),
            volumes: Followed::new(Arc::clone(store), "/registry/core/persistentvolumes/"),
            attachments: Followed::new(Arc::clone(store), "/registry/storage.k8s.io/volumeattachments/"),
            slices: Followed::new(Arc::clone(store), "/registry/resource.k8s.io/resourceslices/"),
            rules,
        }
    }

    async fn decide(&self, node: &str, asked: &Attributes) -> Result<Result<(), String>> {
        let ask = (asked.verb.as_str(), asked.subresource.as_str());
        let reads = matches!(asked.verb.as_str(), "get" | "list" | "watch");
        let own_name = asked.name == node;
        let of_pods = |kind: Used| self.uses(node, kind, asked);
        Ok(match (asked.group.as_str(), asked.resource.as_str()) {
            ("", "secrets" | "configmaps") if !reads || !asked.subresource.is_empty() => {
                no("can only read resources of this type")
            }
            ("", "secrets" | "configmaps") if asked.namespace.is_empty() => {
                no("can only read namespaced object of this type")
            }
            ("", "secrets" | "configmaps") if asked.name.is_empty() => no("No Object name found"),
            ("", "secrets") => return self.secret(node, asked).await,
            ("", "configmaps") => return of_pods(Used::ConfigMap).await,
            ("", "persistentvolumeclaims") => match ask {
                ("get", "") | ("update" | "patch", "status") => return of_pods(Used::Claim).await,
                (_, "status") => no("can only get/update/patch this type"),
                _ => no("can only get individual resources of this type"),
            },
            ("", "persistentvolumes") => match ask {
                ("get", "") => return self.volume(node, asked).await,
                _ => no("can only get individual resources of this type"),
            },
            ("resource.k8s.io", "resourceclaims") => match ask {
                ("get", "") => return of_pods(Used::ResourceClaim).await,
                _ => no("can only get individual resources of this type"),
            },
            ("storage.k8s.io", "volumeattachments") => match ask {
                ("get", "") => return self.owns(&self.attachments, node, asked).await,
                _ => no("can only get individual resources of this type"),
            },
            ("", "serviceaccounts") => match ask {
                ("create", "token") if !asked.name.is_empty() => return of_pods(Used::Account).await,
                ("create", "token") => no("can only create tokens for individual service accounts"),
                _ => no("can only create token subresource of serviceaccount"),
            },
            ("coordination.k8s.io", "leases") => match ask {
                ("get" | "create" | "update" | "patch" | "delete", "") if asked.namespace != LEASES => {
                    Err(format!("can only access leases in the {LEASES:?} system namespace"))
                }
                ("create", "") => Ok(()),
                ("get" | "update" | "patch" | "delete", "") if own_name => Ok(()),
                ("get" | "update" | "patch" | "delete", "") => {
                    no("can only access node lease with the same name as the requesting node")
                }
                _ => no("can only get, create, update, patch, or delete a node lease"),
            },
            ("storage.k8s.io", "csinodes") => match ask {
                ("create", "") => Ok(()),
                ("get" | "update" | "patch" | "delete", "") if own_name => Ok(()),
                ("get" | "update" | "patch" | "delete", "") => {
                    no("can only access CSINode with the same name as the requesting node")
                }
                _ => no("can only get, create, update, patch, or delete a CSINode"),
            },
            ("resource.k8s.io", "resourceslices") => match ask {
                ("create", "") => Ok(()),
                ("get" | "update" | "patch" | "delete", "") => return self.owns(&self.slices, node, asked).await,
                ("list" | "watch" | "deletecollection", "") if selects(asked, "spec.nodeName", node) => Ok(()),
                _ => no("can only list/watch/deletecollection resourceslices with nodeName field selector"),
            },
            ("", "nodes") => match ask {
                ("create" | "update" | "patch", "") | ("update" | "patch", "status") => Ok(()),
                ("get" | "list" | "watch", "") if own_name => Ok(()),
                ("get" | "list" | "watch", "") if asked.name.is_empty() => {
                    Err(format!("node '{node}' cannot read all nodes, only its own Node object"))
                }
                ("get" | "list" | "watch", "") => {
                    Err(format!("node '{node}' cannot read '{}', only its own Node object", asked.name))
                }
                _ => no(""),
            },
            ("", "pods") => match ask {
                ("create" | "delete", "") | ("update" | "patch", "status") | ("create", "eviction") => Ok(()),
                ("list" | "watch", "") if selects(asked, "spec.nodeName", node) => Ok(()),
                ("get" | "list" | "watch", "") if !asked.name.is_empty() => return of_pods(Used::Pod).await,
                ("list" | "watch", "") => no("can only list/watch pods with spec.nodeName field selector"),
                _ => no(""),
            },
            _ if self.rules.iter().any(|rule| rule.allows(asked)) => Ok(()),
            _ => no(""),
        })
    }

    /// Whether a pod on the node uses an object.
    async fn uses(&self, node: &str, kind: Used, asked: &Attributes) -> Result<Result<(), String>> {
        let (namespace, name) = (asked.namespace.as_str(), asked.name.as_str());
        let found = self.pods.with(|uses| uses.has(node, kind, namespace, name)).await?;
        Ok(related(node, found))
    }

    /// Whether a pod on the node uses a secret, or a volume of its does.
    async fn secret(&self, node: &str, asked: &Attributes) -> Result<Result<(), String>> {
        let (namespace, name) = (asked.namespace.as_str(), asked.name.as_str());
        if self.pods.with(|uses| uses.has(node, Used::Secret, namespace, name)).await? {
            return Ok(Ok(()));
        }
        let claims = self.volumes.with(|volumes| volumes.claims_with_secret(namespace, name)).await?;
        let used = |uses: &Uses| claims.iter().any(|(namespace, name)| uses.has(node, Used::Claim, namespace, name));
        Ok(related(node, self.pods.with(used).await?))
    }

    /// Whether a pod on the node uses a volume by its claim.
    async fn volume(&self, node: &str, asked: &Attributes) -> Result<Result<(), String>> {
        let claim = self.volumes.with(|volumes| volumes.claim_of(&asked.name)).await?;
        let Some((namespace, name)) = claim else { return Ok(related(node, false)) };
        Ok(related(node, self.pods.with(|uses| uses.has(node, Used::Claim, &namespace, &name)).await?))
    }

    /// Whether an object says that it is the node's.
    async fn owns(&self, of: &Followed<Owned>, node: &str, asked: &Attributes) -> Result<Result<(), String>> {
        Ok(related(node, of.with(|owned| owned.is_of(&asked.name, node)).await?))
    }
}

fn no(why: &str) -> Result<(), String> {
    Err(why.to_owned())
}

fn related(node: &str, found: bool) -> Result<(), String> {
    if found { Ok(()) } else { Err(format!("no relationship found between node '{node}' and this object")) }
}

/// Whether a request for a collection selects what has this value alone.
fn selects(asked: &Attributes, field: &str, value: &str) -> bool {
    asked.field_selector.parse::<Fields>().is_ok_and(|fields| fields.exact(field) == Some(value))
}

#[async_trait]
impl Authorizer for NodeAuthorizer {
    async fn authorize(&self, identity: &Identity, attributes: &Attributes) -> Result<Decision> {
        let Some(node) = node_of(identity) else { return Ok(Decision::NoOpinion(String::new())) };
        if node.is_empty() {
            return Ok(Decision::NoOpinion(format!("unknown node for user {:?}", identity.name)));
        }
        Ok(match self.decide(node, attributes).await? {
            Ok(()) => Decision::Allow(String::new()),
            Err(why) => Decision::NoOpinion(why),
        })
    }
}
