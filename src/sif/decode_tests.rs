//! The data part on small texts: what each card does, every error with its line, and mutated texts.

use proptest::prelude::*;

use super::{Decoded, FunctionCards, GroupKind, SifError, SifLimits, SifOptions, decode};

/// `code|field 2|field 3|...` in columns, `KEYWORD=name` as an indicator, other lines as they are.
fn sif(text: &str) -> String {
    let line = |line: &str| {
        if line.contains('|') {
            let mut f = line.split('|').chain(std::iter::repeat(""));
            let mut next = || f.next().unwrap_or_default();
            format!(
                " {:<2} {:<10}{:<10}{:<12}   {:<10}{:<12}",
                next(),
                next(),
                next(),
                next(),
                next(),
                next()
            )
        } else if let Some((keyword, name)) = line.split_once('=') {
            format!("{keyword:<14}{name}")
        } else {
            line.to_string()
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Sections of a small valid problem; `HEAD` stands for what follows NAME.
const SECTIONS: [(&str, &str); 13] = [
    ("HEAD", "IE|1||1\nIE|N||3||\nRE|R||2.5"),
    ("VARIABLES", "DO|I|1||N\nX|X(I)\nND|"),
    ("GROUPS", "N|OBJ|X1|1.0|X2|2.0\nE|C1|X1|1.0|X1|2.0\nL|C2|'SCALE'|4.0\nL|C2|X2|1.0\nXG|C(N)|X(N)|1.0"),
    ("CONSTANTS", "|P|C1|4.0|C2|5.0"),
    ("RANGES", "|P|C2|6.0|C3|7.0"),
    ("BOUNDS", "FR|P|'DEFAULT'\nLO|P|X2|-1.0\nUP|P|X2|9.0"),
    ("START POINT", "V|P|'DEFAULT'|0.5\nV|P|X1|1.5\nM|P|C1|3.0\nV|Q|X1|7.0"),
    ("QUADRATIC", "|X1|X1|2.0|X2|3.0"),
    ("ELEMENT TYPE", "EV|SQ|V\nEV|PR|A||B\nIV|PR|U\nEP|PR|S"),
    ("ELEMENT USES", "T|'DEFAULT'|SQ\nV|E1|V||X1\nT|E2|PR\nV|E2|A||X2\nV|E2|B||X3\nP|E2|S|1.25"),
    ("GROUP TYPE", "GV|L2|G\nGP|L2|W"),
    ("GROUP USES", "T|OBJ|L2\nP|OBJ|W|3.0\nE|OBJ|E1|2.0|E2|\nE|C1|E1"),
    ("OBJECT BOUND", "LO|P||-3.0"),
];

/// The small problem with one section replaced; also the line of that section's first card.
fn with(section: &str, body: &str) -> (String, usize) {
    let mut text = "NAME=P\n".to_string();
    let mut first = 0;
    assert!(SECTIONS.iter().any(|(name, _)| *name == section), "{section}");
    for (name, cards) in SECTIONS {
        if name != "HEAD" {
            text += &format!("{name}\n");
        }
        if name == section {
            first = text.lines().count() + 1;
        }
        text += if name == section { body } else { cards };
        text += "\n";
    }
    text += "ENDATA\nELEMENTS=P\nINDIVIDUALS\nENDATA\n";
    (sif(&text), first)
}

fn read(text: &str) -> Result<(Decoded, FunctionCards), SifError> {
    decode("p.SIF", text.as_bytes(), &SifOptions::default())
}

/// Decodes the small problem with one section replaced.
fn replaced(section: &str, body: &str) -> Decoded {
    read(&with(section, body).0).unwrap_or_else(|e| panic!("{section}: {e}")).0
}

/// The error of the small problem with one section replaced, at card `card` of that section.
fn refused(section: &str, body: &str, card: usize, what: &str) {
    let (text, first) = with(section, body);
    let error = read(&text).expect_err(what);
    assert!(error.what.contains(what), "{error}\nexpected: {what}");
    assert_eq!(error.line, first + card - 1, "{error}");
}

/// A remark about the small problem with one section replaced.
fn remarked(section: &str, body: &str, what: &str) {
    let decoded = replaced(section, body);
    assert!(decoded.warnings.iter().any(|w| w.what.contains(what)), "{:?}", decoded.warnings);
}

#[test]
fn the_small_problem() {
    let d = replaced("HEAD", SECTIONS[0].1);
    assert_eq!(d.name, "P");
    assert_eq!(d.variables.iter().collect::<Vec<_>>(), ["X1", "X2", "X3"]);
    assert_eq!(d.groups.iter().collect::<Vec<_>>(), ["OBJ", "C1", "C2", "C3"]);
    use GroupKind::{Equality, Greater, Less, Objective};
    assert_eq!(d.kind, [Objective, Equality, Less, Greater]);
    assert_eq!(d.linear.get(0), [(0, 1.0), (1, 2.0)]);
    assert_eq!(d.linear.get(1), [(0, 3.0)]); // duplicates add
    assert_eq!((d.scale[1], d.scale[2]), (1.0, 4.0));
    assert_eq!(d.constant, [0.0, 4.0, 5.0, 0.0]);
    assert_eq!(d.range, [1e20, 1e20, 6.0, 7.0]);
    assert_eq!(d.x_lower, [-1e20, -1.0, -1e20]);
    assert_eq!(d.x_upper, [1e20, 9.0, 1e20]);
    assert_eq!(d.x0, [1.5, 0.5, 0.5]);
    assert_eq!(d.y0, [0.0, 3.0, 0.0, 0.0]);
    assert_eq!(d.quadratic, [(0, 0, 2.0), (0, 1, 3.0)]);
    assert_eq!(d.element_type, [0, 1]);
    assert_eq!((d.element_vars.get(0), d.element_vars.get(1)), ([0].as_slice(), [1, 2].as_slice()));
    assert_eq!(d.element_params.get(1), [1.25]);
    assert_eq!(d.group_type, [Some(0), None, None, None]);
    assert_eq!(d.group_params.get(0), [3.0]);
    assert_eq!(d.uses.get(0), [(0, 2.0), (1, 1.0)]); // a blank weight is 1
    assert_eq!(d.uses.get(1), [(0, 1.0)]);
    assert_eq!(d.objective_bounds, (-3.0, 1e20));
    assert_eq!(d.element_types[1].internal, ["U"]);
    assert_eq!(d.group_types[0].argument, "G");
}

#[test]
fn loops_run_as_the_decoder_runs_them() {
    let d = replaced(
        "VARIABLES",
        "IE|3||3\nIE|2||2\nIE|-1||-1\nDO|I|3||1\nDI|I|-1\nX|D(I)\nOD|OTHER\nDO|I|3||2\nX|NEVER\nND|\n\
         IA|I|I|0\nX|LAST(I)\nDO|I|1||2\nIA|I1|I|1\nDO|J|I1||3\nX|W(I,J)\nND|\n|X1\n|X2\n|X3",
    );
    let names: Vec<&str> = d.variables.iter().collect();
    assert_eq!(names, ["D3", "D2", "D1", "LAST1", "W1,2", "W1,3", "W2,3", "X1", "X2", "X3"]);
    assert!(d.warnings.iter().any(|w| w.what == "OD names `OTHER`, but it closes the loop over `I`"));
}

#[test]
fn parameters() {
    let d = replaced(
        "HEAD",
        "IE|1||1\nIE|N||3\nIE|7||7\nIS|A|7|9\nIM|A|A|5\nID|B|7|100\nI-|C|B||A\nI/|C|C||A\nIR|D|NEG\n"
            .replace("IR|D|NEG\n", "")
            .as_str(),
    );
    assert_eq!(d.variables.len(), 3);
    // A = 9 - 7 = 2, then 10; B = 100 / 7 = 14; C = (14 - 10) / 10 = 0.
    let body = "IE|7||7\nIS|A|7|9\nIM|A|A|5\nID|B|7|100\nI-|C|B||A\nI/|C|C||A\nRE|NEG||-2.7\nIR|D|NEG\n\
                X|A(A)\nX|B(B)\nX|C(C)\nX|D(D)\n|X1\n|X2\n|X3";
    let names: Vec<String> = replaced("VARIABLES", body).variables.iter().map(str::to_string).collect();
    assert_eq!(names[..4], ["A10", "B14", "C0", "D-2"]);
    // An array name drops what follows `)`; scalars see expanded names; RI rounds to single precision.
    let body = "AE|T(1)SQ||3.0\nR=|S|T1\nZ|P|C1||S\nIE|BIG||16777217\nRI|BIG|BIG\nZ|P|C2||BIG\n\
                R(|E|ABS||S\nRF|F|HYPCOS|0.0\nR+|E|E||F\nRS|E|E|10.0\nRD|E|E|12\nZ|P|C3||E";
    let d = replaced("CONSTANTS", body);
    assert_eq!(d.constant, [0.0, 3.0, 16777216.0, 2.0]);
    assert!(d.warnings.iter().any(|w| w.what.contains("text after `)`")));
}

#[test]
fn bounds_change_in_order() {
    let bounds = |body: &str| {
        let d = replaced("BOUNDS", body);
        (d.x_lower[0], d.x_upper[0])
    };
    assert_eq!(bounds("MI|P|X1"), (-1e20, 0.0));
    assert_eq!(bounds("UP|P|X1|0.0"), (-1e20, 0.0));
    assert_eq!(bounds("UP|P|X1|-2.0"), (0.0, -2.0));
    assert_eq!(bounds("LO|P|X1|1.0\nMI|P|X1"), (-1e20, 1e20));
    assert_eq!(bounds("XX|P|X(N)|1.0\nZX|P|X(1)||R\nPL|P|X1"), (2.5, 1e20));
    assert_eq!(bounds("LO|P|'DEFAULT'|1.0\nUP|P|'DEFAULT'|3.0"), (1.0, 3.0));
    assert_eq!(bounds("UP|P|'DEFAULT'|3.0\nPL|P|'DEFAULT'"), (0.0, 3.0));
    assert_eq!(bounds("UP|P|'DEFAULT'|3.0\nMI|P|'DEFAULT'"), (-1e20, 0.0));
    assert_eq!(bounds("LO|P|X1|1.0\nLO|Q|X1|2.0\nLO|P|X1|3.0"), (1.0, 1e20)); // the first set only
}

#[test]
fn created_variables_have_the_default_bounds_and_start_at_zero() {
    let d = replaced("ELEMENT USES", "T|'DEFAULT'|SQ\nV|E1|V||NEW\nV|E2|V||X1");
    assert_eq!(d.variables.get(3), "NEW");
    assert_eq!((d.x_lower[3], d.x_upper[3], d.x0[3]), (-1e20, 1e20, 0.0));
    assert!(d.warnings.iter().any(|w| w.what == "variable `NEW` is not declared, it is created here"));
}

#[test]
fn start_points_are_chosen_by_number() {
    let text = with("HEAD", SECTIONS[0].1).0;
    let start = |k| decode("p", text.as_bytes(), &SifOptions { start: Some(k), ..SifOptions::default() });
    assert_eq!(start(1).unwrap().0.x0, [1.5, 0.5, 0.5]);
    assert_eq!(start(2).unwrap().0.x0, [7.0, 0.0, 0.0]);
    assert_eq!(start(3).unwrap_err().what, "start point 3 asked for, the file has 2");
    assert!(start(0).is_err());
    assert_eq!(replaced("START POINT", "|P|X1|1.0|C1|2.0\nX|P|X(N)|3.0").x0, [1.0, 0.0, 3.0]);
    let d =
        replaced("START POINT", " V  P         'DEFAULT' 1.0\n  V P         'DEFAULT' 2.0\n|P|'DEFAULT'|4.0");
    assert_eq!((d.x0[0], d.y0[0]), (4.0, 4.0));
}

#[test]
fn further_start_points_are_kept_for_who_has_not_chosen_one() {
    let text = with("HEAD", SECTIONS[0].1).0;
    let others = |text: &str, start| {
        decode("p", text.as_bytes(), &SifOptions { start, ..SifOptions::default() }).unwrap().0.other_starts
    };
    assert_eq!(others(&text, None), [[7.0, 0.0, 0.0]]);
    assert!(others(&text, Some(1)).is_empty() && others(&text, Some(2)).is_empty());
    // With its own default; what is called a solution, or has multipliers only, is no start.
    let many = "V|P|X1|1.5\nV|Q|'DEFAULT'|2.0\nV|Q|X2|7.0\nV|XSOL|X1|9.0\nM|R|C1|1.0\nX|S|X(N)|3.0";
    let text = with("START POINT", many).0;
    assert_eq!(others(&text, None), [[2.0, 7.0, 2.0], [0.0, 0.0, 3.0]]);
}

#[test]
fn groups_before_variables_and_sums_of_groups() {
    let text = sif(
        "NAME=P\nROWS\nN|A\n N |B\nE|C\nDE|D|A|2.0|C|-1.0\nCOLUMNS\n|X|A|1.0|C|2.0\n|X|B|5.0\n|Y|A|3.0\nENDATA",
    );
    let text = text.replace("  N  B", "  N B ");
    let d = read(&text).unwrap().0;
    assert_eq!(d.linear.get(0), [(0, 1.0), (1, 3.0)]);
    assert_eq!(d.linear.get(3), [(1, 6.0)]); // 2 (x + 3 y) - 2 x
    assert_eq!(d.kind[1], GroupKind::Objective);
}

#[test]
fn comments_and_odd_spelling() {
    let d = replaced(
        "CONSTANTS",
        "* IE 1 x classification QQR2-AN-3-4-x\nXE|P|C(1)|1.5+01\nZN|P|C(N)||R\n|P|C2|- 2. 5|$ more|x\n|P|$ no||x",
    );
    assert_eq!(d.class.as_deref(), Some("QQR2-AN-3-4"));
    assert_eq!(d.constant, [0.0, 15.0, -2.5, 2.5]);
    // Digits past column 36 are lost.
    let (text, first) = with("HEAD", "IE|1||1\nIE|N||3\nRE|R||0.12345678901");
    let lenient = SifOptions { lenient: true, ..SifOptions::default() };
    let d = decode("p", text.as_bytes(), &lenient).unwrap().0;
    assert!(d.warnings.iter().any(|w| w.line == first + 2 && w.what.contains("past column 36")));
}

#[test]
fn dollar_parameters_are_replaced() {
    let (text, _) = with(
        "HEAD",
        "IE|1||1\n*IE N                   5              $-PARAMETER\n IE N                   3              $-PARAMETER\n RE R                   2.5            $-PARAMETER",
    );
    let options = |p: &[(&str, &str)]| SifOptions {
        params: p.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        ..SifOptions::default()
    };
    let set = |p: &[(&str, &str)]| decode("p", text.as_bytes(), &options(p)).map(|(d, _)| d);
    // With N = 5 the group C5 takes the place of C3, which RANGES names.
    assert!(set(&[("N", "5")]).unwrap_err().what.contains("unknown group `C3`"));
    let d = set(&[("N", "3"), ("R", "1.0D1")]).unwrap();
    assert!(d.warnings.iter().any(|w| w.what == "R = 1.0D1 is not among the values the file lists: 2.5"));
    assert_eq!(set(&[("M", "3")]).unwrap_err().what, "unknown parameter M, expected one of N, R");
    assert!(set(&[("N", "3.5")]).unwrap_err().what.contains("malformed integer"));
    assert!(set(&[("N", "")]).is_err());
    let plain = with("HEAD", SECTIONS[0].1).0;
    let error = decode("p", plain.as_bytes(), &options(&[("N", "3")])).unwrap_err();
    assert_eq!(error.what, "unknown parameter N, the file has no $-PARAMETER lines");
}

#[test]
fn structure_errors() {
    let fails = |text: &str, line: usize, what: &str| {
        let error = read(&sif(text)).expect_err(what);
        assert!(error.what.contains(what), "{error}\nexpected {what}");
        assert_eq!(error.line, line, "{error}");
    };
    fails("", 0, "no cards");
    fails("* only\n\n", 0, "no cards");
    fails("ROWS\nENDATA", 1, "expected NAME first");
    fails("NAME T\nENDATA", 1, "expected NAME first (its name from column 15 on)");
    fails("N|OBJ\nENDATA", 1, "expected NAME first");
    fails("NAME=P\nFOO\nENDATA", 2, "unknown indicator `FOO`");
    fails("NAME=P\nFREE FORMAT\nENDATA", 2, "FREE FORMAT is not supported");
    fails("NAME=P\nBOUNDS\nGROUPS\nENDATA", 3, "after a section that must follow");
    fails("NAME=P\nVARIABLES\nGROUPS\nVARIABLES\nENDATA", 4, "interleaved");
    fails("NAME=P\nVARIABLES\n|X", 3, "ends before ENDATA");
    fails("NAME=P\nVARIABLES\nDO|I|1||N", 3, "inside the loop over `I` (line 3)");
    fails("NAME=P\nENDATA\nELEMENTS=Q\nENDATA", 3, "name of this part is `Q`, expected `P`");
    fails("NAME=P\nENDATA\nGROUPS= P\nENDATA", 3, "name of this part");
    fails(
        "NAME=P\nENDATA\nELEMENTS=P\nINDIVIDUALS",
        4,
        "before the ENDATA of the part that begins at line 3",
    );
    fails("NAME=P\nENDATA\nELEMENTS=P\nROWS\nENDATA", 4, "unknown indicator `ROWS`");
    fails("NAME=P\nENDATA\nELEMENTS=P\nENDATA\nELEMENTS=P\nENDATA", 5, "expected ELEMENTS or GROUPS");
    fails("NAME=P\n%  (a remark)\nENDATA", 2, "unknown indicator `%");
}

#[test]
fn function_part_is_handed_over() {
    let text = sif(
        "NAME=P\nENDATA\nELEMENTS=P\nEV|LOST\nTEMPORARIES\n* no\n\nR|A\nENDATA\nGROUPS=P\nINDIVIDUALS\nT|G\nENDATA\n",
    );
    let cards = read(&text).unwrap().1;
    assert_eq!(cards.elements.iter().map(|c| c.line).collect::<Vec<_>>(), [5, 8]);
    assert_eq!(cards.groups.iter().map(|c| c.line).collect::<Vec<_>>(), [11, 12]);
    assert!(cards.has_elements && cards.has_groups && cards.trailing_line == 0);
    let fortran = format!(
        "{text}\nC  F OF X\n      DOUBLE PRECISION FUNCTION FUN(X)\n      END\n      SUBROUTINE SUB( X )\n      END"
    );
    let cards = read(&fortran).unwrap().1;
    assert_eq!(cards.trailing_functions, ["FUN", "SUB"]);
    assert_eq!(cards.trailing_line, 14);
}

#[test]
fn repairs_only_if_lenient() {
    let lenient = SifOptions { lenient: true, ..SifOptions::default() };
    let text =
        sif("NAME=P\n% remark\nENDATA\nGROUPS= P\nINDIVIDUALS\n A EPSLON               0.1D0\nENDATA\n")
            .replace("GROUPS         P", "GROUPS       P");
    assert!(read(&text).is_err());
    let (d, cards) = decode("p", text.as_bytes(), &lenient).unwrap();
    assert_eq!(d.warnings.iter().map(|w| w.line).collect::<Vec<_>>(), [2, 4, 6]);
    assert_eq!(cards.groups[1].field2(), b"EPSLON");
    assert!(cards.groups[1].field7().starts_with(b"0.1D0 "));
}

#[test]
fn loop_errors() {
    let deep = "DO|I|1||N\nDO|J|1||N\nDO|K|1||N\nDO|L|1||N\nND|";
    refused("VARIABLES", deep, 4, "at most 3 nested loops");
    let (text, first) = with("VARIABLES", "DO|I|1||N\nX|X(I)");
    let error = read(&text).unwrap_err();
    assert_eq!((error.line, error.what.contains("`GROUPS` inside the loop over `I`")), (first + 2, true));
    refused("VARIABLES", "OD|I", 1, "OD or ND without a DO");
    refused("VARIABLES", "ND|", 1, "OD or ND without a DO");
    refused("VARIABLES", "DO|I|1||N\nDI|J|1\nND|", 2, "DI of `J`");
    refused("VARIABLES", "DI|J|1", 1, "DI of `J`");
    refused("VARIABLES", "IE|0||0\nDO|I|1||N\nDI|I|0\nX|X(I)\nND|", 2, "the loop over `I` has increment 0");
    refused("VARIABLES", "DO|I|1||N\n|X\nND|", 2, "code `  ` in a loop");
    refused("ELEMENT TYPE", "DO|I|1||N\nEV|A|B\nND|", 2, "in a loop");
    let body = "DO|I|1||N\nDO|J|1||I\nX|X(I)\nX|Y(Q)\nND|";
    refused("VARIABLES", body, 4, "undefined integer parameter `Q` (in the loop with I = 1, J = 1)");
}

#[test]
fn parameter_errors() {
    for (body, what) in [
        ("IA|A|B|1", "undefined integer parameter `B`"),
        ("RA|A|B|1.0", "undefined real parameter `B`"),
        ("RI|A|B", "undefined integer parameter `B`"),
        ("DO|I|1||M\nND|", "undefined integer parameter"),
        ("RF|A|SINE|1.0", "unknown function `SINE`"),
        ("RF|A|SQRT|-1.0", "outside the domain of SQRT"),
        ("RF|A|LOG|0.0", "outside the domain of LOG"),
        ("RF|A|ARCSIN|1.5", "outside the domain of ARCSIN"),
        ("RF|A|EXP|1000.0", "too large"),
        ("IE|A||3.5", "malformed integer `3.5         `"),
        ("RE|A||3.5.", "malformed number `3.5.        `"),
        ("IE|A||3000000000", "more than 32 bits"),
        ("AE|A(1||3.5", "without `)`"),
        ("AE|A(1,1,1,1)||3.5", "more than 3 indices"),
    ] {
        refused("HEAD", body_with_index(body).as_str(), 2, what);
    }
    for (body, what) in [
        ("IE|A||0\nID|A|A|1", "division by zero"),
        ("RE|A||0\nR/|A|A||A", "division by zero"),
        ("IE|A||2000000000\nI+|A|A||A", "integer parameter `A` needs more than 32 bits"),
        ("RE|A||1.0D200\nR*|A|A||A", "real parameter `A` is too large"),
        ("IE|A||2000000000\nAE|ST(A)||3.5", "array name expands to `ST2000000000`"),
    ] {
        refused("HEAD", body, 2, what);
    }
}

/// Puts a definition of the index 1 first.
fn body_with_index(body: &str) -> String {
    format!("IE|1||1\n{body}")
}

#[test]
fn linear_errors() {
    for (section, body, what) in [
        ("VARIABLES", "QQ|X", "unknown code `QQ`, expected blank, X or Z"),
        ("GROUPS", "X|A", "unknown code `X `"),
        ("BOUNDS", "ZR|P|X1", "unknown code"),
        ("GROUPS", "N|OBJ|Y|1.0", "unknown variable `Y`"),
        ("GROUPS", "N|OBJ|'SCALE'|0.0", "scale 0 of group `OBJ`"),
        ("GROUPS", "DN|OBJ|A|1.0", "unknown group `A`"),
        ("GROUPS", "N|OBJ|X1|1.0x", "malformed number"),
        ("CONSTANTS", "|P|C9|1.0", "unknown group `C9`"),
        ("CONSTANTS", "|P|'SCALE'|1.0", "scale or integer marker"),
        ("RANGES", "|P|'MARKER'|1.0", "scale or integer marker"),
        ("BOUNDS", "LO|P|Y|1.0", "unknown variable `Y`"),
        ("BOUNDS", "LO|P||1.0", "no variable in field 3"),
        ("BOUNDS", "ZL|P|X1||Y", "undefined real parameter `Y`"),
        ("START POINT", "|P|Y|1.0", "neither a variable nor a group"),
        ("START POINT", "V|P|C1|1.0", "unknown variable `C1`"),
        ("START POINT", "M|P|X1|1.0", "unknown group `X1`"),
        ("START POINT", "Q|P|X1|1.0", "unknown code"),
        ("QUADRATIC", "|X1|Y|1.0", "unknown variable `Y`"),
        ("OBJECT BOUND", "FR|P||1.0", "unknown code"),
    ] {
        refused(section, body, 1, what);
    }
    refused("CONSTANTS", "|P|C1|1.0\n|P|'DEFAULT'|1.0", 2, "'DEFAULT' after individual constants");
    refused("BOUNDS", "LO|P|X1|1.0\nLO|P|'DEFAULT'|1.0", 2, "'DEFAULT' after individual bounds");
    refused("GROUPS", "E|C1|X1|1.0\nDN|OBJ|C1|1.0\nN|OBJ|X1|1.0\nE|C2\nE|C3", 2, "linear data of its own");
}

#[test]
fn nonlinear_errors() {
    let uses = SECTIONS[9].1;
    for (section, body, card, what) in [
        ("ELEMENT TYPE", "EV|A|V\nEV|B|V\nEV|A|W", 3, "element type `A` is declared twice"),
        ("ELEMENT TYPE", "EV|A|V||V", 1, "`V` is declared twice in element type `A`"),
        ("ELEMENT TYPE", "EV|A|V\nEP|A|V", 2, "`V` is declared twice"),
        ("ELEMENT TYPE", "GV|A|V", 1, "unknown code `GV`, expected EV, IV or EP"),
        ("ELEMENT USES", "V|E|V||X1", 1, "element `E` has no type"),
        ("ELEMENT USES", "T|E|NO", 1, "unknown element type `NO`"),
        ("ELEMENT USES", "T|E|", 1, "no element type in field 3"),
        ("ELEMENT USES", "T|E|SQ\nT|E|SQ", 2, "element `E` is given a type twice"),
        ("ELEMENT USES", "T|E|SQ\nV|E|W||X1", 2, "unknown elemental variable `W` of element `E`"),
        ("ELEMENT USES", "T|E|SQ\nP|E|W|1.0", 2, "unknown parameter `W` of element `E`"),
        ("ELEMENT USES", "T|E|SQ\nV|E|V||X1\nV|E|V||X1", 3, "second assignment of elemental variable `V`"),
        ("ELEMENT USES", "T|E|PR\nP|E|S|1.0|S|1.0", 2, "second assignment of parameter `S`"),
        ("ELEMENT USES", "T|'DEFAULT'|SQ\nT|'DEFAULT'|SQ", 2, "second default element type"),
        ("ELEMENT USES", "T|E|SQ\nT|'DEFAULT'|SQ", 2, "default element type after the first element"),
        ("ELEMENT USES", "V|||X1", 1, "expected an elemental variable in field 3"),
        ("GROUP TYPE", "GV|A|V\nGV|A|W", 2, "group type `A` has two arguments"),
        ("GROUP TYPE", "GV|A|V\nGV|B|V\nGP|A|W", 3, "group type `A` is declared twice"),
        ("GROUP TYPE", "GV|A|V\nGP|A|W||W", 2, "`W` is declared twice in group type `A`"),
        ("GROUP USES", "T|OBJ|NO", 1, "unknown group type `NO`"),
        ("GROUP USES", "T|NO|L2", 1, "unknown group `NO`"),
        ("GROUP USES", "E|OBJ|NO", 1, "unknown element `NO`"),
        ("GROUP USES", "P|OBJ|W|1.0", 1, "group `OBJ` has no type"),
        ("GROUP USES", "T|OBJ|L2\nP|OBJ|Z|1.0", 2, "unknown parameter `Z` of group `OBJ`"),
        ("GROUP USES", "T|OBJ|L2\nT|OBJ|L2", 2, "group `OBJ` with parameters is given a type twice"),
        ("GROUP USES", "T|OBJ|L2\nP|OBJ|W|1.0|W|2.0", 2, "parameter `W` of group `OBJ` is set twice"),
        ("GROUP USES", "T|'DEFAULT'|L2\n|'DEFAULT'|L2", 2, "second default group type"),
        ("ELEMENT USES", "T|E1|SQ\nT|E2|SQ", 1, "elemental variable `V` of element `E1` is never set"),
        ("ELEMENT USES", &uses.replace("P|E2|S|1.25", ""), 3, "parameter `S` of element `E2` is never set"),
        ("ELEMENT TYPE", "EV|SQ|V\nEV|PR|A||B\nIV|PR|U||W\nEP|PR|S", 2, "expected fewer internal ones"),
    ] {
        refused(section, body, card, what);
    }
    let error = read(&with("GROUP USES", "T|OBJ|L2").0).unwrap_err();
    assert_eq!(error.what, "parameter `W` of group `OBJ` is never set");
    let error = read(&with("GROUP TYPE", "GP|L2|W").0).unwrap_err();
    assert!(error.what.contains("group type `L2` without a GV card"));
}

#[test]
fn remarks() {
    remarked("RANGES", "|P|C1|1.0", "the range of group `C1` has no effect");
    remarked("RANGES", "|P|C2|-1.0", "is negative");
    remarked("BOUNDS", "LO|P|X1|1.0\nUP|P|X1|-1.0", "lower bound 1 above upper bound -1");
    remarked("GROUP USES", "E|OBJ|E1", "element `E2` is used by no group");
    remarked("START POINT", "V|A|X1|1.0\nV|B|X1|2.0", "a second set of start values");
    remarked("VARIABLES", "|X1|'INTEGER'\n|X2\n|X3", "integer variable `X1`");
    let many = "V|E|V||X1\nT|'DEFAULT'|SQ"; // order matters: the default comes first below
    let uses: String = many.lines().rev().collect::<Vec<_>>().join("\n");
    let uses = (1..9).fold(uses, |text, k| format!("{text}\nV|E{k}|V||NEW{k}"));
    let d = replaced("ELEMENT USES", &uses);
    let kept = d.warnings.iter().filter(|w| w.what.contains("created here")).count();
    assert_eq!(kept, 3);
    assert!(
        d.warnings.iter().any(|w| w.what == "5 more remarks of this kind: variable created in ELEMENT USES")
    );
    let text = with("HEAD", SECTIONS[0].1).0.replace("NAME          P", "NAME          PPPPPPPPPPQ");
    let text = text.replace("ELEMENTS      P", "ELEMENTS      PPPPPPPPPP");
    let d = read(&text).unwrap().0;
    assert!(d.warnings[0].what.contains("cut to `PPPPPPPPPP`"));
}

#[test]
fn greedy_files_are_refused() {
    let limits = SifLimits { cards: 10_000, objects: 10_000, ..SifLimits::default() };
    let options = SifOptions { limits, ..SifOptions::default() };
    let fails = |body: &str, what: &str| {
        let (text, _) = with("VARIABLES", body);
        let error = decode("p", text.as_bytes(), &options).unwrap_err();
        assert!(error.what.contains(what), "{error}");
    };
    fails("IE|M||2000000000\nDO|I|1||M\nRE|A||1.0\nND|", "runs too many cards");
    fails("IE|M||2000000000\nDO|I|1||M\nX|X(I)\nND|", "too many objects");
    // A loop that sets its own index back.
    fails("DO|I|1||N\nIE|I||1\nND|", "runs too many cards");
}

/// Decoding ends soon and never panics.
fn survives(text: &[u8]) {
    let limits = SifLimits { cards: 20_000, objects: 20_000, ..SifLimits::default() };
    for lenient in [false, true] {
        let options = SifOptions { lenient, limits, ..SifOptions::default() };
        if let Err(e) = decode("p", text, &options) {
            assert!(!e.what.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut text = with("HEAD", SECTIONS[0].1).0.into_bytes();
        for (at, byte) in changes {
            let at = at.index(text.len());
            text[at] = byte;
        }
        survives(&text);
    }

    #[test]
    fn changed_lines_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4u8), 1..6),
    ) {
        let text = with("HEAD", SECTIONS[0].1).0;
        let mut lines: Vec<&str> = text.lines().collect();
        for (a, b, what) in changes {
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            match what {
                0 => lines.swap(a, b),
                1 => lines.insert(a, lines[b]),
                2 if lines.len() > 1 => { lines.remove(a); }
                _ => lines[a] = &lines[a][..b.min(lines[a].len())],
            }
        }
        survives(lines.join("\n").as_bytes());
    }

    #[test]
    fn odd_cards_never_panic(
        section in 0..13usize,
        cards in prop::collection::vec("(..|[XZVTPE] |[IRA][EAS=+*/(RI]|DO|OD|ND|DI|XN|ZG|DN)[ -~]{0,20}[(),XIN1-9]{0,9}[ -~]{0,40}", 1..5),
    ) {
        let mut text = "NAME          P\n".to_string();
        for (k, (name, body)) in SECTIONS.iter().enumerate() {
            if k > 0 {
                text += &format!("{name}\n");
            }
            text += &sif(body);
            text += "\n";
            if k == section {
                for card in &cards {
                    text += &format!(" {card}\n");
                }
            }
        }
        survives(text.as_bytes());
    }
}
