use super::*;
use crate::linalg::{SparseMatrix, Storage};
use crate::linsol::testing::{Kkt, Random, arrow, inertia, kkt, poisson_control, symmetric};

const KINDS: [Kkt; 5] = [Kkt::Convex, Kkt::Indefinite, Kkt::Barrier, Kkt::Deficient, Kkt::DenseRow];

fn solver(dense: bool) -> Ldl {
    Ldl::new(LdlOptions { dense_up_to: if dense { usize::MAX } else { 0 }, ..LdlOptions::default() })
}

fn backward_error(ldl: &mut Ldl, a: &mut SparseMatrix, random: &mut Random) -> f64 {
    let want = random.vector(a.nrows);
    let (mut b, mut x) = (vec![0.0; a.nrows], vec![0.0; a.nrows]);
    a.apply(1.0, &want, 0.0, &mut b);
    let accuracy = Accuracy { relative: 1e-14, max_iterations: 20 };
    let solved = ldl.solve(a, &b, &mut x, accuracy, &StopToken::default()).unwrap();
    solved.relative_residual
}

#[test]
fn inertia_agrees_with_the_eigenvalues() {
    for dense in [true, false] {
        let (mut compared, mut solver) = (0, solver(dense));
        for kind in KINDS {
            for case in 0..60u64 {
                let mut random = Random::new(case);
                let n = 1 + random.below(40);
                let m = if kind == Kkt::Deficient { 2.min(n) + random.below(n) } else { random.below(n + 1) };
                let mut a = kkt(kind, n, m, &mut random);
                let found = solver.prepare(&mut a, &StopToken::default()).unwrap();
                // Eigenvalues lose digits to bad scaling, factors do not: compare with those of S A S.
                let mut scaled = a.clone();
                for j in 0..a.ncols {
                    for p in a.col_ptr[j]..a.col_ptr[j + 1] {
                        scaled.values[p] *= solver.scale[a.row_idx[p]] * solver.scale[j];
                    }
                }
                if let Some(want) = inertia(&scaled, 1e-13) {
                    assert_eq!(found.inertia, Some(want), "{kind:?} {case} n={n} m={m} dense={dense}");
                    compared += 1;
                }
                let e = backward_error(&mut solver, &mut a, &mut random);
                assert!(e < 1e-10, "{kind:?} {case} n={n} m={m} dense={dense}: residual {e:e}");
            }
        }
        assert!(compared > 280, "{compared}");
    }
}

#[test]
fn tiny_and_empty_matrices() {
    for dense in [true, false] {
        let mut s = solver(dense);
        for (t, want) in [
            (vec![(0, 0, -3.0)], (0, 1, 0)),
            (vec![(0, 0, 0.0)], (0, 0, 1)),
            (vec![(1, 0, 2.0)], (1, 1, 0)),
            (vec![(0, 0, 1.0), (1, 0, 1.0), (1, 1, 1.0)], (1, 0, 1)),
            (vec![(0, 0, 1e-200), (1, 1, -1e200)], (1, 1, 0)),
        ] {
            let n = 1 + t.iter().map(|e| e.0).max().unwrap_or(0);
            let mut a = symmetric(n, &t);
            let i = s.prepare(&mut a, &StopToken::default()).unwrap().inertia.unwrap();
            assert_eq!((i.positive, i.negative, i.zero), want, "{t:?} dense={dense}");
        }
        let mut a = symmetric(0, &[]);
        assert!(s.prepare(&mut a, &StopToken::default()).is_ok());
    }
}

