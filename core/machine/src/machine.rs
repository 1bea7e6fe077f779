//! All of the machine in one, for programs and tests that hand it on whole.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use windlass_kernel::{
    Clock, Dial, Entropy, Result, Spawn,
    dial::{ByteStream, Target},
};

use crate::{SystemClock, SystemDial, SystemEntropy, TokioSpawn};

/// The machine on a tokio runtime: its time, chance, tasks and connections. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct Machine {
    clock: SystemClock,
    spawn: TokioSpawn,
}

impl Machine {
    /// The machine, whose tasks run there and whose uptime begins now.
    #[must_use]
    pub fn on(runtime: Handle) -> Self {
        Self { clock: SystemClock::new(), spawn: TokioSpawn::on(runtime) }
    }

    /// Drives work to its end on the calling thread.
    ///
    /// # Panics
    ///
    /// In a task of a tokio runtime.
    pub fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.spawn.block_on(work)
    }
}

impl Clock for Machine {
    fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    fn uptime(&self) -> Duration {
        self.clock.uptime()
    }

    fn sleep_until(&self, end: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(end)
    }
}

impl Spawn for Machine {
    fn start(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.spawn.start(name, task);
    }

    fn blocking(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) {
        self.spawn.blocking(name, work);
    }
}

impl Entropy for Machine {
    fn fill(&self, buffer: &mut [u8]) {
        SystemEntropy.fill(buffer);
    }
}

#[async_trait]
impl Dial for Machine {
    async fn dial(&self, target: &Target) -> Result<ByteStream> {
        SystemDial.dial(target).await
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::net::UnixListener};

    use futures::{AsyncReadExt, AsyncWriteExt};
    use windlass_kernel::{ClockExt, ErrorKind, SpawnExt};

    use super::*;

    fn run(test: impl AsyncFnOnce(Machine)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let machine = Machine::on(runtime.handle().clone());
        machine.block_on(test(machine.clone()));
    }

    #[test]
    fn time_passes_for_the_clock_as_for_its_sleeps() {
        run(async |machine| {
            let (now, begun) = (machine.now(), machine.uptime());
            machine.sleep(Duration::from_millis(20)).await;
            assert!(machine.uptime() - begun >= Duration::from_millis(20) && machine.now() > now);
            assert_eq!(machine.within(Duration::from_millis(1), machine.sleep_until(Duration::MAX)).await, None);
        });
    }

    #[test]
    fn tasks_run_beside_their_starter_and_blocking_work_apart() {
        run(async |machine| {
            let (say, said) = futures::channel::oneshot::channel();
            machine.spawn("say", async move { say.send(7).unwrap() }).detach();
            assert_eq!(said.await, Ok(7));
            let here = std::thread::current().id();
            let there = machine.run_blocking("where", || std::thread::current().id()).await;
            assert!(there.is_some_and(|there| there != here));
        });
    }

    #[test]
    fn chance_is_not_the_same_twice() {
        run(async |machine| {
            let mut drawn = [[0; 16]; 2];
            drawn.iter_mut().for_each(|bytes| machine.fill(bytes));
            assert_ne!(drawn[0], drawn[1]);
        });
    }

    #[test]
    fn hosts_and_sockets_are_reached_and_nothing_of_a_cluster() {
        run(async |machine| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let host = Target::Host { host: "127.0.0.1".into(), port };
            let mut near = machine.dial(&host).await.unwrap();
            let (mut far, _) = listener.accept().unwrap();
            near.write_all(b"hello").await.unwrap();
            let mut heard = [0; 5];
            std::io::Read::read_exact(&mut far, &mut heard).unwrap();
            assert_eq!(&heard, b"hello");
            drop(listener);
            let refused = machine.dial(&host).await.err().unwrap();
            assert!(refused.is(ErrorKind::Unavailable) && refused.to_string().contains("127.0.0.1"), "{refused}");

            let path = std::env::temp_dir().join(format!("windlass-machine-{}.sock", std::process::id()));
            let listener = UnixListener::bind(&path).unwrap();
            let mut near = machine.dial(&Target::Unix(path.display().to_string())).await.unwrap();
            let (mut far, _) = listener.accept().unwrap();
            std::io::Write::write_all(&mut far, b"there").unwrap();
            near.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"there");
            std::fs::remove_file(path).unwrap();

            let node = machine.dial(&Target::Node { name: "n1".into(), port: 1 }).await.err().unwrap();
            assert!(node.is(ErrorKind::NotSupported), "{node}");
        });
    }
}
