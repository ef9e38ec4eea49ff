//! Damaged files: one sentence with a place, never a panic, no memory on the word of a header alone.

use costate::nl::{NlFormat, NlOptions, NlProblem, write};

use crate::model::{HS71, Text};
use crate::{read, refusal};

fn outcome(bytes: &[u8]) -> Result<(), String> {
    NlProblem::from_bytes("m.nl", bytes, &NlOptions::default()).map(|_| ()).map_err(|e| e.to_string())
}

/// A model with every kind of segment.
const FULL: &str = "F0 1 -3 density\nS0 1 scaling\n0 2\nS5 1 weights\n1 0.5\nV3 1 0\n1 2\no2\nv0\nv1\nC0\no41\nv3\nC1\nn0\nO0 1\no5\nv0\nn2\n\
    d1\n0 0.5\nx2\n0 1\n1 0.5\nr\n0 1 4\n4 2\nb\n2 0\n1 5\n3\nk2\n2\n3\nJ0 2\n0 0\n1 1\nJ1 2\n0 1\n2 1\nG0 1\n0 0\n";

pub fn full() -> String {
    Text { n: 3, rows: 2, functions: 1, defined: 1, ..Text::default() }.with(FULL)
}

#[test]
fn truncation_at_any_byte_is_a_sentence() {
    let binary = write(&read(&full()), NlFormat::Binary).unwrap().model;
    for bytes in [full().into_bytes(), HS71.as_bytes().to_vec(), binary] {
        assert!(outcome(&bytes).is_ok());
        let mut refused = 0;
        for end in 0..bytes.len() {
            if let Err(what) = outcome(&bytes[..end]) {
                assert!(
                    what.starts_with("m.nl: line ")
                        || what.starts_with("m.nl: byte ")
                        || what.contains("problem"),
                    "{what}"
                );
                assert!(what.len() < 300 && !what.contains('\n'), "{what}");
                refused += 1;
            }
        }
        // The end of the last segments may be missing without a trace.
        assert!(refused > bytes.len() / 2, "{refused} of {}", bytes.len());
    }
}

#[test]
fn a_byte_that_differs_is_no_panic() {
    let binary = write(&read(&full()), NlFormat::Binary).unwrap().model;
    for bytes in [full().into_bytes(), binary] {
        for at in 0..bytes.len() {
            for other in [0, b'9', b'-', b'o', b'\n', 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = other;
                if let Err(what) = outcome(&damaged) {
                    assert!(!what.is_empty() && what.len() < 300, "{what}");
                }
            }
        }
    }
}

#[test]
fn sizes_are_not_believed() {
    let enormous = HS71.replace(" 4 2 1 0 1\n", " 2000000000 2 1 0 1\n");
    assert!(refusal(&enormous).contains("line 2: 2000000000 variables cannot be in a file of"));
    let enormous = HS71.replace(" 0 0 0 0 0\nC0", " 0 0 4000000000 0 0\nC0");
    assert!(refusal(&enormous).contains("line 10: 4000000000 defined variables"));
    let many = Text { n: 1, ..Text::default() }.with("O0 0\no54\n900000000\nv0\nb\n3\n");
    assert!(
        refusal(&many)
            .contains("the number of arguments is 900000000, which the rest of the file has no room for")
    );
}

#[test]
fn each_kind_of_mistake_says_where_and_what() {
    let model =
        |segments: &str| refusal(&Text { n: 2, rows: 1, defined: 2, ..Text::default() }.with(segments));
    for (segments, expected) in [
        ("O0 0\nv9\n", "line 12: the number of a variable is 9, expected 0 to 3"),
        ("O0 0\nv3\n", "line 12: the defined variable v3 is used before it is defined"),
        ("V2 0 0\nv2\n", "line 12: the defined variable v2 is used before it is defined"),
        ("V2 0 0\nv0\nV2 0 0\nv0\n", "line 13: the defined variable v2 is there twice"),
        ("V1 0 0\nv0\n", "line 11: the defined variable v1 is one of the 2 variables"),
        ("O0 0\nnabc\n", "line 12: found `abc`, expected a number"),
        ("O0 0\nn1.2x5\n", "line 12: found `1.2x5`, expected a number"),
        ("O0 0\nnnan\n", "line 12: found NaN, expected a number"),
        ("O0 0\nq\n", "line 12: found `q`, expected an expression (n, v, o, f)"),
        ("Q\n", "line 11: found `Q`, expected a segment (one of F S V C L O d x r b k K J G)"),
        ("C1\nn0\n", "line 11: the number of a constraint is 1, expected 0 to 0"),
        ("C0\nn0\nC0\nn0\n", "line 14: constraint 0 has two nonlinear parts"),
        ("J0 1\n0 inf\n", "line 12: found inf, expected a coefficient"),
        ("r\n7 1\n", "line 12: found `7`, expected the kind of a bound, 0 to 5"),
        ("b\n3\n3\nb\n3\n3\n", "line 14: the segment b is there twice"),
        ("O0 0\nn0\nb\n3\n3\n", "the file ends without the segment r: the bounds of 1 constraints"),
        ("R0\n", "line 11: the model has random variables, which costate does not treat"),
        ("O0 0\no41\n", "the file ends within an expression"),
    ] {
        let what = model(segments);
        assert!(what.starts_with("test.nl: ") && what.contains(expected), "{segments:?}: {what}");
    }
    assert_eq!(refusal(""), "test.nl: line 1: the file is empty");
    assert!(refusal("x\n").contains("expected a model that begins with g (text) or b (binary)"));
    assert!(refusal("g3 1 1 0\n 1 0 1\n").contains("line 3: the file ends within the header"));
}

#[test]
fn bounds_that_cross_are_named() {
    let text = Text { n: 2, ..Text::default() }.with("O0 0\nn0\nb\n3\n0 2 1\n");
    let mut p = read(&text);
    let error = costate::opt::solve(&mut p, &costate::opt::Options::default(), &mut costate::observe::Silent);
    assert_eq!(
        error.unwrap_err().to_string(),
        "problem test: variable x[1] has bounds [2, 1], expected lower <= upper"
    );
}