/// What a factorization costs: prints a table.
/// `cargo test --release --lib ldl::tests::compare -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn compare_factorizations() {
    println!(
        "matrix | unknowns | u | ordering | inertia | factor | prepare ms | again ms | solve ms | steps | residual"
    );
    let mut cases: Vec<(String, SparseMatrix)> = Vec::new();
    let mut random = Random::new(1);
    for kind in KINDS {
        for n in [200, 2_000, 6_000] {
            cases.push((format!("{kind:?}"), kkt(kind, n, n / 2, &mut random)));
        }
    }
    for side in [30, 100, 200] {
        cases.push(("poisson".into(), poisson_control(side, 0.1)));
    }
    cases.push(("arrow".into(), arrow(50_000, &mut random)));
    for (name, mut a) in cases {
        let n = a.nrows;
        let want = random.vector(n);
        let mut b = vec![0.0; n];
        a.apply(1.0, &want, 0.0, &mut b);
        let stop = StopToken::default();
        for pivot_threshold in [1e-8, 1e-2] {
            let mut s = Ldl::new(LdlOptions { dense_up_to: 0, pivot_threshold, ..LdlOptions::default() });
            let clock = std::time::Instant::now();
            let p = s.prepare(&mut a, &stop).unwrap();
            let first = clock.elapsed().as_secs_f64();
            let clock = std::time::Instant::now();
            s.prepare(&mut a, &stop).unwrap();
            let again = clock.elapsed().as_secs_f64();
            let mut x = vec![0.0; n];
            let clock = std::time::Instant::now();
            let accuracy = Accuracy { relative: 1e-12, max_iterations: 20 };
            let e = s.solve(&mut a, &b, &mut x, accuracy, &stop).unwrap();
            let i = p.inertia.unwrap();
            println!(
                "{name} | {n} | {pivot_threshold:e} | {} | {} {} {} | {} | {:.2} | {:.2} | {:.2} | {} | {:.0e}",
                s.sparse.as_ref().map_or("", |m| m.symbolic.ordering),
                i.positive,
                i.negative,
                i.zero,
                p.factor_nonzeros,
                1e3 * first,
                1e3 * again,
                1e3 * clock.elapsed().as_secs_f64(),
                e.iterations,
                e.relative_residual
            );
        }
    }
}

#[test]
fn an_arrow_does_not_fill_in() {
    let mut random = Random::new(6);
    let n = 50_000;
    let mut a = arrow(n, &mut random);
    let mut s = Ldl::default();
    let p = s.prepare(&mut a, &StopToken::default()).unwrap();
    assert!(p.factor_nonzeros < 4_000_000, "{}", p.factor_nonzeros);
    let e = backward_error(&mut s, &mut a, &mut random);
    assert!(e < 1e-12, "{e:e}");
}

#[test]
fn a_pattern_that_is_not_one_is_an_error() {
    let good = symmetric(3, &[(0, 0, 1.0), (1, 0, 1.0), (1, 1, 2.0), (2, 2, 1.0)]);
    let mut s = Ldl::default();
    let mut bad = good.clone();
    bad.row_idx[1] = 7;
    assert!(matches!(s.prepare(&mut bad, &StopToken::default()), Err(LinSolError::Shape { .. })));
    let mut bad = good.clone();
    bad.row_idx.swap(0, 1);
    assert!(matches!(s.prepare(&mut bad, &StopToken::default()), Err(LinSolError::Shape { .. })));
    let mut bad = good.clone();
    bad.col_ptr.pop();
    assert!(matches!(s.prepare(&mut bad, &StopToken::default()), Err(LinSolError::Shape { .. })));
    assert!(s.prepare(&mut good.clone(), &StopToken::default()).is_ok());
}

/// Singular by one row that stands twice, regular again with a regularization.
#[test]
fn singular_matrices_have_a_zero_eigenvalue() {
    for seed in 0..50 {
        let mut a = kkt(Kkt::Deficient, 150, 60, &mut Random::new(seed));
        let mut s = Ldl::new(LdlOptions { dense_up_to: 0, ..LdlOptions::default() });
        let i = s.prepare(&mut a, &StopToken::default()).unwrap().inertia.unwrap();
        assert_eq!((i.positive, i.negative, i.zero), (150, 59, 1), "{seed}");
        let mut t: Vec<_> = (150..210).map(|j| (j, j, -1e-3)).collect();
        for j in 0..a.ncols {
            t.extend((a.col_ptr[j]..a.col_ptr[j + 1]).map(|p| (a.row_idx[p], j, a.values[p])));
        }
        let mut a = symmetric(210, &t);
        let i = s.prepare(&mut a, &StopToken::default()).unwrap().inertia.unwrap();
        assert_eq!((i.positive, i.negative, i.zero), (150, 60, 0), "{seed}");
    }
}

