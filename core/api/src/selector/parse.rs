//! The text of label selectors: `a=b,c!=d,e in (x,y),!f,g notin (z),h>1`.
//!
//! Messages name what was found and what was expected in its place, as clients know them.

use std::collections::BTreeSet;

use super::Error;
use super::labels::{Labels, Operator, Requirement, invalid};
use crate::names;
use crate::path::Path;

const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

pub(super) fn labels(text: &str) -> Result<Labels, Error> {
    Parser { rest: text }.selector().map(Labels::all)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Symbol(&'static str),
    End,
}

impl<'a> Token<'a> {
    const fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Symbol(text) => text,
            Self::End => "",
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Token<'a> {
        let text = self.rest.trim_start_matches(SPACE);
        let (token, length) = match SYMBOLS.into_iter().find(|symbol| text.starts_with(symbol)) {
            Some(symbol) => (Token::Symbol(symbol), symbol.len()),
            None if text.is_empty() => (Token::End, 0),
            None => {
                let ends = |c: char| SPACE.contains(&c) || "=!(),><".contains(c);
                let length = text.find(ends).unwrap_or(text.len());
                (Token::Word(&text[..length]), length)
            }
        };
        self.rest = &text[length..];
        token
    }

    fn peek(&self) -> Token<'a> {
        Self { rest: self.rest }.next()
    }

    fn selector(mut self) -> Result<Vec<Requirement>, Error> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::End => return Ok(requirements),
                Token::Word(_) | Token::Symbol("!") => {}
                other => return Err(found(other, "expected: !, identifier, or 'end of string'")),
            }
            let requirement = self.requirement();
            requirements.push(requirement.map_err(|e| Error::new(format!("unable to parse requirement: {e}")))?);
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Symbol(",") => match self.peek() {
                    Token::Word(_) | Token::Symbol("!") => {}
                    other => return Err(found(other, "expected: identifier after ','")),
                },
                other => return Err(found(other, "expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, Error> {
        let mut token = self.next();
        let absent = token == Token::Symbol("!");
        if absent {
            token = self.next();
        }
        let Token::Word(key) = token else { return Err(found(token, "expected: identifier")) };
        let said = names::qualified_name(key);
        if !said.is_empty() {
            return Err(Error::new(invalid(&Path::NOWHERE, &format!("{key:?}"), &said.join("; "))));
        }
        if absent {
            return Requirement::new(key.to_owned(), Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Requirement::new(key.to_owned(), Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => BTreeSet::from([self.exact_value()?]),
        };
        Requirement::new(key.to_owned(), operator, values.into_iter().map(str::to_owned).collect())
    }

    fn operator(&mut self) -> Result<Operator, Error> {
        Ok(match self.next() {
            Token::Word("in") => Operator::In,
            Token::Word("notin") => Operator::NotIn,
            Token::Symbol("=") => Operator::Equals,
            Token::Symbol("==") => Operator::DoubleEquals,
            Token::Symbol("!=") => Operator::NotEquals,
            Token::Symbol(">") => Operator::GreaterThan,
            Token::Symbol("<") => Operator::LessThan,
            other => return Err(found(other, "expected: in, notin, =, ==, !=, gt, lt")),
        })
    }

    fn exact_value(&mut self) -> Result<&'a str, Error> {
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok("");
        }
        match self.next() {
            Token::Word(value) => Ok(value),
            other => Err(found(other, "expected: identifier")),
        }
    }

    /// Reads `(a,b)`; a missing item stands for the empty value.
    fn values(&mut self) -> Result<BTreeSet<&'a str>, Error> {
        match self.next() {
            Token::Symbol("(") => {}
            other => return Err(Error::new(format!("found '{}' expected: '('", other.text()))),
        }
        match self.peek() {
            Token::Word(_) | Token::Symbol("," | ")") => {}
            other => return Err(found(other, "expected: ',', ')' or identifier")),
        }
        let mut values = BTreeSet::new();
        loop {
            match self.peek() {
                Token::Word(value) => {
                    self.next();
                    values.insert(value);
                }
                Token::Symbol("," | ")") => {
                    values.insert("");
                }
                other => return Err(found(other, "expected: ',', or identifier")),
            }
            match self.next() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => return Ok(values),
                other => return Err(found(other, "expected: ',' or ')'")),
            }
        }
    }
}

fn found(token: Token<'_>, expected: &str) -> Error {
    Error::new(format!("found '{}', {expected}", token.text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let read = labels(text).map_or_else(|e| e.to_string(), |l| l.to_string());
        assert_eq!(read, expect, "{text}");
    }

    #[test]
    fn selectors_are_written_in_canonical_form() {
        for (text, canonical) in [
            ("", ""),
            (" b = 1 , a != 2 ", "a!=2,b=1"),
            ("x in (b, a ,c),y", "x in (a,b,c),y"),
            ("x notin ()", "x notin ()"),
            ("x in (,a)", "x in (,a)"),
            ("x in (a,)", "x in (,a)"),
            ("x in (a,,b)", "x in (,a,b)"),
            ("!a,b>1,c<2", "!a,b>1,c<2"),
            ("in in (in,notin)", "in in (in,notin)"),
            ("a=", "a="),
            ("a=,b", "a=,b"),
            ("example.com/a==b", "example.com/a==b"),
        ] {
            check(text, canonical);
        }
    }

    #[test]
    fn refusals_say_what_was_found_and_expected() {
        let part = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
        let value = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
        for (text, message) in [
            ("a,", "found '', expected: identifier after ','".to_owned()),
            ("=a", "found '=', expected: !, identifier, or 'end of string'".to_owned()),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt".to_owned()),
            ("a=b c", "found 'c', expected: ',' or 'end of string'".to_owned()),
            ("!a=b", "found '=', expected: ',' or 'end of string'".to_owned()),
            ("a in b", "unable to parse requirement: found 'b' expected: '('".to_owned()),
            ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'".to_owned()),
            ("a===b", "unable to parse requirement: found '=', expected: identifier".to_owned()),
            ("a$=b", format!("unable to parse requirement: <nil>: Invalid value: \"a$\": {part}")),
            ("a=b$", format!("unable to parse requirement: values[0][a]: Invalid value: \"b$\": {value}")),
            ("a>b", "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer".to_owned()),
        ] {
            check(text, &message);
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_read_back(text in "([!]?[ab][=!<> ]{0,3}(in|notin)?[ ]?[(]?[a1,]{0,4}[)]?,?){0,4}") {
            if let Ok(selector) = labels(&text) {
                prop_assert_eq!(labels(&selector.to_string()), Ok(selector));
            }
        }
    }
}
