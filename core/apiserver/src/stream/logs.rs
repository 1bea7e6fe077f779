//! Logs over a WebSocket: each message is what the log said next.

use futures::{SinkExt, StreamExt};
use windlass_kernel::{api::Chunks, carry::Keeping};

use super::socket::{Channels, Socket};

/// Sends a log until it ends.
pub(super) async fn over_socket(socket: Socket, protocol: &str, chunks: Chunks, keeping: &Keeping) {
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
