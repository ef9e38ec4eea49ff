//! Texts that ask the SIF reader for far more than their size suggests, or that once made it panic; and mutated problems.

use std::path::Path;

use costate::nlp::Nlp;
use costate::sif::{SifLimits, SifOptions, SifProblem};
use proptest::prelude::*;
use proptest::sample::Index;

/// `code field2 field3 field4 field5 field6` with `_` for blank fields; lines without a leading blank as they are.
fn sif(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix(' ') {
        None => format!("{line}\n"),
        Some(rest) => {
            let mut fields = rest.split_whitespace().map(|w| if w == "_" { "" } else { w });
            let mut next = || fields.next().unwrap_or_default();
            let [code, f2, f3, f4, f5, f6] = std::array::from_fn(|_| next());
            format!(" {code:<2} {f2:<10}{f3:<10}{f4:<12}   {f5:<10}{f6:<12}\n")
        }
    };
    text.lines().map(line).collect()
}
/// A card of the function part.
fn formula(code: &str, f2: &str, f3: &str, expression: &str) -> String {
    format!(" {code:<2} {f2:<10}{f3:<10}{expression}\n")
}
fn read(text: &str, limits: SifLimits) -> Result<SifProblem, String> {
    let options = SifOptions { limits, ..SifOptions::default() };
    SifProblem::from_text("p", text.as_bytes(), &options).map_err(|e| e.to_string())
}

/// Low limits: refusals are quick and need little memory.
const LOW: SifLimits = SifLimits { cards: 1_000_000, objects: 200_000, hessian: 1_000_000 };

/// n variables X1.. and m objective groups O1.., the last the sum of the variables.
fn linear(n: usize, m: usize) -> String {
    let loops = "VARIABLES\n DO I 1 _ N\n X X(I)\n OD I\nGROUPS\n DO I 1 _ M\n XN O(I)\n OD I
 DO I 1 _ N\n XN O(M) X(I) 1.0\n OD I";
    sif(&format!("NAME          P\n IE N _ {n}\n IE M _ {m}\n IE 1 _ 1\n{loops}"))
}
/// The group type g = alpha^2.
fn square() -> String {
    let cards = [("F", "G*G"), ("G", "G+G"), ("H", "2.0D0")].map(|(code, e)| formula(code, "", "", e));
    "GROUPS        P\nINDIVIDUALS\n T  L2\n".to_string() + &cards.concat() + "ENDATA\n"
}

#[test]
fn a_bound_without_variable_is_an_error() {
    let text = "NAME          P\n RE R _ 1.0\nVARIABLES\n _ X\nGROUPS\n N O\nBOUNDS\n ZL B _ _ R\nENDATA";
    let error = read(&sif(text), LOW).unwrap_err();
    assert!(error.contains("no variable in field 3"), "{error}");
}

fn long_loop(body: &str) -> String {
    sif(&format!("NAME          P\n IE N _ 2147483647\n IE 1 _ 1\n DO I 1 _ N\n{body} OD I\nENDATA"))
}

#[test]
fn long_loops_are_refused() {
    for body in ["", " RE A _ 1.0\n", " I+ J I _ 1\n"] {
        let error = read(&long_loop(body), LOW).unwrap_err();
        assert!(error.contains("runs too many cards"), "{error}");
    }
    let error = read(&long_loop(" AI A(I) I\n"), LOW).unwrap_err();
    assert!(error.contains("too many objects"), "{error}");
}

/// p parameters for each of m groups, none of them set.
fn unset_parameters(m: usize, p: usize) -> String {
    let params: String = (0..p).map(|k| format!(" GP L2 P{k}\n")).collect();
    linear(1, m)
        + &sif(&format!("GROUP TYPE\n GV L2 G\n{params}GROUP USES\n T 'DEFAULT' L2\nENDATA"))
        + &square()
}

#[test]
fn parameters_of_the_default_group_type_are_charged() {
    let error = read(&unset_parameters(20_000, 100), LOW).unwrap_err();
    assert!(error.contains("too many objects"), "{error}");
}

