//! What objects use of a ResourceQuota: how much each charges, which quotas it concerns, and what is too much.
//!
//! Both who admits objects and who counts them ask here, so that they agree. Objects are trees in their stored version.

mod pod;
mod scope;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::quantity::{Amount, Format};

pub use self::scope::concerns;

/// The resources of the core group whose objects are counted under their plain name too.
const PLAIN: [&str; 4] = ["replicationcontrollers", "resourcequotas", "secrets", "configmaps"];
const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";

/// Amounts by the names that quotas have for them, such as `requests.cpu` or `count/deployments.apps`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage(BTreeMap<String, Amount>);

impl Usage {
    /// Reads the amounts of a `hard` or `used` of a quota; what cannot be read is left out.
    #[must_use]
    pub fn read(amounts: &Value) -> Self {
        let each = amounts.as_object().into_iter().flatten();
        Self(each.filter_map(|(name, value)| Some((name.clone(), Amount::from_json(value).ok()?))).collect())
    }

    /// The amounts as quotas hold them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(self.0.iter().map(|(name, amount)| (name.clone(), amount.to_string().into())).collect())
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// One amount.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Amount> {
        self.0.get(name).copied()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Only what the other speaks of too.
    #[must_use]
    pub fn masked(&self, by: &Self) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(name, _)| by.0.contains_key(*name))
                .map(|(name, own)| (name.clone(), *own))
                .collect(),
        )
    }

    /// Adds amounts, those of new names too.
    pub fn add(&mut self, more: &Self) {
        for (name, amount) in &more.0 {
            self.count(name, *amount);
        }
    }

    /// What is more here than there; nothing of what is not.
    #[must_use]
    pub fn above(&self, other: &Self) -> Self {
        let more = |(name, amount): (&String, &Amount)| {
            let left = *amount - other.get(name).unwrap_or_default();
            (!left.is_zero() && !left.is_negative()).then(|| (name.clone(), left))
        };
        Self(self.0.iter().filter_map(more).collect())
    }

    /// Nothing of each name.
    #[must_use]
    pub fn zeroed(&self) -> Self {
        Self(self.0.keys().map(|name| (name.clone(), Amount::ZERO)).collect())
    }

    /// The names of what is more here than `limit` allows.
    #[must_use]
    pub fn beyond(&self, limit: &Self) -> Self {
        let more = |(name, amount): &(&String, &Amount)| limit.get(name).is_some_and(|most| **amount > most);
        Self(self.0.iter().filter(more).map(|(name, amount)| (name.clone(), *amount)).collect())
    }

    /// The names of amounts below nothing.
    #[must_use]
    pub fn negative(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, amount)| amount.is_negative()).map(|(name, _)| name.as_str()).collect()
    }

    fn count(&mut self, name: &str, amount: Amount) {
        match self.0.get_mut(name) {
            Some(own) => *own += amount,
            None => _ = self.0.insert(name.to_owned(), amount),
        }
    }

    fn one(&mut self, name: impl Into<String>) {
        self.count(&name.into(), Amount::units(1, Format::Decimal));
    }
}

impl std::fmt::Display for Usage {
    /// Writes `cpu=1,pods=3`, as refusals do.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (name, amount)) in self.0.iter().enumerate() {
            write!(f, "{}{name}={amount}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// The name under which objects of a resource are counted.
#[must_use]
pub fn count_name(group: &str, plural: &str) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("count/{plural}{dot}{group}")
}

/// What an object of a resource uses, of everything that a quota may speak of.
#[must_use]
pub fn usage(group: &str, plural: &str, object: &Value) -> Usage {
    let mut usage = Usage::default();
    usage.one(count_name(group, plural));
    if !group.is_empty() {
        return usage;
    }
    match plural {
        "pods" => pod::usage(object, &mut usage),
        "services" => service(object, &mut usage),
        "persistentvolumeclaims" => claim(object, &mut usage),
        _ if PLAIN.contains(&plural) => usage.one(plural),
        _ => {}
    }
    usage
}

/// Whether a quota's name is about objects of a resource.
#[must_use]
pub fn tracks(group: &str, plural: &str, name: &str) -> bool {
    if name == count_name(group, plural) {
        return true;
    }
    group.is_empty()
        && match plural {
            "pods" => pod::tracks(name),
            "services" => matches!(name, "services" | "services.nodeports" | "services.loadbalancers"),
            "persistentvolumeclaims" => {
                matches!(name, "persistentvolumeclaims" | "requests.storage") || name.contains(STORAGE_CLASS)
            }
            _ => PLAIN.contains(&plural) && name == plural,
        }
}

/// Why an object that leaves amounts open may not be created where a quota limits them, if so.
#[must_use]
pub fn unspecified(group: &str, plural: &str, object: &Value, limited: &Usage) -> Option<String> {
    if group.is_empty() && plural == "pods" { pod::unspecified(object, limited) } else { None }
}

fn service(object: &Value, usage: &mut Usage) {
    usage.one("services");
    let spec = &object["spec"];
    let ports = || spec["ports"].as_array().into_iter().flatten();
    let count = |number: usize| Amount::units(i64::try_from(number).unwrap_or(i64::MAX), Format::Decimal);
    match spec["type"].as_str() {
        Some("NodePort") => usage.count("services.nodeports", count(ports().count())),
        Some("LoadBalancer") => {
            let given = |port: &&Value| port["nodePort"].as_i64().unwrap_or(0) != 0;
            let none = spec["allocateLoadBalancerNodePorts"] == false;
            let number = if none { ports().filter(given).count() } else { ports().count() };
            usage.count("services.nodeports", count(number));
            usage.one("services.loadbalancers");
        }
        _ => {}
    }
}

fn claim(object: &Value, usage: &mut Usage) {
    usage.one("persistentvolumeclaims");
    let annotated = &object["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"];
    let class = annotated.as_str().or(object["spec"]["storageClassName"].as_str()).filter(|class| !class.is_empty());
    if let Some(class) = class {
        usage.one(format!("{class}{STORAGE_CLASS}persistentvolumeclaims"));
    }
    let amount = |value: &Value| if value.is_null() { None } else { Amount::from_json(value).ok() };
    let wanted = amount(&object["spec"]["resources"]["requests"]["storage"]);
    // What was given stays charged until less of it is given.
    let Some(size) = wanted.max(amount(&object["status"]["allocatedResources"]["storage"])) else { return };
    usage.count("requests.storage", size);
    if let Some(class) = class {
        usage.count(&format!("{class}{STORAGE_CLASS}requests.storage"), size);
    }
}

#[cfg(test)]
mod tests;
