//! Tells those who follow a folder, as of logs, that something was written or came or went, by the kernel's inotify, so that
//! nobody has to look again and again.
//!
//! One instance and one thread serve all followers of an agent, and only while somebody follows. The kernel gives each user
//! a limited number of both instances and watches: who gets none has to look by himself.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use event_listener::{Event, EventListener};
use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor},
};
use parking_lot::Mutex;
use windlass_kernel::Spawn;

/// The folders that are watched. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    /// There while a thread waits on it.
    kernel: Option<Arc<Inotify>>,
    folders: BTreeMap<PathBuf, Folder>,
}

#[derive(Debug)]
struct Folder {
    descriptor: WatchDescriptor,
    followers: usize,
    changed: Arc<Event>,
}

/// A folder that is watched until this is dropped.
#[derive(Debug)]
pub(crate) struct Watched {
    arrivals: Arrivals,
    folder: PathBuf,
    changed: Arc<Event>,
}

impl Arrivals {
    /// Watches a folder; `None` where the kernel does not let us, or there is no such folder.
    pub(crate) fn watch(&self, folder: &Path, spawn: &dyn Spawn) -> Option<Watched> {
        let mut inside = self.0.lock();
        let changed = match inside.folders.get_mut(folder) {
            Some(known) => {
                known.followers += 1;
                Arc::clone(&known.changed)
            }
            None => {
                let (kernel, fresh) = match &inside.kernel {
                    Some(kernel) => (Arc::clone(kernel), false),
                    None => (Arc::new(Inotify::init(InitFlags::IN_CLOEXEC).ok()?), true),
                };
                let came = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
                let went = AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM;
                let what = AddWatchFlags::IN_MODIFY | came | went;
                let descriptor = kernel.add_watch(folder, what | AddWatchFlags::IN_ONLYDIR).ok()?;
                let changed = Arc::<Event>::default();
                let one = Folder { descriptor, followers: 1, changed: Arc::clone(&changed) };
                inside.folders.insert(folder.to_owned(), one);
                if fresh {
                    inside.kernel = Some(Arc::clone(&kernel));
                    let arrivals = self.clone();
                    spawn.blocking("node.arrivals", Box::new(move || arrivals.wait(&kernel)));
                }
                changed
            }
        };
        Some(Watched { arrivals: self.clone(), folder: folder.to_owned(), changed })
    }

    /// Passes on what the kernel says, until nothing is watched: the removal of a watch is something that it says too.
    fn wait(&self, kernel: &Inotify) {
        loop {
            let events = match kernel.read_events() {
                Ok(events) => events,
                Err(Errno::EINTR) => continue,
                Err(error) => {
                    tracing::error!(%error, "folders cannot be watched any more; who follows a log hears of its end only");
                    vec![]
                }
            };
            let mut inside = self.0.lock();
            for event in &events {
                let overflow = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                for folder in inside.folders.values().filter(|folder| overflow || folder.descriptor == event.wd) {
                    folder.changed.notify(usize::MAX);
                }
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    inside.folders.retain(|_, folder| folder.descriptor != event.wd);
                }
            }
            if inside.folders.is_empty() || events.is_empty() {
                *inside = Inside::default();
                return;
            }
        }
    }
}

impl Watched {
    /// Ends when something is written from now on, or the folder goes.
    pub(crate) fn listen(&self) -> EventListener {
        self.changed.listen()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut inside = self.arrivals.0.lock();
        let Some(folder) = inside.folders.get_mut(&self.folder) else { return };
        // A folder of that name may have come after the one that was watched here.
        if !Arc::ptr_eq(&folder.changed, &self.changed) {
            return;
        }
        folder.followers -= 1;
        if folder.followers == 0 {
            let descriptor = folder.descriptor;
            inside.folders.remove(&self.folder);
            if let Some(kernel) = &inside.kernel {
                // A folder that is gone takes its watch along.
                let _ = kernel.rm_watch(descriptor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc, thread};

    use event_listener::Listener;
    use futures::future::BoxFuture;

    use super::*;

    /// Runs blocking work on a thread each, and tells of its end.
    #[derive(Debug)]
    struct Threads(Mutex<mpsc::Sender<()>>);

    impl Spawn for Threads {
        fn start(&self, name: &'static str, _: BoxFuture<'static, ()>) {
            panic!("{name} is not started here");
        }

        #[allow(clippy::disallowed_methods, reason = "this is where the test's threads come from")]
        fn blocking(&self, _: &'static str, work: Box<dyn FnOnce() + Send>) {
            let ended = self.0.lock().clone();
            thread::spawn(move || {
                work();
                // The test may be over.
                let _ = ended.send(());
            });
        }
    }

    #[test]
    fn a_follower_hears_of_what_is_written_and_the_thread_ends_with_the_last_of_them() {
        let root = std::env::temp_dir().join(format!("windlass-arrivals-{}", std::process::id()));
        let (one, two) = (root.join("one"), root.join("two"));
        fs::create_dir_all(&one).unwrap();
        fs::create_dir_all(&two).unwrap();
        let (sender, ended) = mpsc::channel();
        let (spawn, arrivals) = (Threads(Mutex::new(sender)), Arrivals::default());
        assert!(arrivals.watch(&root.join("none"), &spawn).is_none());

        let first = arrivals.watch(&one, &spawn).unwrap();
        let second = arrivals.watch(&two, &spawn).unwrap();
        let heard = first.listen();
        fs::write(one.join("0.log"), "a").unwrap();
        heard.wait();
        drop(first);
        let heard = second.listen();
        fs::write(two.join("0.log"), "a").unwrap();
        heard.wait();
        // A folder that goes is news as well.
        let heard = second.listen();
        fs::remove_dir_all(&two).unwrap();
        heard.wait();
        drop(second);
        ended.recv().unwrap();

        let again = arrivals.watch(&one, &spawn).unwrap();
        drop(again);
        ended.recv().unwrap();
        fs::remove_dir_all(&root).unwrap();
    }
}
