//! Statements of the function part, on whole small files.

use crate::nlp::Nlp;
use crate::sif::{Literals, SifOptions, SifProblem};

const DATA: &str = "\
NAME          TEST
VARIABLES
    X1
    X2
GROUPS
 N  OBJ
BOUNDS
 FR TEST      'DEFAULT'
START POINT
 V  TEST      X1        2.0            X2        3.0
ELEMENT TYPE
 EV T         V                        W
 EP T         P
ELEMENT USES
 T  E         T
 V  E         V                        X1
 V  E         W                        X2
 P  E         P         5.0
GROUP USES
 E  OBJ       E
ENDATA
";

/// A card: code, field 2, field 3, expression.
fn card(code: &str, two: &str, three: &str, text: &str) -> String {
    format!(" {code:<2} {two:<10}{three:<10}{text}\n")
}

fn file(temporaries: &str, globals: &str, individuals: &str) -> String {
    format!(
        "{DATA}ELEMENTS      TEST\nTEMPORARIES\n{temporaries}GLOBALS\n{globals}INDIVIDUALS\n{individuals}ENDATA\n"
    )
}

fn read(text: &str) -> Result<SifProblem, String> {
    SifProblem::from_text("test", text.as_bytes(), &SifOptions::default()).map_err(|e| e.to_string())
}

fn simple(body: &[(&str, &str, &str, &str)]) -> String {
    let temporaries = " R  A\n I  K\n L  C\n M  EXP\n";
    let cards: String = body.iter().map(|b| card(b.0, b.1, b.2, b.3)).collect();
    file(temporaries, "", &format!(" T  T\n{cards}"))
}

fn value(body: &[(&str, &str, &str, &str)]) -> f64 {
    let mut problem = read(&simple(body)).unwrap();
    let x = problem.meta().x0.clone();
    problem.obj(&x).unwrap()
}

fn error(body: &[(&str, &str, &str, &str)]) -> String {
    read(&simple(body)).map(|_| ()).expect_err(&format!("{body:?}"))
}

#[test]
fn statements() {
    assert_eq!(value(&[("F", "", "", "V*W+P")]), 11.0);
    assert_eq!(value(&[("F", "", "", "v * w"), ("F+", "", "", "+ p")]), 11.0, "continuation, lower case");
    assert_eq!(
        value(&[("A", "A", "", "V 1"), ("F", "", "", "A")].map(|mut c| {
            if c.0 == "A" {
                c.3 = "V * 1 0.0"
            }
            c
        })),
        20.0,
        "blanks inside tokens"
    );
    assert_eq!(value(&[("A", "K", "", "2.9*V"), ("F", "", "", "K/2")]), 2.0, "integers truncate");
    let conditional = |test| {
        [
            ("A", "C", "", test),
            ("A", "A", "", "1.0"),
            ("I", "C", "A", "V"),
            ("E", "C", "A", "A+W"),
            ("F", "", "", "A"),
        ]
    };
    assert_eq!(value(&conditional("V.LT.W")), 2.0);
    assert_eq!(value(&conditional("V.GE.W")), 4.0);
    let masked =
        [("A", "C", "", "V<0"), ("I", "C", "A", "LOG(-V)"), ("E", "C", "A", "V"), ("F", "", "", "A")];
    assert_eq!(value(&masked), 2.0, "the branch not taken may be undefined");
}

#[test]
fn derivatives_and_late_assignments() {
    let body = [
        ("F", "", "", "V*V*W"),
        ("A", "A", "", "2.0D0*V"),
        ("G", "V", "", "A*W"),
        ("G", "W", "", "V*V"),
        ("H", "V", "V", "2.0*W"),
        ("H", "W", "V", "A"),
    ];
    let mut problem = read(&simple(&body)).unwrap();
    let (mut g, mut h) = ([0.0; 2], [0.0; 2]);
    problem.grad(&[2.0, 3.0], &mut g).unwrap();
    assert_eq!(g, [12.0, 4.0]);
    let pattern = problem.meta().hessian.clone().unwrap();
    assert_eq!((pattern.rows, pattern.cols), (vec![0, 1], vec![0, 0]));
    problem.hess_values(&[2.0, 3.0], 0.5, &[], &mut h).unwrap();
    assert_eq!(h, [3.0, 2.0]);
}

