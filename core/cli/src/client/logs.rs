//! `windlass logs`: what a container wrote, as it comes.

use std::process::ExitCode;

use anyhow::Result;
use futures::StreamExt;
use windlass::kernel::{
    Error, ErrorKind,
    api::{Answer, GroupVersionResource, Verb},
};

use super::{connect::within, print};
use crate::args::Logs;

pub(crate) fn run(logs: &Logs) -> Result<ExitCode> {
    within(&logs.scope, async |connected| {
        let pods = GroupVersionResource::of("", "v1", "pods");
        let mut request = connected.client.request(Verb::Get, pods).in_namespace(&connected.namespace);
        request = request.named(logs.pod.trim_start_matches("pod/")).subresource("log");
        let mut add = |name: &str, value: Option<String>| {
            request.options.query.extend(value.map(|value| (name.to_owned(), value)));
        };
        let flag = |is_set: bool| is_set.then(|| "true".to_owned());
        add("container", logs.container.clone());
        add("follow", flag(logs.follow));
        add("previous", flag(logs.previous));
        add("timestamps", flag(logs.timestamps));
        add("tailLines", logs.tail.map(|lines| lines.to_string()));
        let Answer::Stream(mut chunks) = connected.client.call(request).await?.answer else {
            return Err(Error::new(ErrorKind::Internal, "the server sent an object instead of a log").into());
        };
        while let Some(chunk) = chunks.0.next().await {
            print(chunk?)?;
        }
        Ok(ExitCode::SUCCESS)
    })
}
