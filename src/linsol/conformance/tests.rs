use super::*;
use crate::linsol::{Facts, LinearSolverKind, SolverFacts, build, choose};

/// What our own solvers are asked. Single vectors converge at a rate of about 1/(n cond^2) a step: small systems only. The condition
/// of an indefinite matrix with random entries can be anything: sketches get the convex ones. GMRES restarts: full GMRES only.
fn demands(kind: LinearSolverKind) -> Demands {
    use LinearSolverKind::*;
    let all = Demands::default();
    match kind {
        Gaussian | Kaczmarz | KaczmarzNorm => Demands {
            definite_up_to: 10,
            saddle_up_to: 6,
            indefinite: false,
            unsymmetric: true,
            exact_iterations: true,
        },
        BlockGaussian | BlockKaczmarz | CountSketch => {
            Demands { saddle_up_to: 28, indefinite: false, unsymmetric: true, exact_iterations: true, ..all }
        }
        Gmres => Demands { saddle_up_to: 45, unsymmetric: true, ..all },
        _ => all,
    }
}

#[test]
fn our_solvers_conform() {
    for kind in LinearSolverKind::ALL {
        let result = check(&mut || build(kind, 7, 1), &demands(kind));
        assert_eq!(result, Ok(()), "{kind}");
    }
}

#[test]
fn facts_and_names_are_those_of_the_kind() {
    use LinearSolverKind::*;
    for kind in LinearSolverKind::ALL {
        let solver = build(kind, 0, 1);
        assert_eq!(solver.name(), kind.as_str());
        let needs_entries = matches!(kind, Ldl | Kaczmarz | KaczmarzNorm | BlockKaczmarz);
        assert_eq!(solver.facts(), SolverFacts { inertia: kind == Ldl, needs_entries }, "{kind}");
    }
}

#[test]
fn another_seed_gives_another_answer() {
    for kind in LinearSolverKind::ALL.into_iter().filter(|k| demands(*k).exact_iterations) {
        let mut random = Random::new(9);
        let mut a = definite(20, &mut random);
        let b = random.vector(20);
        let mut run = |seed| {
            let (mut solver, mut x) = (build(kind, seed, 1), vec![0.0; 20]);
            solver.prepare(&mut a, &go()).unwrap();
            solver.solve(&mut a, &b, &mut x, to(1e-5), &go()).unwrap();
            x
        };
        assert_ne!(run(1), run(2), "{kind}");
    }
}

/// A solver with one fault: the suite names the demands that fail.
struct Faulty {
    inner: Box<dyn LinearSolver>,
    fault: &'static str,
}

impl LinearSolver for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }
    fn facts(&self) -> SolverFacts {
        let mut facts = self.inner.facts();
        facts.needs_entries ^= self.fault == "facts";
        facts
    }
    fn prepare(&mut self, a: &mut dyn LinOp, stop: &StopToken) -> Result<Prepared, LinSolError> {
        let mut p = self.inner.prepare(a, stop)?;
        if let Some(i) = &mut p.inertia
            && self.fault == "inertia"
            && i.zero > 0
        {
            (i.zero, i.negative) = (i.zero - 1, i.negative + 1);
        }
        Ok(p)
    }
    fn solve(
        &mut self,
        a: &mut dyn LinOp,
        b: &[f64],
        x: &mut [f64],
        accuracy: Accuracy,
        stop: &StopToken,
    ) -> Result<Solved, LinSolError> {
        let start = x.to_vec();
        let mut s = self.inner.solve(a, b, x, accuracy, stop)?;
        match self.fault {
            "claims" if s.end == SolveEnd::Stagnated => s.end = SolveEnd::Reached,
            "residual" => s.relative_residual *= 0.5,
            "stop" if s.end == SolveEnd::Stopped => x.fill(1.0),
            "start" if start.iter().any(|v| *v != 0.0) => x.copy_from_slice(&start),
            _ => {}
        }
        Ok(s)
    }
}

#[test]
fn faults_are_found() {
    let failing = |fault: &'static str| {
        let mut make = || -> Box<dyn LinearSolver> {
            Box::new(Faulty { inner: build(LinearSolverKind::Ldl, 0, 1), fault })
        };
        let failures = check(&mut make, &Demands::default()).err().unwrap_or_default();
        failures.into_iter().map(|f| f.demand).collect::<Vec<_>>()
    };
    assert!(failing("none").is_empty());
    for (fault, part) in [
        ("facts", "its facts"),
        ("inertia", "the inertia is right"),
        ("claims", "without a claim"),
        ("residual", "inconsistent systems"),
        ("stop", "stop token"),
        ("start", "right-hand side of zero"),
    ] {
        let found = failing(fault);
        assert!(found.iter().any(|d| d.contains(part)), "{fault}: {found:?}");
    }
}

#[test]
fn the_choice_says_why() {
    let facts = |unknowns, entries| Facts { unknowns, entries, symmetric: true };
    assert_eq!(choose(facts(10, Some(40))).0, LinearSolverKind::Ldl);
    assert_eq!(choose(facts(0, Some(0))).0, LinearSolverKind::Ldl);
    assert_eq!(choose(facts(200_000, Some(2_000_000))).0, LinearSolverKind::Ldl);
    assert_eq!(choose(facts(20_000, Some(200_000_000))).0, LinearSolverKind::Minres);
    assert_eq!(choose(facts(100, None)).0, LinearSolverKind::Minres);
    let (kind, why) = choose(Facts { unknowns: 9, entries: None, symmetric: false });
    assert_eq!(kind, LinearSolverKind::Gmres);
    assert!(why.contains("not symmetric"));
}
