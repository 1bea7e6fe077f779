//! The client: typed calls, informers, work queue and leader election over any Api; and an Api over HTTPS.
