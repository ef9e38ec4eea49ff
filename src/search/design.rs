//! Points of the unit cube, each a function of the seed and its number: nothing has to be remembered to go on.

use rand::RngExt;

use super::SearchError;
use crate::random::{Purpose, generator};

/// Most dimensions and points of the Sobol sequence.
const MOST: (usize, usize) = (sobol_burley::NUM_DIMENSIONS as usize, 1 << 16);

/// A uniform point.
pub fn random(seed: u64, index: u64, dim: usize) -> Vec<f64> {
    let mut rng = generator(seed, Purpose::Sweep as u64, index);
    (0..dim).map(|_| rng.random()).collect()
}

/// Point `index` of the Sobol sequence with Owen's scrambling by the seed (Burley, "Practical hash-based Owen scrambling", JCGT 9, 2020): any 2^k in a row
/// from a multiple of 2^k are one in each of 2^k equal parts of every axis.
///
/// # Errors
/// One sentence: more than 256 dimensions, or 65 536 points.
pub fn sobol(seed: u64, index: usize, dim: usize) -> Result<Vec<f64>, SearchError> {
    if dim > MOST.0 || index >= MOST.1 {
        return Err(SearchError::new(format!(
            "point {index} of {dim} dimensions, Sobol's sequence has {} points of at most {} here",
            MOST.1, MOST.0
        )));
    }
    let seed = (seed ^ (seed >> 32)) as u32;
    Ok((0..dim as u32).map(|d| f64::from(sobol_burley::sample(index as u32, d, seed))).collect())
}

/// Point `index` of a grid with so many values an axis, as their numbers; the last axis moves fastest. Nothing beyond the end.
pub fn grid(levels: &[usize], index: usize) -> Option<Vec<usize>> {
    let mut rest = index;
    let mut point = vec![0; levels.len()];
    for (p, n) in point.iter_mut().zip(levels).rev() {
        *p = rest.checked_rem(*n)?;
        rest /= n;
    }
    (rest == 0).then_some(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sobol_points_fill_every_axis_evenly() {
        for seed in [0, 7, 1 << 40] {
            let points: Vec<Vec<f64>> = (0..64).map(|i| sobol(seed, i, 5).unwrap()).collect();
            for d in 0..5 {
                let mut seen = [false; 64];
                points.iter().for_each(|p| seen[(64.0 * p[d]) as usize] = true);
                assert!(seen.iter().all(|s| *s), "{seed} {d}");
            }
        }
        assert_ne!(sobol(0, 3, 2).unwrap(), sobol(1, 3, 2).unwrap());
        assert!(sobol(0, 0, 257).is_err() && sobol(0, 1 << 16, 1).is_err());
    }

    #[test]
    fn grids_and_random_points() {
        let all: Vec<_> = (0..6).map(|i| grid(&[2, 3], i).unwrap()).collect();
        assert_eq!(all, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]);
        assert_eq!((grid(&[2, 3], 6), grid(&[2, 0], 0), grid(&[], 0)), (None, None, Some(vec![])));
        assert_eq!(random(1, 4, 3), random(1, 4, 3));
        assert_ne!(random(1, 4, 3), random(1, 5, 3));
    }
}
