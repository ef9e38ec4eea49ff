//! Reads the paths of Rust sources: a small lexer, use trees, and the modules that the paths lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One module uses another. Modules are paths from the crate's root: `["opt", "interior", "filter"]`.
#[derive(Debug, Clone)]
pub struct Arrow {
    pub from: Vec<String>,
    pub to: Vec<String>,
    pub file: String,
    pub line: usize,
}

/// The modules of a crate and the paths they name.
#[derive(Default)]
pub struct Sources {
    modules: BTreeMap<Vec<String>, Module>,
}

#[derive(Default)]
struct Module {
    file: String,
    /// It is a folder's mod.rs.
    folder: bool,
    paths: Vec<Named>,
    /// Names that `use` brings in: where a path through this module goes on.
    aliases: BTreeMap<String, Vec<String>>,
}

/// A path as it was written, with `crate`, `super` and `self` replaced by the module they mean.
struct Named {
    path: Vec<String>,
    line: usize,
    /// `pub use`: the name is handed on, nothing is used.
    reexport: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Sign(char),
}

impl Sources {
    /// All files below `src`, but those of tests.
    pub fn read(src: &Path) -> Self {
        let mut sources = Self::default();
        let mut only_tests = BTreeSet::new();
        sources.read_folder(src, &mut Vec::new(), &mut only_tests);
        sources.modules.retain(|path, _| !only_tests.iter().any(|t: &Vec<String>| path.starts_with(t)));
        sources
    }

    fn read_folder(&mut self, folder: &Path, path: &mut Vec<String>, only_tests: &mut BTreeSet<Vec<String>>) {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut entries: Vec<PathBuf> = entries.map(|e| e.expect("a folder's entry").path()).collect();
        entries.sort();
        for entry in entries {
            let name = entry.file_stem().and_then(|n| n.to_str()).expect("a name in UTF-8").to_string();
            if entry.is_dir() {
                path.push(name);
                self.read_folder(&entry, path, only_tests);
                path.pop();
            } else if entry.extension().is_some_and(|e| e == "rs") && !name.ends_with("tests") {
                let root = name == "lib" && path.is_empty();
                let folder = name == "mod" || root;
                let mut at = path.clone();
                if !folder {
                    at.push(name);
                }
                let text = std::fs::read_to_string(&entry).expect("a source in UTF-8");
                let mut module = read_module(&text, &at, only_tests);
                module.file = entry.display().to_string();
                module.folder = folder;
                self.modules.insert(at, module);
            }
        }
    }

    /// The modules that are folders.
    pub fn folders(&self) -> impl Iterator<Item = &Vec<String>> {
        self.modules.iter().filter(|(path, m)| m.folder && !path.is_empty()).map(|(path, _)| path)
    }

    /// Who uses whom, but for re-exports and what lib.rs says.
    pub fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (from, module) in self.modules.iter().filter(|(from, _)| !from.is_empty()) {
            for named in module.paths.iter().filter(|n| !n.reexport) {
                let Some(to) = self.resolve(&named.path, 0) else { continue };
                if to != *from && !to.is_empty() {
                    let (file, line) = (module.file.clone(), named.line);
                    arrows.push(Arrow { from: from.clone(), to, file, line });
                }
            }
        }
        arrows
    }

    /// The module that defines what a path names; through re-exports.
    fn resolve(&self, path: &[String], depth: usize) -> Option<Vec<String>> {
        let mut at = (0..=path.len()).rev().find(|&k| self.modules.contains_key(&path[..k]))?;
        // A path that names no more than a folder's module does not need what is in the folder.
        while at < path.len() && depth < 8 {
            let module = self.modules.get(&path[..at])?;
            let Some(target) = module.aliases.get(&path[at]) else { break };
            if path.starts_with(target) {
                at += 1;
                continue;
            }
            let mut longer = target.clone();
            longer.extend_from_slice(&path[at + 1..]);
            return self.resolve(&longer, depth + 1);
        }
        Some(path[..at.min(path.len())].to_vec())
    }
}

