//! Services and EndpointSlices to DNS answers.
