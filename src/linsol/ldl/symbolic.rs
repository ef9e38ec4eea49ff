//! Ordering and symbolic analysis of a symmetric pattern for the multifrontal factorization.
//!
//! Approximate minimum degree (Amestoy, Davis, Duff 1996; faer) is always tried; where its factor costs much, nested
//! dissection (Karypis and Kumar 1998; feral-metis) too, and the one with fewer multiplications is taken. Unknowns with a zero
//! on the diagonal are postponed until they have a pivot; where that costs much, minimum degree orders them with a partner each. Columns of the
//! same structure form a node of the assembly tree (Duff and Reid 1983); small nodes are merged with their parents at the
//! price of some explicit zeros.

use std::time::Instant;

use crate::linsol::LinSolError;
use crate::observe::StopToken;

use super::NAME;
use super::ordering::{minimum_degree, nested_dissection};
use super::tree::{Analysis, ROOT, analyse, inverse, postorder};

/// Nested dissection is tried where the multiplications exceed so many times unknowns and entries: it takes about 8 us an unknown and 0.2 us
/// an entry, as a rule saves a third, at 25 multiplications a ns, and the order serves ten factorizations.
const DISSECTION: (f64, f64) = (7e4, 2e3);
/// Orders with postponed unknowns may cost so many times more than without; where they cost PAIRING times more, pairs are tried.
const POSTPONING: f64 = 2.0;
const PAIRING: f64 = 1.2;
/// Partners are sought among entries of at least this share of the largest of the row.
const PARTNER: f32 = 0.1;
/// Equilibrated diagonal entries up to this are no pivots.
const ZERO_DIAGONAL: f64 = 1e-8;
/// A merged node of so many columns may have such a share of zeros.
const MERGE: [(u32, f64); 3] = [(4, 1.0), (16, 0.6), (48, 0.1)];
const MERGE_ANY: f64 = 0.05;
/// A child that hands up at least LARGE rows is merged where that costs fewer multiplications than it saves sums, up to a share of zeros.
const LARGE: f64 = 100.0;
const MERGE_LARGE: f64 = 0.4;
const WORTH: f64 = 15.0;

/// A node of the assembly tree: its front has `ncols` columns of its own, then `rows`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Node {
    /// Position of the first column.
    pub first: u32,
    pub ncols: u32,
    pub children: u32,
    pub parent: u32,
    /// Ranges in `rows` and `entries`.
    pub rows: (usize, usize),
    pub entries: (usize, usize),
}

/// An entry of the matrix and its place in the front of its node (own columns, then rows).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    pub value: u32,
    pub row: u32,
    pub col: u32,
}

/// Positions are places in the elimination order.
#[derive(Debug, Clone, Default)]
pub(super) struct Symbolic {
    /// Unknown at each position.
    pub order: Vec<u32>,
    /// Children before parents, the children of a node right before it.
    pub nodes: Vec<Node>,
    /// Positions below each node's columns, ascending.
    pub rows: Vec<u32>,
    /// Where each of `rows` lies in the parent's front.
    pub to_parent: Vec<u32>,
    pub entries: Vec<Entry>,
    /// Entries of L, those of the diagonal included.
    pub factor_nonzeros: usize,
    /// Multiplications of one factorization, about.
    pub work: f64,
    /// Unknowns with a zero on the diagonal, for which the order was made.
    zero: Vec<bool>,
    /// Which ordering was taken.
    pub ordering: &'static str,
    /// Seconds that all orderings tried took.
    pub ordering_seconds: f64,
}