fn read_module(text: &str, at: &[String], only_tests: &mut BTreeSet<Vec<String>>) -> Module {
    let tokens = without_tests(&lex(text), at, only_tests);
    let mut module = Module::default();
    let names: BTreeSet<String> = declared_modules(&tokens);
    // Inline modules: one more level for `self` and `super`, and the depth of braces at which it ends.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut k = 0;
    while k < tokens.len() {
        let name = |i: usize| match tokens.get(i) {
            Some((Token::Name(n), _)) => Some(n.as_str()),
            _ => None,
        };
        let sign = |i: usize, c: char| matches!(tokens.get(i), Some((Token::Sign(s), _)) if *s == c);
        if sign(k, '{') {
            depth += 1;
        } else if sign(k, '}') {
            depth -= 1;
            if inline.last().is_some_and(|(_, d)| *d == depth) {
                inline.pop();
            }
        } else if name(k) == Some("mod") && sign(k + 2, '{') {
            inline.push((name(k + 1).unwrap_or_default().to_string(), depth));
        } else if name(k) == Some("pub") && sign(k + 1, '(') {
            while !sign(k, ')') {
                k += 1;
            }
            if name(k + 1) == Some("use") {
                k = read_use(&tokens, k + 2, &mut module, &scope(at, &inline), &names, true);
            }
        } else if name(k) == Some("use") {
            let public = k > 0 && name(k - 1) == Some("pub");
            k = read_use(&tokens, k + 1, &mut module, &scope(at, &inline), &names, public);
        } else if let Some(first) = name(k) {
            let line = tokens[k].1;
            let mut path = vec![first.to_string()];
            // `pub(crate)` and a method's `self.` are not followed by a double colon.
            while sign(k + 1, ':') && sign(k + 2, ':') && name(k + 3).is_some() {
                path.push(name(k + 3).unwrap_or_default().to_string());
                k += 3;
            }
            if path.len() > 1
                && let Some(path) = absolute(&path, &scope(at, &inline), &names)
            {
                module.paths.push(Named { path, line, reexport: false });
            }
        }
        k += 1;
    }
    module
}

fn scope(at: &[String], inline: &[(String, usize)]) -> Vec<String> {
    at.iter().cloned().chain(inline.iter().map(|(name, _)| name.clone())).collect()
}

/// Modules declared with `mod name;`.
fn declared_modules(tokens: &[(Token, usize)]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for w in tokens.windows(3) {
        if let [(Token::Name(word), _), (Token::Name(name), _), (Token::Sign(';'), _)] = w
            && word == "mod"
        {
            names.insert(name.clone());
        }
    }
    names
}

/// A path from the crate's root, if it is one of this crate.
fn absolute(path: &[String], scope: &[String], declared: &BTreeSet<String>) -> Option<Vec<String>> {
    let mut base = scope.to_vec();
    let rest = match path[0].as_str() {
        "crate" | "costate" => {
            base.clear();
            &path[1..]
        }
        "self" => &path[1..],
        "super" => {
            let ups = path.iter().take_while(|p| *p == "super").count();
            base.truncate(base.len().checked_sub(ups)?);
            &path[ups..]
        }
        first if declared.contains(first) => path,
        _ => return None,
    };
    base.extend_from_slice(rest);
    Some(base)
}

