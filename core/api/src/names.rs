//! What names, labels, keys and ports may look like, and what is said of those that do not.
//!
//! Each check returns the complaints in the words that clients show and people search for; an empty list means valid.
//! Which check a kind's name must pass is decided elsewhere.

const DNS_LABEL_MAX: usize = 63;
const DNS_SUBDOMAIN_MAX: usize = 253;
const LABEL_MAX: usize = 63;
const PORT_NAME_MAX: usize = 15;

/// How many characters a generated suffix has.
pub const SUFFIX_LENGTH: usize = 5;

/// The characters of generated suffixes: no vowels and no look-alikes.
pub const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

const LABEL_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_WORDS: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const SUBDOMAIN_FORMAT: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const SUBDOMAIN_WORDS: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const DNS_1035_FORMAT: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const DNS_1035_WORDS: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
const WILDCARD_FORMAT: &str = r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const WILDCARD_WORDS: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
const QUALIFIED_FORMAT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_WORDS: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const VALUE_FORMAT: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const VALUE_WORDS: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const CONFIG_KEY_FORMAT: &str = "[-._a-zA-Z0-9]+";
const CONFIG_KEY_WORDS: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
const ENV_WORDS: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

/// Checks an RFC 1123 label: container names, namespaces.
#[must_use]
pub fn dns_1123_label(value: &str) -> Vec<String> {
    let mut said = too_long(value, DNS_LABEL_MAX);
    if !is_dns_label(value) {
        said.push(if is_subdomain(value) {
            "must not contain dots".to_owned()
        } else {
            pattern(LABEL_WORDS, LABEL_FORMAT, &["my-name", "123-abc"])
        });
    }
    said
}

/// Checks an RFC 1123 subdomain: the names of most objects.
#[must_use]
pub fn dns_1123_subdomain(value: &str) -> Vec<String> {
    let mut said = too_long(value, DNS_SUBDOMAIN_MAX);
    if !is_subdomain(value) {
        said.push(pattern(SUBDOMAIN_WORDS, SUBDOMAIN_FORMAT, &["example.com"]));
    }
    said
}

/// Checks an RFC 1123 subdomain behind `*.`, as an Ingress host may be.
#[must_use]
pub fn wildcard_subdomain(value: &str) -> Vec<String> {
    let mut said = too_long(value, DNS_SUBDOMAIN_MAX);
    if !value.strip_prefix("*.").is_some_and(is_subdomain) {
        said.push(pattern(WILDCARD_WORDS, WILDCARD_FORMAT, &["*.example.com"]));
    }
    said
}

/// Checks an RFC 1035 label: names of services.
#[must_use]
pub fn dns_1035_label(value: &str) -> Vec<String> {
    let mut said = too_long(value, DNS_LABEL_MAX);
    if !is_dns_label(value) || !value.starts_with(|c: char| c.is_ascii_lowercase()) {
        said.push(pattern(DNS_1035_WORDS, DNS_1035_FORMAT, &["my-name", "abc-123"]));
    }
    said
}

/// Checks a qualified name, such as the key of a label: `name` or `example.com/name`.
#[must_use]
pub fn qualified_name(value: &str) -> Vec<String> {
    const EXAMPLES: &[&str] = &["MyName", "my.name", "123-abc"];
    let mut said = Vec::new();
    let name = match value.split_once('/') {
        None => value,
        Some((_, rest)) if rest.contains('/') => {
            let words = pattern(QUALIFIED_WORDS, QUALIFIED_FORMAT, EXAMPLES);
            let tail = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {words} {tail}")];
        }
        Some(("", name)) => {
            said.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            said.extend(dns_1123_subdomain(prefix).into_iter().map(|words| format!("prefix part {words}")));
            name
        }
    };
    if name.is_empty() {
        said.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        said.push(format!("name part {}", max_length(LABEL_MAX)));
    }
    if !is_qualified_part(name) {
        said.push(format!("name part {}", pattern(QUALIFIED_WORDS, QUALIFIED_FORMAT, EXAMPLES)));
    }
    said
}

/// Checks the value of a label, which may be empty.
#[must_use]
pub fn label_value(value: &str) -> Vec<String> {
    let mut said = too_long(value, LABEL_MAX);
    if !value.is_empty() && !is_qualified_part(value) {
        said.push(pattern(VALUE_WORDS, VALUE_FORMAT, &["MyValue", "my_value", "12345"]));
    }
    said
}

/// Checks a name that only has to fit into a URL path, such as that of a role.
#[must_use]
pub fn path_segment(value: &str) -> Vec<String> {
    if matches!(value, "." | "..") {
        return vec![format!("may not be '{value}'")];
    }
    path_segment_prefix(value)
}

