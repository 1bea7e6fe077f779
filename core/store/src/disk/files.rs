//! The few file operations that a disk store needs, as a trait, so that tests can put a failing disk below it.

use std::{
    any::Any,
    fmt::Debug,
    fs,
    io::{self, ErrorKind, Read, Seek, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// One directory.
///
/// # Contract
///
/// 1. **Names.** A created, renamed or removed name survives a crash once [`sync`](Files::sync) has returned.
/// 2. **Exclusive.** While a lock is held, no other lock of the same directory is given, in no process.
pub trait Files: Debug + Send + Sync + 'static {
    /// Where this is, for messages.
    fn place(&self) -> String;

    /// The names of the files.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file, in place of one that exists.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Opens a file that exists.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Gives a file another name, in place of one that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;

    /// Locks the directory until the lock is dropped; [`ErrorKind::WouldBlock`], naming the holder, where it is locked.
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>>;
}

/// One file.
///
/// # Contract
///
/// 1. **Content.** What was written before [`sync`](File::sync) returned survives a crash; later writes may be lost,
///    kept, or kept in part.
pub trait File: Debug + Send + Sync + 'static {
    /// The length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills the buffer from an offset on.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all bytes at an offset.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts off everything from a length on.
    fn truncate(&self, size: u64) -> io::Result<()>;

    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
}

const LOCK: &str = "LOCK";

/// A directory of the operating system.
#[derive(Debug)]
pub struct RealFiles {
    path: PathBuf,
}

impl RealFiles {
    /// A directory, made if it is missing.
    ///
    /// # Errors
    ///
    /// Those of making a directory.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        if !path.is_dir() {
            fs::create_dir_all(&path)?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::File::open(parent)?.sync_all()?;
        }
        Ok(Self { path })
    }
}

impl Files for RealFiles {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = vec![];
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let options =
            fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(self.path.join(name));
        Ok(Box::new(RealFile(options?)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(RealFile(fs::OpenOptions::new().read(true).write(true).open(self.path.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let path = self.path.join(LOCK);
        let mut file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::Error(error)) => return Err(error),
            Err(fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who holds it is only for the message.
                let _ = file.read_to_string(&mut holder);
                let holder = if holder.trim().is_empty() { "another process" } else { holder.trim() };
                return Err(io::Error::new(ErrorKind::WouldBlock, holder.to_owned()));
            }
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "process {}", std::process::id())?;
        Ok(Box::new(file))
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
