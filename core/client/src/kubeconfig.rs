//! Kubeconfig files: which server to talk to, whom to trust, and as whom.
//!
//! What would need another program (`exec`, `auth-provider`) or another server in between (`proxy-url`) is refused by name.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use windlass_kernel::{Error, ErrorKind, Result, error::Cause};

/// A kubeconfig file as it was read.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    file: PathBuf,
    content: Content,
}

/// How to reach one server: what a context of a kubeconfig comes to.
#[derive(Clone)]
pub struct Access {
    /// The server's URL.
    pub server: String,
    /// The name that the server's certificate must have, where it is not the URL's host.
    pub server_name: Option<String>,
    /// The certificates that the server's must come from, in PEM.
    pub authority: Vec<u8>,
    /// Whether any certificate of the server will do (`insecure-skip-tls-verify`). Whoever is in between can read along then.
    pub insecure: bool,
    /// As whom.
    pub credential: Credential,
    /// The namespace to use where none is named.
    pub namespace: String,
}

/// How a client proves who it is.
#[derive(Clone, Default)]
pub enum Credential {
    /// Not at all.
    #[default]
    Anonymous,
    /// By a token.
    Token(String),
    /// By a token in a file, which is read again now and then.
    TokenFile(PathBuf),
    /// By name and password.
    Password {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// By a client certificate.
    Certificate {
        /// The certificate chain, in PEM.
        chain: Vec<u8>,
        /// The private key, in PEM.
        key: Vec<u8>,
    },
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Token(_) => "Token",
            Self::TokenFile(_) => "TokenFile",
            Self::Password { .. } => "Password",
            Self::Certificate { .. } => "Certificate",
        })
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("server", &self.server).field("credential", &self.credential).finish()
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Content {
    current_context: String,
    #[serde(deserialize_with = "null_as_empty")]
    clusters: Vec<Named<Cluster>>,
    #[serde(deserialize_with = "null_as_empty")]
    users: Vec<Named<User>>,
    #[serde(deserialize_with = "null_as_empty")]
    contexts: Vec<Named<Context>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, bound = "T: Default + Deserialize<'de>")]
struct Named<T> {
    name: String,
    #[serde(alias = "cluster", alias = "user", alias = "context")]
    value: T,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: String,
    certificate_authority_data: String,
    tls_server_name: String,
    proxy_url: String,
    insecure_skip_tls_verify: bool,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    token: String,
    #[serde(rename = "tokenFile")]
    token_file: String,
    username: String,
    password: String,
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    exec: Option<Value>,
    auth_provider: Option<Value>,
    #[serde(rename = "as")]
    impersonate: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User")
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
    namespace: String,
}

/// Reads a list; kubectl writes null for an empty one.
fn null_as_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

impl Access {
    /// How a program in a pod reaches its own cluster: by its service account.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) where this process runs in no pod.
    pub fn in_cluster() -> Result<Self> {
        let folder = Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
        let variable = |name: &str| {
            env::var(name).map_err(|error| {
                Error::new(ErrorKind::NotFound, format!("cannot read the variable {name}")).with_source(error)
            })
        };
        let file = |name: &str| {
            fs::read(folder.join(name)).map_err(|error| {
                let message = format!("cannot read the service account's {name}");
                Error::new(ErrorKind::NotFound, message).with_source(error)
            })
        };
        let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Ok(Self {
            insecure: false,
            server: format!("https://{host}:{port}"),
            server_name: None,
            authority: file("ca.crt")?,
            credential: Credential::TokenFile(folder.join("token")),
            namespace: String::from_utf8_lossy(&file("namespace")?).trim().to_owned(),
        })
    }
}

