//! Whether the expressions of a validating policy fit the types that it is about (`status.typeChecking`).
//!
//! What cannot be known without more is not told.

use serde_json::{Value, json};

use crate::{
    cel::{Checker, Expression, Type},
    object,
    registry::Info,
    server::ApiServer,
};

/// Of more types than this a policy is not checked for the rest.
const TYPES: usize = 10;

/// Writes into the status of a policy what its expressions get wrong.
pub(crate) fn type_checked(server: &ApiServer, policy: &mut Value) {
    let generation = object::meta(policy, "generation").clone();
    let mut warnings = Vec::new();
    let infos = infos(server, &policy["spec"]["matchConstraints"]["resourceRules"]);
    let param = &policy["spec"]["paramKind"];
    let param = param["kind"].as_str().and_then(|kind| {
        let version = param["apiVersion"].as_str()?;
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        server.parts.registry.of_kind(group, version, kind)
    });
    let params = param.as_ref().map_or(Type::Unknown, |served| Type::of(&served.info));
    let validations = policy["spec"]["validations"].as_array().into_iter().flatten().enumerate();
    for (at, validation) in validations {
        for field in ["expression", "messageExpression"] {
            let Some(text) = validation[field].as_str() else { continue };
            let said: Vec<String> =
                infos.iter().flat_map(|served| complaints(&served.info, &params, &policy["spec"], text)).collect();
            if !said.is_empty() {
                warnings
                    .push(json!({"fieldRef": format!("spec.validations[{at}].{field}"), "warning": said.join("\n")}));
            }
        }
    }
    let status = object::child_mut(policy, "status");
    let checked = if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
    status.insert("typeChecking".into(), checked);
    status.insert("observedGeneration".into(), generation);
}

/// The resources that rules name, where they name them.
fn infos(server: &ApiServer, rules: &Value) -> Vec<std::sync::Arc<crate::registry::Served>> {
    let mut found: Vec<std::sync::Arc<crate::registry::Served>> = Vec::new();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for rule in rules.as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for version in texts(&rule["apiVersions"]) {
                for resource in texts(&rule["resources"]) {
                    let served = server.parts.registry.find(&group, &version, &resource);
                    let known = |served: &std::sync::Arc<crate::registry::Served>| {
                        found.iter().any(|own| std::sync::Arc::ptr_eq(own, served))
                    };
                    if let Some(served) = served.filter(|served| !known(served) && found.len() < TYPES) {
                        found.push(served);
                    }
                }
            }
        }
    }
    found
}

/// What an expression gets wrong about the objects of a resource.
fn complaints(info: &Info, params: &Type<'_>, spec: &Value, text: &str) -> Vec<String> {
    let Ok(expression) = Expression::compile(text) else { return Vec::new() };
    let own = Type::of(info);
    let mut checker = Checker::knowing([("object", own.clone()), ("oldObject", own), ("params", params.clone())]);
    for variable in spec["variables"].as_array().into_iter().flatten() {
        let (Some(name), Some(text)) = (variable["name"].as_str(), variable["expression"].as_str()) else { continue };
        let kind = Expression::compile(text).map_or(Type::Unknown, |program| checker.infer(program.tree()));
        checker.define(name, kind);
    }
    // What is wrong with a variable is not wrong with its users.
    checker.complaints();
    checker.infer(expression.tree());
    let kind = format!("{}, Kind={}", info.api_version(), info.kind);
    checker.complaints().into_iter().map(|why| format!("{kind}: {why}")).collect()
}
