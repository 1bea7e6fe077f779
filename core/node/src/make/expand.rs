//! `$(NAME)` in commands, arguments and values (Container.command in the API). Pure.

/// Replaces `$(NAME)` by what is known of NAME. `$$` is a dollar sign; what is not known stays as it is.
pub(crate) fn expand(text: &str, known: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match known(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    fn check(text: &str, expect: &str) {
        assert_eq!(super::expand(text, |name| (name == "A").then(|| "1".to_owned())), expect);
    }

    #[test]
    fn known_names_are_replaced_and_the_rest_stays() {
        check("x$(A)y$(A)", "x1y1");
        check("$(B) $$(A) $A $", "$(B) $(A) $A $");
        check("$(A", "$(A");
    }
}