impl Symbolic {
    /// For a lower triangle, column by column, with the equilibrated values of a matrix of this pattern: they tell which
    /// diagonal entries are zero.
    pub fn new(
        n: usize,
        col_ptr: &[usize],
        row_idx: &[usize],
        values: &[f64],
        stop: &StopToken,
    ) -> Result<Self, LinSolError> {
        if n >= ROOT as usize || row_idx.len() >= u32::MAX as usize {
            return Err(LinSolError::TooLarge { solver: NAME, reason: format!("{n} unknowns") });
        }
        let Some(graph) = Graph::new(n, col_ptr, row_idx, values) else {
            return Err(LinSolError::TooLarge { solver: NAME, reason: format!("{} entries", row_idx.len()) });
        };
        let zero: Vec<bool> = (0..n).map(|j| is_zero(j, col_ptr, row_idx, values)).collect();
        // As it is, and with unknowns postponed.
        let analysed = |order: Vec<u32>| {
            let postponed = graph.postponed(&order, &zero);
            let planned = (postponed != order).then(|| analyse(n, col_ptr, row_idx, postponed));
            (analyse(n, col_ptr, row_idx, order), planned)
        };
        // Where postponing costs much, delays at run time cost less than is planned for them.
        let better = |plain: Analysis, planned: Option<Analysis>| match planned {
            Some(planned) if planned.work <= POSTPONING * plain.work => planned,
            _ => plain,
        };
        let mut ordering = "minimum degree";
        let mut clock = Stopwatch::default();
        let (plain, mut planned) = analysed(clock.time(|| minimum_degree(n, col_ptr, row_idx, stop))?);
        if let Some(first) = &planned
            && first.work > PAIRING * plain.work
            && let Some((ptr, idx, members)) = graph.pairs(&zero)
        {
            let order = clock.time(|| minimum_degree(members.len(), &ptr, &idx, stop))?;
            let order: Vec<u32> =
                order.into_iter().flat_map(|g| members[g as usize].iter().flatten().copied()).collect();
            let paired = analyse(n, col_ptr, row_idx, graph.postponed(&order, &zero));
            if paired.work < first.work {
                (planned, ordering) = (Some(paired), "minimum degree in pairs");
            }
        }
        let mut best = better(plain, planned);
        if best.work > DISSECTION.0 * n as f64 + DISSECTION.1 * row_idx.len() as f64
            && let Some(order) = clock.time(|| nested_dissection(graph.n, &graph.ptr, &graph.idx, stop))?
        {
            let (plain, planned) = analysed(order);
            let other = better(plain, planned);
            if other.work < best.work {
                (best, ordering) = (other, "nested dissection");
            }
        }
        if stop.check().is_some() {
            return Err(LinSolError::Stopped);
        }
        let mut symbolic = merged(n, best);
        (symbolic.ordering, symbolic.zero) = (ordering, zero);
        symbolic.ordering_seconds = clock.seconds;
        symbolic.fill(n, col_ptr, row_idx);
        Ok(symbolic)
    }

    /// The order was made for other zeros on the diagonal.
    pub fn is_for_others(&self, col_ptr: &[usize], row_idx: &[usize], values: &[f64]) -> bool {
        self.zero.iter().enumerate().any(|(j, z)| *z != is_zero(j, col_ptr, row_idx, values))
    }

