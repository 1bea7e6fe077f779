//! Image archives from files: one uncompressed layer in the OCI layout, as `ctr images import` takes it. No registry and
//! no build tool; the same files give the same bytes.

use std::{collections::BTreeMap, fs, io, io::Write, path::Path};

use serde_json::{Value, json};
use tar::{Archive, Builder, EntryType, Header};

/// Where an archive says what its images are called.
const NAME: &str = "io.containerd.image.name";

/// The names of the images in an archive; none where it does not say so as `ctr` reads it.
///
/// # Errors
///
/// Those of the file, and of an archive that cannot be read.
pub fn names(archive: &Path) -> io::Result<Vec<String>> {
    for entry in Archive::new(fs::File::open(archive)?).entries()? {
        let entry = entry?;
        if entry.path()?.as_ref() == Path::new("index.json") {
            let index: Value = serde_json::from_reader(entry)?;
            let manifests = index["manifests"].as_array().into_iter().flatten();
            let names = manifests.filter_map(|manifest| manifest["annotations"][NAME].as_str().map(str::to_owned));
            return Ok(names.collect());
        }
    }
    Ok(vec![])
}

/// An image to be.
#[derive(Clone, Debug)]
pub struct Recipe {
    names: Vec<String>,
    entries: BTreeMap<String, (u32, Entry)>,
    config: BTreeMap<String, Value>,
}

#[derive(Clone, Debug)]
enum Entry {
    Folder,
    File(Vec<u8>),
    Link(String),
}

impl Recipe {
    /// An empty image of that full name, such as `registry.local/pause:3.9`.
    pub fn named(name: impl Into<String>) -> Self {
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let config = BTreeMap::from([("Env".to_owned(), json!([path])), ("WorkingDir".to_owned(), json!("/"))]);
        Self { names: vec![name.into()], entries: BTreeMap::new(), config }
    }

    /// Gives the image one more name.
    #[must_use]
    pub fn also(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Puts a file into it.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        self.entry(path, mode, Entry::File(content.into()))
    }

    /// Puts an empty folder into it.
    #[must_use]
    pub fn folder(self, path: &str, mode: u32) -> Self {
        self.entry(path, mode, Entry::Folder)
    }

    /// Puts a symbolic link into it.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        self.entry(path, 0o777, Entry::Link(target.into()))
    }

    /// What is run, before the arguments.
    #[must_use]
    pub fn entrypoint(self, words: &[&str]) -> Self {
        self.set("Entrypoint", json!(words))
    }

    /// The arguments, or what is run without an entry point.
    #[must_use]
    pub fn arguments(self, words: &[&str]) -> Self {
        self.set("Cmd", json!(words))
    }

    /// Who it runs as.
    #[must_use]
    pub fn user(self, user: &str) -> Self {
        self.set("User", json!(user))
    }

    fn set(mut self, key: &str, value: Value) -> Self {
        self.config.insert(key.into(), value);
        self
    }

    fn entry(mut self, path: &str, mode: u32, entry: Entry) -> Self {
        let path = path.trim_matches('/');
        let mut end = 0;
        while let Some(next) = path[end..].find('/') {
            end += next;
            self.entries.entry(path[..end].into()).or_insert((0o755, Entry::Folder));
            end += 1;
        }
        self.entries.insert(path.into(), (mode, entry));
        self
    }

    /// Writes the archive to a file.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        self.write(io::BufWriter::new(fs::File::create(path)?))
    }

    /// Writes the archive.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let (manifest, blobs) = self.parts()?;
        let named = |name: &String| {
            let mut manifest = manifest.clone();
            manifest["platform"] = json!({ "architecture": architecture(), "os": "linux" });
            manifest["annotations"] = json!({ NAME: name });
            manifest
        };
        let index = json!({ "schemaVersion": 2, "manifests": self.names.iter().map(named).collect::<Vec<_>>() });
        let mut archive = Builder::new(out);
        append(&mut archive, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        append(&mut archive, "index.json", 0o644, index.to_string().as_bytes())?;
        for (digest, blob) in &blobs.0 {
            append(&mut archive, &format!("blobs/sha256/{digest}"), 0o644, blob)?;
        }
        archive.into_inner()?.flush()
    }

    /// The image as a registry keeps it: the digest of its manifest, and every blob by its digest, the manifest among them.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) where a path cannot be in an archive.
    pub fn blobs(&self) -> io::Result<(String, BTreeMap<String, Vec<u8>>)> {
        let (manifest, blobs) = self.parts()?;
        let digest = manifest["digest"].as_str().unwrap_or_default().to_owned();
        Ok((digest, blobs.0.into_iter().map(|(digest, blob)| (format!("sha256:{digest}"), blob)).collect()))
    }

    /// The descriptor of the manifest, and all blobs.
    fn parts(&self) -> io::Result<(Value, Blobs)> {
        let mut blobs = Blobs::default();
        let layer = blobs.add("application/vnd.oci.image.layer.v1.tar", self.layer()?);
        let config = json!({
            "created": "1970-01-01T00:00:00Z",
            "architecture": architecture(),
            "os": "linux",
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
        });
        let config = blobs.add("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer] });
        let manifest = blobs.add(kind, manifest.to_string().into_bytes());
        Ok((manifest, blobs))
    }

    fn layer(&self) -> io::Result<Vec<u8>> {
        let mut layer = Builder::new(Vec::new());
        for (path, (mode, entry)) in &self.entries {
            match entry {
                Entry::File(content) => append(&mut layer, path, *mode, content)?,
                Entry::Folder => layer.append_data(&mut header(EntryType::Directory, *mode, 0), path, io::empty())?,
                Entry::Link(target) => layer.append_link(&mut header(EntryType::Symlink, *mode, 0), path, target)?,
            }
        }
        layer.into_inner()
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn append(archive: &mut Builder<impl Write>, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    archive.append_data(&mut header(EntryType::Regular, mode, content.len() as u64), path, content)
}

#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Adds a blob and returns its descriptor.
    fn add(&mut self, kind: &str, content: Vec<u8>) -> Value {
        let digest = super::sha256(&content);
        let descriptor = json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": content.len() });
        self.0.insert(digest, content);
        descriptor
    }
}

/// The machine's architecture in the words of images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_tells_the_names_of_its_images() {
        let path = std::env::temp_dir().join(format!("windlass-oci-{}.tar", std::process::id()));
        Recipe::named("registry.local/a:1").also("registry.local/b:2").file("/a", 0o755, "a").save(&path).unwrap();
        assert_eq!(names(&path).unwrap(), ["registry.local/a:1", "registry.local/b:2"]);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_same_files_give_the_same_archive_with_every_folder_in_it() {
        let recipe = Recipe::named("registry.local/a:1").file("/usr/bin/a", 0o755, "a").link("/bin", "usr/bin");
        let (mut first, mut second) = (Vec::new(), Vec::new());
        recipe.write(&mut first).unwrap();
        recipe.write(&mut second).unwrap();
        assert!(first == second);
        let layer = recipe.layer().unwrap();
        let mut layer = Archive::new(layer.as_slice());
        let paths = layer.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
        assert_eq!(paths.collect::<Vec<_>>(), ["bin", "usr", "usr/bin", "usr/bin/a"]);
    }
}
