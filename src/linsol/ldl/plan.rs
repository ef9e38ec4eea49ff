//! Cuts the assembly tree into parts for threads.
//!
//! A subtree that costs less than 1/32 of the whole is not cut; neighbouring ones of that kind are put together up to this
//! cost. A node above several heavy subtrees begins a part of its own, which waits for them; one above a single heavy
//! subtree goes to its part. So at most about 3 x 32 parts, nested at most 32 deep, whatever the number of threads.

use std::ops::Range;

use super::part::Part;
use super::symbolic::Symbolic;
use super::tree::ROOT;

/// Share of the whole that is not cut any more.
const SHARE: f64 = 1.0 / 32.0;
/// Multiplications, about, below which a part would not be worth its overhead.
const GRAIN: f64 = 1e6;
/// Summing and storing an entry of a front costs as much as so many multiplications.
const ENTRY: f64 = 15.0;

/// The whole tree in one part.
pub(super) fn whole(symbolic: &Symbolic) -> Part {
    let mut part = Part::default();
    part.push_nodes(0..symbolic.nodes.len());
    part
}

/// A part in the making: light subtrees at its end that may yet become a part of their own, and their cost.
#[derive(Default)]
struct Draft {
    part: Part,
    light: Range<usize>,
    cost: f64,
}

impl Draft {
    fn push_light(&mut self, nodes: Range<usize>, cost: f64, most: f64) {
        if self.light.end != nodes.start || self.cost + cost > most {
            self.settle();
            self.light = nodes;
            self.cost = cost;
        } else {
            self.light.end = nodes.end;
            self.cost += cost;
        }
    }

    fn settle(&mut self) {
        let (light, cost) = (std::mem::take(&mut self.light), std::mem::take(&mut self.cost));
        if cost >= GRAIN {
            let mut part = Part::default();
            part.push_nodes(light);
            self.part.push_below(part);
        } else if !light.is_empty() {
            self.part.push_nodes(light);
        }
    }
}

/// The tree in parts.
pub(super) fn cut(symbolic: &Symbolic) -> Part {
    let nodes = &symbolic.nodes;
    let count = nodes.len();
    // Of subtrees: cost and first node.
    let (mut cost, mut first) = (vec![0.0f64; count], (0..count).collect::<Vec<_>>());
    let mut total = 0.0;
    for (s, node) in nodes.iter().enumerate() {
        let (k, f) = (f64::from(node.ncols), f64::from(node.ncols) + (node.rows.1 - node.rows.0) as f64);
        // The sum of (f - c)^2 / 2 over the columns c < k.
        cost[s] += ENTRY * f * f + k * (f * f - f * k + k * k / 3.0) / 2.0;
        if node.parent == ROOT {
            total += cost[s];
        } else {
            let p = node.parent as usize;
            cost[p] += cost[s];
            first[p] = first[p].min(first[s]);
        }
    }
    let most = (SHARE * total).max(GRAIN);
    let heavy = |s: usize| cost[s] > most;
    // The last place is for what is above the roots.
    let place = |parent: u32| if parent == ROOT { count } else { parent as usize };
    let mut heavy_children = vec![0u32; count + 1];
    for s in (0..count).filter(|&s| heavy(s)) {
        heavy_children[place(nodes[s].parent)] += 1;
    }
    // Part of each heavy node.
    let mut part_of = vec![0usize; count + 1];
    let mut drafts = vec![Draft::default()];
    for s in (0..count).rev().filter(|&s| heavy(s)) {
        let above = place(nodes[s].parent);
        part_of[s] = if heavy_children[above] == 1 { part_of[above] } else { drafts.len() };
        if part_of[s] == drafts.len() {
            drafts.push(Draft::default());
        }
    }
    for s in 0..count {
        let above = part_of[place(nodes[s].parent)];
        if heavy(s) {
            let mine = part_of[s];
            drafts[mine].settle();
            drafts[mine].part.push_nodes(s..s + 1);
            if mine != above {
                let done = std::mem::take(&mut drafts[mine].part);
                drafts[above].settle();
                drafts[above].part.push_below(done);
            }
        } else if nodes[s].parent == ROOT || heavy(nodes[s].parent as usize) {
            drafts[above].push_light(first[s]..s + 1, cost[s], most);
        }
    }
    drafts[0].settle();
    std::mem::take(&mut drafts[0].part)
}
