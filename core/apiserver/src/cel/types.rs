//! The types of expressions, as far as they can be known before they run.
//!
//! Only what is certain is told: fields that a type does not have, and operators and functions that do not take what they
//! are given.

use std::mem;

use kube_cel::cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use windlass_api::schema::{self, Codec, Message, Shape};

use super::escaped;
use crate::{
    custom::{Additional, Node, SchemaKind},
    registry::{Info, Schema},
};

/// A type, as far as it is known.
#[derive(Clone, Debug)]
pub(crate) enum Type<'s> {
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
    /// The type of a resource's objects.
    pub(crate) fn of(info: &'s Info) -> Self {
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

    /// The type of a value that a schema describes; at its `root` it has what every object has.
    pub(crate) fn of_place(node: &'s Node, root: bool) -> Self {
        match Self::of_node(node) {
            Self::Custom(node, whole) => Self::Custom(node, whole || root),
            other => other,
        }
    }

    fn of_node(node: &'s Node) -> Self {
        // These texts are times, spans or bytes to expressions.
        let told = node.checks.format.as_deref().map(|format| format.replace('-', ""));
        if matches!(told.as_deref(), Some("datetime" | "date" | "duration" | "byte")) || node.nullable {
            return Self::Unknown;
        }
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

    fn is_list(&self) -> bool {
        matches!(self, Self::List(_))
    }

    /// Whether it is known to be something else than this scalar.
    pub(crate) fn is_other_than(&self, scalar: &str) -> bool {
        match self {
            Self::Unknown => false,
            _ => self.scalar() != Some(scalar),
        }
    }

    /// Its name, where it is a scalar.
    pub(crate) fn scalar(&self) -> Option<&'static str> {
        match self {
            Self::Bool => Some("bool"),
            Self::Int => Some("int"),
            Self::Double => Some("double"),
            Self::Text => Some("string"),
            _ => None,
        }
    }
}

