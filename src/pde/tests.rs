use super::*;
use crate::linalg::LinOp;

fn random(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|p| ((p * 7919 + 31 * seed + 13) % 1009) as f64 / 1009.0 - 0.5).collect()
}

fn grid(cells: &[usize], sides: &[(Boundary, Boundary)]) -> Grid {
    let axes = cells.iter().zip(sides);
    Grid::new(axes.map(|(&cells, &(low, high))| Axis { length: 1.0, cells, low, high }).collect()).unwrap()
}

const D: (Boundary, Boundary) = (Boundary::Dirichlet, Boundary::Dirichlet);
const N: (Boundary, Boundary) = (Boundary::Neumann, Boundary::Neumann);
const P: (Boundary, Boundary) = (Boundary::Periodic, Boundary::Periodic);
const R: (Boundary, Boundary) = (Boundary::Robin(2.0), Boundary::Dirichlet);

fn cases() -> Vec<Grid> {
    vec![
        grid(&[17], &[D]),
        grid(&[9], &[P]),
        grid(&[7, 5], &[D, N]),
        grid(&[6, 9], &[R, P]),
        grid(&[1, 6], &[N, R]),
        grid(&[300, 3], &[N, D]),
        grid(&[5, 4, 6], &[P, R, D]),
        grid(&[4, 7, 5], &[D, P, N]),
    ]
}

#[test]
fn both_forms_of_an_operator_are_one_symmetric_matrix() {
    for grid in cases() {
        for scheme in [Scheme::FiniteDifferences, Scheme::Q1] {
            let mut constant = Operator::new(&grid, scheme, &Diffusion::Constant(1.7)).unwrap();
            let mut cells = Operator::new(&grid, scheme, &Diffusion::Cells(vec![1.7; grid.cells()])).unwrap();
            let n = grid.unknowns();
            let (u, v) = (random(n, 1), random(n, 2));
            let (mut a, mut b, mut c) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
            constant.apply(1.0, &u, 0.0, &mut a);
            cells.apply(1.0, &u, 0.0, &mut b);
            let size = crate::linalg::norm_inf(&a);
            for p in 0..n {
                assert!((a[p] - b[p]).abs() < 1e-12 * size, "{grid:?} {scheme:?} {p}: {} {}", a[p], b[p]);
            }
            constant.apply(1.0, &v, 0.0, &mut c);
            let (va, uc) = (crate::linalg::dot(&v, &a), crate::linalg::dot(&u, &c));
            assert!((va - uc).abs() < 1e-12 * size * n as f64, "{grid:?} {scheme:?}: {va} {uc}");
            let d = (constant.diagonal(), cells.diagonal());
            assert!(d.0.iter().zip(&d.1).all(|(x, y)| (x - y).abs() < 1e-12 * x.abs()));
        }
    }
}

/// The error of the discrete solution falls with h^2 for every condition and both schemes.
#[test]
fn solutions_converge_with_the_square_of_the_spacing() {
    use std::f64::consts::PI;
    // u = cos(pi x) + 2 on Neumann sides, sin(pi x) on Dirichlet sides, sin(2 pi x) on periodic ones; -u'' + u.
    let factor = |side: (Boundary, Boundary), x: f64| match side.0 {
        Boundary::Dirichlet => ((PI * x).sin(), PI * PI),
        Boundary::Neumann => ((PI * x).cos(), PI * PI),
        _ => ((2.0 * PI * x).sin(), 4.0 * PI * PI),
    };
    for sides in [vec![D, N], vec![P, D], vec![N, N, P]] {
        for scheme in [Scheme::FiniteDifferences, Scheme::Q1] {
            let error = |cells: usize| {
                let grid = grid(&[cells, cells + 1, cells - 1][..sides.len()], &sides);
                let of = |x: [f64; 3]| {
                    sides.iter().zip(x).fold((1.0, 1.0), |(u, l), (s, x)| {
                        let (v, k) = factor(*s, x);
                        (u * v, l + k)
                    })
                };
                let exact = grid.evaluate(|x| of(x).0);
                let mut f = grid.evaluate(|x| of(x).0 * of(x).1);
                let mut multigrid =
                    Multigrid::new(&grid, scheme, &Diffusion::Constant(1.0), MultigridOptions::default())
                        .unwrap();
                multigrid.set_reaction(1.0, &[]).unwrap();
                f.iter_mut().zip(multigrid.mass()).for_each(|(f, m)| *f *= m);
                let mut u = vec![0.0; f.len()];
                let solved = multigrid.solve(&f, &mut u, 1e-11, 60);
                assert!(solved.reached, "{sides:?} {scheme:?} {solved:?}");
                u.iter().zip(&exact).fold(0.0f64, |e, (u, x)| e.max((u - x).abs()))
            };
            let (coarse, fine) = (error(16), error(32));
            let order = (coarse / fine).log2();
            assert!(
                (order - 2.0).abs() < 0.15,
                "{sides:?} {scheme:?}: {coarse:.2e} {fine:.2e}, order {order}"
            );
        }
    }
}

