//! Amounts of resources as the API writes them.

use windlass_api::quantity::{Amount, Format};

/// An amount of a resource, given in thousandths of a CPU, bytes or whole units: `1500m`, `2Gi`, `3`.
#[must_use]
pub fn amount(resource: &str, amount: i64) -> String {
    let bytes = matches!(resource, "memory" | "ephemeral-storage") || resource.starts_with("hugepages-");
    let shown = match resource {
        "cpu" => Amount::milli(amount, Format::Decimal),
        _ if bytes => Amount::units(amount, Format::Binary),
        _ => Amount::units(amount, Format::Decimal),
    };
    shown.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_look_as_in_manifests() {
        let shown = [("cpu", 1500), ("cpu", 2000), ("memory", 3 << 30), ("pods", 110), ("acme.io/gpu", 1)];
        assert_eq!(shown.map(|(name, number)| amount(name, number)), ["1500m", "2", "3Gi", "110", "1"]);
    }
}