    /// Rows, maps and entries of every node.
    fn fill(&mut self, n: usize, col_ptr: &[usize], row_idx: &[usize]) {
        let position = inverse(&self.order);
        // Entries by the earlier of their two positions.
        let place = |j: usize, p: usize| {
            let (a, b) = (position[row_idx[p]], position[j]);
            (a.min(b), a.max(b))
        };
        let mut start = vec![0usize; n + 1];
        for j in 0..n {
            for p in col_ptr[j]..col_ptr[j + 1] {
                start[place(j, p).0 as usize + 1] += 1;
            }
        }
        for k in 0..n {
            start[k + 1] += start[k];
        }
        let mut next = start.clone();
        self.entries = vec![Entry::default(); row_idx.len()];
        for j in 0..n {
            for p in col_ptr[j]..col_ptr[j + 1] {
                let (first, second) = place(j, p);
                let slot = &mut next[first as usize];
                self.entries[*slot] = Entry { value: p as u32, row: second, col: first };
                *slot += 1;
            }
        }
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        let mut mark = vec![u32::MAX; n];
        for s in 0..self.nodes.len() {
            let Node { first, ncols, parent, .. } = self.nodes[s];
            let end = first + ncols;
            let entries = (start[first as usize], start[end as usize]);
            let from = self.rows.len();
            let mut add = |rows: &mut Vec<u32>, i: u32| {
                if i >= end && mark[i as usize] != s as u32 {
                    mark[i as usize] = s as u32;
                    rows.push(i);
                }
            };
            for e in &self.entries[entries.0..entries.1] {
                add(&mut self.rows, e.row);
            }
            for &c in &children[s] {
                let (a, b) = self.nodes[c].rows;
                for k in a..b {
                    let i = self.rows[k];
                    add(&mut self.rows, i);
                }
            }
            self.rows[from..].sort_unstable();
            let node = &mut self.nodes[s];
            (node.rows, node.entries) = ((from, self.rows.len()), entries);
            node.children = children[s].len() as u32;
            if parent != ROOT {
                children[parent as usize].push(s);
            }
        }
        // Places within fronts; `mark` becomes the place in the front at hand.
        self.to_parent = vec![0; self.rows.len()];
        for (node, children) in self.nodes.iter().zip(&children) {
            let Node { first, ncols, rows, entries, .. } = *node;
            for k in 0..ncols {
                mark[(first + k) as usize] = k;
            }
            for (k, &i) in self.rows[rows.0..rows.1].iter().enumerate() {
                mark[i as usize] = ncols + k as u32;
            }
            for e in &mut self.entries[entries.0..entries.1] {
                (e.row, e.col) = (mark[e.row as usize], e.col - first);
            }
            for &c in children {
                let (a, b) = self.nodes[c].rows;
                for k in a..b {
                    self.to_parent[k] = mark[self.rows[k] as usize];
                }
            }
            let (k, f) = (ncols as usize, ncols as usize + rows.1 - rows.0);
            self.factor_nonzeros += k * f - k * (k - 1) / 2;
            self.work += (0..k).map(|c| 0.5 * ((f - c) as f64).powi(2)).sum::<f64>();
        }
    }
}

/// Adds up seconds.
#[derive(Default)]
struct Stopwatch {
    seconds: f64,
}

impl Stopwatch {
    fn time<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = f();
        self.seconds += start.elapsed().as_secs_f64();
        result
    }
}

fn is_zero(j: usize, col_ptr: &[usize], row_idx: &[usize], values: &[f64]) -> bool {
    let first = col_ptr[j];
    let stored = first < col_ptr[j + 1] && row_idx[first] == j;
    !stored || values[first].abs() <= ZERO_DIAGONAL
}

/// The full symmetric pattern without its diagonal, rows ascending.
struct Graph {
    n: usize,
    ptr: Vec<i32>,
    idx: Vec<i32>,
    /// Magnitudes of the entries.
    size: Vec<f32>,
}

/// Column pointers and rows of a pattern, and the one or two unknowns of each of its columns.
type Pairs = (Vec<usize>, Vec<usize>, Vec<[Option<u32>; 2]>);

impl Graph {
    /// None if it has too many edges.
    fn new(n: usize, col_ptr: &[usize], row_idx: &[usize], values: &[f64]) -> Option<Self> {
        let mut ptr = vec![0i32; n + 1];
        for j in 0..n {
            for &i in &row_idx[col_ptr[j]..col_ptr[j + 1]] {
                if i != j {
                    ptr[i + 1] += 1;
                    ptr[j + 1] += 1;
                }
            }
        }
        for j in 0..n {
            ptr[j + 1] = ptr[j].checked_add(ptr[j + 1])?;
        }
        let mut next = ptr.clone();
        let mut idx = vec![0i32; ptr[n] as usize];
        let mut size = vec![0f32; ptr[n] as usize];
        let mut push = |column: usize, row: usize, value: f64| {
            let at = next[column] as usize;
            (idx[at], size[at]) = (row as i32, value.abs() as f32);
            next[column] += 1;
        };
        // First what lies above the diagonal, then below.
        for above in [true, false] {
            for j in 0..n {
                for p in col_ptr[j]..col_ptr[j + 1] {
                    let i = row_idx[p];
                    if i != j {
                        if above { push(i, j, values[p]) } else { push(j, i, values[p]) }
                    }
                }
            }
        }
        Some(Self { n, ptr, idx, size })
    }

