//! What is done to an expression's tree before it is evaluated, because the engine does not know it.

use kube_cel::cel::common::ast::{
    CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, MapEntryExpr, MapExpr, operators,
};

use super::functions;

/// The objects that an expression may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Making {
    Nothing,
    /// `Object{…}`, and below it `Object.spec{…}`.
    Objects,
    /// `JSONPatch{…}`, and objects as their values.
    Patches,
}

/// The variable whose name has a dot in it.
pub(crate) const REQUESTED: &str = "authorizer.requestResource";

/// Turns objects that are made into maps, and what has no meaning to the engine into what has.
pub(super) fn settle(tree: &mut IdedExpr, types: Making) -> Result<(), String> {
    each_below(tree, &mut |below| settle(below, types))?;
    match &mut tree.expr {
        Expr::Struct(made) => {
            let known = match types {
                Making::Nothing => false,
                Making::Objects => is_object(&made.type_name),
                Making::Patches => made.type_name == "JSONPatch" || is_object(&made.type_name),
            };
            if !known {
                return Err(format!("undeclared reference to '{}' (in container '')", made.type_name));
            }
            let entries = made.entries.drain(..).map(entry).collect();
            tree.expr = Expr::Map(MapExpr { entries });
        }
        Expr::Select(select) => {
            let of = matches!(&select.operand.expr, Expr::Ident(name) if name == "authorizer");
            if of && select.field == "requestResource" && !select.test {
                tree.expr = Expr::Ident(REQUESTED.into());
            }
        }
        Expr::Call(call) if !functions::knows(&call.func_name) => {
            return Err(format!("undeclared reference to '{}' (in container '')", call.func_name));
        }
        // The engine's own way to select a field that may be absent fails where it is.
        Expr::Call(call) if call.func_name == operators::OPT_SELECT => call.func_name = operators::OPT_INDEX.into(),
        _ => {}
    }
    Ok(())
}

fn is_object(name: &str) -> bool {
    name == "Object" || name.starts_with("Object.")
}

fn entry(own: IdedEntryExpr) -> IdedEntryExpr {
    let expr = match own.expr {
        EntryExpr::StructField(field) => EntryExpr::MapEntry(MapEntryExpr {
            key: IdedExpr { id: own.id, expr: Expr::Literal(LiteralValue::String(field.field.as_str().into())) },
            value: field.value,
            optional: field.optional,
        }),
        kept @ EntryExpr::MapEntry(_) => kept,
    };
    IdedEntryExpr { id: own.id, expr }
}

fn each_below(tree: &mut IdedExpr, visit: &mut dyn FnMut(&mut IdedExpr) -> Result<(), String>) -> Result<(), String> {
    match &mut tree.expr {
        Expr::Unspecified => Err("the expression is empty".into()),
        Expr::Literal(_) | Expr::Ident(_) => Ok(()),
        Expr::Select(select) => visit(&mut select.operand),
        Expr::Call(CallExpr { target, args, .. }) => {
            target.iter_mut().try_for_each(|target| visit(target))?;
            args.iter_mut().try_for_each(visit)
        }
        Expr::List(list) => list.elements.iter_mut().try_for_each(visit),
        Expr::Map(MapExpr { entries }) => below_entries(entries, visit),
        Expr::Struct(made) => below_entries(&mut made.entries, visit),
        Expr::Comprehension(over) => {
            let parts =
                [&mut over.iter_range, &mut over.accu_init, &mut over.loop_cond, &mut over.loop_step, &mut over.result];
            parts.into_iter().try_for_each(visit)
        }
    }
}

fn below_entries(
    entries: &mut [IdedEntryExpr],
    visit: &mut dyn FnMut(&mut IdedExpr) -> Result<(), String>,
) -> Result<(), String> {
    entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
        EntryExpr::StructField(field) => visit(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            visit(&mut entry.key)?;
            visit(&mut entry.value)
        }
    })
}

/// The fields of a variable that are selected; `None` where it stands alone somewhere.
pub(super) fn fields_of(tree: &IdedExpr, variable: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut whole = false;
    // The walk wants to change what it visits; what it visits here is a copy.
    collect(&mut tree.clone(), variable, &mut found, &mut whole);
    (!whole).then_some(found)
}

fn collect(tree: &mut IdedExpr, variable: &str, found: &mut Vec<String>, whole: &mut bool) {
    match &tree.expr {
        Expr::Ident(name) if name == variable => *whole = true,
        Expr::Select(select) if matches!(&select.operand.expr, Expr::Ident(name) if name == variable) => {
            found.push(select.field.clone());
        }
        _ => {
            let below = each_below(tree, &mut |below| {
                collect(below, variable, found, whole);
                Ok(())
            });
            debug_assert!(below.is_ok(), "a settled tree has no empty parts");
        }
    }
}
