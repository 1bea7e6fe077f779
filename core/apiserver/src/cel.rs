//! Expressions in CEL with the functions that Kubernetes adds: compiled once, with limits on what they may cost.
//!
//! The engine has no budget of its own. So an expression is bounded before it runs: by its text when it is compiled, and
//! by an estimate of its steps over the sizes of what it can see ([`cost`]), by a schema when it is written down and by
//! the values themselves before each run. What the variables mean is the business of whoever evaluates.

mod actual;
mod authorizer;
mod cost;
mod functions;
mod tree;
mod types;
mod values;

use kube_cel::{
    KubeCelExt,
    cel::{Context, Program, Value as Evaluated, common::ast::IdedExpr, objects::OptionalValue},
};

pub(crate) use self::{
    actual::Actual,
    authorizer::Questions,
    cost::{Extent, cost},
    tree::{Making, REQUESTED},
    types::{Checker, Type},
    values::{map, plain, to_json},
};
pub(crate) use kube_cel::cel::Value;

/// The most steps that one rule may take by the sizes that its schema allows.
pub(crate) const PER_RULE: u64 = 10_000_000;
/// The most steps that all rules of one schema may take.
pub(crate) const PER_SCHEMA: u64 = 100_000_000;
/// The most steps that all rules may take over one object.
pub(crate) const PER_OBJECT: u64 = 10_000_000;

/// The longest expression.
const LENGTH: usize = 16 * 1024;
/// The most operators in a row: each may be one more call on the stack.
const OPERATORS: usize = 600;

/// An expression that was compiled.
#[derive(Debug)]
pub(crate) struct Expression(IdedExpr);

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for people.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        Self::making(text, Making::Nothing)
    }

    /// Compiles an expression that may make objects of these types.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for people.
    pub(crate) fn making(text: &str, types: Making) -> Result<Self, String> {
        if text.len() > LENGTH {
            return Err(format!("the expression is longer than {LENGTH} bytes"));
        }
        if operators(text) > OPERATORS {
            return Err(format!("the expression has more than {OPERATORS} operators"));
        }
        let mut tree = Program::compile(text).map_err(|errors| errors.to_string())?.expression().clone();
        tree::settle(&mut tree, types)?;
        Ok(Self(tree))
    }

    /// Whether it mentions the variable.
    pub(crate) fn mentions(&self, variable: &str) -> bool {
        self.0.references().has_variable(variable)
    }

    /// The fields of a variable that it mentions; `None` where it uses the variable in another way too.
    pub(crate) fn fields_of(&self, variable: &str) -> Option<Vec<String>> {
        tree::fields_of(&self.0, variable)
    }

    pub(crate) fn tree(&self) -> &IdedExpr {
        &self.0
    }

    /// The value under these variables.
    ///
    /// # Errors
    ///
    /// Why there is none, in upstream's words where it has some.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, String> {
        use kube_cel::cel::ExecutionError as Error;
        Evaluated::resolve(&self.0, &scope.0).map_err(|error| match error {
            Error::NoSuchKey(name) => format!("no such key: {name}"),
            Error::NoSuchOverload => "no such overload".into(),
            Error::DivisionByZero(_) => "division by zero".into(),
            Error::UndeclaredReference(name) => format!("undeclared reference to '{name}'"),
            Error::FunctionError { message, .. } => message,
            other => other.to_string(),
        })
    }
}

/// What expressions are evaluated in.
pub(crate) struct Scope<'s>(Context<'s>);

impl Scope<'static> {
    /// The functions, and no variables.
    pub(crate) fn new() -> Self {
        let mut context = Context::default().with_all();
        context.add_function("dyn", Ok::<Value, kube_cel::cel::ExecutionError>);
        context.add_function("bool", to_bool);
        Self(context)
    }

    /// The functions with those of authorizers, and no variables.
    pub(crate) fn with_authorizers() -> Self {
        let mut scope = Self::new();
        authorizer::register(&mut scope.0);
        scope
    }
}

impl Scope<'_> {
    /// A scope within this one.
    pub(crate) fn within(&self) -> Scope<'_> {
        Scope(self.0.new_inner_scope())
    }

    /// Binds a variable.
    pub(crate) fn bind(&mut self, name: &str, value: Value) {
        self.0.add_variable_from_value(name, value);
    }

    /// Binds a variable that may have no value (`optional`).
    pub(crate) fn bind_optional(&mut self, name: &str, value: Option<Value>) {
        let value = value.map_or_else(OptionalValue::none, OptionalValue::of);
        self.0.add_variable_from_value(name, Value::Opaque(std::sync::Arc::new(value)));
    }
}

