//! Whether the expressions of a validating policy fit the types that it is about (`status.typeChecking`).
//!
//! Only what is certain is told: fields that a type does not have, and operators between scalars of different types.

use kube_cel::cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use serde_json::{Value, json};
use windlass_api::schema::{self, Codec, Message, Shape};

use crate::{
    cel::{Expression, escaped},
    custom::{Additional, Node, SchemaKind},
    object,
    registry::{Info, Schema},
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
    let mut checker = Checker { scope: Vec::new(), variables: Vec::new(), said: Vec::new() };
    let own = Type::of(info);
    for (name, kind) in [("object", own.clone()), ("oldObject", own), ("params", params.clone())] {
        checker.scope.push((name.into(), kind));
    }
    for variable in spec["variables"].as_array().into_iter().flatten() {
        let (Some(name), Some(text)) = (variable["name"].as_str(), variable["expression"].as_str()) else { continue };
        let kind = Expression::compile(text).map_or(Type::Unknown, |program| checker.infer(program.tree()));
        checker.variables.push((name.to_owned(), kind));
    }
    // What is wrong with a variable is not wrong with its users.
    checker.said.clear();
    checker.infer(expression.tree());
    let kind = format!("{}, Kind={}", info.api_version(), info.kind);
    checker.said.into_iter().map(|why| format!("{kind}: {why}")).collect()
}

/// A type, as far as it is known.
#[derive(Clone, Debug)]
enum Type<'s> {
    Unknown,
    Bool,
    Int,
    Double,
    Text,
    List(Box<Self>),
    Map(Box<Self>),
    Message(&'static Message),
    /// A custom type; at its root it has what every object has.
    Custom(&'s Node, bool),
}

impl<'s> Type<'s> {
    fn of(info: &'s Info) -> Self {
        match &info.schema {
            Schema::BuiltIn(message) => Self::Message(message),
            Schema::Custom(version) => Self::Custom(version.node(), true),
        }
    }

    fn of_field(field: &schema::Field) -> Self {
        let one = match field.of {
            schema::Kind::String | schema::Kind::Bytes => Self::Text,
            schema::Kind::Bool => Self::Bool,
            schema::Kind::Int32 | schema::Kind::Int64 => Self::Int,
            schema::Kind::Double => Self::Double,
            schema::Kind::Message(message) if matches!(message.codec, Codec::Plain) => Self::Message(message),
            // Quantities, times and the like have more than one form.
            schema::Kind::Message(_) => Self::Unknown,
        };
        match field.shape {
            Shape::One => one,
            Shape::List => Self::List(Box::new(one)),
            Shape::Map => Self::Map(Box::new(one)),
        }
    }

    fn of_node(node: &'s Node) -> Self {
        match (node.kind, &node.items, &node.additional) {
            (Some(SchemaKind::Boolean), ..) => Self::Bool,
            (Some(SchemaKind::Integer), ..) => Self::Int,
            (Some(SchemaKind::Number), ..) => Self::Double,
            (Some(SchemaKind::String), ..) => Self::Text,
            (Some(SchemaKind::Array), Some(items), _) => Self::List(Box::new(Self::of_node(items))),
            (Some(SchemaKind::Object), _, Additional::Each(each)) => Self::Map(Box::new(Self::of_node(each))),
            (Some(SchemaKind::Object), _, Additional::Unsaid) if !node.preserves => Self::Custom(node, node.embeds),
            _ => Self::Unknown,
        }
    }

    /// The field of this name; `None` where there is none.
    fn field(&self, name: &str) -> Option<Self> {
        match self {
            Self::Message(message) => {
                let field = message.fields.iter().find(|field| escaped(field.json).as_deref() == Some(name))?;
                Some(Self::of_field(field))
            }
            Self::Custom(node, whole) => {
                if *whole && matches!(name, "apiVersion" | "kind" | "metadata") {
                    return Some(Self::Unknown);
                }
                let own = node.properties.iter().find(|(own, _)| escaped(own).as_deref() == Some(name));
                own.map(|(_, node)| Self::of_node(node))
            }
            Self::Map(each) => Some((**each).clone()),
            _ => Some(Self::Unknown),
        }
    }

    fn each(&self) -> Self {
        match self {
            Self::List(each) => (**each).clone(),
            // The elements of a map are its keys.
            Self::Map(_) => Self::Text,
            _ => Self::Unknown,
        }
    }

    fn scalar(&self) -> Option<&'static str> {
        match self {
            Self::Bool => Some("bool"),
            Self::Int => Some("int"),
            Self::Double => Some("double"),
            Self::Text => Some("string"),
            _ => None,
        }
    }
}

