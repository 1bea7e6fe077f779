//! Calls word by word, for those who check what a driver answers to what nobody should send.

use bytes::Bytes;
use windlass_kernel::Result;

use super::{RawAnswer, RemoteDriver};

impl RemoteDriver {
    /// Calls a method, such as `/csi.v1.Controller/CreateVolume`, with a message as it is.
    ///
    /// # Errors
    ///
    /// [`Invalid`](windlass_kernel::ErrorKind::Invalid) where `method` is no path;
    /// [`Unavailable`](windlass_kernel::ErrorKind::Unavailable) without a connection.
    pub async fn raw(&self, method: &str, message: Bytes) -> Result<RawAnswer> {
        windlass_grpc::raw(&self.channel, method, message, None).await
    }
}
