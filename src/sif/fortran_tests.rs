//! Values, types and errors of expressions.

use super::*;
use crate::expr::graph::Node;
use proptest::prelude::*;

/// X = 2.5, Y = -1.5 (double), N = 7 (integer), T true.
struct Names;

impl Scope for Names {
    fn value(&mut self, name: &str, graph: &mut Graph) -> Result<Value, String> {
        let (value, kind) = match name {
            "X" => (2.5, Kind::Double),
            "Y" => (-1.5, Kind::Double),
            "N" => (7.0, Kind::Integer),
            "T" => (1.0, Kind::Logical),
            _ => return Err(format!("`{name}` is not declared")),
        };
        Ok(Value { id: graph.constant(value), kind })
    }
    fn calls(&self, _: &str) -> bool {
        false
    }
    fn call(&mut self, name: &str, _: &[Argument], _: &mut Graph) -> Result<Value, String> {
        Err(format!("`{name}` cannot be called"))
    }
}

fn value(text: &str, literals: Literals) -> Result<(f64, Kind), Fault> {
    let mut graph = Graph::default();
    let value = parse(text, &mut graph, &mut Names, literals)?;
    match graph.nodes[value.id as usize] {
        Node::Const(bits) => Ok((f64::from_bits(bits), value.kind)),
        _ => panic!("constants fold"),
    }
}

fn fault(text: &str) -> (usize, String) {
    let fault = value(text, Literals::Double).expect_err(text);
    (fault.at, fault.what)
}

#[test]
fn values() {
    use Kind::{Double, Integer, Logical};
    let (x, y) = (2.5f64, -1.5f64);
    for (text, want, kind) in [
        ("1+2*3", 7.0, Integer),
        ("-X**2", -6.25, Double),
        ("2**3**2", 512.0, Integer),
        ("7/2", 3.0, Integer),
        ("-7/2", -3.0, Integer),
        ("N/2*2.0", 6.0, Double),
        ("2**(-1)", 0.0, Integer),
        ("X**(-2)", 0.16, Double),
        ("Y**3", -3.375, Double),
        ("X**0", 1.0, Double),
        ("X**1.5", x.powf(1.5), Double),
        ("X/2.0/2.0", 0.625, Double),
        ("X-Y-1", 3.0, Double),
        ("1.5D2", 150.0, Double),
        ("1.E-1", 0.1, Double),
        (".5", 0.5, Double),
        ("2.D0", 2.0, Double),
        ("1.GE.X", 0.0, Logical),
        ("1.0.LE.X.AND.T", 1.0, Logical),
        (".NOT.X>Y.OR.T", 1.0, Logical),
        (".NOT.(X>Y.OR.T)", 0.0, Logical),
        ("X==2.5", 1.0, Logical),
        ("X/=2.5", 0.0, Logical),
        ("X<=-Y", 0.0, Logical),
        ("X.LT.-Y", 0.0, Logical),
        (".TRUE..AND..FALSE.", 0.0, Logical),
        ("+X", 2.5, Double),
        ("(-Y)*2", 3.0, Double),
        ("MAX(X,Y,3)", 3.0, Double),
        ("MIN(N,9)", 7.0, Integer),
        ("DMAX1(X,Y)", 2.5, Double),
        ("SIGN(X,Y)", -2.5, Double),
        ("MOD(N,4)", 3.0, Integer),
        ("MOD(-7.5,2.0)", -1.5, Double),
        ("ABS(Y)", 1.5, Double),
        ("DABS(Y)", 1.5, Double),
        ("INT(Y)", -1.0, Integer),
        ("NINT(X)", 3.0, Integer),
        ("NINT(Y)", -2.0, Integer),
        ("DBLE(N)/2", 3.5, Double),
        ("FLOAT(N)/2", 3.5, Double),
        ("EXP(X)", x.exp(), Double),
        ("DLOG(X)", x.ln(), Double),
        ("LOG10(X)", x.log10(), Double),
        ("SQRT(X)", x.sqrt(), Double),
        ("SIN(X)+COS(X)", x.sin() + x.cos(), Double),
        ("TAN(X)", x.tan(), Double),
        ("ASIN(0.5)", 0.5f64.asin(), Double),
        ("ACOS(0.5)", 0.5f64.acos(), Double),
        ("ATAN(X)", x.atan(), Double),
        ("ATAN2(X,Y)", x.atan2(y), Double),
        ("SINH(Y)", y.sinh(), Double),
        ("COSH(Y)", y.cosh(), Double),
        ("TANH(Y)", y.tanh(), Double),
    ] {
        let (got, got_kind) = value(text, Literals::Double).unwrap_or_else(|f| panic!("{text}: {f:?}"));
        assert_eq!(got_kind, kind, "{text}");
        assert!((got - want).abs() <= 4e-16 * want.abs(), "{text}: {got}, expected {want}");
    }
}