struct Checker<'s> {
    scope: Vec<(String, Type<'s>)>,
    variables: Vec<(String, Type<'s>)>,
    said: Vec<String>,
}

impl<'s> Checker<'s> {
    fn infer(&mut self, expression: &IdedExpr) -> Type<'s> {
        match &expression.expr {
            Expr::Literal(LiteralValue::Boolean(_)) => Type::Bool,
            Expr::Literal(LiteralValue::Int(_) | LiteralValue::UInt(_)) => Type::Int,
            Expr::Literal(LiteralValue::Double(_)) => Type::Double,
            Expr::Literal(LiteralValue::String(_)) => Type::Text,
            Expr::Literal(_) | Expr::Unspecified | Expr::Struct(_) => Type::Unknown,
            Expr::Ident(name) => {
                self.scope.iter().rev().find(|(own, _)| own == name).map_or(Type::Unknown, |(_, kind)| kind.clone())
            }
            Expr::Select(select) => {
                if matches!(&select.operand.expr, Expr::Ident(name) if name == "variables") {
                    let found = self.variables.iter().find(|(name, _)| *name == select.field);
                    return found.map_or(Type::Unknown, |(_, kind)| kind.clone());
                }
                let of = self.infer(&select.operand);
                let field = of.field(&select.field);
                if field.is_none() {
                    self.said.push(format!("undefined field '{}'", select.field));
                }
                if select.test { Type::Bool } else { field.unwrap_or(Type::Unknown) }
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                list.elements.iter().for_each(|element| _ = self.infer(element));
                Type::List(Box::new(Type::Unknown))
            }
            Expr::Map(_) => Type::Unknown,
            Expr::Comprehension(over) => {
                let range = self.infer(&over.iter_range);
                let bound = self.scope.len();
                let each = if over.iter_var2.is_some() { Type::Unknown } else { range.each() };
                self.scope.push((over.iter_var.clone(), each));
                self.scope.extend(over.iter_var2.clone().map(|name| (name, Type::Unknown)));
                self.scope.push((over.accu_var.clone(), Type::Unknown));
                self.infer(&over.loop_step);
                let made = self.infer(&over.result);
                self.scope.truncate(bound);
                made
            }
        }
    }

    fn call(&mut self, call: &CallExpr) -> Type<'s> {
        let mut given: Vec<Type<'s>> = Vec::new();
        for part in call.target.as_deref().into_iter().chain(&call.args) {
            given.push(self.infer(part));
        }
        let compares = matches!(
            call.func_name.as_str(),
            operators::EQUALS
                | operators::NOT_EQUALS
                | operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS
        );
        if let (true, [left, right]) = (compares, given.as_slice())
            && let (Some(a), Some(b)) = (left.scalar(), right.scalar())
        {
            let numbers = ["int", "double"];
            if a != b && !(numbers.contains(&a) && numbers.contains(&b)) {
                self.said.push(format!("found no matching overload for '{}' applied to '({a}, {b})'", call.func_name));
            }
        }
        match call.func_name.as_str() {
            _ if compares => Type::Bool,
            operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT | operators::IN => Type::Bool,
            "size" => Type::Int,
            operators::INDEX => match given.first() {
                Some(Type::List(each) | Type::Map(each)) => (**each).clone(),
                _ => Type::Unknown,
            },
            _ => Type::Unknown,
        }
    }
}