/// One element of v variables used in m squared groups: m v places in gradients.
fn often_used(m: usize, v: usize) -> String {
    let types: String = (1..=v).map(|k| format!(" EV T V{k}\n")).collect();
    let places: String = (1..=v).map(|k| format!(" V E V{k} _ X{k}\n")).collect();
    let slopes: String =
        (1..=v).map(|k| formula("G", &format!("V{k}"), "", &format!("{k}.0D0*V1"))).collect();
    linear(v, m)
        + &sif(&format!(
            "ELEMENT TYPE\n{types}ELEMENT USES\n T E T\n{places}GROUP TYPE\n GV L2 G\nGROUP USES"
        ))
        + &sif(" T 'DEFAULT' L2\n DO I 1 _ M\n XE O(I) E\n OD I\nENDATA")
        + "ELEMENTS      P\nINDIVIDUALS\n T  T\n"
        + &formula("F", "", "", "V1*V1")
        + &slopes
        + "ENDATA\n"
        + &square()
}

#[test]
fn gradients_of_many_uses_are_charged() {
    let few = read(&often_used(3, 5), LOW).expect("a small one is read");
    assert_eq!((few.meta().n(), few.meta().m()), (5, 0));
    let error = read(&often_used(20_000, 100), LOW).unwrap_err();
    assert!(error.contains("too many derivatives"), "{error}");
}

/// m elements of v variables and u internal ones, all second derivatives distinct.
fn distinct_derivatives(m: usize, v: usize, u: usize) -> String {
    let elemental: String = (1..=v).map(|k| format!(" EV T V{k}\n")).collect();
    let internal: String = (1..=u).map(|a| format!(" IV T U{a}\n")).collect();
    let places: String = (1..=v).map(|k| format!(" IE K _ {k}\n ZV E(I) V{k} _ X(K)\n")).collect();
    let weights = |a: usize| {
        (1..=v).map(move |k| format!(" R U{a} V{k} {}.{k}\n", (a * a + k) % 97 + k)).collect::<String>()
    };
    let weights: String = (1..=u).map(weights).collect();
    let name = |a: usize| format!("U{a}");
    linear(v, 1)
        + &sif(&format!("ELEMENT TYPE\n{elemental}{internal}ELEMENT USES\n IE L _ {m}\n DO I 1 _ L"))
        + &sif(&format!(" XT E(I) T\n{places} OD I\nGROUP USES\n DO I 1 _ L\n XE O1 E(I)\n OD I\nENDATA"))
        + "ELEMENTS      P\nINDIVIDUALS\n T  T\n"
        + &sif(&weights)
        + &formula("F", "", "", "U1*U1")
        + &(1..=u).map(|a| formula("G", &name(a), "", &format!("SIN(U{a})"))).collect::<String>()
        + &(1..=u).map(|a| formula("H", &name(a), &name(a), &format!("COS(U{a})"))).collect::<String>()
        + "ENDATA\n"
}

#[test]
fn results_of_many_elements_are_charged() {
    let few = read(&distinct_derivatives(3, 5, 2), LOW).expect("a small one is read");
    assert_eq!(few.meta().hessian.as_ref().map(|p| p.len()), Some(15));
    let error = read(&distinct_derivatives(2_000, 40, 6), LOW).unwrap_err();
    assert!(error.contains("too many derivatives"), "{error}");
}

/// One squared group of n variables.
fn dense(n: usize) -> String {
    linear(n, 1) + &sif("GROUP TYPE\n GV L2 G\nGROUP USES\n T 'DEFAULT' L2\nENDATA") + &square()
}

#[test]
fn a_hessian_that_is_too_large_has_no_pattern() {
    for (n, there) in [(1_000, true), (2_000, false)] {
        let mut p = read(&dense(n), LOW).expect("read");
        assert_eq!(p.meta().hessian.as_ref().map(|h| h.len()), there.then_some(n * (n + 1) / 2));
        let (x, v, mut hv) = (vec![0.0; n], vec![1.0; n], vec![0.0; n]);
        p.hess_prod(&x, 1.0, &[], &v, &mut hv).expect("products remain");
        assert!(hv.iter().all(|h| *h == 2.0 * n as f64));
    }
}

