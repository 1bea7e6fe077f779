//! Sets of paths, as a trie with one sorted vector per level.
//!
//! A path can be a member, lead to members, or both; a node that is neither is never kept.

use std::cmp::Ordering;
use std::fmt;

use super::element::Element;

/// A set of paths into an object.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) nodes: Vec<Node>,
}

/// A step that belongs to the set, leads to what does, or both.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) element: Element,
    pub(super) member: bool,
    pub(super) children: FieldSet,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

impl FieldSet {
    /// A set without any path.
    #[must_use]
    pub const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// Whether no path is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many paths are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|node| usize::from(node.member) + node.children.len()).sum()
    }

    /// Adds a path; the empty path is ignored.
    pub fn insert(&mut self, path: &[Element]) {
        let Some((element, rest)) = path.split_first() else { return };
        let at = match self.find(element) {
            Ok(at) => at,
            Err(at) => {
                let node = Node { element: element.clone(), member: false, children: Self::new() };
                self.nodes.insert(at, node);
                at
            }
        };
        let node = &mut self.nodes[at];
        node.member |= rest.is_empty();
        node.children.insert(rest);
    }

    /// Whether the path is in it.
    #[must_use]
    pub fn has(&self, path: &[Element]) -> bool {
        let Some((element, rest)) = path.split_first() else { return false };
        self.node(element).is_some_and(|node| if rest.is_empty() { node.member } else { node.children.has(rest) })
    }

    /// Makes a set of paths through fields only, each written `metadata.name`.
    #[must_use]
    pub fn of_fields(paths: &[&str]) -> Self {
        let mut set = Self::new();
        for path in paths {
            set.insert(&path.split('.').map(Element::field).collect::<Vec<_>>());
        }
        set
    }

    /// Calls `each` with every path, in order.
    pub fn for_each(&self, mut each: impl FnMut(&[&Element])) {
        self.visit(&mut Vec::new(), &mut each);
    }

    fn visit<'a>(&'a self, path: &mut Vec<&'a Element>, each: &mut impl FnMut(&[&Element])) {
        for node in &self.nodes {
            path.push(&node.element);
            if node.member {
                each(path);
            }
            node.children.visit(path, each);
            path.pop();
        }
    }

    /// The paths of both.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        self.add(other);
        self
    }

    /// Adds every path of `other`.
    pub fn add(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        if other.is_empty() {
            return;
        }
        let mut left = std::mem::take(&mut self.nodes).into_iter().peekable();
        let mut right = other.nodes.into_iter().peekable();
        self.nodes.reserve(left.len().max(right.len()));
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            let order = a.element.cmp(&b.element);
            let (a, b) = (left.next_if(|_| order.is_le()), right.next_if(|_| order.is_ge()));
            match (a, b) {
                (Some(mut a), Some(b)) => {
                    a.member |= b.member;
                    a.children.add(b.children);
                    self.nodes.push(a);
                }
                (a, b) => self.nodes.extend(a.or(b)),
            }
        }
        self.nodes.extend(left.chain(right));
    }

    /// Removes every path of `other`.
    pub fn subtract(&mut self, other: &Self) {
        self.pair_up(other, |mine, theirs| {
            mine.member &= !theirs.member;
            mine.children.subtract(&theirs.children);
        });
    }

    /// Removes every path of `other` with all that lies below.
    pub fn subtract_below(&mut self, other: &Self) {
        self.pair_up(other, |mine, theirs| {
            if theirs.member {
                mine.member = false;
                mine.children = Self::new();
            } else {
                mine.children.subtract_below(&theirs.children);
            }
        });
    }

    /// The paths of `self` that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.subtract(other);
        rest
    }

    /// The paths of both at once.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut common = Self::new();
        let mut theirs = other.nodes.iter().peekable();
        for mine in &self.nodes {
            while theirs.next_if(|t| t.element < mine.element).is_some() {}
            let Some(theirs) = theirs.next_if(|t| t.element == mine.element) else { continue };
            let member = mine.member && theirs.member;
            let children = mine.children.intersection(&theirs.children);
            if member || !children.is_empty() {
                common.nodes.push(Node { element: mine.element.clone(), member, children });
            }
        }
        common
    }

    /// Calls `change` for each step that both sets have, and drops what it leaves empty.
    fn pair_up(&mut self, other: &Self, mut change: impl FnMut(&mut Node, &Node)) {
        if other.is_empty() {
            return;
        }
        let mut theirs = other.nodes.iter().peekable();
        self.nodes.retain_mut(|mine| {
            while let Some(next) = theirs.peek() {
                match next.element.cmp(&mine.element) {
                    Ordering::Less => theirs.next(),
                    Ordering::Greater => break,
                    Ordering::Equal => {
                        change(mine, next);
                        return !mine.is_empty();
                    }
                };
            }
            true
        });
    }

    pub(super) fn node(&self, element: &Element) -> Option<&Node> {
        self.find(element).ok().map(|at| &self.nodes[at])
    }

    fn find(&self, element: &Element) -> Result<usize, usize> {
        // Paths mostly arrive in order, so that the end is the first place to look.
        match self.nodes.last().map(|last| last.element.cmp(element)) {
            None | Some(Ordering::Less) => Err(self.nodes.len()),
            Some(Ordering::Equal) => Ok(self.nodes.len() - 1),
            Some(Ordering::Greater) => self.nodes.binary_search_by(|node| node.element.cmp(element)),
        }
    }

    /// Appends a step that sorts after all others, unless it would be empty.
    pub(super) fn push(&mut self, element: impl FnOnce() -> Element, member: bool, children: Self) {
        if member || !children.is_empty() {
            self.nodes.push(Node { element: element(), member, children });
        }
    }

    /// Puts steps that were pushed out of order in order, uniting those that are the same.
    pub(super) fn sort(&mut self) {
        if self.nodes.is_sorted_by(|a, b| a.element < b.element) {
            return;
        }
        self.nodes.sort_by(|a, b| a.element.cmp(&b.element));
        self.nodes.dedup_by(|later, earlier| {
            let same = later.element == earlier.element;
            if same {
                earlier.member |= later.member;
                earlier.children.add(std::mem::take(&mut later.children));
            }
            same
        });
    }
}

impl fmt::Debug for FieldSet {
    /// Writes the paths, one after the other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut paths = Vec::new();
        self.for_each(|path| paths.push(path.iter().map(ToString::to_string).collect::<String>()));
        f.debug_set().entries(paths).finish()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.element)
    }
}
