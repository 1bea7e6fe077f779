//! What the guestbook looks like. Pure.

use std::fmt::Write;

/// How browsers send forms.
pub(crate) const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// The page with the form and the entries, the latest first.
pub(crate) fn html(version: &str, entries: &[String]) -> String {
    let mut page = String::from(
        "<!doctype html><meta charset=utf-8><title>Guestbook</title>\n<h1>Guestbook</h1>\n\
         <form method=post action=/entries><input name=text autofocus> <button>Enter</button></form>\n<ul>\n",
    );
    for entry in entries.iter().rev() {
        let _ = writeln!(page, "<li>{}</li>", escaped(entry));
    }
    let _ = writeln!(page, "</ul>\n<p><small>version {}</small></p>", escaped(version));
    page
}

/// The text that a sent form holds.
pub(crate) fn entry(form: &[u8]) -> String {
    let mut fields = form_urlencoded::parse(form);
    fields.find(|(name, _)| name == "text").map(|(_, text)| text.trim().to_owned()).unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_text_not_markup() {
        let page = html("v1", &["<b>&".into()]);
        assert!(page.contains("<li>&lt;b&gt;&amp;</li>"), "{page}");
    }

    #[test]
    fn a_form_holds_an_entry() {
        assert_eq!(entry(b"other=1&text=hello+w%C3%B6rld+"), "hello w\u{f6}rld");
        assert_eq!(entry(b"nothing"), "");
    }
}
