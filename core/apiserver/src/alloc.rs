//! Addresses and ports of services, claimed in the transaction that writes the service.
use serde_json::Value;
use windlass_kernel::{error::Result, store::{Txn, Op, Condition, Key}};
use crate::{registry::Served, server::ApiServer};
/// Ranges.
#[derive(Clone, Debug, Default)]
pub struct Ranges {}
#[derive(Default)]
pub(crate) struct Claims { take: Vec<(Key, bytes::Bytes)>, give: Vec<Key> }
impl Claims {
    pub(crate) fn add_to(&self, txn: &mut Txn) {
        for (key, value) in &self.take {
            txn.conditions.push(Condition::Absent(key.clone()));
            txn.ops.push(Op::Put { key: key.clone(), value: value.clone(), lease: None });
        }
        txn.ops.extend(self.give.iter().map(|key| Op::Delete { key: key.clone() }));
    }
    pub(crate) fn release(_old: &Value) -> Self { Self::default() }
}
pub(crate) async fn claim(_: &ApiServer, _: &Served, _: &mut Value, _: Option<&Value>) -> Result<Claims> { Ok(Claims::default()) }
pub(crate) async fn claim_again(_: &ApiServer, _: &Served, _: &mut Value) -> Result<Claims> { Ok(Claims::default()) }