/// m elements of one variable each.
fn elements(m: usize) -> String {
    let uses = " DO I 1 _ L\n XT E(I) T\n ZV E(I) V _ X1\n OD I\nGROUP USES\n DO I 1 _ L\n XE O1 E(I)\n OD I\nENDATA";
    linear(1, 1)
        + &sif(&format!("ELEMENT TYPE\n EV T V\nELEMENT USES\n IE L _ {m}\n{uses}"))
        + "ELEMENTS      P\nINDIVIDUALS\n T  T\n"
        + &[("F", "", "SIN(V)"), ("G", "V", "COS(V)")].map(|(c, v, e)| formula(c, v, "", e)).concat()
        + &formula("H", "V", "V", "-SIN(V)")
        + "ENDATA\n"
}

/// The same texts within the default limits; prints the time of each.
#[test]
#[ignore = "seconds and gigabytes"]
fn worst_cases_within_the_default_limits() {
    let body = " AI A(I) I\n";
    for (what, text) in [
        ("loop", long_loop("")),
        ("assignments", long_loop(" I+ J I _ 1\n")),
        ("real parameters", long_loop(body)),
        ("variables", linear(30_000_000, 1) + "ENDATA\n"),
        ("11 million variables", linear(11_000_000, 1) + "ENDATA\n"),
        ("11 million elements", elements(11_000_000)),
        ("unset parameters", unset_parameters(5_000_000, 200)),
        ("often used", often_used(5_000_000, 100)),
        ("distinct derivatives", distinct_derivatives(200_000, 100, 20)),
        ("one element, many derivatives", distinct_derivatives(1, 100, 20)),
        ("dense Hessian, too large", dense(20_000)),
        ("dense Hessian", dense(11_000)),
    ] {
        let clock = std::time::Instant::now();
        let result = read(&text, SifLimits::default()).map(|_| ());
        println!("{what}: {} bytes, {:.2?}, {}: {result:?}", text.len(), clock.elapsed(), peak());
    }
}

/// Largest memory of this process so far.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default().to_string()
}

/// Problems of the package, those in `problems/`.
fn problems() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("problems");
    let files = std::fs::read_dir(&folder).expect("problems/ is there").filter_map(Result::ok);
    let mut paths: Vec<_> =
        files.map(|f| f.path()).filter(|p| p.extension().is_some_and(|e| e == "SIF")).collect();
    paths.sort();
    assert!(paths.len() > 50, "{} problems in {}", paths.len(), folder.display());
    paths.iter().map(|p| std::fs::read(p).expect("a readable file")).collect()
}