/// Looks through expressions for what cannot be right.
pub(crate) struct Checker<'s> {
    scope: Vec<(String, Type<'s>)>,
    variables: Vec<(String, Type<'s>)>,
    said: Vec<String>,
}

impl<'s> Checker<'s> {
    /// Knows these names.
    pub(crate) fn knowing(names: impl IntoIterator<Item = (&'static str, Type<'s>)>) -> Self {
        let scope = names.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
        Self { scope, variables: Vec::new(), said: Vec::new() }
    }

    /// Knows `variables.name` from now on.
    pub(crate) fn define(&mut self, name: &str, kind: Type<'s>) {
        self.variables.push((name.to_owned(), kind));
    }

    /// What was found since the last time, in upstream's words.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        mem::take(&mut self.said)
    }

    /// The type of an expression's value.
    pub(crate) fn infer(&mut self, expression: &IdedExpr) -> Type<'s> {
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
                if let Some(kind) = range.scalar() {
                    self.said.push(format!("expression of type '{kind}' cannot be range of a comprehension"));
                }
                let bound = self.scope.len();
                let each = if over.iter_var2.is_some() { Type::Unknown } else { range.each() };
                let gathered = self.infer(&over.accu_init);
                self.scope.push((over.iter_var.clone(), each));
                self.scope.extend(over.iter_var2.clone().map(|name| (name, Type::Unknown)));
                self.scope.push((over.accu_var.clone(), gathered));
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
        let name = call.func_name.as_str();
        match name {
            operators::EQUALS | operators::NOT_EQUALS => self.agree(name, &given, Type::Bool),
            operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
                self.agree(name, &given, Type::Bool)
            }
            operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT => {
                if given.iter().any(|kind| kind.is_other_than("bool")) {
                    self.refuse(name, &given);
                }
                Type::Bool
            }
            operators::ADD => match given.as_slice() {
                [left, right] if left.is_list() && right.is_list() => left.clone(),
                _ => self.arithmetic(name, &given, &["int", "double", "string"]),
            },
            operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE => {
                self.arithmetic(name, &given, &["int", "double"])
            }
            operators::MODULO => self.arithmetic(name, &given, &["int"]),
            operators::CONDITIONAL => match given.as_slice() {
                [condition, yes, no] => {
                    let same = yes.scalar().is_some() && yes.scalar() == no.scalar();
                    let made = if same { yes.clone() } else { Type::Unknown };
                    if condition.is_other_than("bool") {
                        self.refuse(name, &given);
                    }
                    made
                }
                _ => Type::Unknown,
            },
            operators::IN => Type::Bool,
            operators::INDEX => match given.first() {
                Some(Type::List(each) | Type::Map(each)) => (**each).clone(),
                _ => Type::Unknown,
            },
            "size" => {
                if given.first().and_then(Type::scalar).is_some_and(|kind| kind != "string") {
                    self.refuse(name, &given);
                }
                Type::Int
            }
            "contains" | "startsWith" | "endsWith" | "matches" if call.target.is_some() => {
                if given.iter().any(|kind| kind.is_other_than("string")) {
                    self.refuse(name, &given);
                }
                Type::Bool
            }
            "lowerAscii" | "upperAscii" | "trim" | "replace" | "substring" if call.target.is_some() => {
                if given.first().is_some_and(|kind| kind.is_other_than("string")) {
                    self.refuse(name, &given);
                }
                Type::Text
            }
            "string" if call.target.is_none() => Type::Text,
            "int" if call.target.is_none() => Type::Int,
            "double" if call.target.is_none() => Type::Double,
            "bool" if call.target.is_none() => Type::Bool,
            _ => Type::Unknown,
        }
    }

    /// Two values of one type; numbers go with numbers.
    fn agree(&mut self, name: &str, given: &[Type<'s>], made: Type<'s>) -> Type<'s> {
        if let [left, right] = given
            && let (Some(a), Some(b)) = (left.scalar(), right.scalar())
        {
            let numbers = ["int", "double"];
            if a != b && !(numbers.contains(&a) && numbers.contains(&b)) {
                self.refuse(name, given);
            }
        }
        made
    }

    /// Two values of one of these types, and the result of the same.
    fn arithmetic(&mut self, name: &str, given: &[Type<'s>], takes: &[&str]) -> Type<'s> {
        let [left, right] = given else { return Type::Unknown };
        match (left.scalar(), right.scalar()) {
            (Some(a), Some(b)) if a != b || !takes.contains(&a) => {
                self.refuse(name, given);
                Type::Unknown
            }
            (Some(_), Some(_)) => left.clone(),
            _ => Type::Unknown,
        }
    }

    fn refuse(&mut self, name: &str, given: &[Type<'s>]) {
        let shown: Vec<&str> = given.iter().map(|kind| kind.scalar().unwrap_or("dyn")).collect();
        self.said.push(format!("found no matching overload for '{name}' applied to '({})'", shown.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cel::Expression;

    fn check(text: &str, expect: &str) {
        let text_of = |format: &str| json!({"type": "string", "format": format});
        let schema = json!({"type": "object", "properties": {
            "n": {"type": "integer"}, "f": {"type": "number"}, "s": {"type": "string"}, "b": {"type": "boolean"},
            "list": {"type": "array", "items": {"type": "string"}}, "at": text_of("date-time"),
            "any": {"x-kubernetes-int-or-string": true}, "maybe": {"type": "string", "nullable": true},
            "map": {"type": "object", "additionalProperties": {"type": "integer"}}}});
        let node = Node::read(&schema);
        let mut checker = Checker::knowing([("self", Type::of_place(&node, true))]);
        let expression = Expression::compile(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        let kind = checker.infer(expression.tree());
        let said = checker.complaints();
        let shown = if said.is_empty() { kind.scalar().unwrap_or("?").to_owned() } else { said.join("; ") };
        assert_eq!(shown, expect, "{text}");
    }

    #[test]
    fn what_fits_has_a_type() {
        check("self.n + 1 > 2 && self.s.startsWith('a')", "bool");
        check("self.list.all(x, x.size() < 3) || has(self.s)", "bool");
        check("self.list.exists_one(x, x == 'a')", "bool");
        check("self.n < self.f", "bool");
        check("self.b ? self.s : 'none'", "string");
        check("'n is ' + string(self.n)", "string");
        check("self.map.x + self.map['y']", "int");
        check("size(self.list)", "int");
        check("self.metadata.name == 'a'", "bool");
        check("self.maybe == null", "bool");
        check("self.at < timestamp('2026-01-01T00:00:00Z')", "bool");
        check("self.list.map(x, x + '!')", "?");
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let none = |what: &str, on: &str| format!("found no matching overload for '{what}' applied to '({on})'");
        check("self.n == 'a'", &none("_==_", "int, string"));
        check("self.n + self.s", &none("_+_", "int, string"));
        check("self.n + 1.5", &none("_+_", "int, double"));
        check("self.n && self.b", &none("_&&_", "int, bool"));
        check("!self.s", &none("!_", "string"));
        check("size(self.n) > 1", &none("size", "int"));
        check("self.n.startsWith('a')", &none("startsWith", "int, string"));
        check("self.list.all(x, x > 1)", &none("_>_", "string, int"));
        check("self.s.all(x, true)", "expression of type 'string' cannot be range of a comprehension");
        check("self.b - self.b", &none("_-_", "bool, bool"));
        check("self.m > 1", "undefined field 'm'");
        check("self.any + 1 > 2", "bool");
    }
}
