//! Links inside pages that come through a proxy, so that following them stays behind it.
//!
//! Pages are passed on as they come: only attributes that hold URLs change, and nothing waits but a tag that has begun.

use super::Moves;

/// A tag or comment that is longer is passed on as it is.
const LIMIT: usize = 64 * 1024;

/// The attributes that hold URLs, by element (HTML standard, "Attributes"; upstream rewrites the same).
const LINKS: [(&str, &[&str]); 25] = [
    ("a", &["href"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("track", &["src"]),
    ("applet", &["codebase"]),
    ("video", &["src", "poster"]),
];

/// Elements whose content is text, whatever it looks like.
const TEXTS: [&str; 4] = ["script", "style", "textarea", "title"];

/// Rewrites a page that comes in pieces.
pub(super) struct Links {
    moves: Moves,
    pending: Vec<u8>,
    /// The element whose text is being passed.
    inside: Option<&'static str>,
}

impl Links {
    pub(super) fn new(moves: Moves) -> Self {
        Self { moves, pending: Vec::new(), inside: None }
    }

    /// Takes a piece and gives what is settled by now.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(piece);
        let bytes = std::mem::take(&mut self.pending);
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let mut rest = &bytes[..];
        while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            let Some(length) = self.markup(rest, &mut out) else { break };
            rest = &rest[length..];
        }
        if rest.first() == Some(&b'<') && rest.len() <= LIMIT {
            self.pending = rest.to_vec();
        } else {
            out.extend_from_slice(rest);
        }
        out
    }

    /// What has waited for an end that never came.
    pub(super) fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    /// Passes on the markup that begins here and says how long it is; `None` where its end is still to come.
    fn markup(&mut self, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        if let Some(name) = self.inside {
            let end = rest.get(2..2 + name.len())?;
            if rest[1] == b'/' && end.eq_ignore_ascii_case(name.as_bytes()) {
                self.inside = None;
            }
            out.push(b'<');
            return Some(1);
        }
        if b"<!--".starts_with(rest.get(..4).unwrap_or(rest)) {
            let length = rest.windows(3).skip(2).position(|three| three == b"-->")? + 5;
            out.extend_from_slice(&rest[..length]);
            return Some(length);
        }
        if !rest.get(1)?.is_ascii_alphabetic() {
            out.push(b'<');
            return Some(1);
        }
        let length = tag_end(rest)?;
        let tag = String::from_utf8_lossy(&rest[..length]);
        let name_end = tag[1..].find(|letter: char| letter.is_whitespace() || matches!(letter, '/' | '>'));
        let name = tag[1..].get(..name_end.unwrap_or_default()).unwrap_or_default().to_ascii_lowercase();
        self.inside = TEXTS.into_iter().find(|own| *own == name).filter(|_| !tag.ends_with("/>"));
        match LINKS.iter().find(|(own, _)| *own == name) {
            Some((_, attributes)) => out.extend_from_slice(self.rewrite(&tag, attributes).as_bytes()),
            None => out.extend_from_slice(&rest[..length]),
        }
        Some(length)
    }

    /// A tag with the URLs in these attributes moved.
    fn rewrite(&self, tag: &str, attributes: &[&str]) -> String {
        let mut out = String::with_capacity(tag.len() + 64);
        let mut rest = tag;
        // An attribute is a name, `=` and a value, which may stand in quotes.
        while let Some(equals) = rest.find('=') {
            let (before, after) = rest.split_at(equals + 1);
            let name = before[..equals].trim_end().rsplit(|letter: char| letter.is_whitespace() || letter == '"');
            let name = name.into_iter().next().unwrap_or_default().to_ascii_lowercase();
            let value_at = after.len() - after.trim_start().len();
            let (space, value) = after.split_at(value_at);
            let quote = value.chars().next().filter(|letter| matches!(letter, '"' | '\''));
            let (open, value) = value.split_at(usize::from(quote.is_some()));
            let end = match quote {
                Some(quote) => value.find(quote),
                None => value.find(|letter: char| letter.is_whitespace() || letter == '>'),
            };
            let (value, remaining) = value.split_at(end.unwrap_or(value.len()));
            out.push_str(before);
            out.push_str(space);
            out.push_str(open);
            let url = value.trim().replace("&amp;", "&");
            match self.moves.moved(&url).filter(|_| attributes.contains(&&*name)) {
                Some(moved) => out.push_str(&moved.replace('&', "&amp;")),
                None => out.push_str(value),
            }
            // The quote at the end goes along, so that the next name does not begin with it.
            let closing = usize::from(quote.is_some() && !remaining.is_empty());
            out.push_str(&remaining[..closing]);
            rest = &remaining[closing..];
        }
        out.push_str(rest);
        out
    }
}

/// How long a tag is, up to the `>` that is in no quotes.
fn tag_end(rest: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in rest.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str, expect: &str) {
        for size in [1, 3, page.len()] {
            let moves = Moves { prefix: "/p/proxy".into(), host: "10.0.0.1:80".into(), asked_at: None };
            let mut links = Links::new(moves);
            let mut out: Vec<u8> = page.as_bytes().chunks(size).flat_map(|piece| links.feed(piece)).collect();
            out.extend(links.end());
            assert_eq!(String::from_utf8(out).unwrap(), expect, "in pieces of {size}");
        }
    }

    #[test]
    fn links_to_the_same_server_are_moved() {
        check(r#"<a href="/x">test</a>"#, r#"<a href="/p/proxy/x">test</a>"#);
        check("<IMG class=b SRC = '/x?a&amp;b' alt=c>", "<IMG class=b SRC = '/p/proxy/x?a&amp;b' alt=c>");
        check("<link rel=x href=/y><p>a<b", "<link rel=x href=/p/proxy/y><p>a<b");
        check(r#"<a href="http://10.0.0.1:80/z">"#, r#"<a href="/p/proxy/z">"#);
        check(r#"<video poster="/a"src="/b">"#, r#"<video poster="/p/proxy/a"src="/p/proxy/b">"#);
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for page in [
            r#"<a href="x"><a href="http://elsewhere/x"><a name="/x"><a href="/p/proxy/x">"#,
            r#"<!-- <a href="/x"> --> 1 < 2 <div href="/x">"#,
            r#"<script>var a = '<a href="/x">';</script><title><a href="/x"></title>"#,
            r#"<a title="> href=" href="y"#,
            "no markup at all, ünïcode",
        ] {
            check(page, page);
        }
        check(
            r#"<script src="/s"></script><a href="/x">"#,
            r#"<script src="/p/proxy/s"></script><a href="/p/proxy/x">"#,
        );
    }
}
