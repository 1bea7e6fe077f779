//! A cluster's certificates and keys, kept in a folder: made at the first start, found again at every later one.

use std::{
    fs,
    io::{ErrorKind as Io, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use jiff::Timestamp;
use windlass_apiserver::{
    access::EcdsaKeys,
    http::tls::{Authority, KeyAndCertificate},
};
use windlass_kernel::{Error, ErrorKind, Result};

/// What the authority calls itself.
const AUTHORITY: &str = "windlass-ca";

/// The authority behind a cluster's certificates, and the key that signs its service-account tokens.
#[derive(Debug)]
pub struct Pki {
    /// Signs certificates.
    pub authority: Authority,
    /// Signs tokens; PKCS#8.
    pub token_key: Vec<u8>,
    /// Names and addresses beside the usual ones that the server is reached at.
    pub extra_names: Vec<String>,
}

impl Pki {
    /// A fresh authority and key that stand in no folder: a cluster that ends with its process needs none.
    ///
    /// # Errors
    ///
    /// [`Internal`](ErrorKind::Internal) where no key can be made.
    pub fn generate(now: Timestamp) -> Result<Self> {
        Ok(Self {
            authority: Authority::generate(AUTHORITY, now)?,
            token_key: EcdsaKeys::generate()?,
            extra_names: vec![],
        })
    }

    /// What the folder holds; made where it holds nothing.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where a file cannot be read or written,
    /// [`Invalid`](ErrorKind::Invalid) where it holds something else.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| unusable("create", folder, error))?;
        let [certificate, key, tokens] = ["ca.crt", "ca.key", "sa.key"].map(|name| folder.join(name));
        let authority = match (read(&certificate)?, read(&key)?) {
            (Some(certificate), Some(key)) => {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                Authority::from_pem(KeyAndCertificate { certificate: text(&certificate), key: text(&key) })?
            }
            (None, None) => {
                let made = Authority::generate(AUTHORITY, now)?;
                write(&key, made.pem().key.as_bytes())?;
                write(&certificate, made.pem().certificate.as_bytes())?;
                made
            }
            _ => {
                let message =
                    format!("{} holds a certificate or a key without the other: restore it", folder.display());
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        };
        let token_key = if let Some(key) = read(&tokens)? {
            key
        } else {
            let made = EcdsaKeys::generate()?;
            write(&tokens, &made)?;
            made
        };
        Ok(Self { authority, token_key, extra_names: vec![] })
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == Io::NotFound => Ok(None),
        Err(error) => Err(unusable("read", path, error)),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let fresh = path.with_extension("new");
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&fresh, path));
    written.map_err(|error| unusable("write", path, error))
}

fn unusable(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot {what} {}", path.display())).with_source(error)
}
