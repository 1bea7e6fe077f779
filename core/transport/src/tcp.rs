//! TCP connections, as servers and clients here want them.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use windlass_kernel::{Clock, ClockExt};

/// So long nothing comes before the other side is asked whether it is still there, and so long between such questions (those of Go's
/// `net`, which stock servers and clients of Kubernetes have).
const QUIET: Duration = Duration::from_secs(15);
/// So many questions stay without an answer before the connection is over.
const QUESTIONS: u32 = 9;
/// So long nothing is accepted where the machine has no room for connections.
const FULL: Duration = Duration::from_millis(100);

/// Has what is written sent at once, and a peer that vanished without a word noticed: after two and a half minutes, however little
/// is said. A connection that cannot have it still works, and stays as it is.
pub fn prepare(stream: &TcpStream) {
    // Answers are written whole; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let asking = TcpKeepalive::new().with_time(QUIET).with_interval(QUIET).with_retries(QUESTIONS);
    let _ = SockRef::from(stream).set_tcp_keepalive(&asking);
}

/// The next connection that somebody opens, [prepared](prepare). Errors are logged and waited out: what fails is one connection, or
/// the process is out of descriptors, and those that end give some back. Nothing is lost where nobody waits for it any longer.
pub async fn accept(listener: &TcpListener, clock: &dyn Clock) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                prepare(&stream);
                return stream;
            }
            Err(error) => {
                let at = listener.local_addr().map_or_else(|_| "a closed socket".to_owned(), |at| at.to_string());
                tracing::warn!(%error, at, "cannot accept a connection");
                clock.sleep(FULL).await;
            }
        }
    }
}