#[test]
fn globals_hold_for_all_types() {
    let globals =
        card("A", "A", "", "4.0*0.25") + &card("A", "C", "", "A.EQ.1.0") + &card("I", "C", "A", "A+1");
    let text = file(" R  A\n L  C\n", &globals, &format!(" T  T\n{}", card("F", "", "", "A*V")));
    assert_eq!(read(&text).unwrap().obj(&[3.0, 0.0]), Ok(6.0));
}

/// Statements start in line 31: 21 of data, ELEMENTS, TEMPORARIES and 4 names, GLOBALS, INDIVIDUALS, T.
#[test]
fn errors_name_line_and_column() {
    let f = ("F", "", "", "V");
    for (body, part) in [
        (vec![("F", "", "", "V + * W")], "test:31: column 29: found `*`"),
        (vec![("F", "", "", "V +"), ("F+", "", "", "  Q")], "test:32: column 27: `Q` is not declared"),
        (vec![("F", "", "", "V +"), ("F+", "", "", "  ")], "test:31: column 28: the expression ends"),
        (vec![("A", "B", "", "V"), f], "test:31: `B` is assigned to and not declared in TEMPORARIES"),
        (vec![("F", "", "", "A")], "`A` is used before it has a value"),
        (vec![("I", "C", "A", "V"), f], "`C` is used before it has a value"),
        (vec![("I", "K", "A", "V"), f], "`K` is not declared logical"),
        (vec![("A", "C", "", "V"), f], "found a double precision value, expected a logical one"),
        (vec![("F", "", "", "V > W")], "found a logical value, expected a double precision one"),
        (vec![("A", "A", "Z", "V"), f], "field 3 holds `Z`"),
        (vec![("F", "", "Z", "V")], "field 3 holds `Z`"),
        (vec![f, ("G", "V", "Z", "V")], "field 3 holds `Z`"),
        (vec![("F+", "", "", "V")], "continuation `F+` without a statement"),
        (vec![f, ("G+", "", "", "V")], "continuation `G+` of a statement with code `F`"),
        (vec![("G", "V", "", "1.0"), f], "comes before the F statement"),
        (vec![("H", "V", "V", "1.0"), f], "comes before the F statement"),
        (vec![("A", "A", "", "1.0")], "test:30: type `T` has no F statement"),
        (vec![f, f], "has two F statements"),
        (vec![f, ("G", "Z", "", "1.0")], "`Z` is no internal variable"),
        (vec![f, ("G", "V", "", "1.0"), ("G", "V", "", "1.0")], "by `V` is given twice"),
        (vec![f, ("H", "V", "W", "1.0"), ("H", "W", "V", "1.0")], "given twice"),
        (vec![f, ("H", "V", "", "1.0")], "`` is no internal variable"),
        (vec![("R", "V", "W", ""), f], "`V` is no internal variable"),
        (vec![("Q", "", "", "V")], "unknown code `Q`"),
        (vec![f, ("T", "T", "", "")], "type `T` is defined twice"),
        (vec![f, ("T", "U", "", "")], "type `U` is not declared"),
    ] {
        let found = error(&body);
        assert!(found.contains(part), "{body:?}: {found}, expected {part}");
    }
}