/// The factor of the residual over the last cycles of fifteen.
fn contraction(grid: &Grid, scheme: Scheme, diffusion: &Diffusion, c: f64, options: MultigridOptions) -> f64 {
    let mut multigrid = Multigrid::new(grid, scheme, diffusion, options).unwrap();
    multigrid.set_reaction(c, &[]).unwrap();
    let n = grid.unknowns();
    let (f, mut u, mut r) = (vec![0.0; n], random(n, 3), vec![0.0; n]);
    let mut sizes = Vec::new();
    for _ in 0..15 {
        multigrid.improve(&f, &mut u);
        multigrid.operator().residual(&f, &u, &mut r);
        sizes.push(crate::linalg::norm2(&r));
    }
    (sizes[14] / sizes[9]).powf(0.2)
}

#[test]
fn contraction_does_not_depend_on_the_mesh() {
    let options = MultigridOptions::default();
    for (cells, sides) in [
        (vec![1000], vec![D]),
        (vec![64, 64], vec![D, D]),
        (vec![256, 256], vec![D, D]),
        (vec![257, 257], vec![D, D]),
        (vec![100, 131], vec![D, D]),
        (vec![129, 200], vec![R, N]),
        (vec![96, 101], vec![P, D]),
        (vec![200, 20], vec![D, D]),
        (vec![32, 32, 32], vec![D, D, D]),
        (vec![45, 33, 37], vec![D, N, R]),
    ] {
        for scheme in [Scheme::FiniteDifferences, Scheme::Q1] {
            for c in [0.0, 1e2, 1e4] {
                let grid = grid(&cells, &sides);
                let rate = contraction(&grid, scheme, &Diffusion::Constant(1.0), c, options);
                println!("{cells:?} {scheme:?} c {c:e}: {rate:.3}");
                assert!(rate < 0.2, "{cells:?} {sides:?} {scheme:?} c {c}: {rate}");
            }
        }
    }
}

/// V and W cycles, full multigrid, conjugate gradients; the sums do not depend on threads.
#[test]
fn all_cycles_solve() {
    for (cycle, smoother) in [
        (Cycle::V, Smoother::Chebyshev(1)),
        (Cycle::V, Smoother::Chebyshev(3)),
        (Cycle::W, Smoother::Chebyshev(2)),
        (Cycle::W, Smoother::Jacobi(2)),
    ] {
        let grid = grid(&[90, 71], &[D, R]);
        let mut multigrid = Multigrid::new(
            &grid,
            Scheme::Q1,
            &Diffusion::Constant(1.0),
            MultigridOptions { cycle, smoother },
        )
        .unwrap();
        let f = random(grid.unknowns(), 1);
        let (mut u, mut v, mut w) = (vec![0.0; f.len()], vec![0.0; f.len()], vec![0.0; f.len()]);
        let solved = multigrid.solve(&f, &mut u, 1e-9, 60);
        println!("{cycle:?} {smoother:?}: {solved:?}");
        assert!(solved.reached, "{cycle:?} {smoother:?}: {solved:?}");
        let solved = multigrid.conjugate_gradients(&f, &mut v, 1e-9, 30);
        println!("  conjugate gradients {solved:?}");
        assert!(solved.reached && solved.iterations < 15, "{solved:?}");
        multigrid.full(&f, &mut w);
        let scale = crate::linalg::norm_inf(&u);
        for p in 0..f.len() {
            assert!((u[p] - v[p]).abs() < 1e-6 * scale && (u[p] - w[p]).abs() < 0.1 * scale);
        }
    }
}

#[test]
fn a_cycle_is_symmetric_and_positive() {
    for grid in cases().iter().chain(&[grid(&[40, 33], &[D, R]), grid(&[14, 13, 12], &[D, N, P])]) {
        for scheme in [Scheme::FiniteDifferences, Scheme::Q1] {
            let n = grid.unknowns();
            let a = random(grid.cells(), 5).iter().map(|v| (4.0 * v).exp()).collect();
            for diffusion in [Diffusion::Constant(1.0), Diffusion::Cells(a)] {
                let mut multigrid =
                    Multigrid::new(grid, scheme, &diffusion, MultigridOptions::default()).unwrap();
                let field: Vec<f64> = random(n, 9).iter().map(|v| 1.0 + v).collect();
                multigrid.set_reaction(3.0, &field).unwrap();
                let (x, y) = (random(n, 1), random(n, 2));
                let (mut bx, mut by) = (vec![0.0; n], vec![0.0; n]);
                multigrid.cycle(&x, &mut bx);
                multigrid.cycle(&y, &mut by);
                let (a, b) = (crate::linalg::dot(&y, &bx), crate::linalg::dot(&x, &by));
                assert!((a - b).abs() < 1e-11 * (a.abs() + b.abs() + crate::linalg::norm2(&by)), "{a} {b}");
                assert!(crate::linalg::dot(&x, &bx) > 0.0);
            }
        }
    }
}

