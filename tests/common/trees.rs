//! Rooted trees.

/// A rooted tree: its children, sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tree(pub Vec<Tree>);

impl Tree {
    /// Number of nodes.
    pub fn size(&self) -> usize {
        1 + self.0.iter().map(Tree::size).sum::<usize>()
    }
    /// Density: product of the sizes of all subtrees.
    pub fn gamma(&self) -> f64 {
        self.size() as f64 * self.0.iter().map(Tree::gamma).product::<f64>()
    }
}

/// All of n nodes.
pub fn trees(n: usize) -> Vec<Tree> {
    fn fill(
        left: usize,
        least: &Option<Tree>,
        by_size: &[Vec<Tree>],
        so_far: &mut Vec<Tree>,
        out: &mut Vec<Tree>,
    ) {
        if left == 0 {
            out.push(Tree(so_far.clone()));
            return;
        }
        for k in 1..=left {
            for t in &by_size[k] {
                if least.as_ref().is_none_or(|l| (t.size(), t) >= (l.size(), l)) {
                    so_far.push(t.clone());
                    fill(left - k, &Some(t.clone()), by_size, so_far, out);
                    so_far.pop();
                }
            }
        }
    }
    let mut by_size = vec![vec![], vec![Tree(vec![])]];
    for size in 2..=n {
        let mut out = vec![];
        fill(size - 1, &None, &by_size, &mut vec![], &mut out);
        by_size.push(out);
    }
    by_size.swap_remove(n)
}
