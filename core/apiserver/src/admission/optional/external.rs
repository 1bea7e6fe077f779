//! Nobody gives a service addresses of others (CVE-2020-8554).

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::Value;
use windlass_kernel::{Admission, access::Admitting, api::Request, error::Result};

use super::super::writes;
use crate::{errors, object};

#[derive(Debug)]
pub(in crate::admission) struct DenyServiceExternalIPs;

#[async_trait]
impl Admission for DenyServiceExternalIPs {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "services")
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let Some(new) = admitting.new.as_deref() else { return Ok(()) };
        let addresses = |service: &Value| -> BTreeSet<String> {
            let all = service["spec"]["externalIPs"].as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        // What a service has already may stay, and may be taken away.
        let had = admitting.old.map(addresses).unwrap_or_default();
        if addresses(new).is_subset(&had) {
            return Ok(());
        }
        let why = "Use of external IPs is denied by admission control";
        Err(errors::forbidden(&admitting.request.resource, object::name(new), why))
    }
}