#[test]
fn errors_of_other_subsections() {
    let body = format!(" T  T\n{}", card("F", "", "", "V"));
    for (temporaries, globals, individuals, part) in [
        (" Q  A\n", "", body.as_str(), "unknown code `Q` in TEMPORARIES"),
        (" R  A\n I  A\n", "", &body, "declared with two types"),
        ("", " F                      1.0\n", &body, "unknown code `F` in GLOBALS"),
        ("", "", " F                      V\n", "expected a T card"),
        ("", "", "", "test:12: type `T` is declared and never defined"),
        (" F  USER\n", "", " T  T\n F                      USER(V)\n", "external Fortran function `USER`"),
    ] {
        let found = read(&file(temporaries, globals, individuals)).map(|_| ()).unwrap_err();
        assert!(found.contains(part), "{found}, expected {part}");
    }
    let found = read(DATA).map(|_| ()).unwrap_err();
    assert!(found.contains("never defined"), "{found}");
    let fortran = format!("{}      DOUBLE PRECISION FUNCTION USER(X)\n", file("", "", &body));
    let found = read(&fortran).map(|_| ()).unwrap_err();
    assert!(found.contains("external Fortran is not supported: USER"), "{found}");
}

/// f = (V - 2 W)^3 by an internal variable: exact derivatives in the elemental ones.
#[test]
fn range_transformation() {
    let data =
        DATA.replace(" EP T         P\n", " IV T         U\n").replace(" P  E         P         5.0\n", "");
    let body = |row: &str| {
        format!(
            "{data}ELEMENTS      TEST\nINDIVIDUALS\n T  T\n{row}{}{}{}ENDATA\n",
            card("F", "", "", "U**3"),
            card("G", "U", "", "3.0*U**2"),
            card("H", "U", "U", "6.0*U")
        )
    };
    let row = " R  U         V         1.0            W         -2.0\n";
    let mut problem = read(&body(row)).unwrap();
    let x = [3.0, 0.5];
    assert_eq!(problem.obj(&x), Ok(8.0));
    let (mut g, mut h) = ([0.0; 2], [0.0; 3]);
    problem.grad(&x, &mut g).unwrap();
    assert_eq!(g, [12.0, -24.0]);
    problem.hess_values(&x, 1.0, &[], &mut h).unwrap();
    let p = problem.meta().hessian.clone().unwrap();
    for (k, (i, j)) in p.rows.iter().zip(&p.cols).enumerate() {
        assert_eq!(h[k], [[12.0, -24.0], [-24.0, 48.0]][*i][*j]);
    }
    for (row, part) in [
        (" R  U         Z         1.0\n", "`Z` is no elemental variable"),
        (" R  Z         V         1.0\n", "`Z` is no internal variable"),
        (" R  U         V         1.x\n", "malformed number"),
    ] {
        let found = read(&body(row)).map(|_| ()).unwrap_err();
        assert!(found.contains(part), "{found}");
    }
    // CUTEst keeps five decimals of a coefficient, as a 32-bit literal.
    let text = body(" R  U         V         1.23456789\n");
    let options = SifOptions { literals: Literals::Cutest, ..SifOptions::default() };
    let mut problem = SifProblem::from_text("test", text.as_bytes(), &options).unwrap();
    let u = f64::from(1.23457f32);
    assert_eq!(problem.obj(&[1.0, 0.0]), Ok(u * u * u));
}