/// One change of a text.
#[derive(Debug, Clone)]
enum Change {
    Delete(Index),
    Repeat(Index, Index),
    Swap(Index, Index),
    Byte(Index, u8),
    /// A number in the columns of field 4 or 6.
    Number(Index, bool, &'static str),
    /// A field of one line into another.
    Field(Index, Index, usize),
}

/// Columns of the fields, from 0.
const FIELDS: [std::ops::Range<usize>; 6] = [1..3, 4..14, 14..24, 24..36, 39..49, 49..61];
const NUMBERS: [&str; 8] =
    ["0", "-1", "2147483647", "-2147483647", "1.0D+308", "-1.0D-308", "1000000", "1E20"];

fn change() -> impl Strategy<Value = Change> {
    let line = any::<Index>;
    prop_oneof![
        line().prop_map(Change::Delete),
        (line(), line()).prop_map(|(a, b)| Change::Repeat(a, b)),
        (line(), line()).prop_map(|(a, b)| Change::Swap(a, b)),
        (line(), any::<u8>()).prop_map(|(a, b)| Change::Byte(a, b)),
        (line(), any::<bool>(), prop::sample::select(&NUMBERS)).prop_map(|(a, b, c)| Change::Number(a, b, c)),
        (line(), line(), 0..FIELDS.len()).prop_map(|(a, b, f)| Change::Field(a, b, f)),
    ]
}

/// Writes a field, padded with blanks.
fn put(line: &mut Vec<u8>, field: &std::ops::Range<usize>, text: &[u8]) {
    line.resize(line.len().max(field.end), b' ');
    line[field.clone()].fill(b' ');
    let len = text.len().min(field.len());
    line[field.start..field.start + len].copy_from_slice(&text[..len]);
}

fn apply(text: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = text.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
    for change in changes {
        let n = lines.len();
        match change {
            Change::Delete(a) if n > 1 => drop(lines.remove(a.index(n))),
            Change::Delete(_) => {}
            Change::Repeat(a, b) => lines.insert(a.index(n), lines[b.index(n)].clone()),
            Change::Swap(a, b) => lines.swap(a.index(n), b.index(n)),
            Change::Byte(a, byte) => {
                let total: usize = lines.iter().map(Vec::len).sum();
                let mut at = a.index(total.max(1));
                for line in &mut lines {
                    match line.get_mut(at) {
                        Some(slot) => {
                            *slot = *byte;
                            break;
                        }
                        None => at -= line.len(),
                    }
                }
            }
            Change::Number(a, second, number) => {
                put(&mut lines[a.index(n)], &FIELDS[if *second { 5 } else { 3 }], number.as_bytes());
            }
            Change::Field(a, b, f) => {
                let (line, field) = (&lines[b.index(n)], &FIELDS[*f]);
                let text = line[field.start.min(line.len())..field.end.min(line.len())].to_vec();
                put(&mut lines[a.index(n)], field, &text);
            }
        }
    }
    lines.join(&b'\n')
}

/// Reads the text and evaluates everything once; says whether it was a problem.
fn survives(text: &[u8], lenient: bool) -> bool {
    let options = SifOptions { lenient, limits: LOW, ..SifOptions::default() };
    let mut p = match SifProblem::from_text("p", text, &options) {
        Ok(p) => p,
        Err(e) => {
            assert!(!e.to_string().is_empty());
            return false;
        }
    };
    let meta = p.meta().clone();
    let (n, m) = (meta.n(), meta.m());
    let (mut c, mut g, mut hv, mut jv) = (vec![0.0; m], vec![0.0; n], vec![0.0; n], vec![0.0; m]);
    let mut jac = vec![0.0; meta.jacobian.as_ref().map_or(0, |p| p.len())];
    let mut hess = vec![0.0; meta.hessian.as_ref().map_or(0, |p| p.len())];
    let x = meta.x0;
    let mut all = || {
        p.obj_cons(&x, &mut c)?;
        p.grad_jac_values(&x, &mut g, &mut jac)?;
        p.jac_prod(&x, &g, &mut jv)?;
        p.jac_t_prod(&x, &c, &mut hv)?;
        p.hess_prod(&x, 1.0, &c, &g, &mut hv)?;
        if meta.hessian.is_some() { p.hess_values(&x, 1.0, &c, &mut hess) } else { Ok(()) }
    };
    all().expect("functions that are announced");
    true
}

/// Mutated problems are refused or read and evaluated, and some of them are still problems.
#[test]
fn mutated_problems_never_panic() {
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let texts = problems();
    let config = Config { cases: 1500, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let read = std::cell::Cell::new(0);
    let cases = (any::<Index>(), prop::collection::vec(change(), 1..5), any::<bool>());
    let result = TestRunner::new_with_rng(config, rng).run(&cases, |(which, changes, lenient)| {
        let text = apply(&texts[which.index(texts.len())], &changes);
        read.set(read.get() + usize::from(survives(&text, lenient)));
        Ok(())
    });
    if let Err(e) = result {
        panic!("{e}");
    }
    assert!(read.get() > 300, "only {} of 1500 mutated problems were still problems", read.get());
}
