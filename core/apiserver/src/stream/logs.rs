//! Logs over a WebSocket: each message is what the log said next.

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use windlass_kernel::{api::Chunks, carry::Keeping};
use windlass_transport::upgrade::{Channels, Protocols, Socket};

/// Logs are served over WebSockets alone.
pub(super) const PROTOCOLS: Protocols = Protocols { socket: &["binary.k8s.io", "base64.binary.k8s.io", ""], spdy: &[] };

/// Sends a log until it ends.
pub(super) async fn over_socket<T>(socket: Socket<T>, protocol: &str, chunks: Chunks, keeping: &Keeping)
where
    T: AsyncRead + AsyncWrite + Send + Unpin,
{
    let channels = Channels::new(protocol);
    let (mut output, mut chunks) = (channels.whole(), chunks.0);
    let session = async move {
        // Tells the client that the log is open, though it may have nothing to say yet.
        if output.send(bytes::Bytes::new()).await.is_err() {
            return;
        }
        while let Some(chunk) = chunks.next().await {
            let sent = match chunk {
                Ok(chunk) => output.send(chunk).await,
                Err(error) => {
                    tracing::debug!(%error, "a log ended early");
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    };
    channels.serve(socket, keeping, session).await;
}
