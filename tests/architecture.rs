//! Who may use whom: every path of the sources is read, and an arrow that points up or a circle fails.
//!
//! The floors are those of the design: a module uses what lies below it, never what lies above. Inside `opt` there are no floors, only
//! the rule that imports make no circle, neither between its files and folders nor between the files of one folder.
//! What stands against the rules today is listed by name. The lists may only shrink: an entry that no longer occurs fails too.
//! Tests are not looked at: `#[cfg(test)]` items and files whose name ends in `tests.rs`.

#[path = "architecture/imports.rs"]
mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use imports::{Arrow, Sources};

/// Top to bottom. Modules of one row know nothing of each other, except where the row is a family: there they may, without a circle.
const FLOORS: &[Row] = &[
    Row::apart(&["cli"]),
    Row::apart(&["study"]),
    Row::apart(&["recipe"]),
    Row::apart(&[
        "search",
        "surrogate",
        "integer",
        "shift",
        "boost",
        "bilevel",
        "operators",
        "memory",
        "classify",
    ]),
    Row::family(&["control", "pde", "fit", "regression"]),
    Row::apart(&["train"]),
    Row::apart(&["diagnose"]),
    Row::apart(&["opt"]),
    Row::apart(&["sif", "nl", "model"]),
    Row::apart(&["adjoint"]),
    Row::family(&["ode", "sde"]),
    Row::apart(&["nn"]),
    Row::apart(&["nlp"]),
    Row::apart(&["linsol", "randomized"]),
    Row::family(&["data", "kernel"]),
    Row::apart(&["expr"]),
    Row::apart(&["diff"]),
    Row::apart(&["linalg"]),
    Row::family(&["report", "observe", "error", "random", "normal", "reduce", "plot", "simd"]),
];

/// Arrows between top-level modules that point up or sideways today: (from, to).
const STANDING: &[(&str, &str)] = &[
    // An error of SIF files is a variant of the one error type.
    ("error", "sif"),
    // A wrong entry of the Hessian is described with the problem's names.
    ("report", "nlp"),
];

/// Arrows between files and folders of `opt` that are part of a circle today: (from, to). Empty once `opt` is in parts.
const STANDING_IN_OPT: &[(&str, &str)] = &[];

struct Row {
    modules: &'static [&'static str],
    family: bool,
}

impl Row {
    const fn apart(modules: &'static [&'static str]) -> Self {
        Self { modules, family: false }
    }
    const fn family(modules: &'static [&'static str]) -> Self {
        Self { modules, family: true }
    }
}

fn floor(module: &str) -> usize {
    FLOORS
        .iter()
        .position(|row| row.modules.contains(&module))
        .unwrap_or_else(|| panic!("module {module} has no place in FLOORS: add it to its row of the design"))
}

fn points_down(from: &str, to: &str) -> bool {
    let (a, b) = (floor(from), floor(to));
    a < b || (a == b && FLOORS[a].family)
}

fn sources() -> Sources {
    Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The arrows between the parts of a folder: `name` gives the part a module belongs to, if it is in the folder.
fn graph<'a>(arrows: &'a [Arrow], name: impl Fn(&'a [String]) -> Option<&'a str>) -> Graph {
    let mut graph = Graph::new();
    for arrow in arrows {
        let (Some(from), Some(to)) = (name(&arrow.from), name(&arrow.to)) else { continue };
        if from != to {
            graph.entry(from.to_string()).or_default().insert(to.to_string());
        }
    }
    graph
}

/// All parts that can be reached.
fn reached(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from.to_string()];
    while let Some(at) = open.pop() {
        for to in graph.get(&at).into_iter().flatten() {
            if seen.insert(to.clone()) {
                open.push(to.clone());
            }
        }
    }
    seen
}

/// The arrows that are part of a circle.
fn circular(graph: &Graph) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (from, all) in graph {
        for to in all {
            if reached(graph, to).contains(from) {
                found.insert((from.clone(), to.clone()));
            }
        }
    }
    found
}

