//! The plugin's service.

use std::sync::Arc;

use futures::{StreamExt, future, stream::BoxStream};
use tonic::{Request, Response, Status, async_trait};
use windlass_kernel::{DevicePlugin, Error, ErrorKind, Stop, device::PluginDevice};

use crate::wire::{self, api, device_plugin_server, to_status};

/// The plugin, as the server of its service.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) plugin: Arc<dyn DevicePlugin>,
    /// Streams of devices end with it.
    pub(super) stop: Stop,
}

type Answer<T> = Result<Response<T>, Status>;

/// What a plugin can.
pub(super) fn options(plugin: &dyn DevicePlugin) -> api::DevicePluginOptions {
    api::DevicePluginOptions {
        pre_start_required: plugin.preparing().is_some(),
        get_preferred_allocation_available: plugin.preferring().is_some(),
    }
}

#[async_trait]
impl device_plugin_server::DevicePlugin for Served {
    type ListAndWatchStream = BoxStream<'static, Result<api::ListAndWatchResponse, Status>>;

    async fn get_device_plugin_options(&self, _: Request<api::Empty>) -> Answer<api::DevicePluginOptions> {
        Ok(Response::new(options(&*self.plugin)))
    }

    async fn list_and_watch(&self, _: Request<api::Empty>) -> Answer<Self::ListAndWatchStream> {
        // An error would end the list at the agent: what the plugin said before is what it has still.
        let told = |list: windlass_kernel::Result<Vec<PluginDevice>>| async move {
            let list = list.inspect_err(|error| tracing::warn!(%error, "the plugin cannot say which devices it has"));
            list.ok().map(|list| Ok(wire::devices_to_wire(list)))
        };
        // A stream that ended would be a plugin that is gone: what follows the last list is silence.
        let lists = self.plugin.devices().filter_map(told).chain(futures::stream::once(future::pending()));
        let stop = self.stop.clone();
        Ok(Response::new(lists.take_until(async move { stop.wait().await }).boxed()))
    }

    async fn get_preferred_allocation(
        &self,
        request: Request<api::PreferredAllocationRequest>,
    ) -> Answer<api::PreferredAllocationResponse> {
        let work = async {
            let lacks = || Error::new(ErrorKind::NotSupported, "this plugin does not choose devices");
            let service = self.plugin.preferring().ok_or_else(lacks)?;
            let mut container_responses = vec![];
            for one in request.into_inner().container_requests {
                let chosen = service.prefer(&wire::preference(one)?).await?;
                let answer = api::ContainerPreferredAllocationResponse { device_i_ds: wire::names(&chosen) };
                container_responses.push(answer);
            }
            Ok(api::PreferredAllocationResponse { container_responses })
        };
        windlass_grpc::answer("GetPreferredAllocation", work, to_status).await
    }

    async fn allocate(&self, request: Request<api::AllocateRequest>) -> Answer<api::AllocateResponse> {
        let work = async {
            let mut container_responses = vec![];
            for one in request.into_inner().container_requests {
                let answer = self.plugin.allocate(&wire::ids(one.devices_ids)).await?;
                container_responses.push(wire::allocation_to_wire(answer));
            }
            Ok(api::AllocateResponse { container_responses })
        };
        windlass_grpc::answer("Allocate", work, to_status).await
    }

    async fn pre_start_container(
        &self,
        request: Request<api::PreStartContainerRequest>,
    ) -> Answer<api::PreStartContainerResponse> {
        let work = async {
            // An agent that asks without need is told that all is well.
            if let Some(service) = self.plugin.preparing() {
                service.prepare(&wire::ids(request.into_inner().devices_ids)).await?;
            }
            Ok(api::PreStartContainerResponse {})
        };
        windlass_grpc::answer("PreStartContainer", work, to_status).await
    }
}
