//! A sequence of entries as a balanced tree that knows its sums.
//!
//! The tree is weight-balanced with the parameters (3, 2), which Hirai and Yamamoto ("Balancing weight-balanced trees",
//! JFP 21, 2011) prove to be right. All changes are made of splitting and linking (Blelloch, Ferizovic and Sun, "Just
//! join for parallel ordered sets", SPAA 2016), so each takes steps in proportion to the logarithm of the length. Nodes
//! are shared between clones.
//!
//! Every node sums up what is below it. A gain that is given to a whole subtree is noted at its root, and goes down when
//! the subtree is opened.

use std::sync::Arc;

use crate::event::Entry;
use crate::loudness::Gain;
use crate::time::Flicks;

/// A sequence of entries.
#[derive(Clone, Default)]
pub(super) struct Tree(Option<Arc<Node>>);

/// An entry, and the label by which its place is found: labels rise along the sequence.
#[derive(Clone)]
pub(super) struct Slot {
    pub label: i128,
    pub entry: Entry,
}

#[derive(Clone)]
struct Node {
    left: Tree,
    slot: Slot,
    right: Tree,
    len: usize,
    length: Flicks,
    /// The least of the entries' own gains, which is that of the loudest.
    least: Option<Gain>,
    /// All are of one album, which has a name.
    is_one_album: bool,
    /// What all of the subtree has been brought to since, this node's entry included.
    gain: Option<Gain>,
}

impl Tree {
    pub fn len(&self) -> usize {
        self.node().map_or(0, |node| node.len)
    }

    /// The sum of the songs' lengths.
    fn length(&self) -> Flicks {
        self.node().map_or(Flicks::ZERO, |node| node.length)
    }

    /// The least of the songs' own gains.
    pub fn least(&self) -> Option<Gain> {
        self.node().and_then(|node| node.least)
    }

    /// From slots whose labels rise.
    pub fn from_slots(slots: &mut impl Iterator<Item = Slot>, count: usize) -> Self {
        if count == 0 {
            return Self::default();
        }
        let left = Self::from_slots(slots, count / 2);
        match slots.next() {
            Some(slot) => {
                let right = Self::from_slots(slots, count - count / 2 - 1);
                link(left, slot, right)
            }
            None => left,
        }
    }

    /// The slot at an index.
    pub fn get(&self, mut index: usize) -> Option<Slot> {
        let (mut tree, mut gain) = (self, None);
        loop {
            let node = tree.node()?;
            gain = gain.or(node.gain);
            let left = node.left.len();
            if index == left {
                return Some(node.slot.at(gain));
            }
            if index < left {
                tree = &node.left;
            } else {
                index -= left + 1;
                tree = &node.right;
            }
        }
    }

    /// The index of the slot with this label; where it would be if it is not in the tree.
    pub fn index_of(&self, label: i128) -> usize {
        let (mut tree, mut before) = (self, 0);
        while let Some(node) = tree.node() {
            let left = node.left.len();
            match label.cmp(&node.slot.label) {
                std::cmp::Ordering::Less => tree = &node.left,
                std::cmp::Ordering::Equal => return before + left,
                std::cmp::Ordering::Greater => {
                    before += left + 1;
                    tree = &node.right;
                }
            }
        }
        before
    }

    /// The slot with this label and its index, if it is in the tree.
    pub fn find(&self, label: i128) -> Option<(usize, Slot)> {
        let index = self.index_of(label);
        Some((index, self.get(index).filter(|slot| slot.label == label)?))
    }

    /// Puts a slot in the place of the one at `index`.
    pub fn replace(&mut self, index: usize, slot: Slot) {
        let (before, rest) = std::mem::take(self).split(index);
        let (_, after) = rest.split_first().unwrap_or_else(|| (slot.clone(), Self::default()));
        *self = link(before, slot, after);
    }

    /// The index of the song that sounds `offset` after the first one began, and when it begins. Past the last one: the
    /// length of the sequence, and that of all its songs.
    pub fn sounding(&self, mut offset: Flicks) -> (usize, Flicks) {
        let (mut tree, mut index, mut begin) = (self, 0, Flicks::ZERO);
        while let Some(node) = tree.node() {
            let left = node.left.length();
            let own = left + node.slot.entry.length();
            if offset < left {
                tree = &node.left;
            } else if offset < own {
                return (index + node.left.len(), begin + left);
            } else {
                index += node.left.len() + 1;
                begin += own;
                offset = offset - own;
                tree = &node.right;
            }
        }
        (index, begin)
    }

    /// How many entries are of this album, which has a name, from the first on without a break.
    pub fn first_of_album(&self, album: &str) -> usize {
        let Some(node) = self.node() else { return 0 };
        if node.is_one_album {
            return if node.slot.entry.album == album { node.len } else { 0 };
        }
        let left = node.left.first_of_album(album);
        if left < node.left.len() || node.slot.entry.album != album {
            return left;
        }
        left + 1 + node.right.first_of_album(album)
    }

    /// The same, from the last one backwards.
    pub fn last_of_album(&self, album: &str) -> usize {
        let Some(node) = self.node() else { return 0 };
        if node.is_one_album {
            return if node.slot.entry.album == album { node.len } else { 0 };
        }
        let right = node.right.last_of_album(album);
        if right < node.right.len() || node.slot.entry.album != album {
            return right;
        }
        right + 1 + node.left.last_of_album(album)
    }

    /// What comes before an index, and what comes from there on.
    pub fn split(self, at: usize) -> (Self, Self) {
        let Some((left, slot, right)) = self.open() else { return Default::default() };
        if at <= left.len() {
            let (before, after) = left.split(at);
            (before, link(after, slot, right))
        } else {
            let at = at - left.len() - 1;
            let (before, after) = right.split(at);
            (link(left, slot, before), after)
        }
    }

