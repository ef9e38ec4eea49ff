//! Successive halving: all runs of a bracket train for r_0 epochs, the best share 1 / eta of them for eta r_0 in all, and so on (Jamieson, Talwalkar, AISTATS
//! 2016; Li et al., "Hyperband", JMLR 18, 2018).

use super::SearchError;

/// The rungs of a bracket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Halving {
    /// Epochs of a whole run.
    pub epochs: u64,
    /// Epochs of the first rung, r_0.
    pub first: u64,
    /// eta: of so many runs one goes on.
    pub factor: u64,
    /// kappa: at least this share of the runs of a rung reaches its end, where predictions end others inside of it (f-Hyperband, arXiv 1705.10823); 0 unless set.
    pub finish: f64,
}

impl Halving {
    /// Checks its numbers.
    ///
    /// # Errors
    /// One sentence: eta below 2, a first rung of no epochs or longer than a run.
    pub fn new(epochs: u64, first: u64, factor: u64) -> Result<Self, SearchError> {
        if factor < 2 || first == 0 || first > epochs {
            return Err(SearchError::new(format!(
                "successive halving from {first} to {epochs} epochs by {factor}: expected 1 to {epochs} epochs and a factor of at least 2"
            )));
        }
        Ok(Self { epochs, first, factor, finish: 0.0 })
    }
    /// With kappa.
    ///
    /// # Errors
    /// It is no share.
    pub fn with_finish(self, finish: f64) -> Result<Self, SearchError> {
        if !(0.0..=1.0).contains(&finish) {
            let what =
                format!("successive halving: {finish} of a rung is to finish, expected a share from 0 to 1");
            return Err(SearchError::new(what));
        }
        Ok(Self { finish, ..self })
    }
    /// Which of the runs that begin a rung with these scores (large is good; none yet: NaN) no prediction may end in it: the best ceil(kappa n), in ascending order. It is decided before
    /// the rung begins, so that nothing depends on which run is faster.
    pub fn protected(&self, scores: &[f64]) -> Vec<usize> {
        best(scores, (self.finish * scores.len() as f64).ceil() as usize)
    }
    /// Epochs at the ends of the rungs; the last are those of a whole run.
    pub fn rungs(&self) -> Vec<u64> {
        let mut rungs = vec![];
        let mut at = self.first;
        while at < self.epochs {
            rungs.push(at);
            at = at.saturating_mul(self.factor);
        }
        rungs.push(self.epochs);
        rungs
    }
    /// Runs of a bracket of which one reaches the end: eta^(rungs - 1).
    pub fn bracket(&self) -> usize {
        let steps = (self.rungs().len() - 1) as u32;
        usize::try_from(self.factor.saturating_pow(steps)).unwrap_or(usize::MAX)
    }
    /// Which of the runs with these scores (large is good) go on: the best ceil(n / eta), in ascending order. NaN is worst, of equal ones the first is better.
    pub fn survivors(&self, scores: &[f64]) -> Vec<usize> {
        best(scores, scores.len().div_ceil(self.factor as usize))
    }
}

/// The places of the `count` best scores, in ascending order.
fn best(scores: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let key = |i: usize| if scores[i].is_nan() { f64::NEG_INFINITY } else { scores[i] };
    order.sort_by(|a, b| key(*b).total_cmp(&key(*a)).then(a.cmp(b)));
    order.truncate(count);
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_and_survivors() {
        let h = Halving::new(27, 1, 3).unwrap();
        assert_eq!((h.rungs(), h.bracket()), (vec![1, 3, 9, 27], 27));
        assert_eq!(Halving::new(30, 4, 2).unwrap().rungs(), [4, 8, 16, 30]);
        assert_eq!(Halving::new(5, 5, 2).unwrap().rungs(), [5]);
        assert_eq!(h.survivors(&[0.1, f64::NAN, 0.5, 0.5, -1.0, 0.2, 0.3]), [2, 3, 6]);
        assert_eq!(h.survivors(&[f64::NAN, f64::NEG_INFINITY]), [0]);
        assert!(h.survivors(&[]).is_empty());
        let h = h.with_finish(0.3).unwrap();
        assert_eq!(h.protected(&[0.1, f64::NAN, 0.5, 0.5, -1.0, 0.2, 0.3]), [2, 3, 6]);
        assert_eq!(h.protected(&[f64::NAN; 7]), [0, 1, 2]);
        assert!(h.with_finish(0.0).unwrap().protected(&[1.0]).is_empty());
        assert!(h.with_finish(1.1).is_err() && h.with_finish(f64::NAN).is_err());
        for (epochs, first, factor) in [(5, 0, 2), (5, 6, 2), (5, 1, 1)] {
            assert!(Halving::new(epochs, first, factor).is_err());
        }
    }

    #[test]
    fn a_bracket_costs_about_its_number_of_rungs() {
        // Every rung costs about n r_0 epochs.
        let h = Halving::new(27, 1, 3).unwrap();
        let (mut alive, mut spent, mut before) = ((0..27).collect::<Vec<usize>>(), 0, 0);
        for rung in h.rungs() {
            spent += alive.len() as u64 * (rung - before);
            before = rung;
            let scores: Vec<f64> = alive.iter().map(|k| *k as f64).collect();
            alive = if rung < 27 { h.survivors(&scores).iter().map(|i| alive[*i]).collect() } else { alive };
        }
        assert_eq!((alive, spent), (vec![26], 27 + 9 * 2 + 3 * 6 + 18));
    }
}