#[test]
fn literals_of_cutest_are_single() {
    let tenth = f64::from(0.1f32);
    for (text, want, kind) in [
        ("0.1", tenth, Kind::Single),
        ("1.0E-1", tenth, Kind::Single),
        ("0.1D0", 0.1, Kind::Double),
        ("0.1*X", tenth * 2.5, Kind::Double),
        ("2.0/3.0", f64::from(2.0f32 / 3.0f32), Kind::Single),
        ("2.0/3.0D0", 2.0 / 3.0, Kind::Double),
        ("1/3.0", f64::from(1.0f32 / 3.0f32), Kind::Single),
        ("SQRT(2.0)", f64::from(2.0f32.sqrt()), Kind::Single),
        ("DBLE(0.1)+X", tenth + 2.5, Kind::Double),
        ("REAL(0.1D0)", tenth, Kind::Single),
        ("1/2", 0.0, Kind::Integer),
    ] {
        assert_eq!(value(text, Literals::Cutest), Ok((want, kind)), "{text}");
    }
}

#[test]
fn errors_name_their_place() {
    for (text, at, part) in [
        ("X*-Y", 2, "found `-`"),
        ("X**-2", 3, "found `-`"),
        ("X+", 2, "the expression ends"),
        ("", 0, "the expression ends"),
        ("(X", 2, "expected `)`"),
        ("X)", 1, "found `)`, expected an operator"),
        ("X Y", 1, "found ` `"),
        ("X%Y", 1, "found `%`"),
        ("XY", 0, "`XY` is not declared"),
        ("X+Z", 2, "`Z` is not declared"),
        ("FOO(X)", 0, "unknown function `FOO`"),
        ("EXP()", 4, "found `)`"),
        ("1+EXP(X,Y)", 2, "function `EXP` has 2 arguments, expected 1"),
        ("ATAN2(X)", 0, "has 1 arguments, expected 2"),
        ("MAX(X)", 0, "expected 2 or more"),
        ("SIN(T)", 0, "logical argument"),
        ("X+T", 1, "found a logical value"),
        ("-T", 0, "found a logical value"),
        ("T**2", 1, "found a logical value"),
        ("X.AND.T", 1, "needs logical operands"),
        (".NOT.X", 5, "needs a logical operand"),
        ("T>X", 1, "a relation needs numbers"),
        ("X<Y<N", 3, "found `<`"),
        ("1.0E999", 0, "too large"),
        ("99999999999", 0, "more than 32 bits"),
        ("1.0.0", 3, "found `.0`"),
        (".XOR.", 0, "found `.`"),
    ] {
        let (found_at, what) = fault(text);
        assert!(what.contains(part), "{text}: {what}");
        assert_eq!(found_at, at, "{text}: {what}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    for text in [
        "(".repeat(100_000),
        "X**".repeat(100_000),
        ".NOT.".repeat(100_000),
        "SIN(".repeat(100_000),
        format!("{}X{}", "(".repeat(201), ")".repeat(201)),
    ] {
        assert!(fault(&text).1.contains("nested more than"), "{}", fault(&text).1);
    }
    let text = format!("{}X{}", "(".repeat(190), ")".repeat(190));
    assert_eq!(value(&text, Literals::Double), Ok((2.5, Kind::Double)));
    let long = format!("X{}", "+1".repeat(50_000));
    assert_eq!(value(&long, Literals::Double), Ok((50_002.5, Kind::Double)));
}

proptest! {
    #[test]
    fn never_panics(text in "[XYNT0-9.+*/()<>=,EDGOR-]{0,30}") {
        let mut graph = Graph::default();
        let _ = parse(&text, &mut graph, &mut Names, Literals::Double);
        let _ = parse(&text, &mut graph, &mut Names, Literals::Cutest);
    }
    #[test]
    fn never_panics_on_any_text(text in "\\PC{0,20}") {
        let _ = parse(&text, &mut Graph::default(), &mut Names, Literals::Double);
    }
}
