//! The reference node agent: pod workers, probes, volumes, logs and sessions over any ContainerRuntime.
