//! The data part of a SIF file: from text to [`Decoded`], line by line.

use super::card::{Card, latin1, trim_end};
use super::data::{self, Section};
use super::function_part::{FunctionCards, split_function_part};
use super::loops::{Recorder, Step, run_assign};
use super::overrides::Overrides;
use super::params;
use super::store::Store;
use super::warn::Remark;
use super::{Decoded, SifError, SifOptions};

/// Decodes the data part of a SIF file and hands over the cards of its function part.
///
/// # Errors
/// [`SifError`]: the line, what was found, what was expected.
pub fn decode(file: &str, text: &[u8], options: &SifOptions) -> Result<(Decoded, FunctionCards), SifError> {
    let fault = |(line, what): (usize, String)| SifError { file: file.to_string(), line, what };
    let start = options.start.unwrap_or(1);
    if start == 0 {
        return Err(fault((0, "start point 0 asked for, they are counted from 1".to_string())));
    }
    let mut store = Store::new(start, options.lenient, options.limits);
    let overrides =
        Overrides::new(text, &options.params, &mut store.remarks).map_err(|what| fault((0, what)))?;
    let mut reader = Reader {
        lines: Lines { text, line: 0 },
        store,
        overrides,
        recorder: Recorder::default(),
        section: Section::Head,
        both: false,
        name: None,
        class: None,
    };
    reader.data_part().map_err(fault)?;
    let Reader { lines, mut store, name, class, .. } = reader;
    let count = store.start_points();
    if start > count.max(1) {
        return Err(fault((0, format!("start point {start} asked for, the file has {count}"))));
    }
    if options.start.is_some() {
        store.forget_other_starts();
    }
    let name = name.unwrap_or_default();
    let cards = split_function_part(lines, &name, &mut store).map_err(fault)?;
    let decoded = store.finish(latin1(&name), class).map_err(fault)?;
    Ok((decoded, cards))
}

/// Raw lines, numbered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines<'a> {
    pub text: &'a [u8],
    pub line: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.text.is_empty() {
            return None;
        }
        let end = self.text.iter().position(|&b| b == b'\n').unwrap_or(self.text.len());
        let line = &self.text[..end];
        self.text = &self.text[(end + 1).min(self.text.len())..];
        self.line += 1;
        Some(line)
    }
}

/// Line and what is wrong.
pub(crate) type Fault = (usize, String);

struct Reader<'a> {
    lines: Lines<'a>,
    store: Store,
    overrides: Overrides,
    recorder: Recorder,
    section: Section,
    /// Both GROUPS and VARIABLES have begun.
    both: bool,
    name: Option<Vec<u8>>,
    class: Option<String>,
}

