//! How many steps an expression can take, over the sizes of what it can see.
//!
//! The estimate follows fields and the elements of lists and maps from the variables on, and what functions make of
//! them is taken to be as large as what they were given. It errs upwards.

use kube_cel::cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};

/// A set of values, as far as their sizes are concerned.
pub(crate) trait Extent: Clone {
    /// A value of this size of which nothing else is known.
    fn sized(size: u64) -> Self;
    /// What a name means that no variable has; an error where it can mean nothing.
    fn named(name: &str) -> Result<Self, String>;
    /// The field of this (escaped) name; an error where there can be none.
    fn field(&self, name: &str) -> Result<Self, String>;
    /// The elements of lists and the keys and values of maps.
    fn each(&self) -> Self;
    /// The most elements, or characters, that one of the values has.
    fn size(&self) -> u64;
}

/// The steps of an expression; `scope` has its variables.
///
/// # Errors
///
/// A field or a variable that cannot be there.
pub(crate) fn cost<E: Extent>(expression: &IdedExpr, scope: &[(&str, E)]) -> Result<u64, String> {
    let mut variables = scope.iter().map(|(name, extent)| ((*name).to_owned(), extent.clone())).collect();
    estimate(expression, &mut variables).map(|(steps, _)| steps)
}

type Variables<E> = Vec<(String, E)>;

fn estimate<E: Extent>(expression: &IdedExpr, scope: &mut Variables<E>) -> Result<(u64, E), String> {
    match &expression.expr {
        Expr::Unspecified => Ok((0, E::sized(0))),
        Expr::Literal(LiteralValue::String(text)) => Ok((0, E::sized(text.inner().chars().count() as u64))),
        Expr::Literal(_) => Ok((0, E::sized(1))),
        Expr::Ident(name) => {
            let found = scope.iter().rev().find(|(own, _)| own == name);
            Ok((1, found.map_or_else(|| E::named(name), |(_, extent)| Ok(extent.clone()))?))
        }
        Expr::Select(select) => {
            let (steps, operand) = estimate(&select.operand, scope)?;
            Ok((steps.saturating_add(1), operand.field(&select.field)?))
        }
        Expr::Call(call) => self::call(&call.func_name, call.target.as_deref(), &call.args, scope),
        Expr::List(list) => several(list.elements.iter(), list.elements.len(), scope),
        Expr::Map(map) => {
            let parts = map.entries.iter().flat_map(|entry| entry_parts(&entry.expr));
            several(parts, map.entries.len(), scope)
        }
        Expr::Struct(made) => {
            let parts = made.entries.iter().flat_map(|entry| entry_parts(&entry.expr));
            several(parts, made.entries.len(), scope)
        }
        Expr::Comprehension(over) => {
            let (mut steps, range) = estimate(&over.iter_range, scope)?;
            let (initial, _) = estimate(&over.accu_init, scope)?;
            // What is made of the elements may be anything, and as large as one of them.
            let made = E::sized(range.size().max(range.each().size()));
            let bound = scope.len();
            scope.push((over.iter_var.clone(), range.each()));
            if let Some(second) = &over.iter_var2 {
                scope.push((second.clone(), range.each()));
            }
            scope.push((over.accu_var.clone(), made.clone()));
            let condition = estimate(&over.loop_cond, scope);
            let step = estimate(&over.loop_step, scope);
            let result = estimate(&over.result, scope);
            scope.truncate(bound);
            let each = condition?.0.saturating_add(step?.0).saturating_add(1);
            steps = steps.saturating_add(initial).saturating_add(range.size().saturating_mul(each));
            Ok((steps.saturating_add(result?.0), made))
        }
    }
}

fn entry_parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

fn several<'e, E: Extent>(
    parts: impl Iterator<Item = &'e IdedExpr>,
    count: usize,
    scope: &mut Variables<E>,
) -> Result<(u64, E), String> {
    let mut steps: u64 = 1;
    for part in parts {
        steps = steps.saturating_add(estimate(part, scope)?.0);
    }
    Ok((steps, E::sized(count as u64)))
}

fn call<E: Extent>(
    name: &str,
    target: Option<&IdedExpr>,
    args: &[IdedExpr],
    scope: &mut Variables<E>,
) -> Result<(u64, E), String> {
    let mut steps: u64 = 1;
    let mut given = Vec::new();
    for part in target.into_iter().chain(args) {
        let (own, extent) = estimate(part, scope)?;
        steps = steps.saturating_add(own);
        given.push(extent);
    }
    let largest = given.iter().map(Extent::size).max().unwrap_or(1);
    let first = given.first().cloned().unwrap_or_else(|| E::sized(1));
    Ok(match name {
        "_[_]" | "_[?_]" => (steps, first.each()),
        "_?._" => (steps, first),
        "_?_:_" => (steps, given.into_iter().skip(1).max_by_key(Extent::size).unwrap_or(first)),
        "size" | "_&&_" | "_||_" | "!_" | "-_" | "_<_" | "_<=_" | "_>_" | "_>=_" | "_-_" | "_*_" | "_/_" | "_%_" => {
            (steps, E::sized(1))
        }
        // Comparing and searching look at everything once.
        "_==_" | "_!=_" => (steps.saturating_add(largest / 10), E::sized(1)),
        "@in" | "_in_" | "indexOf" | "lastIndexOf" | "isSorted" | "sum" | "min" | "max" => {
            (steps.saturating_add(largest), E::sized(1))
        }
        "matches" | "find" | "findAll" | "contains" | "startsWith" | "endsWith" => {
            let pattern = given.get(1).map_or(1, Extent::size).clamp(1, 1000);
            (steps.saturating_add((largest / 10).saturating_mul(pattern.div_ceil(4))), E::sized(largest))
        }
        // Sets are compared each with each.
        "sets.contains" | "sets.equivalent" | "sets.intersects" | "contains_all" => {
            let product = given.iter().map(Extent::size).fold(1, u64::saturating_mul);
            (steps.saturating_add(product), E::sized(1))
        }
        "_+_" => {
            let both = given.iter().map(Extent::size).fold(0, u64::saturating_add);
            (steps.saturating_add(both / 10), E::sized(both))
        }
        "replace" | "join" | "format" => {
            let product = given.iter().map(Extent::size).fold(1, |all: u64, own| all.saturating_mul(own.max(1)));
            (steps.saturating_add(product / 10), E::sized(product))
        }
        // What an optional holds is what was given.
        "value" | "orValue" | "or" | "optMap" | "optional.of" => (steps, first),
        _ => (steps.saturating_add(largest / 10), E::sized(largest)),
    })
}
