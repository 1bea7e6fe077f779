//! Routes to the pods of other nodes: what is wanted, whoever makes it.

use std::{fmt::Debug, net::IpAddr};

use async_trait::async_trait;
use futures::stream::BoxStream;
use ipnet::IpNet;

use crate::error::{Error, Result};

/// A node, as far as packets to its pods are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutedNode {
    /// Its name.
    pub name: String,
    /// The addresses at which other nodes reach it (`InternalIP`), the main one first.
    pub addresses: Vec<IpAddr>,
    /// The ranges that its pods have addresses of (`spec.podCIDRs`).
    pub ranges: Vec<IpNet>,
}

/// What changed among the other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutesChange {
    /// Nodes that are new or different.
    pub put: Vec<RoutedNode>,
    /// The names of nodes that are no longer there.
    pub gone: Vec<String>,
}

/// A node whose pods are not all reached.
#[derive(Debug)]
pub struct Unreached {
    /// The node.
    pub node: String,
    /// What is in the way, and the cure.
    pub why: Error,
}

/// Items that say that somebody else may have changed routes.
pub type Disturbances = BoxStream<'static, ()>;

/// Leads packets for the pods of other nodes to those nodes.
///
/// # Contract
///
/// 1. **Led there.** After a call, packets of this node and its pods for a range of a wanted node go to that node.
/// 2. **Level-triggered.** After [`replace`](PodRoutes::replace) there are the routes of the set and none that an earlier
///    set or an earlier process left, whatever was there. What others made is not touched.
/// 3. **Cost follows change.** [`change`](PodRoutes::change) costs what it names, whatever is there already.
/// 4. **Traffic goes on.** What stays wanted as it is stays as it is, through a replace too.
/// 5. **Each node by itself.** A node that cannot be reached is answered for by name, and the others are reached.
///    An `Err` is for what stands in the way of all of them.
/// 6. **Moves.** A range that goes from one node to another in one change leads to the other.
/// 7. **Told of.** [`disturbances`](PodRoutes::disturbances), where there are any, begin with an item once they are followed.
///    After that, one comes whenever something that a call made may have been taken away or changed by somebody else, and
///    whenever what stood in the way of a failed call may have gone. What calls do themselves is none. Dropping ends it.
/// 8. **Cleans up.** After [`clear`](PodRoutes::clear) nothing of it is left. Idempotent.
#[async_trait]
pub trait PodRoutes: Debug + Send + Sync + 'static {
    /// Makes the routes of the node `own` those to `others` and nothing else.
    async fn replace(&self, own: RoutedNode, others: Vec<RoutedNode>) -> Result<Vec<Unreached>>;

    /// Changes the routes. Before the first [`replace`](PodRoutes::replace) it is refused as
    /// [`Conflict`](crate::ErrorKind::Conflict).
    async fn change(&self, change: RoutesChange) -> Result<Vec<Unreached>>;

    /// Tells when all should be [replaced](PodRoutes::replace) although nothing else is wanted; `None` where nobody can tell.
    fn disturbances(&self) -> Option<Disturbances> {
        None
    }

    /// Removes everything that any call made.
    async fn clear(&self) -> Result<()>;
}