impl Kubeconfig {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) where it cannot be read, [`Invalid`](ErrorKind::Invalid) where it is none.
    pub fn read(file: impl AsRef<Path>) -> Result<Self> {
        let file = file.as_ref();
        let text = fs::read_to_string(file).map_err(|error| {
            Error::new(ErrorKind::NotFound, format!("cannot read the kubeconfig {}", file.display())).with_source(error)
        })?;
        Self::parse(&text, file)
    }

    /// Reads a text; relative paths in it are relative to the folder of `file`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where it is no kubeconfig.
    pub fn parse(text: &str, file: impl Into<PathBuf>) -> Result<Self> {
        let file = file.into();
        let content = yaml_serde::from_str(text).map_err(|error| {
            let message = format!("cannot read the kubeconfig {}: {error}", file.display());
            Error::new(ErrorKind::Invalid, message).with_source(error)
        })?;
        Ok(Self { file, content })
    }

    /// The name of the context that is used where none is named.
    #[must_use]
    pub fn current(&self) -> &str {
        &self.content.current_context
    }

    /// How to reach the server of a context; of the current one where the name is empty.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) or [`NotSupported`](ErrorKind::NotSupported), naming the file and the field.
    pub fn access(&self, context: &str) -> Result<Access> {
        let context = if context.is_empty() { self.current() } else { context };
        let found = self.find(&self.content.contexts, "contexts", context)?;
        let cluster = self.find(&self.content.clusters, "clusters", &found.cluster)?;
        let at = |field: &str| format!("clusters[{}].{field}", found.cluster);
        if !cluster.proxy_url.is_empty() {
            return Err(self.unsupported(&at("proxy-url")));
        }
        if cluster.server.is_empty() {
            return Err(self.wrong(&at("server"), "is empty"));
        }
        let authority = self.data(
            &cluster.certificate_authority_data,
            &cluster.certificate_authority,
            &at("certificate-authority"),
        )?;
        let insecure = cluster.insecure_skip_tls_verify;
        if insecure && !authority.is_empty() {
            return Err(self.wrong(&at("insecure-skip-tls-verify"), "cannot be set beside a certificate authority"));
        }
        let server_name = Some(cluster.tls_server_name.clone()).filter(|name| !name.is_empty());
        let credential = self.credential(&found.user)?;
        let namespace = if found.namespace.is_empty() { "default".into() } else { found.namespace.clone() };
        Ok(Access { server: cluster.server.clone(), server_name, authority, insecure, credential, namespace })
    }

    /// The files beside this one that a context is read from: certificates and keys. A token's file is none of them, since it
    /// is read when the token is used.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where the context, its cluster or its user is not there.
    pub fn files(&self, context: &str) -> Result<Vec<PathBuf>> {
        let context = if context.is_empty() { self.current() } else { context };
        let found = self.find(&self.content.contexts, "contexts", context)?;
        let cluster = self.find(&self.content.clusters, "clusters", &found.cluster)?;
        let mut named = vec![(&cluster.certificate_authority_data, &cluster.certificate_authority)];
        if !found.user.is_empty() {
            let user = self.find(&self.content.users, "users", &found.user)?;
            named.push((&user.client_certificate_data, &user.client_certificate));
            named.push((&user.client_key_data, &user.client_key));
        }
        let read = named.into_iter().filter(|(inline, path)| inline.is_empty() && !path.is_empty());
        Ok(read.map(|(_, path)| self.path(path)).collect())
    }

    fn credential(&self, name: &str) -> Result<Credential> {
        if name.is_empty() {
            return Ok(Credential::Anonymous);
        }
        let user = self.find(&self.content.users, "users", name)?;
        let at = |field: &str| format!("users[{name}].{field}");
        for (field, is_set) in [
            ("exec", user.exec.is_some()),
            ("auth-provider", user.auth_provider.is_some()),
            ("as", !user.impersonate.is_empty()),
        ] {
            if is_set {
                return Err(self.unsupported(&at(field)));
            }
        }
        let chain = self.data(&user.client_certificate_data, &user.client_certificate, &at("client-certificate"))?;
        if !chain.is_empty() {
            let key = self.data(&user.client_key_data, &user.client_key, &at("client-key"))?;
            if key.is_empty() {
                return Err(self.wrong(&at("client-key"), "is missing beside client-certificate"));
            }
            return Ok(Credential::Certificate { chain, key });
        }
        Ok(if !user.token_file.is_empty() {
            Credential::TokenFile(self.path(&user.token_file))
        } else if !user.token.is_empty() {
            Credential::Token(user.token.clone())
        } else if !user.username.is_empty() {
            Credential::Password { name: user.username.clone(), password: user.password.clone() }
        } else {
            Credential::Anonymous
        })
    }

    fn find<'a, T>(&self, list: &'a [Named<T>], field: &str, name: &str) -> Result<&'a T> {
        let found = list.iter().find(|named| named.name == name).map(|named| &named.value);
        found.ok_or_else(|| self.wrong(field, &format!("has no {name:?}")))
    }

    fn data(&self, inline: &str, path: &str, field: &str) -> Result<Vec<u8>> {
        if !inline.is_empty() {
            return STANDARD
                .decode(inline)
                .map_err(|error| self.wrong(&format!("{field}-data"), "is not base64").with_source(error));
        }
        if path.is_empty() {
            return Ok(Vec::new());
        }
        let path = self.path(path);
        fs::read(&path)
            .map_err(|error| self.wrong(field, &format!("cannot be read: {}", path.display())).with_source(error))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    fn wrong(&self, field: &str, what: &str) -> Error {
        self.error(ErrorKind::Invalid, field, what)
    }

    fn unsupported(&self, field: &str) -> Error {
        self.error(ErrorKind::NotSupported, field, "is not supported")
    }

    fn error(&self, kind: ErrorKind, field: &str, what: &str) -> Error {
        let message = format!("cannot use the kubeconfig {}: {field} {what}", self.file.display());
        let cause = Cause { reason: "FieldValueInvalid".into(), message: what.into(), field: field.into() };
        Error::new(kind, message).detailed(|details| details.causes = vec![cause])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r"
apiVersion: v1
kind: Config
current-context: main
clusters:
- name: c1
  cluster: {server: 'https://127.0.0.1:6443', certificate-authority-data: Q0E=, tls-server-name: api}
- name: bare
  cluster: {server: ''}
contexts:
- name: main
  context: {cluster: c1, user: admin}
- {name: token, context: {cluster: c1, user: robot, namespace: apps}}
- {name: plugin, context: {cluster: c1, user: cloud}}
- {name: keyless, context: {cluster: c1, user: keyless}}
- {name: spoilt, context: {cluster: c1, user: spoilt}}
- {name: nobody, context: {cluster: c1}}
- {name: lost, context: {cluster: nowhere}}
- {name: bare, context: {cluster: bare}}
users:
- name: admin
  user: {client-certificate-data: Q1JU, client-key-data: S0VZ}
- {name: robot, user: {token: abc}}
- {name: cloud, user: {exec: {command: login}}}
- {name: keyless, user: {client-certificate-data: Q1JU}}
- {name: spoilt, user: {client-certificate-data: '***'}}
";

    fn access(context: &str) -> Result<Access> {
        Kubeconfig::parse(TEXT, "/etc/kube.yaml").unwrap().access(context)
    }

    #[test]
    fn the_current_context_is_used_where_none_is_named() {
        let access = access("").unwrap();
        assert_eq!((access.server.as_str(), access.namespace.as_str()), ("https://127.0.0.1:6443", "default"));
        assert_eq!((access.authority.as_slice(), access.server_name.as_deref()), (b"CA".as_slice(), Some("api")));
        assert!(
            matches!(access.credential, Credential::Certificate { chain, key } if chain == b"CRT" && key == b"KEY")
        );
    }

    #[test]
    fn users_have_tokens_or_nothing() {
        let robot = access("token").unwrap();
        assert_eq!(robot.namespace, "apps");
        assert!(matches!(robot.credential, Credential::Token(token) if token == "abc"));
        assert!(matches!(access("nobody").unwrap().credential, Credential::Anonymous));
    }

    #[test]
    fn the_files_of_a_context_are_those_that_nothing_stands_for() {
        let text = "clusters: [{name: c, cluster: {server: 'https://a', certificate-authority: ca.crt}}]\n\
                    contexts: [{name: m, context: {cluster: c, user: u}}]\n\
                    users: [{name: u, user: {client-certificate: /pki/a.crt, client-key: a.key, client-key-data: S0VZ}}]\n";
        let config = Kubeconfig::parse(text, "/etc/kube/config").unwrap();
        let files = config.files("m").unwrap();
        assert_eq!(files, [Path::new("/etc/kube/ca.crt"), Path::new("/pki/a.crt")]);
        assert!(config.files("n").unwrap_err().is(ErrorKind::Invalid));
    }

    #[test]
    fn an_empty_file_has_no_contexts() {
        for text in ["{}", "{clusters: null, contexts: null, users: null}"] {
            let error = Kubeconfig::parse(text, "empty").unwrap().access("").unwrap_err();
            assert_eq!(error.details().unwrap().causes[0].field, "contexts");
        }
        assert!(Kubeconfig::parse("[", "broken").unwrap_err().is(ErrorKind::Invalid));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file_and_field() {
        for (context, field) in [
            ("plugin", "users[cloud].exec"),
            ("keyless", "users[keyless].client-key"),
            ("spoilt", "users[spoilt].client-certificate-data"),
            ("lost", "clusters"),
            ("bare", "clusters[bare].server"),
            ("none", "contexts"),
        ] {
            let error = access(context).unwrap_err();
            assert_eq!(error.details().unwrap().causes[0].field, field);
            assert!(error.message().contains("/etc/kube.yaml") && error.message().contains(field), "{error}");
        }
    }
}