/// Fronts around the width of a panel, every pivot from off the diagonal.
#[test]
fn zero_diagonals_of_every_size() {
    for n in (1..=140).step_by(3) {
        let mut random = Random::new(n as u64);
        let mut t = Vec::new();
        for j in 0..n {
            t.extend((j + 1..n).map(|i| (i, j, random.symmetric())));
            t.push((j, j, 0.0));
        }
        let mut a = symmetric(n, &t);
        for pivot_threshold in [1e-8, 1e-2] {
            let mut s = Ldl::new(LdlOptions { dense_up_to: 0, pivot_threshold, ..LdlOptions::default() });
            let found = s.prepare(&mut a, &StopToken::default()).unwrap();
            assert_eq!(found.inertia, inertia(&a, 1e-13), "{n}");
            assert!(backward_error(&mut s, &mut a, &mut random) < 1e-12, "{n}");
        }
    }
}

/// Without delayed columns the work is what the analysis says; of a full matrix it is n^3/6, about.
#[test]
fn work_is_counted() {
    let mut random = Random::new(1);
    let t: Vec<_> =
        (0..300).flat_map(|i| [(i, i, 9.0), (i, random.below(i + 1), 1.0), (i, i / 3, 1.0)]).collect();
    let mut a = symmetric(300, &t);
    let mut s = solver(false);
    let work = s.prepare(&mut a, &StopToken::default()).unwrap().work;
    assert_eq!((s.sparse.as_ref().unwrap().delayed(), work), (0, s.analysis().1));
    let n = 120;
    let t: Vec<_> = (0..n).flat_map(|i| (0..=i).map(move |j| (i, j))).collect();
    let t: Vec<_> = t.into_iter().map(|(i, j)| (i, j, random.symmetric())).collect();
    for dense in [true, false] {
        let work = solver(dense).prepare(&mut symmetric(n, &t), &StopToken::default()).unwrap().work;
        let want = (n as f64).powi(3) / 6.0;
        assert!((work / want - 1.0).abs() < 0.02, "{work} {want}");
    }
}

/// The deadline is seen inside a factorization.
#[test]
fn a_long_factorization_can_be_stopped() {
    let mut a = kkt(Kkt::Convex, 4000, 2000, &mut Random::new(1));
    let mut s = Ldl::default();
    s.prepare(&mut a, &StopToken::default()).unwrap();
    let soon = std::time::Instant::now() + std::time::Duration::from_micros(200);
    let stop = StopToken { deadline: Some(soon), ..StopToken::default() };
    assert_eq!(s.prepare(&mut a, &stop).unwrap_err(), LinSolError::Stopped);
    // And nothing is left behind.
    s.prepare(&mut a, &StopToken::default()).unwrap();
    assert!(backward_error(&mut s, &mut a, &mut Random::new(2)) < 1e-12);
}

/// Whatever the entries, a factorization ends, with as many eigenvalues as rows.
#[test]
fn extreme_entries_come_to_an_end() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let n = 10 + random.below(60);
        let t: Vec<_> = (0..4 * n)
            .map(|_| {
                (
                    random.below(n),
                    random.below(n),
                    10f64.powf(300.0 * random.symmetric()) * random.symmetric(),
                )
            })
            .collect();
        let mut a = symmetric(n, &t);
        for pivot_threshold in [1e-8, 1e-2] {
            let mut s = Ldl::new(LdlOptions { dense_up_to: 0, pivot_threshold, ..LdlOptions::default() });
            if let Ok(p) = s.prepare(&mut a, &StopToken::default()) {
                let i = p.inertia.unwrap();
                assert_eq!(i.positive + i.negative + i.zero, n);
            }
        }
    }
}

