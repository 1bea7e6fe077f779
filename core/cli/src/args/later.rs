//! Flags of kube-apiserver for what is not supported yet. They are known so that they are refused with what to do instead.

use clap::Args as Arguments;
use windlass::kernel::{Error, ErrorKind, Result};

const LOGIN: &str = "logging in with tokens of other issuers is not supported: use client certificates or tokens of service accounts, or embed an Authenticator";
const ACCESS: &str = "authorizers over webhooks are not supported: use roles (RBAC), or embed an Authorizer";
const AUDIT: &str = "auditing is not supported: admission webhooks see writes, and a log line tells each slow request";
const REST: &str = "encryption at rest is not supported: put the data directory on an encrypted file system";

#[derive(Clone, Debug, Default, Arguments)]
pub(crate) struct Later {
    #[arg(long, hide = true)]
    oidc_issuer_url: Option<String>,
    #[arg(long, hide = true)]
    authentication_config: Option<String>,
    #[arg(long, hide = true)]
    authentication_token_webhook_config_file: Option<String>,
    #[arg(long, hide = true)]
    authorization_config: Option<String>,
    #[arg(long, hide = true)]
    authorization_webhook_config_file: Option<String>,
    #[arg(long, hide = true)]
    audit_policy_file: Option<String>,
    #[arg(long, hide = true)]
    audit_log_path: Option<String>,
    #[arg(long, hide = true)]
    audit_webhook_config_file: Option<String>,
    #[arg(long, hide = true)]
    encryption_provider_config: Option<String>,
}

impl Later {
    /// Refuses the first of the flags that is there.
    pub(crate) fn refuse(&self) -> Result<()> {
        let all = [
            (&self.oidc_issuer_url, "--oidc-issuer-url", LOGIN),
            (&self.authentication_config, "--authentication-config", LOGIN),
            (&self.authentication_token_webhook_config_file, "--authentication-token-webhook-config-file", LOGIN),
            (&self.authorization_config, "--authorization-config", ACCESS),
            (&self.authorization_webhook_config_file, "--authorization-webhook-config-file", ACCESS),
            (&self.audit_policy_file, "--audit-policy-file", AUDIT),
            (&self.audit_log_path, "--audit-log-path", AUDIT),
            (&self.audit_webhook_config_file, "--audit-webhook-config-file", AUDIT),
            (&self.encryption_provider_config, "--encryption-provider-config", REST),
        ];
        match all.into_iter().find(|(given, ..)| given.is_some()) {
            Some((_, flag, why)) => Err(Error::new(ErrorKind::NotSupported, format!("{flag}: {why}"))),
            None => Ok(()),
        }
    }
}
