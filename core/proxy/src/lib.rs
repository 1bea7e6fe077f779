//! Services and EndpointSlices to packet rules.