    fn neighbours(&self, j: usize) -> &[i32] {
        &self.idx[self.ptr[j] as usize..self.ptr[j + 1] as usize]
    }

    /// Pairs every unknown with a zero on the diagonal with a neighbour, its partner in a 2 x 2 pivot, and gives the lower
    /// triangle of the graph of pairs and unpaired unknowns (Duff and Pralet 2005, with a greedy choice). None without pairs.
    fn pairs(&self, zero: &[bool]) -> Option<Pairs> {
        let degree = |v: usize| self.ptr[v + 1] - self.ptr[v];
        let mut alone: Vec<u32> = (0..self.n as u32).filter(|&v| zero[v as usize]).collect();
        alone.sort_by_key(|&v| degree(v as usize));
        let mut partner = vec![ROOT; self.n];
        for &v in &alone {
            let v = v as usize;
            if partner[v] != ROOT {
                continue;
            }
            let range = self.ptr[v] as usize..self.ptr[v + 1] as usize;
            let (rows, sizes) = (&self.idx[range.clone()], &self.size[range]);
            let enough = PARTNER * sizes.iter().fold(0.0f32, |m, s| m.max(*s));
            let free = rows.iter().zip(sizes).filter(|&(w, s)| *s >= enough && partner[*w as usize] == ROOT);
            if let Some((&w, _)) = free.min_by_key(|&(w, _)| degree(*w as usize)) {
                partner[v] = w as u32;
                partner[w as usize] = v as u32;
            }
        }
        let (mut group, mut members) = (vec![ROOT; self.n], Vec::new());
        for v in 0..self.n {
            if group[v] != ROOT {
                continue;
            }
            group[v] = members.len() as u32;
            let (v, w) = (v as u32, partner[v]);
            if w == ROOT {
                members.push([Some(v), None]);
            } else {
                group[w as usize] = members.len() as u32;
                // The zero comes second.
                members.push(if zero[v as usize] { [Some(w), Some(v)] } else { [Some(v), Some(w)] });
            }
        }
        if members.len() == self.n {
            return None;
        }
        let (mut ptr, mut idx, mut mark) = (vec![0], Vec::new(), vec![ROOT; members.len()]);
        for (g, pair) in members.iter().enumerate() {
            for &v in pair.iter().flatten() {
                for &w in self.neighbours(v as usize) {
                    let h = group[w as usize];
                    if h as usize > g && mark[h as usize] != g as u32 {
                        mark[h as usize] = g as u32;
                        idx.push(h as usize);
                    }
                }
            }
            ptr.push(idx.len());
        }
        Some((ptr, idx, members))
    }

    /// An unknown with a zero on the diagonal has no pivot before one of its neighbours has been eliminated: it waits for
    /// one that serves no other and follows it. The pivot search would delay it likewise, but with larger fronts than planned.
    fn postponed(&self, order: &[u32], zero: &[bool]) -> Vec<u32> {
        const LATER: u8 = 0;
        const WAITS: u8 = 1;
        const DONE: u8 = 2;
        const USED: u8 = 3;
        let mut state = vec![LATER; self.n];
        let mut new = Vec::with_capacity(self.n);
        for &v in order {
            let v = v as usize;
            if state[v] != LATER {
                continue;
            }
            let with = |wanted: u8, state: &[u8]| {
                self.neighbours(v).iter().map(|&w| w as usize).find(|&w| state[w] == wanted)
            };
            if zero[v] {
                if let Some(w) = with(DONE, &state) {
                    state[w] = USED;
                } else if let Some(w) = with(WAITS, &state) {
                    new.push(w as u32);
                    new.push(v as u32);
                    (state[v], state[w]) = (USED, USED);
                    continue;
                } else if with(USED, &state).is_none() {
                    state[v] = WAITS;
                    continue;
                }
            }
            state[v] = DONE;
            new.push(v as u32);
            if let Some(w) = with(WAITS, &state) {
                new.push(w as u32);
                (state[v], state[w]) = (USED, USED);
            }
        }
        new.extend((0..self.n as u32).filter(|&v| state[v as usize] == WAITS));
        new
    }
}