/// What CEL's `bool()` takes: a bool, or one of the texts that Go's `strconv.ParseBool` knows.
fn to_bool(value: Value) -> Result<Value, kube_cel::cel::ExecutionError> {
    match &value {
        Value::Bool(_) => Ok(value),
        Value::String(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true.into()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false.into()),
            _ => Err(kube_cel::cel::ExecutionError::function_error(
                "bool",
                "type conversion error from 'string' to 'bool'",
            )),
        },
        _ => Err(kube_cel::cel::ExecutionError::NoSuchOverload),
    }
}

/// How many operators stand outside of texts.
fn operators(text: &str) -> usize {
    let mut quote = None;
    let mut count = 0;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(_), '\\') => _ = letters.next(),
            (Some(end), letter) if letter == end => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, '+' | '-' | '*' | '/' | '%' | '!' | '<' | '>' | '=' | '?' | '&' | '|' | '.' | '[' | '(' | '{') => {
                count += 1;
            }
            (None, _) => {}
        }
    }
    count
}

/// Whether an expression may mention the name although it is no variable: types, and groups of functions.
pub(crate) fn declares(name: &str) -> bool {
    const NAMES: [&str; 19] = [
        "int",
        "uint",
        "double",
        "bool",
        "string",
        "bytes",
        "list",
        "map",
        "null_type",
        "type",
        "optional",
        "sets",
        "math",
        "base64",
        "ip",
        "cidr",
        "format",
        "cel",
        "jsonpatch",
    ];
    NAMES.contains(&name) || name.starts_with('@')
}

/// The name that expressions have for a field: what is no name of theirs is written otherwise.
pub(crate) fn escaped(name: &str) -> Option<String> {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let start = name.chars().next()?;
    if !(start.is_ascii_alphabetic() || start == '_') {
        return None;
    }
    let mut out = String::with_capacity(name.len());
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '_' if letters.peek() == Some(&'_') => {
                letters.next();
                out.push_str("__underscores__");
            }
            '.' => out.push_str("__dot__"),
            '-' => out.push_str("__dash__"),
            '/' => out.push_str("__slash__"),
            letter if letter.is_ascii_alphanumeric() || letter == '_' => out.push(letter),
            _ => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<bool, &str>) {
        let mut scope = Scope::new();
        scope.bind("self", Value::Int(3));
        scope.bind_optional("oldSelf", Some(Value::Int(2)));
        let said = Expression::compile(text).and_then(|expression| expression.evaluate(&scope));
        assert_eq!(said, expect.map(Value::Bool).map_err(str::to_owned), "{text}");
    }

    #[test]
    fn expressions_know_kubernetes_functions_and_optional_values() {
        check("self > 2", Ok(true));
        check("oldSelf.hasValue() && oldSelf.value() < self", Ok(true));
        check("oldSelf.orValue(9) == 9", Ok(false));
        check("quantity('1Ki').isGreaterThan(quantity('1k'))", Ok(true));
        check("'a-b'.matches('^[a-z-]+$')", Ok(true));
        check("dyn(self) == 3 && bool('true')", Ok(true));
        check("1 / 0 == 1", Err("division by zero"));
        check("sizeof(self) > 1", Err("undeclared reference to 'sizeof' (in container '')"));
        check("[1].sortOf()[0] == 1", Err("undeclared reference to 'sortOf' (in container '')"));
    }

    #[test]
    fn expressions_that_would_take_the_stack_are_refused() {
        for text in ["1+".repeat(5_000) + "1", "(".repeat(5_000) + "1", "!".repeat(5_000) + "true", "a".repeat(20_000)]
        {
            assert!(Expression::compile(&text).is_err());
        }
        assert!(Expression::compile("\"......................\".size() > 0").is_ok());
        assert!(Expression::compile("self.").unwrap_err().starts_with("ERROR: <input>:1:"));
    }

    #[test]
    fn names_are_escaped_as_kubernetes_does() {
        let escape = |name: &str| escaped(name).unwrap_or_default();
        assert_eq!(escape("a_b"), "a_b");
        assert_eq!(escape("a__b"), "a__underscores__b");
        assert_eq!(escape("x-y.z/w"), "x__dash__y__dot__z__slash__w");
        assert_eq!(escape("namespace"), "__namespace__");
        assert_eq!(escape("1a"), "");
    }
}