#[test]
fn the_external_function_of_hs67() {
    let mut data = DATA.replace(" EV T         V                        W\n EP T         P\n", "");
    data = data.replace(
        "ELEMENT TYPE\n",
        "ELEMENT TYPE\n EV T         A1                       A2\n EV T         A3\n",
    );
    data =
        data.replace("    X2\nGROUPS", "    X2\n    X3\nGROUPS").replace(" P  E         P         5.0\n", "");
    data = data.replace(
        " V  E         V                        X1\n V  E         W                        X2\n",
        "",
    );
    data = data.replace(
        " T  E         T\n",
        " T  E         T\n V  E         A1                       X1\n V  E         A2                       X2\n V  E         A3                       X3\n",
    );
    let mut body = card("A", "D", "", "HS67(A1,A2,A3,Y,G,H)") + &card("F", "", "", "Y(2)*Y(5)");
    for k in 1..=3 {
        body += &card("G", &format!("A{k}"), "", &format!("Y(2)*G(5,{k})+Y(5)*G(2,{k})"));
    }
    let mut packed = 0;
    for i in 1..=3 {
        for j in i..=3 {
            packed += 1;
            body += &card(
                "H",
                &format!("A{i}"),
                &format!("A{j}"),
                &format!("Y(2)*H(5,{packed})+Y(5)*H(2,{packed})"),
            );
            body += &card("H+", "", "", &format!("+G(2,{i})*G(5,{j})+G(2,{j})*G(5,{i})"));
        }
    }
    let head = "TEMPORARIES\n R  Y\n R  G\n R  H\n R  D\n F  HS67\n";
    let text = format!("{data}ELEMENTS      TEST\n{head}INDIVIDUALS\n T  T\n{body}ENDATA\n");
    let text = text + "      DOUBLE PRECISION FUNCTION HS67(X1,X2,X3,Y,G,H)\n      END\n";
    let mut problem = read(&text).unwrap();
    let x = [1745.0, 12000.0, 110.0];
    let y = crate::sif::hs67::evaluate(x, Literals::Double);
    assert_eq!(problem.obj(&x), Ok(y[1] * y[4]));
    let (mut h, mut hv) = (vec![0.0; 6], vec![0.0; 3]);
    problem.hess_values(&x, 1.0, &[], &mut h).unwrap();
    for j in 0..3 {
        let step = 1e-4 * x[j];
        let mut slope = |s: f64| {
            let mut z = x;
            z[j] += s * step;
            let mut g = [0.0; 3];
            problem.grad(&z, &mut g).unwrap();
            g
        };
        let (plus, minus) = (slope(1.0), slope(-1.0));
        let v: Vec<f64> = (0..3).map(|k| f64::from(k == j)).collect();
        problem.hess_prod(&x, 1.0, &[], &v, &mut hv).unwrap();
        for k in 0..3 {
            let difference = (plus[k] - minus[k]) / (2.0 * step);
            assert!((difference - hv[k]).abs() < 1e-5 * (hv[k].abs() + 1e-6), "{difference} {}", hv[k]);
        }
    }
    for (bad, part) in [
        ("Y(9)", "other indices"),
        ("Y(1,1)", "other indices"),
        ("G(1)", "other indices"),
        ("H(1,7)", "other indices"),
        ("Y(A1)", "not a literal number"),
        ("HS67(A1,A2)", "needs three numbers and three arrays"),
    ] {
        let found = read(&text.replace("Y(2)*Y(5)", bad)).map(|_| ()).unwrap_err();
        assert!(found.contains(part), "{bad}: {found}");
    }
    let found = read(&text.replace("HS67(A1,A2,A3,Y,G,H)", "1.0")).map(|_| ()).unwrap_err();
    assert!(found.contains("before HS67 has filled it"), "{found}");
}

/// Types with many variables: nothing quadratic in their number.
#[test]
fn many_elemental_variables() {
    let n = 20_000;
    let vars: String = (0..n).map(|k| format!(" EV T         V{k}\n")).collect();
    let uses: String =
        (0..n).map(|k| format!(" V  E         {:<10}               X1\n", format!("V{k}"))).collect();
    let data = DATA
        .replace(" EV T         V                        W\n EP T         P\n", &vars)
        .replace(" V  E         V                        X1\n", &uses)
        .replace(" V  E         W                        X2\n P  E         P         5.0\n", "");
    let body =
        card("F", "", "", "V0*V19999") + &card("G", "V0", "", "V19999") + &card("H", "V0", "V19999", "1.0");
    let mut problem = read(&format!("{data}ELEMENTS      TEST\nINDIVIDUALS\n T  T\n{body}ENDATA\n")).unwrap();
    assert_eq!(problem.obj(&[2.0, 3.0]), Ok(4.0));
    let mut h = [0.0];
    problem.hess_values(&[2.0, 3.0], 1.0, &[], &mut h).unwrap();
    assert_eq!(h, [2.0]);
}