/// Reads a use tree from the token after `use`; returns the place of its semicolon.
fn read_use(
    tokens: &[(Token, usize)],
    start: usize,
    module: &mut Module,
    scope: &[String],
    declared: &BTreeSet<String>,
    reexport: bool,
) -> usize {
    let mut prefix: Vec<String> = Vec::new();
    let mut groups: Vec<usize> = Vec::new();
    let mut alias: Option<String> = None;
    let mut renames = false;
    let mut k = start;
    let mut end_of_name = |prefix: &mut Vec<String>, alias: &mut Option<String>, line: usize| {
        let ends_in_self = prefix.last().is_some_and(|p| p == "self") && prefix.len() > 1;
        if ends_in_self {
            prefix.pop();
        }
        if prefix.is_empty() {
            return;
        }
        if let Some(path) = absolute(prefix, scope, declared) {
            let name = alias.take().or_else(|| prefix.last().cloned()).unwrap_or_default();
            module.aliases.insert(name, path.clone());
            module.paths.push(Named { path, line, reexport });
        }
        *alias = None;
    };
    while k < tokens.len() {
        let line = tokens[k].1;
        match &tokens[k].0 {
            Token::Name(n) if n == "as" => renames = true,
            Token::Name(n) if renames => {
                alias = Some(n.clone());
                renames = false;
            }
            Token::Name(n) => prefix.push(n.clone()),
            Token::Sign('*') => prefix.push("*".into()),
            Token::Sign('{') => groups.push(prefix.len()),
            Token::Sign(c @ (',' | '}' | ';')) => {
                let base = groups.last().copied().unwrap_or(0);
                if prefix.len() > base {
                    end_of_name(&mut prefix, &mut alias, line);
                }
                prefix.truncate(base);
                if *c == '}' {
                    groups.pop();
                    // What follows a group is a comma, another end of group or the semicolon: nothing more of this prefix.
                    prefix.truncate(groups.last().copied().unwrap_or(0));
                }
                if *c == ';' {
                    return k;
                }
            }
            Token::Sign(_) => {}
        }
        k += 1;
    }
    k
}

/// Takes out items under `#[cfg(test)]`; modules among them that have a file of their own go to `only_tests`.
fn without_tests(
    tokens: &[(Token, usize)],
    at: &[String],
    only_tests: &mut BTreeSet<Vec<String>>,
) -> Vec<(Token, usize)> {
    let sign = |i: usize, c: char| matches!(tokens.get(i), Some((Token::Sign(s), _)) if *s == c);
    let name = |i: usize, n: &str| matches!(tokens.get(i), Some((Token::Name(s), _)) if s == n);
    let mut kept = Vec::new();
    let mut k = 0;
    while k < tokens.len() {
        if !(sign(k, '#') && sign(k + 1, '[') && name(k + 2, "cfg")) {
            kept.push(tokens[k].clone());
            k += 1;
            continue;
        }
        let end = closing(tokens, k + 1);
        let inside = k + 3..end;
        let test = inside.clone().any(|i| name(i, "test")) && !inside.clone().any(|i| name(i, "not"));
        k = end + 1;
        if !test {
            continue;
        }
        // Further attributes, then the item up to its semicolon or the end of its braces.
        while sign(k, '#') {
            k = closing(tokens, k + 1) + 1;
        }
        while k < tokens.len() && !sign(k, ';') && !sign(k, '{') {
            if name(k, "mod")
                && sign(k + 2, ';')
                && let Some((Token::Name(n), _)) = tokens.get(k + 1)
            {
                only_tests.insert(at.iter().cloned().chain([n.clone()]).collect());
            }
            k = if sign(k, '(') || sign(k, '[') { closing(tokens, k) + 1 } else { k + 1 };
        }
        k = if sign(k, '{') { closing(tokens, k) + 1 } else { k + 1 };
    }
    kept
}