/// Compares what is found with what is listed, both ways.
fn assert_listed(what: &str, found: &BTreeSet<(String, String)>, listed: &[(&str, &str)], arrows: &[Arrow]) {
    let listed: BTreeSet<(String, String)> =
        listed.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
    let mut wrong = String::new();
    for (from, to) in found.difference(&listed) {
        wrong += &format!("    (\"{from}\", \"{to}\"), // not listed: {}\n", example(arrows, from, to));
    }
    for (from, to) in listed.difference(found) {
        wrong += &format!("    (\"{from}\", \"{to}\"), // no longer there: take it off the list\n");
    }
    assert!(wrong.is_empty(), "{what}\n{wrong}");
}

/// A file and line with this arrow.
fn example(arrows: &[Arrow], from: &str, to: &str) -> String {
    // A part of a folder of `opt` is listed as folder/part.
    let named = |path: &[String], name: &str| {
        let last = name.rsplit('/').next().unwrap_or(name);
        path.iter().any(|p| p == last) || (last == "mod" && path.len() < 3)
    };
    let arrow = arrows.iter().find(|a| named(&a.from, from) && named(&a.to, to));
    arrow.map_or_else(String::new, |a| format!("{}:{}", a.file, a.line))
}

#[test]
fn arrows_point_down() {
    let arrows = sources().arrows();
    // main.rs only calls the command.
    let graph = graph(&arrows, |path| path.first().map(String::as_str).filter(|name| *name != "main"));
    let mut up = BTreeSet::new();
    for (from, all) in &graph {
        up.extend(all.iter().filter(|to| !points_down(from, to)).map(|to| (from.clone(), to.clone())));
    }
    assert_listed("arrows that do not point down", &up, STANDING, &arrows);
    // Without the listed arrows there is no circle, in a family neither.
    let mut rest = graph.clone();
    for (from, to) in STANDING {
        rest.get_mut(*from).map(|all| all.remove(*to));
    }
    assert_listed("circles between top-level modules", &circular(&rest), &[], &arrows);
}

#[test]
fn opt_has_no_import_circle() {
    let sources = sources();
    let arrows = sources.arrows();
    // The whole of a folder is one part of the folder above; its mod.rs is a part of itself.
    let mut found = BTreeSet::new();
    for folder in sources.folders().filter(|folder| folder[0] == "opt") {
        let graph = graph(&arrows, |path| {
            let inside = path.strip_prefix(folder.as_slice())?;
            Some(inside.first().map_or("mod", String::as_str))
        });
        let mut name = folder[1..].join("/");
        if !name.is_empty() {
            name.push('/');
        }
        found.extend(circular(&graph).into_iter().map(|(a, b)| (format!("{name}{a}"), format!("{name}{b}"))));
    }
    assert_listed("circles between the files and folders of opt", &found, STANDING_IN_OPT, &arrows);
}

#[test]
fn the_reader_finds_what_is_there() {
    imports::check();
    let sources = sources();
    let arrows = sources.arrows();
    let has = |from: &str, to: &str| {
        arrows.iter().any(|a| a.from.join("::").starts_with(from) && a.to.join("::").starts_with(to))
    };
    // A few arrows that no restructuring takes away, in each way of writing.
    assert!(has("opt", "nlp") && has("opt", "linsol") && has("sif", "nlp"));
    assert!(has("cli", "opt") && has("train", "adjoint"));
    assert!(!has("linalg", "nlp") && !has("nlp", "opt"));
}

#[test]
fn circles_are_found() {
    let make = |list: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (a, b) in list {
            graph.entry(a.to_string()).or_default().insert(b.to_string());
        }
        graph
    };
    assert!(circular(&make(&[("a", "b"), ("b", "c"), ("a", "c")])).is_empty());
    let found = circular(&make(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]));
    assert_eq!(found.len(), 3);
    assert!(!found.iter().any(|(_, to)| to == "d"));
}