#[test]
fn a_type_may_assign_to_its_own_variable() {
    // F = ((V + 1) W)^2 at (2, 3), its derivatives written with the new V.
    let body = [
        ("A", "V", "", "V + 1.0"),
        ("F", "", "", "(V*W)**2"),
        ("G", "V", "", "2.0*V*W*W"),
        ("G", "W", "", "2.0*V*V*W"),
        ("H", "V", "V", "2.0*W*W"),
        ("H", "V", "W", "4.0*V*W"),
        ("H", "W", "W", "2.0*V*V"),
    ];
    let mut problem = read(&simple(&body)).unwrap();
    assert_eq!(problem.obj(&[2.0, 3.0]).unwrap(), 81.0);
    let mut g = [0.0; 2];
    problem.grad(&[2.0, 3.0], &mut g).unwrap();
    assert_eq!(g, [54.0, 54.0]);
    // Twice: each assignment sees the value before it.
    assert_eq!(value(&[("A", "V", "", "V*W"), ("A", "V", "", "V-P"), ("F", "", "", "V")]), 1.0);
    // Under a condition, the other branch keeps the variable: V = 2 becomes 12, or stays.
    for (test, want) in [("W .GT. V", 12.0), ("W .LT. V", 2.0)] {
        for (code, other) in [("I", want), ("E", 14.0 - want)] {
            let body = [("A", "C", "", test), (code, "C", "V", "V + 10.0"), ("F", "", "", "V")];
            assert_eq!(value(&body), other, "{code} {test}");
        }
    }
    // A parameter is not a variable, and the variables of other types are unknown in GLOBALS.
    assert!(error(&[("A", "P", "", "V"), ("F", "", "", "V")]).contains("not declared in TEMPORARIES"));
    let global = file("", &card("A", "V", "", "1.0"), &format!(" T  T\n{}", card("F", "", "", "V")));
    assert!(read(&global).map(|_| ()).unwrap_err().contains("not declared in TEMPORARIES"));
}

#[test]
fn a_group_may_assign_to_its_own_variable() {
    let group = |before: &str| {
        format!(
            "NAME          S\nVARIABLES\n    X\nGROUPS\n N  OBJ       X         1.0\nCONSTANTS\n    S         OBJ       3.0\n\
             BOUNDS\n FR S         X\nSTART POINT\n    S         X         5.0\nGROUP TYPE\n GV SHIFT     T\n\
             GROUP USES\n T  OBJ       SHIFT\nENDATA\nGROUPS        S\nTEMPORARIES\n L  FAR\n M  ABS\nINDIVIDUALS\n T  SHIFT\n\
             {before}{}{}{}ENDATA\n",
            card("F", "", "", "T**2"),
            card("G", "", "", "2.0 * T"),
            card("H", "", "", "2.0"),
        )
    };
    // The argument is x - 3 = 2.
    let at_start = |text: &str| {
        let mut problem = read(text).unwrap();
        let mut g = [0.0];
        problem.grad(&[5.0], &mut g).unwrap();
        (problem.obj(&[5.0]).unwrap(), g[0])
    };
    assert_eq!(at_start(&group(&card("A", "T", "", "T + 1.0"))), (9.0, 6.0));
    let conditional = |limit: &str| {
        group(&(card("A", "FAR", "", &format!("T .GT. {limit}")) + &card("I", "FAR", "T", "T + 1.0")))
    };
    assert_eq!(at_start(&conditional("1.0")), (9.0, 6.0));
    assert_eq!(at_start(&conditional("4.0")), (4.0, 4.0));
}