/// Nodes of equal structure, small ones merged with their parents; columns reordered so that a node's are contiguous.
fn merged(n: usize, a: Analysis) -> Symbolic {
    // Columns j, j + 1 with parent(j) = j + 1 and equal structure below belong together.
    let mut node_of = vec![0u32; n];
    let (mut ncols, mut front, mut last) = (Vec::<u32>::new(), Vec::<u32>::new(), Vec::<u32>::new());
    for (j, node) in node_of.iter_mut().enumerate() {
        let joins = j > 0 && a.parent[j - 1] == j as u32 && a.counts[j - 1] == a.counts[j] + 1;
        if joins {
            let current = last.len() - 1;
            ncols[current] += 1;
            last[current] = j as u32;
        } else {
            ncols.push(1);
            front.push(a.counts[j]);
            last.push(j as u32);
        }
        *node = last.len() as u32 - 1;
    }
    let count = ncols.len();
    let mut parent: Vec<u32> = last
        .iter()
        .map(|&j| a.parent[j as usize])
        .map(|p| if p == ROOT { ROOT } else { node_of[p as usize] })
        .collect();
    let mut zeros = vec![0.0f64; count];
    let mut into: Vec<u32> = (0..count as u32).collect();
    for c in 0..count {
        let p = parent[c];
        if p == ROOT {
            continue;
        }
        let p = p as usize;
        let k = ncols[c] + ncols[p];
        let added = f64::from(ncols[c]) * f64::from(ncols[c] + front[p] - front[c]);
        let (kf, f) = (f64::from(k), f64::from(ncols[c] + front[p]));
        let total = zeros[c] + zeros[p] + added;
        let share = total / (kf * f - 0.5 * kf * (kf - 1.0));
        let limit = MERGE.iter().find(|(most, _)| k <= *most).map_or(MERGE_ANY, |m| m.1);
        // What the child would hand up; summing an entry costs as much as WORTH multiplications.
        let passed = f64::from(front[c] - ncols[c]);
        let cheap = passed >= LARGE && added * f <= WORTH * passed * passed && share <= MERGE_LARGE;
        if added == 0.0 || share <= limit || cheap {
            into[c] = p as u32;
            (ncols[p], zeros[p]) = (k, total);
            front[p] += ncols[c];
        }
    }
    // Later nodes first: the end of each chain of merges.
    for c in (0..count).rev() {
        into[c] = into[into[c] as usize];
    }
    for c in 0..count {
        if parent[c] != ROOT {
            parent[c] = into[parent[c] as usize];
        }
    }
    let alive: Vec<u32> = (0..count as u32).filter(|&c| into[c as usize] == c).collect();
    let mut rank = vec![0u32; count];
    alive.iter().enumerate().for_each(|(r, &c)| rank[c as usize] = r as u32);
    let tree: Vec<u32> = alive
        .iter()
        .map(|&c| parent[c as usize])
        .map(|p| if p == ROOT { ROOT } else { rank[p as usize] })
        .collect();
    let post = postorder(&tree);
    let new = inverse(&post);
    // First position of each node, then its columns in ascending order.
    let mut nodes = vec![Node::default(); post.len()];
    let mut next = vec![0u32; post.len()];
    let mut first = 0;
    for (s, &r) in post.iter().enumerate() {
        let k = ncols[alive[r as usize] as usize];
        let parent = tree[r as usize];
        let parent = if parent == ROOT { ROOT } else { new[parent as usize] };
        nodes[s] = Node { first, ncols: k, parent, ..Node::default() };
        next[s] = first;
        first += k;
    }
    let mut order = vec![0u32; n];
    for j in 0..n {
        let s = new[rank[into[node_of[j] as usize] as usize] as usize] as usize;
        order[next[s] as usize] = a.order[j];
        next[s] += 1;
    }
    Symbolic { order, nodes, ..Symbolic::default() }
}