impl Reader<'_> {
    fn data_part(&mut self) -> Result<(), Fault> {
        while let Some(text) = self.lines.next() {
            if text.first() == Some(&b'*') {
                if self.class.is_none() {
                    self.class = classification(text);
                }
                continue;
            }
            let line = self.lines.line;
            let card = Card::new(line, text);
            if card.is_indicator() {
                if self.indicator(&card).map_err(|what| (line, what))? {
                    return Ok(());
                }
            } else if !(is_blank(card.columns(1, 24)) && is_blank(card.columns(40, 49))) {
                self.card(&card)?;
            }
        }
        let (last, loops) = (self.lines.line, &self.recorder);
        Err(match (&self.name, loops.is_open()) {
            (None, _) => (0, "the file has no cards, expected NAME first".to_string()),
            (_, true) => {
                (last, format!("the file ends inside the loop over {}", loops.open_loops(&self.store)))
            }
            _ => (last, "the file ends before ENDATA".to_string()),
        })
    }

    /// An indicator card; says whether it is ENDATA.
    fn indicator(&mut self, card: &Card) -> Result<bool, String> {
        let keyword = card.keyword();
        let shown = latin1(keyword);
        if self.store.lenient && keyword.first() == Some(&b'%') {
            let what = "this line starts with `%`, it is read as a comment".to_string();
            self.store.remarks.add(Remark::Repair, card.line, || what);
            return Ok(false);
        }
        if matches!(keyword, b"FREE FORMAT") {
            return Err("FREE FORMAT is not supported, expected fixed columns".to_string());
        }
        if keyword == b"FIXED FORMAT" {
            return Ok(false);
        }
        if self.name.is_none() {
            if keyword != b"NAME" {
                let hint = if keyword.starts_with(b"NAME ") { " (its name from column 15 on)" } else { "" };
                return Err(format!("found `{shown}`, expected NAME first{hint}"));
            }
            self.name = Some(card.field3().to_vec());
            if card.columns(25, 25) != b" " && card.columns(24, 24) != b" " {
                let name = latin1(card.field3());
                self.store.remarks.add(Remark::TruncatedName, card.line, || {
                    format!("the problem's name is longer than 10 characters, it is cut to `{name}`")
                });
            }
            return Ok(false);
        }
        if self.recorder.is_open() {
            return Err(format!(
                "`{shown}` inside the loop over {}, expected OD or ND",
                self.recorder.open_loops(&self.store)
            ));
        }
        if keyword == b"ENDATA" {
            return Ok(true);
        }
        self.enter(keyword).map(|()| false)
    }

    /// Begins a section.
    fn enter(&mut self, keyword: &[u8]) -> Result<(), String> {
        let shown = latin1(keyword);
        let Some(section) = Section::of(keyword) else {
            let tab = if keyword.contains(&b'\t') { " (tabs are not blanks here)" } else { "" };
            return Err(format!("unknown indicator `{shown}`{tab}, expected a section or ENDATA"));
        };
        let linear = |s| matches!(s, Section::Groups | Section::Variables);
        if section.rank() < self.section.rank() || section == Section::Head {
            return Err(format!("`{shown}` after a section that must follow it"));
        }
        if linear(section) && linear(self.section) && section != self.section {
            if self.both {
                return Err(format!("`{shown}` again, expected GROUPS and VARIABLES not to be interleaved"));
            }
            self.both = true;
        }
        if self.section == Section::Head {
            self.store.variables_first = section == Section::Variables;
        }
        self.section = section;
        Ok(())
    }

    /// A card that is no indicator.
    fn card(&mut self, card: &Card) -> Result<(), Fault> {
        let line = card.line;
        let at = |what: String| (line, what);
        if self.name.is_none() {
            return Err(at(format!(
                "found `{}`, expected NAME first",
                latin1(trim_end(card.columns(1, 65)))
            )));
        }
        match &card.code() {
            b"DO" => return self.recorder.begin(card, &mut self.store).map_err(at),
            b"DI" => return self.recorder.increment(card, &mut self.store).map_err(at),
            b"OD" => {
                let index = self.recorder.end(line, &self.store).map_err(at)?;
                let named = card.field2();
                if !named.is_empty() && latin1(named) != index {
                    self.store.remarks.add(Remark::LoopName, line, || {
                        format!("OD names `{}`, but it closes the loop over `{index}`", latin1(named))
                    });
                }
                return self.run_if_closed();
            }
            b"ND" => {
                self.recorder.end_all(line, &self.store).map_err(at)?;
                return self.run_if_closed();
            }
            _ => {}
        }
        let in_loop = self.recorder.is_open();
        let step = self.compile(card, in_loop).map_err(at)?;
        match (in_loop, step) {
            (true, Some(step)) => self.recorder.push(line, step),
            (true, None) => self.recorder.touch(),
            (false, Some(step)) => {
                self.store.work(1).map_err(at)?;
                match &step {
                    Step::Assign(assign) => run_assign(assign, &mut self.store),
                    Step::Data(data) => self.store.run(data),
                    Step::Do(_) | Step::End(_) => Ok(()),
                }
                .map_err(at)?;
                self.store.operands.clear();
            }
            (false, None) => {}
        }
        Ok(())
    }

    fn compile(&mut self, card: &Card, in_loop: bool) -> Result<Option<Step>, String> {
        let store = &mut self.store;
        if params::is_parameter(card.code()) {
            let field4 = match self.overrides.is_empty() {
                true => None,
                false => self.overrides.field4(card.line),
            };
            if field4.is_none() && store.lenient {
                data::remark_cut_number(card, card.field4(), 37, &mut store.remarks);
            }
            let field4 = field4.unwrap_or(card.field4());
            let (assign, dropped) =
                params::compile(card, field4, in_loop, &mut store.integers, &mut store.operands)?;
            if dropped {
                store.remarks.add(Remark::TextAfterIndices, card.line, || {
                    "text after `)` in an array name is dropped".to_string()
                });
            }
            return Ok(Some(Step::Assign(assign)));
        }
        match self.section {
            Section::Head => return Ok(None),
            Section::ElementType | Section::GroupType if in_loop => {
                return Err(format!("code `{}` in a loop, expected a parameter card", latin1(&card.code())));
            }
            Section::ElementType => return store.types.element_card(card).map(|()| None),
            Section::GroupType => return store.types.group_card(card).map(|()| None),
            _ => {}
        }
        Ok(data::compile(card, self.section, in_loop, store)?.map(Step::Data))
    }

    fn run_if_closed(&mut self) -> Result<(), Fault> {
        if self.recorder.is_open() {
            return Ok(());
        }
        self.recorder.run(&mut self.store).map_err(|fault| (fault.line, fault.what))
    }
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|&b| b == b' ')
}

/// The token after `classification` in a comment: at most 30 characters, ending at a blank or before a fourth hyphen.
fn classification(comment: &[u8]) -> Option<String> {
    let word = [b"classification", b"CLASSIFICATION"];
    let at = comment.windows(word[0].len()).position(|w| word.iter().any(|c| w == *c))?;
    let rest = comment[at + word[0].len()..].trim_ascii_start();
    let mut hyphens = 0;
    let ends = |b: u8| {
        hyphens += (b == b'-') as usize;
        b.is_ascii_whitespace() || hyphens == 4
    };
    let end = rest.iter().copied().position(ends).unwrap_or(rest.len()).min(30);
    (end > 0).then(|| latin1(&rest[..end]))
}