#[test]
fn factors_do_not_depend_on_the_number_of_threads() {
    // One front of 900 rows, indefinite: several shared updates.
    let n = 900;
    let mut random = Random::new(5);
    let (mut rows, mut cols, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for j in 0..n {
        for (i, v) in (j..n).zip(random.vector(n - j)) {
            rows.push(i);
            cols.push(j);
            values.push(v);
        }
    }
    let (mut a, position) = SparseMatrix::from_coordinates(n, n, &rows, &cols, Storage::SymmetricLower);
    position.iter().zip(&values).for_each(|(&p, v)| a.values[p] = *v);
    let b = random.vector(n);
    let solutions: Vec<Vec<f64>> = [1, 2, 3]
        .map(|threads| {
            let mut ldl = Ldl::new(LdlOptions { dense_up_to: 0, threads, ..LdlOptions::default() });
            ldl.prepare(&mut a, &StopToken::default()).unwrap();
            assert_eq!(ldl.pool.is_some(), threads > 1);
            let mut x = vec![0.0; n];
            let accuracy = Accuracy { relative: 1e-10, max_iterations: 10 };
            let solved = ldl.solve(&mut a, &b, &mut x, accuracy, &StopToken::default()).unwrap();
            assert!(solved.relative_residual < 1e-10, "{}", solved.relative_residual);
            x
        })
        .into();
    assert_eq!(solutions[0], solutions[1]);
    assert_eq!(solutions[0], solutions[2]);
}

/// Trees that are cut into parts: grids, random KKT matrices with delayed columns and dense rows.
fn cut_matrices() -> Vec<(&'static str, SparseMatrix)> {
    let mut random = Random::new(9);
    let mut cases = vec![("grid", poisson_control(70, 0.1))];
    for (name, kind) in [
        ("convex", Kkt::Convex),
        ("indefinite", Kkt::Indefinite),
        ("barrier", Kkt::Barrier),
        ("deficient", Kkt::Deficient),
        ("dense row", Kkt::DenseRow),
    ] {
        cases.push((name, kkt(kind, 1500, 700, &mut random)));
    }
    // Three grids: several roots.
    let grid = poisson_control(40, 0.1);
    let mut t = Vec::new();
    for shift in 0..3 {
        for j in 0..grid.ncols {
            let (rows, values) = (&grid.row_idx, &grid.values);
            let entry = |p: usize| (rows[p] + shift * grid.ncols, j + shift * grid.ncols, values[p]);
            t.extend((grid.col_ptr[j]..grid.col_ptr[j + 1]).map(entry));
        }
    }
    cases.push(("three grids", symmetric(3 * grid.ncols, &t)));
    cases
}

#[test]
fn parts_give_the_same_bits_as_the_whole_tree() {
    let (mut cut, mut most_parts) = (0, 0);
    for (name, mut a) in cut_matrices() {
        let b = Random::new(3).vector(a.ncols);
        let mut outcomes = Vec::new();
        for threads in [1, 2, 4] {
            let pool = (threads > 1).then(|| {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                Arc::new(pool)
            });
            let mut sparse =
                Multifrontal::new(a.ncols, &a.col_ptr, &a.row_idx, &a.values, &StopToken::default(), |_| {
                    pool
                })
                .unwrap();
            let limits = Thresholds { relative: 1e-2, zero: 1e-13 };
            for _ in 0..3 {
                let inertia = sparse.factor(&a.values, limits, &StopToken::default()).unwrap();
                let mut x = b.clone();
                sparse.solve(&mut x);
                let bits: Vec<u64> = x.iter().map(|v| v.to_bits()).collect();
                outcomes.push((inertia, sparse.factor_nonzeros(), sparse.work(), sparse.delayed(), bits));
            }
            let parts = sparse.parts();
            assert!(parts == 1 || threads > 1, "{name}: {parts} parts for one thread");
            cut += usize::from(parts > 1);
            most_parts = most_parts.max(parts);
        }
        assert!(outcomes.iter().all(|o| *o == outcomes[0]), "{name}");
        // And they solve.
        let mut s = Ldl::new(LdlOptions { dense_up_to: 0, threads: 4, ..LdlOptions::default() });
        s.prepare(&mut a, &StopToken::default()).unwrap();
        let e = backward_error(&mut s, &mut a, &mut Random::new(2));
        assert!(e < 1e-10, "{name}: {e:e}");
    }
    // All but the barrier matrix, which has next to no fill.
    assert!(cut >= 2 * 5 && most_parts > 10, "{cut} {most_parts}");
}

/// The deadline is seen by every thread, and the next factorization is whole again.
#[test]
fn a_parallel_factorization_can_be_stopped() {
    let mut a = poisson_control(150, 0.1);
    let mut s = Ldl::new(LdlOptions { threads: 3, ..LdlOptions::default() });
    s.prepare(&mut a, &StopToken::default()).unwrap();
    assert!(s.pool.is_some());
    let mut x = vec![0.0; a.ncols];
    let b = Random::new(1).vector(a.ncols);
    let accuracy = Accuracy { relative: 1e-10, max_iterations: 10 };
    s.solve(&mut a, &b, &mut x, accuracy, &StopToken::default()).unwrap();
    for microseconds in [0, 100, 1000] {
        let clock = std::time::Instant::now();
        let soon = clock + std::time::Duration::from_micros(microseconds);
        let stop = StopToken { deadline: Some(soon), ..StopToken::default() };
        assert_eq!(s.prepare(&mut a, &stop).unwrap_err(), LinSolError::Stopped);
        assert!(clock.elapsed().as_secs_f64() < 1.0);
        s.prepare(&mut a, &StopToken::default()).unwrap();
        let mut again = vec![0.0; a.ncols];
        s.solve(&mut a, &b, &mut again, accuracy, &StopToken::default()).unwrap();
        assert_eq!(x, again);
    }
}

/// Residuals at rounding level do not call for other pivots: |x| = 1e11 |b|, so that b - A x is known to 1e-5 |b|.
#[test]
fn rounding_does_not_raise_the_threshold() {
    let mut t: Vec<_> = (150..210).map(|j| (j, j, -1e-11)).collect();
    let a = kkt(Kkt::Deficient, 150, 60, &mut Random::new(1));
    for j in 0..a.ncols {
        t.extend((a.col_ptr[j]..a.col_ptr[j + 1]).map(|p| (a.row_idx[p], j, a.values[p])));
    }
    let mut a = symmetric(210, &t);
    let mut s = solver(false);
    s.prepare(&mut a, &StopToken::default()).unwrap();
    let (b, mut x) = (Random::new(2).vector(210), vec![0.0; 210]);
    let accuracy = Accuracy { relative: 1e-12, max_iterations: 20 };
    let solved = s.solve(&mut a, &b, &mut x, accuracy, &StopToken::default()).unwrap();
    assert_eq!(solved.end, SolveEnd::Stagnated);
    assert!(solved.relative_residual > POOR, "{solved:?}");
    assert_eq!(s.threshold, LdlOptions::default().pivot_threshold);
}

/// Pivots of 1e-15 leave no digit; stricter ones help, and serve the next matrix unless they are dear.
#[test]
fn a_raised_threshold_helps_and_is_kept_while_it_is_cheap() {
    let side = 30;
    let mut random = Random::new(4);
    let mut t = Vec::new();
    for k in 0..side * side {
        t.push((k, k, 1e-15 * (1.0 + random.unit())));
        t.extend((k % side > 0).then(|| (k, k - 1, random.symmetric())));
        t.extend((k >= side).then(|| (k, k - side, random.symmetric())));
    }
    let mut a = symmetric(side * side, &t);
    let mut s = Ldl::new(LdlOptions {
        dense_up_to: 0,
        pivot_threshold: 1e-20,
        zero_pivot: 1e-30,
        ..LdlOptions::default()
    });
    s.prepare(&mut a, &StopToken::default()).unwrap();
    assert!(backward_error(&mut s, &mut a, &mut random) < 1e-10);
    let (raised, strict) = (s.threshold, s.sparse.as_ref().unwrap().work());
    assert!(raised > 1e-20 && strict <= KEEP * s.usual_work, "{raised} {strict} {}", s.usual_work);
    let again = s.prepare(&mut a, &StopToken::default()).unwrap().work;
    assert_eq!((s.threshold, again), (raised, strict));
    // Had it cost more, the matrix after the next would have been tried without.
    s.usual_work = 0.9 * strict / KEEP;
    s.prepare(&mut a, &StopToken::default()).unwrap();
    assert_eq!(s.threshold, raised);
    let usual = s.prepare(&mut a, &StopToken::default()).unwrap().work;
    assert_eq!((s.threshold, s.usual_work), (1e-20, usual));
    assert!(usual < strict);
}
