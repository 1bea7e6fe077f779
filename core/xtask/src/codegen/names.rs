//! Rust names for upstream's names.

/// `clusterIPs` becomes `cluster_ips`; keywords get a trailing underscore.
pub(crate) fn snake(name: &str) -> String {
    let chars: Vec<char> = name.chars().filter(|c| *c != '$').map(|c| if c == '-' { '_' } else { c }).collect();
    let mut out = String::new();
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|i| chars[i]);
        let after = chars.get(at + 1).copied();
        let starts_word = c.is_uppercase()
            && match before {
                None | Some('_') => false,
                Some(b) if b.is_lowercase() || b.is_ascii_digit() => true,
                Some(_) => after.is_some_and(char::is_lowercase) && !plural(&chars, at),
            };
        if starts_word {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    match out.as_str() {
        "as" | "continue" | "enum" | "in" | "match" | "ref" | "static" | "type" | "use" | "for" | "where" => out + "_",
        _ => out,
    }
}

/// Whether the capital at `at` ends an acronym that is followed by a plural `s`.
fn plural(chars: &[char], at: usize) -> bool {
    chars.get(at + 1) == Some(&'s') && chars.get(at + 2).is_none_or(|c| c.is_uppercase())
}

/// The name of a static: `PodSpec` becomes `POD_SPEC`.
pub(crate) fn constant(name: &str) -> String {
    snake(name).trim_end_matches('_').to_uppercase()
}

/// A definition name's package and type: `io.k8s.api.core.v1.Pod` is `io.k8s.api.core.v1` and `Pod`.
pub(crate) fn split(definition: &str) -> (&str, &str) {
    definition.rsplit_once('.').unwrap_or(("", definition))
}

/// A package's group and version: `io.k8s.api.core.v1` is `core` and `v1`; some packages have no version.
pub(crate) fn group_version(package: &str) -> (&str, Option<&str>) {
    let (rest, last) = split(package);
    if last.starts_with('v') && last[1..].starts_with(|c: char| c.is_ascii_digit()) {
        (split(rest).1, Some(last))
    } else {
        (last, None)
    }
}

/// The module that holds a package's schemas: `core_v1`.
pub(crate) fn schema_module(package: &str) -> String {
    match group_version(package) {
        (group, Some(version)) => format!("{group}_{version}"),
        (group, None) => format!("{group}_schema"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expect: &str) {
        assert_eq!(snake(input), expect);
    }

    #[test]
    fn acronyms_and_their_plurals_are_one_word() {
        check("clusterIPs", "cluster_ips");
        check("podIP", "pod_ip");
        check("nonResourceURLs", "non_resource_urls");
        check("CSIDriver", "csi_driver");
        check("type", "type_");
        check("$ref", "ref_");
        check("x-kubernetes-map-type", "x_kubernetes_map_type");
    }
}