/// The place of the bracket that closes the one at `open`.
fn closing(tokens: &[(Token, usize)], open: usize) -> usize {
    let mut depth = 0;
    for (k, (token, _)) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => {
                depth -= 1;
                if depth == 0 {
                    return k;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Names and signs with their lines; comments, strings, characters and numbers are left out.
fn lex(text: &str) -> Vec<(Token, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut tokens, mut line, mut k) = (Vec::new(), 1, 0);
    while k < chars.len() {
        let begin = k;
        match chars[k] {
            '/' if at(k + 1) == '/' => {
                while k < chars.len() && chars[k] != '\n' {
                    k += 1;
                }
            }
            '/' if at(k + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(k), at(k + 1)) {
                        ('/', '*') => (depth, k) = (depth + 1, k + 2),
                        ('*', '/') => (depth, k) = (depth - 1, k + 2),
                        _ => k += 1,
                    }
                    if depth == 0 || k >= chars.len() {
                        break;
                    }
                }
            }
            '"' => k = end_of_string(&chars, k),
            'r' | 'b' if starts_raw(&chars, k) => k = end_of_raw(&chars, k),
            'b' if at(k + 1) == '"' => k = end_of_string(&chars, k + 1),
            // A character, not a lifetime.
            '\'' if at(k + 1) == '\\' => {
                k += 3;
                while k < chars.len() && chars[k] != '\'' {
                    k += 1;
                }
                k += 1;
            }
            '\'' if at(k + 2) == '\'' => k += 3,
            c if c.is_alphanumeric() || c == '_' => {
                while at(k).is_alphanumeric() || at(k) == '_' {
                    k += 1;
                }
                if !c.is_numeric() {
                    tokens.push((Token::Name(chars[begin..k].iter().collect()), line));
                }
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push((Token::Sign(c), line));
                }
                k += 1;
            }
        }
        line += chars[begin..k.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn end_of_string(chars: &[char], open: usize) -> usize {
    let mut k = open + 1;
    while k < chars.len() && chars[k] != '"' {
        k += if chars[k] == '\\' { 2 } else { 1 };
    }
    k + 1
}

fn starts_raw(chars: &[char], k: usize) -> bool {
    let before = k.checked_sub(1).map_or(' ', |i| chars[i]);
    if before.is_alphanumeric() || before == '_' {
        return false;
    }
    let k = if chars[k] == 'b' { k + 1 } else { k };
    chars.get(k) == Some(&'r')
        && chars[k + 1..].iter().find(|c| **c != '#') == Some(&'"')
        && matches!(chars.get(k + 1), Some('#' | '"'))
}

fn end_of_raw(chars: &[char], begin: usize) -> usize {
    let mut k = begin;
    while chars[k] != '"' {
        k += 1;
    }
    let hashes = chars[begin..k].iter().filter(|c| **c == '#').count();
    k += 1;
    while k < chars.len() {
        if chars[k] == '"' && chars[k + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
            return k + 1 + hashes;
        }
        k += 1;
    }
    k
}

/// The reader on a text with everything that could lead it astray.
pub fn check() {
    let text = r##"
        //! crate::comment::A
        /* crate::comment /* nested */ ::B */
        mod child;
        pub(crate) use crate::handed::On;
        use crate::{one::{A, B as C}, two, three::*};
        use super::sibling;
        pub(in crate::inner) fn f<'a>(x: &'a str) -> char { let _ = "crate::text::X \" y"; '"' }
        fn g() { child::go(); super::super::up::h(); let _ = r#"crate::raw::X " "#; }
        mod inline { use super::cousin::D; }
        fn k() { crate::after::z() }
        #[cfg(test)]
        #[path = "x.rs"]
        mod apart;
        #[cfg(test)]
        mod tests { use crate::tested::T; }
        #[cfg(not(test))]
        fn l() { self::own::m() }
    "##;
    let mut only_tests = BTreeSet::new();
    let at = ["a".to_string(), "b".to_string()];
    let module = read_module(text, &at, &mut only_tests);
    let used: Vec<String> = module.paths.iter().filter(|p| !p.reexport).map(|p| p.path.join("::")).collect();
    let want = [
        "one::A",
        "one::B",
        "two",
        "three::*",
        "a::sibling",
        "a::b::child::go",
        "up::h",
        "a::b::cousin::D",
        "after::z",
        "a::b::own::m",
    ];
    assert_eq!(used, want);
    assert_eq!(module.aliases.get("C").map(|p| p.join("::")), Some("one::B".to_string()));
    assert_eq!(module.aliases.get("On").map(|p| p.join("::")), Some("handed::On".to_string()));
    assert!(only_tests.contains(["a", "b", "apart"].map(String::from).as_slice()));
    assert_eq!(only_tests.len(), 1);
}
