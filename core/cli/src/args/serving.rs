//! What kube-apiserver's users say about serving, under the same names.

use std::{
    cell::RefCell,
    net::IpAddr,
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::Args as Arguments;
use windlass::{
    api::{features::Gates, manifests::documents},
    apiserver::{AdmissionConfiguration, Manifest, Plugins, advertisable, discovery::Versions},
    kernel::{Error, ErrorKind, Result},
    serve::CertificateFiles,
};

use super::later::Later;

#[derive(Clone, Debug, Default, Arguments)]
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
    /// Admission plugins to turn on beside the usual ones; may be given several times.
    #[arg(long, value_name = "NAME,…")]
    enable_admission_plugins: Vec<String>,
    /// Admission plugins to turn off.
    #[arg(long, value_name = "NAME,…")]
    disable_admission_plugins: Vec<String>,
    /// An AdmissionConfiguration (YAML): of PodSecurity, PodNodeSelector, and of webhooks and policies in files.
    #[arg(long, value_name = "FILE")]
    admission_control_config_file: Option<PathBuf>,
    /// Feature gates of Kubernetes 1.36; unknown ones, and values that this server cannot honour, are refused.
    #[arg(long, value_name = "NAME=BOOL,…")]
    feature_gates: Vec<String>,
    #[command(flatten)]
    pub(crate) later: Later,
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
    pub(crate) fn advertised(&self) -> Result<Option<IpAddr>> {
        self.advertise_address.map(|address| advertisable(address).map(|()| address)).transpose()
    }

    /// Which versions are served.
    pub(crate) fn versions(&self) -> Result<Versions> {
        self.runtime_config.iter().try_fold(Versions::default(), |versions, text| versions.with(text))
    }

    /// How admission plugins are configured.
    pub(crate) fn admission(&self) -> Result<AdmissionConfiguration> {
        self.admission_from().map(|(configuration, _)| configuration)
    }

    /// As [`admission`](Self::admission), with the files and folders that the configuration names.
    fn admission_from(&self) -> Result<(AdmissionConfiguration, Vec<PathBuf>)> {
        let Some(file) = &self.admission_control_config_file else {
            return Ok((AdmissionConfiguration::default(), Vec::new()));
        };
        let unusable = |why: String| Error::new(ErrorKind::Invalid, format!("{}: {why}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
        let mut documents = documents(&text).map_err(|error| unusable(error.to_string()))?;
        let named = RefCell::new(Vec::new());
        let read = |path: &str| {
            named.borrow_mut().push(beside(file, path));
            objects(&beside(file, path))
        };
        match (documents.pop(), documents.is_empty()) {
            (Some(only), true) => {
                let configuration = AdmissionConfiguration::read_with(&only.value, &read)
                    .map_err(|error| Error::new(error.kind(), format!("{}: {}", file.display(), error.message())))?;
                Ok((configuration, named.into_inner()))
            }
            _ => Err(unusable("expected one AdmissionConfiguration".into())),
        }
    }

    /// The files and folders whose webhooks and policies are followed; none where nothing is read from files.
    pub(crate) fn followed(&self) -> Result<Vec<PathBuf>> {
        self.admission_from().map(|(configuration, named)| if configuration.follows() { named } else { Vec::new() })
    }

    /// Which admission plugins run.
    pub(crate) fn plugins(&self) -> Result<Plugins> {
        Plugins::choose(&self.enable_admission_plugins, &self.disable_admission_plugins)
    }

    /// What gates are set.
    pub(crate) fn gates(&self) -> Result<Gates> {
        let gates = self.feature_gates.iter().try_fold(Gates::default(), |gates, text| gates.with(text));
        let gates = gates.map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
        let refused = gates.changed().find(|(gate, on)| !honoured(gate.name, gate.stage, *on));
        match refused {
            None => Ok(gates),
            Some((gate, on)) => {
                let why = if on { "nothing here implements it" } else { "it cannot be turned off here" };
                Err(Error::new(ErrorKind::NotSupported, format!("feature gate {}={on}: {why}", gate.name)))
            }
        }
    }
}

/// Whether this server does as a gate says that is not as usual. What other programs have to do with a gate is not asked.
fn honoured(name: &str, stage: &str, on: bool) -> bool {
    const ACT: [&str; 5] = [
        "APIResponseCompression",
        "APIServerIdentity",
        "ManifestBasedAdmissionControlConfig",
        "PodTopologyLabelsAdmission",
        "WatchList",
    ];
    // Turned off, these leave no trace that a client could see: they are about how upstream's servers work inside.
    const INSIDE: [&str; 16] = [
        "AtomicFIFO",
        "ClearingNominatedNodeNameAfterBinding",
        "DetectCacheInconsistency",
        "InOrderInformers",
        "InOrderInformersBatchProcess",
        "ListFromCacheSnapshot",
        "OpenAPIEnums",
        "OpportunisticBatching",
        "SchedulerAsyncPreemption",
        "SchedulerPopFromBackoffQ",
        "SizeBasedListCostEstimate",
        "StorageNamespaceIndex",
        "UnauthenticatedHTTP2DOSMitigation",
        "UnlockWhileProcessingFIFO",
        "WatchCacheInitializationPostStartHook",
        "WatchListClient",
    ];
    ACT.contains(&name) || INSIDE.contains(&name) || stage == "DEPRECATED" && !on
}

/// What tells that files are others than before: each with its size and when it was written.
pub(crate) type Stamps = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// The stamps of all files of these files and folders.
pub(crate) fn stamps(named: &[PathBuf]) -> Stamps {
    let files = named.iter().flat_map(|path| files(path).unwrap_or_default());
    let stamp = |file: PathBuf| {
        let (size, at) = std::fs::metadata(&file).map_or((0, None), |found| (found.len(), found.modified().ok()));
        (file, size, at)
    };
    files.map(stamp).collect()
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Invalid, format!("{}: {why}", path.display()))
}

/// Where a path leads that the configuration in `own` names.
fn beside(own: &Path, named: &str) -> PathBuf {
    own.parent().unwrap_or(Path::new(".")).join(named)
}

/// The file, or all files of the folder in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| unusable(path, &error))?;
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|file| is_manifest(file)).collect();
    files.sort();
    Ok(files)
}

/// The objects of a file, or of all files of a folder.
fn objects(path: &Path) -> Result<Vec<Manifest>> {
    let mut found = Vec::new();
    for file in files(path)? {
        let text = std::fs::read_to_string(&file).map_err(|error| unusable(&file, &error))?;
        let read = documents(&text).map_err(|error| unusable(&file, &error))?;
        let shown = file.display().to_string();
        found.extend(read.into_iter().map(|document| Manifest { file: shown.clone(), value: document.value }));
    }
    Ok(found)
}

fn is_manifest(file: &Path) -> bool {
    let known = |ending: &std::ffi::OsStr| ["json", "yaml", "yml"].iter().any(|own| ending == *own);
    file.is_file() && file.extension().is_some_and(known)
}
