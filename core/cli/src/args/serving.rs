//! What kube-apiserver's users say about serving, under the same names.

use std::{net::IpAddr, path::PathBuf};

use clap::Args as Arguments;
use windlass::{
    api::{features::Gates, manifests::documents},
    apiserver::{AdmissionConfiguration, discovery::Versions},
    kernel::{Error, ErrorKind, Result},
    serve::CertificateFiles,
};

#[derive(Debug, Default, Arguments)]
pub(crate) struct Serving {
    /// A certificate (PEM, with its chain) to show clients that ask for a name it is valid for; read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// The private key of --tls-cert-file (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
    /// The address at which pods and nodes reach the API: the endpoints of the service kubernetes [default: where it listens,
    /// or this machine's address; none on the loopback address].
    #[arg(long, value_name = "ADDR")]
    advertise_address: Option<IpAddr>,
    /// Versions of the API to serve or not: api/all, api/ga, api/beta, api/alpha, VERSION or GROUP/VERSION[/RESOURCE].
    #[arg(long, value_name = "KEY=BOOL,…")]
    runtime_config: Vec<String>,
    /// An AdmissionConfiguration (YAML): defaults and exemptions of PodSecurity.
    #[arg(long, value_name = "FILE")]
    admission_control_config_file: Option<PathBuf>,
    /// Feature gates of Kubernetes 1.36. Nothing here depends on one yet; unknown ones are refused.
    #[arg(long, value_name = "NAME=BOOL,…")]
    feature_gates: Vec<String>,
}

impl Serving {
    /// The files of a certificate, where they are named.
    pub(crate) fn certificate(&self) -> Option<CertificateFiles> {
        let (certificate, key) = (self.tls_cert_file.clone()?, self.tls_private_key_file.clone()?);
        Some(CertificateFiles { certificate, key })
    }

    /// The certificates that pods and the administrator trust the server by: its own authority, and what the named file
    /// holds. Clients that come by an address may be shown that one.
    pub(crate) fn trusted(&self, own: &str) -> Result<String> {
        let Some(file) = &self.tls_cert_file else { return Ok(own.to_owned()) };
        let given = std::fs::read_to_string(file).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("cannot read {}", file.display())).with_source(error)
        })?;
        Ok(format!("{own}{given}"))
    }

    /// The address to advertise, where one is named.
    pub(crate) fn advertised(&self) -> Option<IpAddr> {
        self.advertise_address
    }

    /// Which versions are served.
    pub(crate) fn versions(&self) -> Result<Versions> {
        self.runtime_config.iter().try_fold(Versions::default(), |versions, text| versions.with(text))
    }

    /// How admission plugins are configured.
    pub(crate) fn admission(&self) -> Result<AdmissionConfiguration> {
        let Some(file) = &self.admission_control_config_file else { return Ok(AdmissionConfiguration::default()) };
        let unusable = |why: String| Error::new(ErrorKind::Invalid, format!("{}: {why}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
        let mut documents = documents(&text).map_err(|error| unusable(error.to_string()))?;
        match (documents.pop(), documents.is_empty()) {
            (Some(only), true) => AdmissionConfiguration::read(&only.value)
                .map_err(|error| Error::new(error.kind(), format!("{}: {}", file.display(), error.message()))),
            _ => Err(unusable("expected one AdmissionConfiguration".into())),
        }
    }

    /// What gates are set.
    pub(crate) fn gates(&self) -> Result<Gates> {
        let gates = self.feature_gates.iter().try_fold(Gates::default(), |gates, text| gates.with(text));
        gates.map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))
    }
}
