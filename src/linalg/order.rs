//! Orders of the unknowns.

use super::Pattern;

/// Reverse Cuthill-McKee: an order of the unknowns that makes the band of A + A' narrow (Cuthill and McKee 1969; George and Liu 1981).
///
/// Unknown `order[k]` comes k-th. Each component starts at a pseudo-peripheral vertex; ties go to the smaller index. Linear in the
/// entries but for sorting neighbours by degree.
pub fn reverse_cuthill_mckee(a: &Pattern) -> Vec<usize> {
    let n = a.nrows().min(a.ncols());
    let graph = Graph::new(a, n);
    let mut order = Vec::with_capacity(n);
    let mut placed = vec![false; n];
    let mut search = Search { level: vec![0; n], mark: vec![0; n], stamp: 0, queue: Vec::new() };
    let mut next = Vec::new();
    for root in 0..n {
        if placed[root] {
            continue;
        }
        let start = search.peripheral(&graph, root);
        let mut at = order.len();
        order.push(start);
        placed[start] = true;
        while at < order.len() {
            next.clear();
            next.extend(graph.of(order[at]).iter().copied().filter(|&w| !placed[w]));
            next.sort_unstable_by_key(|&w| (graph.degree(w), w));
            next.iter().for_each(|&w| placed[w] = true);
            order.append(&mut next);
            at += 1;
        }
    }
    order.reverse();
    order
}

/// `inverse[order[k]] = k`.
pub fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    order.iter().enumerate().for_each(|(k, &i)| inverse[i] = k);
    inverse
}

/// Neighbours in A + A', without the vertex itself.
struct Graph {
    start: Vec<usize>,
    to: Vec<usize>,
}

impl Graph {
    fn new(a: &Pattern, n: usize) -> Self {
        let (t, _) = a.transpose();
        let (mut start, mut to) = (vec![0], Vec::with_capacity(a.len()));
        for j in 0..n {
            // The union of two ascending lists.
            let (mut x, mut y) = (a.column(j).iter().peekable(), t.column(j).iter().peekable());
            while let Some(&i) = match (x.peek(), y.peek()) {
                (Some(&p), Some(&q)) if p <= q => {
                    if p == q {
                        y.next();
                    }
                    x.next()
                }
                (Some(_), None) => x.next(),
                _ => y.next(),
            } {
                if i != j && i < n {
                    to.push(i);
                }
            }
            start.push(to.len());
        }
        Self { start, to }
    }
    fn of(&self, v: usize) -> &[usize] {
        &self.to[self.start[v]..self.start[v + 1]]
    }
    fn degree(&self, v: usize) -> usize {
        self.start[v + 1] - self.start[v]
    }
}

struct Search {
    level: Vec<usize>,
    /// A vertex is seen if its mark is the stamp of this search.
    mark: Vec<usize>,
    stamp: usize,
    queue: Vec<usize>,
}

impl Search {
    /// Levels from `root`: the depth, and a vertex of least degree in the last level.
    fn levels(&mut self, graph: &Graph, root: usize) -> (usize, usize) {
        self.stamp += 1;
        self.queue.clear();
        self.queue.push(root);
        (self.mark[root], self.level[root]) = (self.stamp, 0);
        let mut at = 0;
        while at < self.queue.len() {
            let v = self.queue[at];
            at += 1;
            for &w in graph.of(v) {
                if self.mark[w] != self.stamp {
                    (self.mark[w], self.level[w]) = (self.stamp, self.level[v] + 1);
                    self.queue.push(w);
                }
            }
        }
        let depth = self.queue.last().map_or(0, |&v| self.level[v]);
        let last = self.queue.iter().copied().filter(|&v| self.level[v] == depth);
        (depth, last.min_by_key(|&v| (graph.degree(v), v)).unwrap_or(root))
    }

    /// A vertex from which the component is deep (George and Liu's search).
    fn peripheral(&mut self, graph: &Graph, root: usize) -> usize {
        let mut v = root;
        let (mut depth, mut far) = self.levels(graph, v);
        loop {
            let (new, next) = self.levels(graph, far);
            if new <= depth {
                return v;
            }
            (v, depth, far) = (far, new, next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::sparse::bandwidth;

    fn band_after(a: &Pattern) -> (usize, usize) {
        let order = reverse_cuthill_mckee(a);
        let new = inverse(&order);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().enumerate().all(|(k, &v)| k == v), "not a permutation: {order:?}");
        bandwidth(a.entries().map(|(i, j)| (new[i], new[j])))
    }

    #[test]
    fn scattered_bands_are_found_again() {
        for (n, b) in [(50, 1), (97, 1), (100, 2), (200, 3)] {
            // 37 has no common factor with n.
            let place = |i: usize| (i * 37 + 5) % n;
            let band = Pattern::banded(n, b, b);
            let scattered = Pattern::new(n, n, band.entries().map(|(i, j)| (place(i), place(j)))).unwrap();
            assert!(scattered.bandwidth().0 > b + 1);
            let (l, u) = band_after(&scattered);
            assert!(l <= b && u <= b, "n {n}: {l} + {u} for {b}");
        }
    }

    #[test]
    fn grids_rings_and_pieces() {
        // A ring has twice the band of a line; a grid about its side.
        let ring = Pattern::new(60, 60, (0..60).flat_map(|i| [(i, i), (i, (i + 1) % 60)])).unwrap();
        assert_eq!(band_after(&ring), (2, 2));
        let m = 12;
        let grid = (0..m * m).flat_map(|k| {
            let right = (k % m + 1 < m).then_some((k, k + 1));
            let below = (k + m < m * m).then_some((k, k + m));
            [Some((k, k)), right, below].into_iter().flatten()
        });
        let (l, u) = band_after(&Pattern::new(m * m, m * m, grid).unwrap());
        assert!(l <= m + 1 && u <= m + 1, "{l} + {u}");
        // Components, isolated vertices, a missing diagonal.
        let pieces = Pattern::new(6, 6, [(0, 5), (4, 2)]).unwrap();
        assert!(band_after(&pieces).1 <= 1);
        assert!(reverse_cuthill_mckee(&Pattern::default()).is_empty());
    }
}
