//! The identity service.

use tonic::{Request, Response, Status, async_trait};

use super::{Served, answer};
use crate::wire::{csi, identity_server::Identity, plugin_offers};

#[async_trait]
impl Identity for Served {
    async fn get_plugin_info(
        &self,
        _: Request<csi::GetPluginInfoRequest>,
    ) -> Result<Response<csi::GetPluginInfoResponse>, Status> {
        answer("GetPluginInfo", async {
            let info = self.0.info().await?;
            Ok(csi::GetPluginInfoResponse { name: info.name, vendor_version: info.version, manifest: info.manifest })
        })
        .await
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<csi::GetPluginCapabilitiesRequest>,
    ) -> Result<Response<csi::GetPluginCapabilitiesResponse>, Status> {
        answer("GetPluginCapabilities", async { Ok(plugin_offers(&*self.0, &self.0.info().await?)) }).await
    }

    async fn probe(&self, _: Request<csi::ProbeRequest>) -> Result<Response<csi::ProbeResponse>, Status> {
        answer("Probe", async { Ok(csi::ProbeResponse { ready: Some(self.0.ready().await?) }) }).await
    }
}