/// Checks the start of a name that only has to fit into a URL path.
#[must_use]
pub fn path_segment_prefix(value: &str) -> Vec<String> {
    ['/', '%'].into_iter().filter(|c| value.contains(*c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// Checks the name of a port.
#[must_use]
pub fn port_name(value: &str) -> Vec<String> {
    let mut said = too_long(value, PORT_NAME_MAX);
    let mut complain = |when: bool, words: &str| said.extend(when.then(|| words.to_owned()));
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    complain(
        value.is_empty() || !value.bytes().all(fits),
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    );
    complain(!value.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    complain(value.contains("--"), "must not contain consecutive hyphens");
    complain(value.starts_with('-') || value.ends_with('-'), "must not begin or end with a hyphen");
    said
}

/// Checks the number of a port.
#[must_use]
pub fn port_number(value: i64) -> Vec<String> {
    if (1..=65535).contains(&value) { Vec::new() } else { vec!["must be between 1 and 65535, inclusive".to_owned()] }
}

/// Checks the name of an environment variable.
#[must_use]
pub fn env_var_name(value: &str) -> Vec<String> {
    let mut said = Vec::new();
    if value.is_empty() {
        said.push("environment variable name must be non-empty".to_owned());
    }
    if !value.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        said.push(ENV_WORDS.to_owned());
    }
    said
}

/// Checks a key of a config map or secret.
#[must_use]
pub fn config_key(value: &str) -> Vec<String> {
    let mut said = too_long(value, DNS_SUBDOMAIN_MAX);
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if value.is_empty() || !value.bytes().all(fits) {
        said.push(pattern(CONFIG_KEY_WORDS, CONFIG_KEY_FORMAT, &["key.name", "KEY_NAME", "key-name"]));
    }
    match value {
        "." | ".." => said.push(format!("must not be '{value}'")),
        _ if value.starts_with("..") => said.push("must not start with '..'".to_owned()),
        _ => {}
    }
    said
}

/// Makes a name from a base and random bytes: the base, cut to fit a label, and five characters.
///
/// Each byte of `random` picks one character.
#[must_use]
pub fn generate_name(base: &str, random: [u8; SUFFIX_LENGTH]) -> String {
    let mut end = base.len().min(DNS_LABEL_MAX - SUFFIX_LENGTH);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = String::with_capacity(end + SUFFIX_LENGTH);
    name.push_str(&base[..end]);
    name.extend(random.map(|byte| char::from(SUFFIX_ALPHABET[usize::from(byte) % SUFFIX_ALPHABET.len()])));
    name
}

/// The base of a generated name, made to look like a finished name for validation.
#[must_use]
pub fn mask_trailing_dash(base: &str) -> String {
    match base.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => base.to_owned(),
    }
}

fn is_dns_label(value: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = value.as_bytes();
    bytes.first().is_some_and(edge) && bytes.last().is_some_and(edge) && bytes.iter().all(|b| edge(b) || *b == b'-')
}

fn is_subdomain(value: &str) -> bool {
    value.split('.').all(is_dns_label)
}

fn is_qualified_part(value: &str) -> bool {
    let bytes = value.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

fn too_long(value: &str, most: usize) -> Vec<String> {
    if value.len() > most { vec![max_length(most)] } else { Vec::new() }
}

fn max_length(most: usize) -> String {
    format!("must be no more than {most} characters")
}

fn pattern(words: &str, format: &str, examples: &[&str]) -> String {
    let mut said = format!("{words} (e.g. ");
    for (at, example) in examples.iter().enumerate() {
        said.push_str(if at == 0 { "'" } else { " or '" });
        said.push_str(example);
        said.push_str("', ");
    }
    said + "regex used for validation is '" + format + "')"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: &[String], expect: &[&str]) {
        assert_eq!(said, expect);
    }

    #[test]
    fn valid_names_are_silent() {
        for said in [
            dns_1123_label("web-0"),
            dns_1123_subdomain("a.b-c.d"),
            dns_1035_label("web"),
            qualified_name("example.com/My_name"),
            label_value(""),
            label_value("v1.2_x"),
            path_segment("system:node"),
            port_name("http-1"),
            port_number(80),
            env_var_name("my var"),
            config_key("..a".trim_start_matches('.')),
            wildcard_subdomain("*.example.com"),
        ] {
            check(&said, &[]);
        }
    }

    #[test]
    fn a_bad_subdomain_gets_the_well_known_sentence() {
        check(
            &dns_1123_subdomain("Bad_Name"),
            &[
                r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ],
        );
    }

    #[test]
    fn a_bad_label_says_whether_dots_are_the_trouble() {
        check(&dns_1123_label("a.b"), &["must not contain dots"]);
        check(
            &dns_1123_label("-a"),
            &[
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ],
        );
        check(&dns_1123_label(&"a".repeat(64)), &["must be no more than 63 characters"]);
    }

    #[test]
    fn a_qualified_name_complains_of_each_part() {
        let name = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
        check(&qualified_name("/"), &["prefix part must be non-empty", "name part must be non-empty", name]);
        check(&qualified_name("a$"), &[name]);
        assert!(qualified_name("a/b/c")[0].ends_with("(e.g. 'example.com/MyName')"));
    }

    #[test]
    fn ports_and_keys_complain_in_order() {
        check(
            &port_name("-1--"),
            &[
                "must contain at least one letter (a-z)",
                "must not contain consecutive hyphens",
                "must not begin or end with a hyphen",
            ],
        );
        check(&port_number(0), &["must be between 1 and 65535, inclusive"]);
        check(&config_key("..a"), &["must not start with '..'"]);
        check(&path_segment("a/%"), &["may not contain '/'", "may not contain '%'"]);
        check(&env_var_name("a=b"), &[ENV_WORDS]);
    }

    #[test]
    fn generated_names_are_cut_to_fit_and_use_the_alphabet() {
        assert_eq!(generate_name("web-", [0, 1, 26, 27, 255]), "web-bc9bq");
        assert_eq!(generate_name(&"x".repeat(100), [0; 5]).len(), 63);
        assert_eq!(mask_trailing_dash("web-"), "weba");
    }
}
