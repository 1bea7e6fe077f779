//! A range of addresses, as one of Kubernetes' flags has it.

use std::str::FromStr;

use ipnet::IpNet;

/// A range whose host bits are none, such as `10.88.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range(pub(crate) IpNet);

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(',') {
            return Err("one IPv4 range is supported, and no second one of IPv6".into());
        }
        let range: IpNet = text.parse().map_err(|_| "expected a range, such as 10.88.0.0/16".to_owned())?;
        match range {
            IpNet::V6(_) => Err("ranges of IPv6 are not supported for pods: name one of IPv4".into()),
            IpNet::V4(_) if range.trunc() != range => Err(format!("did you mean {}?", range.trunc())),
            IpNet::V4(_) => Ok(Self(range)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_of_ipv4() {
        let check = |text: &str, expect: &str| {
            let read = text.parse::<Range>().map(|Range(range)| range.to_string());
            assert_eq!(read.unwrap_or_else(|why| why), expect, "{text}");
        };
        check("10.88.0.0/16", "10.88.0.0/16");
        check("10.88.1.0/16", "did you mean 10.88.0.0/16?");
        check("10.88.0.0", "expected a range, such as 10.88.0.0/16");
        check("fd00::/56", "ranges of IPv6 are not supported for pods: name one of IPv4");
        check("10.88.0.0/16,fd00::/56", "one IPv4 range is supported, and no second one of IPv6");
    }
}
