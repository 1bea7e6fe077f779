//! A disk in memory that loses what was not synced, tears what was half written, fills up and fails.

use std::{
    any::Any,
    collections::BTreeMap,
    io::{self, ErrorKind},
    sync::Arc,
};

use parking_lot::Mutex;
use windlass_store::{File, Files};

/// A directory on a disk that can fail. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultyFiles(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<u64, Node>,
    names: BTreeMap<String, u64>,
    /// The names as a crash leaves them at least, and what was done to them since.
    durable: BTreeMap<String, u64>,
    renames: Vec<BTreeMap<String, u64>>,
    locked: bool,
    /// How many operations have changed or synced something.
    operations: u64,
    /// The operation at which the power goes.
    cut: Option<u64>,
    /// The operation that fails alone.
    failing: Option<u64>,
    /// How many bytes all files may have.
    space: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Write>,
}

#[derive(Clone, Debug)]
enum Write {
    At(usize, Vec<u8>),
    Truncate(usize),
}

/// Small, fast and the same for the same seed.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

impl FaultyFiles {
    /// Cuts the power at the operation with that number, counted from now.
    pub(crate) fn cut_after(&self, operations: u64) {
        let mut state = self.0.lock();
        state.cut = Some(state.operations + operations);
    }

    /// Makes the operation with that number, counted from now, fail.
    pub(crate) fn fail_after(&self, operations: u64) {
        let mut state = self.0.lock();
        state.failing = Some(state.operations + operations);
    }

    /// Leaves room for so many more bytes; `None` for any number.
    pub(crate) fn leave_room(&self, bytes: Option<usize>) {
        let mut state = self.0.lock();
        let used: usize = state.nodes.values().map(|node| node.now.len()).sum();
        state.space = bytes.map(|bytes| used + bytes);
    }

    pub(crate) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// The disk as it may be found after the power went. The lock is gone with its holder.
    pub(crate) fn after_crash(&self, dice: &mut Dice) -> Self {
        let state = self.0.lock();
        let steps = state.renames.len() as u64;
        let names = match dice.roll(steps + 1) {
            0 => state.durable.clone(),
            step => state.renames[usize::try_from(step).unwrap() - 1].clone(),
        };
        let nodes = state.nodes.iter().map(|(id, node)| (*id, node.after_crash(dice))).collect();
        Self(Arc::new(Mutex::new(State { nodes, durable: names.clone(), names, ..State::default() })))
    }

    /// Changes a file's bytes behind everybody's back.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let id = state.names[name];
        let node = state.nodes.get_mut(&id).unwrap();
        change(&mut node.now);
        node.durable = node.now.clone();
    }
}

impl Node {
    fn after_crash(&self, dice: &mut Dice) -> Self {
        let mut bytes = self.durable.clone();
        for write in &self.pending {
            match (write, dice.roll(3)) {
                (_, 0) => {}
                (write, 1) => write.apply(&mut bytes),
                (Write::Truncate(_), _) => {}
                // Sectors come to the disk in any order.
                (Write::At(offset, content), _) => {
                    for (index, sector) in content.chunks(512).enumerate() {
                        if dice.roll(2) == 0 {
                            Write::At(offset + index * 512, sector.to_vec()).apply(&mut bytes);
                        }
                    }
                }
            }
        }
        Self { now: bytes.clone(), durable: bytes, pending: vec![] }
    }
}

impl Write {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Truncate(size) => bytes.truncate(*size),
            Self::At(offset, content) => {
                let end = offset + content.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(content);
            }
        }
    }
}

impl State {
    fn dead(&self) -> bool {
        self.cut.is_some_and(|cut| self.operations >= cut)
    }

    /// Counts an operation; whether it is the one at which the power goes.
    fn step(&mut self) -> io::Result<bool> {
        if self.dead() {
            return Err(io::Error::other("the power is off"));
        }
        self.operations += 1;
        if self.failing == Some(self.operations) {
            return Err(io::Error::other("the disk failed"));
        }
        Ok(self.dead())
    }

    fn finish(cut: bool) -> io::Result<()> {
        if cut { Err(io::Error::other("the power went")) } else { Ok(()) }
    }

    fn rename(&mut self, change: impl FnOnce(&mut BTreeMap<String, u64>)) -> io::Result<()> {
        let cut = self.step()?;
        change(&mut self.names);
        let names = self.names.clone();
        self.renames.push(names);
        Self::finish(cut)
    }
}

impl Files for FaultyFiles {
    fn place(&self) -> String {
        "faulty".into()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.0.lock();
        let id = state.nodes.len() as u64;
        state.nodes.insert(id, Node::default());
        state.rename(|names| {
            names.insert(name.to_owned(), id);
        })?;
        Ok(Box::new(FaultyFile { disk: self.clone(), id }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let id = *self.0.lock().names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(FaultyFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.lock().rename(|names| {
            let id = names.remove(from).unwrap();
            names.insert(to.to_owned(), id);
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().rename(|names| {
            names.remove(name);
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        if !state.step()? {
            state.durable = state.names.clone();
            state.renames.clear();
            return Ok(());
        }
        State::finish(true)
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        if std::mem::replace(&mut self.0.lock().locked, true) {
            return Err(io::Error::new(ErrorKind::WouldBlock, "another store"));
        }
        Ok(Box::new(Unlock(self.clone())))
    }
}

struct Unlock(FaultyFiles);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.0.lock().locked = false;
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyFiles,
    id: u64,
}

impl FaultyFile {
    fn write(&self, write: Write) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let cut = state.step()?;
        let node = state.nodes.get_mut(&self.id).unwrap();
        write.apply(&mut node.now);
        node.pending.push(write);
        State::finish(cut)
    }
}

impl File for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().nodes[&self.id].now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.0.lock();
        let offset = usize::try_from(offset).unwrap();
        let bytes = state.nodes[&self.id].now.get(offset..offset + buffer.len()).ok_or(ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let fits = {
            let state = self.disk.0.lock();
            let used: usize = state.nodes.values().map(|node| node.now.len()).sum();
            let inside = state.nodes[&self.id].now.len().saturating_sub(offset);
            let room = state.space.map_or(usize::MAX, |space| space.saturating_sub(used) + inside);
            bytes.len().min(room)
        };
        self.write(Write::At(offset, bytes[..fits].to_vec()))?;
        if fits < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.write(Write::Truncate(usize::try_from(size).unwrap()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        if state.step()? {
            // Half of a sync may have come to the disk: what is pending stays pending.
            return State::finish(true);
        }
        let node = state.nodes.get_mut(&self.id).unwrap();
        node.durable = node.now.clone();
        node.pending.clear();
        Ok(())
    }
}
