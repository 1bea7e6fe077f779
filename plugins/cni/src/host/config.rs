//! Finds the network's configuration among the files of a folder, in the order that libcni and containerd use.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use windlass_kernel::{Error, ErrorKind, Result};

use super::Settings;
use crate::wire::NetworkList;

/// The network: the first file by name that can be read, or the one that has the name asked for.
pub(super) fn load(settings: &Settings) -> Result<NetworkList> {
    let folder = &settings.config_dir;
    let mut broken = None;
    for path in files(folder, &["conf", "conflist", "json"])? {
        match read(&path) {
            Ok(list) if settings.network.as_ref().is_none_or(|name| *name == list.name) => return Ok(list),
            Ok(_) => {}
            // Others may be fine; this one is told of if none is.
            Err(why) => broken = broken.or(Some(format!("{}: {why}", path.display()))),
        }
    }
    let wanted = settings.network.as_ref().map(|name| format!(" named {name:?}")).unwrap_or_default();
    let message = match broken {
        Some(broken) => format!("no network configuration{wanted} can be used: {broken}"),
        None => format!("no network configuration{wanted} in {}: write a .conflist file there", folder.display()),
    };
    Err(Error::new(ErrorKind::Unavailable, message))
}

/// The files of a folder that end in one of these, by name; none where there is no such folder.
fn files(folder: &Path, ends: &[&str]) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let message = format!("cannot list network configurations in {}", folder.display());
            return Err(Error::new(ErrorKind::Unavailable, message).with_source(error));
        }
    };
    let known = |path: &PathBuf| path.extension().and_then(|end| end.to_str()).is_some_and(|end| ends.contains(&end));
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(known).collect();
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<NetworkList, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    NetworkList::parse_with(&text, |name| plugins(&path.with_file_name(name)))
}

/// The plugins of a network that stand in files of their own, in the order of the files' names.
fn plugins(folder: &Path) -> Result<Vec<Map<String, Value>>, String> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    };
    files(folder, &["conf"]).map_err(|error| error.to_string())?.into_iter().map(read).collect()
}

/// The plugin's name, which is the name of its program.
pub(super) fn kind(plugin: &Map<String, Value>) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_cannot_be_a_network_is_refused_by_name() {
        let check = |text: &str, expect: Result<&str, &str>| match (NetworkList::parse(text), expect) {
            (Ok(list), Ok(name)) => assert_eq!(list.name, name),
            (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (got, _) => panic!("{text}: {got:?}"),
        };
        check(r#"{"cniVersion":"1.0.0","name":"a","plugins":[{"type":"bridge"}]}"#, Ok("a"));
        check(r#"{"cniVersion":"0.4.0","name":"b","type":"bridge"}"#, Ok("b"));
        check(r#"{"cniVersion":"1.0.0","name":"a/b","plugins":[{"type":"bridge"}]}"#, Err("a/b"));
        check(r#"{"cniVersion":"1.0.0","name":"a","plugins":[{"type":"bridge"},{}]}"#, Err("plugins[1]"));
        check(r#"{"cniVersion":"1.0.0","name":"a","plugins":[]}"#, Err("no plugins"));
        check(r#"{"cniVersion":"9.0.0","name":"a","plugins":[{"type":"bridge"}]}"#, Err("9.0.0"));
        check("{", Err("EOF"));
        check("[]", Err("map"));
    }

    #[test]
    fn the_first_file_that_can_be_read_is_the_network() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            config_dir: folder.path().to_owned(),
            network: None,
            plugin_dirs: vec![],
            cache_dir: "/nowhere".into(),
            deadline: Duration::from_secs(1),
        };
        let why = |settings: &Settings| load(settings).unwrap_err().to_string();
        assert!(why(&settings).contains("write a .conflist"), "{}", why(&settings));
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        put("00-broken.conflist", "{");
        assert!(why(&settings).contains("00-broken.conflist"), "{}", why(&settings));
        put("20-b.conf", r#"{"cniVersion":"0.4.0","name":"b","type":"bridge"}"#);
        put("10-a.conflist", r#"{"cniVersion":"1.0.0","name":"a","plugins":[{"type":"bridge"}]}"#);
        put("05-no.txt", r#"{"cniVersion":"1.0.0","name":"no","type":"bridge"}"#);
        assert_eq!(load(&settings).unwrap().name, "a");
        settings.network = Some("b".into());
        assert_eq!(load(&settings).unwrap().name, "b");
        settings.network = Some("c".into());
        assert!(why(&settings).contains("\"c\""));
    }

    #[test]
    fn plugins_in_a_folder_of_the_networks_name_follow_those_of_the_list() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("a");
        fs::create_dir(&own).unwrap();
        let put = |path: PathBuf, text: &str| fs::write(path, text).unwrap();
        put(own.join("20-second.conf"), r#"{"type":"second"}"#);
        put(own.join("10-first.conf"), r#"{"type":"first"}"#);
        put(own.join("30-no.conflist"), r#"{"type":"no"}"#);
        let list = folder.path().join("10-a.conflist");
        let check = |text: &str, expect: Result<&[&str], &str>| {
            put(list.clone(), text);
            match (read(&list), expect) {
                (Ok(list), Ok(kinds)) => assert_eq!(list.plugins.iter().map(kind).collect::<Vec<_>>(), kinds),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        };
        let both = r#"{"cniVersion":"1.1.0","name":"a","plugins":[{"type":"bridge"}]}"#;
        check(both, Ok(&["bridge", "first", "second"]));
        check(r#"{"cniVersion":"1.1.0","name":"a"}"#, Ok(&["first", "second"]));
        let only = r#"{"cniVersion":"1.1.0","name":"a","loadOnlyInlinedPlugins":true,"plugins":[{"type":"bridge"}]}"#;
        check(only, Ok(&["bridge"]));
        check(r#"{"cniVersion":"1.1.0","name":"a","loadOnlyInlinedPlugins":true}"#, Err("no plugins"));
        check(r#"{"cniVersion":"1.1.0","name":"b"}"#, Err("no plugins"));
        check(r#"{"cniVersion":"1.1.0","name":"../a"}"#, Err("cannot name a network"));
        check(r#"{"cniVersion":"0.4.0","name":"a","type":"bridge"}"#, Ok(&["bridge"]));
        put(own.join("40-broken.conf"), "{");
        check(both, Err("40-broken.conf"));
    }
}