#[test]
fn coefficients_that_jump_are_solved_by_conjugate_gradients() {
    // Rediscretized coarse operators do not follow larger jumps well: 60 iterations for 1e6.
    for jump in [1e2, 1e4] {
        let grid = grid(&[120, 120], &[D, D]);
        let a = grid.evaluate_cells(|x| {
            if (x[0] - 0.4).abs() < 0.2 && (x[1] - 0.55).abs() < 0.23 { jump } else { 1.0 }
        });
        let mut multigrid = Multigrid::new(
            &grid,
            Scheme::FiniteDifferences,
            &Diffusion::Cells(a),
            MultigridOptions::default(),
        )
        .unwrap();
        let f = random(grid.unknowns(), 1);
        let mut u = vec![0.0; f.len()];
        let cycles = multigrid.solve(&f, &mut u.clone(), 1e-8, 40);
        let solved = multigrid.conjugate_gradients(&f, &mut u, 1e-8, 100);
        println!(
            "jump {jump:e}: {} cycles (reached: {}), {} iterations",
            cycles.iterations, cycles.reached, solved.iterations
        );
        assert!(solved.reached && solved.iterations <= 30, "{jump}: {solved:?}");
    }
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let solve = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let grid = grid(&[300, 211], &[D, R]);
            let mut multigrid = Multigrid::new(
                &grid,
                Scheme::FiniteDifferences,
                &Diffusion::Constant(1.0),
                MultigridOptions::default(),
            )
            .unwrap();
            let f = random(grid.unknowns(), 1);
            let mut u = vec![0.0; f.len()];
            multigrid.conjugate_gradients(&f, &mut u, 1e-9, 30);
            u
        })
    };
    let one = solve(1);
    assert!([2, 3, 5].into_iter().all(|threads| solve(threads) == one));
}

#[test]
fn bad_input_is_one_sentence() {
    for error in [
        Grid::unit(2, 0, Boundary::Neumann).unwrap_err(),
        Grid::unit(4, 3, Boundary::Neumann).unwrap_err(),
        Grid::unit(1, 1, Boundary::Dirichlet).unwrap_err(),
        Grid::unit(2, 2, Boundary::Periodic).unwrap_err(),
        Grid::unit(2, 3, Boundary::Robin(-1.0)).unwrap_err(),
        Grid::new(vec![Axis { length: f64::NAN, ..Axis::unit(3, Boundary::Neumann) }]).unwrap_err(),
        Operator::new(&Grid::unit(1, 3, Boundary::Neumann).unwrap(), Scheme::Q1, &Diffusion::Constant(-1.0))
            .unwrap_err(),
        Operator::new(
            &Grid::unit(1, 3, Boundary::Neumann).unwrap(),
            Scheme::Q1,
            &Diffusion::Cells(vec![1.0]),
        )
        .unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(!text.contains('\n') && text.len() > 20, "{text}");
    }
}

#[test]
fn fields_are_written_as_npy_and_vtk() {
    let folder = std::env::temp_dir();
    let grid = grid(&[3, 4], &[N, D]);
    let u = random(grid.unknowns(), 1);
    let (npy, vtk) = (folder.join("costate-pde-field.npy"), folder.join("costate-pde-field.vtk"));
    write_npy(&npy, &[3, 4], &u).unwrap();
    let bytes = std::fs::read(&npy).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    assert_eq!((10 + header) % 64, 0);
    assert!(String::from_utf8_lossy(&bytes[10..10 + header]).contains("'shape': (3, 4, )"));
    let read: Vec<f64> =
        bytes[10 + header..].chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(read, u);
    write_vtk(&vtk, &grid, &[("state", &u)]).unwrap();
    let text = std::fs::read(&vtk).unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("DIMENSIONS 4 3 1\n") && text.contains("POINT_DATA 12\n"), "{text}");
    write_vtk(&vtk, &grid, &[("a", &vec![0.0; grid.unknowns()])]).unwrap();
    assert!(write_vtk(&vtk, &grid, &[("a b", &u)]).is_err() && write_npy(&npy, &[2], &u).is_err());
    assert!(write_npy(&folder.join("no such folder/x.npy"), &[12], &u).is_err());
    [npy, vtk].iter().for_each(|path| std::fs::remove_file(path).unwrap());
}
