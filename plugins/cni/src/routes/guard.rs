//! Notices when somebody else changes what leads to other nodes: the kernel tells, nobody looks again and again.

use std::{os::unix::net::UnixStream, sync::Arc, time::Duration};

use futures::{
    StreamExt,
    channel::mpsc::{Sender, channel},
    stream,
};
use windlass_kernel::{Result, routes::Disturbances};

use super::{Made, NodeRoutes, Settings, underlay::Underlay};
use crate::{
    failed, namespace,
    net::{Fact, Heard, News},
};

/// What comes within this time of something else is looked at together with it.
const GATHER: Duration = Duration::from_millis(20);
/// So often the kernel may speak without a pause, before it is looked at what it said: on busy machines there is none.
const TURNS: usize = 50;
/// More is not looked at one by one: what is there is compared with what is wanted then.
const MANY: usize = 1000;

impl NodeRoutes {
    /// Follows the namespace on a thread of its own, until the answer is dropped.
    pub(super) fn follow(&self) -> Disturbances {
        let (settings, made, spawn) = (Arc::clone(&self.settings), Arc::clone(&self.made), Arc::clone(&self.spawn));
        // What was told and is not heard yet stands for what comes after it.
        let (tell, told) = channel(0);
        let started = UnixStream::pair().map(|(own, stop)| {
            let guard = move || {
                let guard = Guard { settings, made, stop, tell };
                if let Err(error) = guard.run() {
                    tracing::error!(%error, "it is not noticed any more when somebody changes routes to other nodes");
                }
            };
            spawn.blocking("cni.routes.guard", Box::new(guard));
            own
        });
        match started {
            // The thread sees that the other end has gone.
            Ok(own) => {
                stream::unfold(
                    (told, own),
                    |(mut told, own)| async move { told.next().await.map(|()| ((), (told, own))) },
                )
                .boxed()
            }
            Err(error) => {
                tracing::error!(%error, "it is not noticed when somebody changes routes to other nodes");
                stream::empty().boxed()
            }
        }
    }
}

struct Guard {
    settings: Arc<Settings>,
    made: Arc<async_lock::Mutex<Option<Made>>>,
    stop: UnixStream,
    tell: Sender<()>,
}

impl Guard {
    fn run(mut self) -> Result<()> {
        let mark = self.settings.mark;
        let open = move || News::open(mark).map_err(failed("follow changes of the network namespace"));
        let mut news = match self.settings.namespace.as_deref().map(namespace::open).transpose()? {
            Some(there) => namespace::inside(&there, open)?,
            None => open()?,
        };
        let (mut heard, mut turns) = (Vec::new(), 0);
        let mut matters = true;
        loop {
            if std::mem::take(&mut matters) && self.tell.try_send(()).is_err_and(|error| error.is_disconnected()) {
                return Ok(());
            }
            let patience = Some(GATHER).filter(|_| !heard.is_empty());
            match news.wait(std::os::fd::AsFd::as_fd(&self.stop), patience).map_err(failed("follow changes"))? {
                Heard::Stop => return Ok(()),
                Heard::Facts(facts) if heard.len() + facts.len() > MANY => heard = vec![Fact::Lost],
                Heard::Facts(facts) => heard.extend(facts),
                Heard::Nothing => turns = TURNS,
            }
            turns += 1;
            // While routes are being made, what is heard is mostly that.
            if turns > TURNS
                && let Some(made) = self.made.try_lock()
            {
                matters = heard.drain(..).any(|fact| disturbs(&fact, made.as_ref()));
                turns = 0;
            }
        }
    }
}