    /// The first slot, and the rest.
    pub fn split_first(self) -> Option<(Slot, Self)> {
        let (left, slot, right) = self.open()?;
        match left.split_first() {
            Some((first, left)) => Some((first, link(left, slot, right))),
            None => Some((slot, right)),
        }
    }

    /// This one, and behind it another one whose labels are higher.
    pub fn followed_by(self, after: Self) -> Self {
        match after.split_first() {
            Some((slot, rest)) => link(self, slot, rest),
            None => self,
        }
    }

    /// This one, and behind it one slot and then another tree.
    pub fn linked(self, slot: Slot, after: Self) -> Self {
        link(self, slot, after)
    }

    /// Brings all entries to one gain.
    pub fn set_gain(&mut self, gain: Gain) {
        if let Some(node) = &mut self.0 {
            Arc::make_mut(node).gain = Some(gain);
        }
    }

    /// All slots, in order.
    pub fn iter(&self) -> Iter<'_> {
        let mut iter = Iter { stack: Vec::new() };
        iter.descend(self, None);
        iter
    }

    fn node(&self) -> Option<&Node> {
        super::steps::count();
        self.0.as_deref()
    }

    /// Takes the root apart.
    fn open(self) -> Option<(Self, Slot, Self)> {
        super::steps::count();
        let Node { mut left, mut slot, mut right, gain, .. } = Arc::unwrap_or_clone(self.0?);
        if let Some(gain) = gain {
            left.set_gain(gain);
            slot.entry.gain = gain;
            right.set_gain(gain);
        }
        Some((left, slot, right))
    }

    fn weight(&self) -> usize {
        self.len() + 1
    }

    #[cfg(test)]
    pub fn is_balanced(&self) -> bool {
        self.node().is_none_or(|node| {
            let (left, right) = (&node.left, &node.right);
            !is_heavier(left, right)
                && !is_heavier(right, left)
                && left.is_balanced()
                && right.is_balanced()
        })
    }
}

impl Slot {
    fn at(&self, gain: Option<Gain>) -> Self {
        let mut slot = self.clone();
        slot.entry.gain = gain.unwrap_or(slot.entry.gain);
        slot
    }
}

/// Too heavy to stand beside the other one.
fn is_heavier(one: &Tree, other: &Tree) -> bool {
    one.weight() > 3 * other.weight()
}

/// A root over two trees that are balanced with each other.
fn node(left: Tree, slot: Slot, right: Tree) -> Tree {
    let (below_left, below_right) = (left.node(), right.node());
    let album = slot.entry.album.as_str();
    let is_same = |below: Option<&Node>| {
        below.is_none_or(|node| node.is_one_album && node.slot.entry.album == album)
    };
    let is_one_album = !album.is_empty() && is_same(below_left) && is_same(below_right);
    let own = slot.entry.own_gain.into_iter();
    let least = own.chain(left.least()).chain(right.least()).min();
    let length = left.length() + slot.entry.length() + right.length();
    let len = left.len() + 1 + right.len();
    Tree(Some(Arc::new(Node { left, slot, right, len, length, least, is_one_album, gain: None })))
}

/// A root over two trees of any size.
fn link(left: Tree, slot: Slot, right: Tree) -> Tree {
    if is_heavier(&left, &right) {
        let Some((outer, root, inner)) = left.open() else {
            return node(Tree::default(), slot, right);
        };
        balance(outer, root, link(inner, slot, right))
    } else if is_heavier(&right, &left) {
        let Some((inner, root, outer)) = right.open() else {
            return node(left, slot, Tree::default());
        };
        balance(link(left, slot, inner), root, outer)
    } else {
        node(left, slot, right)
    }
}

/// A root over two trees that may be out of balance by what one link brings: turned once or twice where they are.
fn balance(left: Tree, slot: Slot, right: Tree) -> Tree {
    let is_single = |inner: &Tree, outer: &Tree| inner.weight() < 2 * outer.weight();
    if is_heavier(&right, &left) {
        let Some((inner, root, outer)) = right.open() else {
            return node(left, slot, Tree::default());
        };
        if is_single(&inner, &outer) {
            return node(node(left, slot, inner), root, outer);
        }
        match inner.open() {
            Some((one, middle, other)) => {
                node(node(left, slot, one), middle, node(other, root, outer))
            }
            None => node(node(left, slot, Tree::default()), root, outer),
        }
    } else if is_heavier(&left, &right) {
        let Some((outer, root, inner)) = left.open() else {
            return node(Tree::default(), slot, right);
        };
        if is_single(&inner, &outer) {
            return node(outer, root, node(inner, slot, right));
        }
        match inner.open() {
            Some((one, middle, other)) => {
                node(node(outer, root, one), middle, node(other, slot, right))
            }
            None => node(outer, root, node(Tree::default(), slot, right)),
        }
    } else {
        node(left, slot, right)
    }
}

/// Slots in order, from a node's left to its right.
pub(super) struct Iter<'a> {
    stack: Vec<(&'a Node, Option<Gain>)>,
}

impl<'a> Iter<'a> {
    fn descend(&mut self, mut tree: &'a Tree, mut gain: Option<Gain>) {
        while let Some(node) = tree.node() {
            gain = gain.or(node.gain);
            self.stack.push((node, gain));
            tree = &node.left;
        }
    }
}

impl Iterator for Iter<'_> {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let (node, gain) = self.stack.pop()?;
        self.descend(&node.right, gain);
        Some(node.slot.at(gain))
    }
}