/// Whether what happened may have taken away what was made. What we do ourselves does not.
fn disturbs(fact: &Fact, made: Option<&Made>) -> bool {
    // Nothing stands since something failed: links and addresses may be what was lacking.
    let Some(made) = made else { return matches!(fact, Fact::Link(_) | Fact::Lost) };
    let tunnel = match made.underlay {
        Underlay::Tunnel { index, .. } => Some(index),
        Underlay::Direct { .. } => None,
    };
    let way = |range| made.owners.get(range).and_then(|owner| made.nodes.get(owner)?.ways.get(range));
    match fact {
        Fact::Lost => true,
        Fact::Link(link) => made.links.contains(link),
        Fact::Way(range, there) => way(range).is_some_and(|wanted| there.as_ref() != Some(wanted)),
        Fact::NoWay(gone) => way(&gone.destination) == Some(gone),
        Fact::Neighbour { link, .. } if tunnel != Some(*link) => false,
        Fact::Neighbour { forward: true, ip, mac: Some(mac), there, .. } => {
            let wanted = made.nodes.values().find_map(|entries| entries.forwards.get(mac));
            wanted.is_some_and(
                |wanted| if *there { ip.as_ref() != Some(wanted) } else { ip.is_none_or(|ip| ip == *wanted) },
            )
        }
        Fact::Neighbour { forward: false, ip: Some(ip), mac, there, .. } => {
            let wanted = made.nodes.values().find_map(|entries| entries.neighbours.get(ip));
            wanted.is_some_and(|wanted| !there || mac.as_ref() != Some(wanted))
        }
        Fact::Neighbour { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        net::IpAddr,
    };

    use windlass_kernel::routes::RoutedNode;

    use super::*;
    use crate::{net::Way, routes::entries::Entries};

    const MAC: [u8; 6] = [1; 6];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn way(range: &str, gateway: &str) -> Way {
        Way { destination: range.parse().unwrap(), gateway: ip(gateway), link: 9, onlink: true }
    }

    fn made() -> Made {
        let one = way("10.0.2.0/24", "10.0.2.0");
        let entries = Entries {
            forwards: BTreeMap::from([(MAC, ip("192.0.2.2"))]),
            neighbours: BTreeMap::from([(ip("10.0.2.0"), MAC)]),
            ways: BTreeMap::from([(one.destination, one)]),
        };
        Made {
            own: RoutedNode::default(),
            underlay: Underlay::Tunnel { index: 9, local: ip("192.0.2.1"), mtu: 1450 },
            links: BTreeSet::from([2, 9]),
            nodes: BTreeMap::from([("n2".to_owned(), entries)]),
            owners: BTreeMap::from([(one.destination, "n2".to_owned())]),
        }
    }

    fn check(fact: &Fact, expect: bool) {
        assert_eq!(disturbs(fact, Some(&made())), expect, "{fact:?}");
    }

    #[test]
    fn what_is_wanted_and_goes_or_changes_is_noticed() {
        let (own, other) = (way("10.0.2.0/24", "10.0.2.0"), way("10.0.2.0/24", "10.0.2.7"));
        check(&Fact::NoWay(own), true);
        check(&Fact::NoWay(other), false);
        check(&Fact::NoWay(way("10.0.3.0/24", "10.0.3.0")), false);
        check(&Fact::Way(own.destination, Some(own)), false);
        check(&Fact::Way(own.destination, Some(other)), true);
        check(&Fact::Way(own.destination, None), true);
        check(&Fact::Way("10.9.0.0/16".parse().unwrap(), None), false);
        for (link, expect) in [(2, true), (9, true), (3, false)] {
            check(&Fact::Link(link), expect);
        }
        check(&Fact::Lost, true);
    }

    #[test]
    fn neighbours_are_noticed_on_our_own_device() {
        let fact =
            |link, forward, at: &str, mac, there| Fact::Neighbour { link, forward, ip: Some(ip(at)), mac, there };
        check(&fact(9, false, "10.0.2.0", None, false), true);
        check(&fact(9, false, "10.0.2.0", Some(MAC), true), false);
        check(&fact(9, false, "10.0.2.0", Some([2; 6]), true), true);
        check(&fact(9, false, "10.0.7.0", None, false), false);
        check(&fact(2, false, "10.0.2.0", None, false), false);
        check(&fact(9, true, "192.0.2.2", Some(MAC), false), true);
        check(&fact(9, true, "192.0.2.2", Some(MAC), true), false);
        check(&fact(9, true, "192.0.2.3", Some(MAC), true), true);
        // The old entry of one that has moved.
        check(&fact(9, true, "192.0.2.3", Some(MAC), false), false);
        check(&fact(9, true, "192.0.2.2", Some([2; 6]), false), false);
    }

    #[test]
    fn where_nothing_stands_a_link_may_be_what_was_lacking() {
        assert!(disturbs(&Fact::Link(3), None) && disturbs(&Fact::Lost, None));
        assert!(!disturbs(&Fact::NoWay(way("10.0.2.0/24", "10.0.2.0")), None));
    }
}
