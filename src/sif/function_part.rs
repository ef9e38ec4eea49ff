//! The function part: split into its cards, not interpreted here.

use super::card::{Card, latin1, trim_end};
use super::decode::{Fault, Lines};
use super::store::Store;
use super::warn::Remark;

/// The function part, uninterpreted: what follows the data part's ENDATA.
#[derive(Debug, Clone, Default)]
pub struct FunctionCards {
    /// The ELEMENTS part is there.
    pub has_elements: bool,
    /// Cards of the ELEMENTS part without header, comments, blanks and ENDATA; TEMPORARIES, GLOBALS, INDIVIDUALS included.
    pub elements: Vec<Card>,
    /// The GROUPS part is there.
    pub has_groups: bool,
    /// Cards of the GROUPS part, likewise.
    pub groups: Vec<Card>,
    /// Names of the Fortran functions and subroutines after the last ENDATA.
    pub trailing_functions: Vec<String>,
    /// Line of the first text after the last ENDATA; 0: none.
    pub trailing_line: usize,
}

/// Splits what follows the data part's ENDATA.
pub(crate) fn split_function_part(
    mut lines: Lines<'_>,
    name: &[u8],
    store: &mut Store,
) -> Result<FunctionCards, Fault> {
    let mut cards = FunctionCards::default();
    while let Some(text) = lines.next() {
        if text.first() == Some(&b'*') || text.trim_ascii().is_empty() {
            continue;
        }
        let card = Card::new(lines.line, text);
        let part = match card.keyword() {
            b"ELEMENTS" if !cards.has_elements && !cards.has_groups => {
                cards.has_elements = true;
                &mut cards.elements
            }
            b"GROUPS" if !cards.has_groups => {
                cards.has_groups = true;
                &mut cards.groups
            }
            _ => {
                trailing(&card, text, lines, &mut cards)?;
                return Ok(cards);
            }
        };
        check_name(&card, text, name, store)?;
        read_part(&mut lines, &card, part, store)?;
    }
    Ok(cards)
}

/// The header's name agrees with NAME.
fn check_name(card: &Card, text: &[u8], name: &[u8], store: &mut Store) -> Result<(), Fault> {
    if card.field3() == name {
        return Ok(());
    }
    let found = text.get(12..).unwrap_or_default().trim_ascii();
    if store.lenient && Card::new(card.line, &[b" ".repeat(14).as_slice(), found].concat()).field3() == name {
        store.remarks.add(Remark::Repair, card.line, || {
            "the problem's name does not start in column 15, it is read nevertheless".to_string()
        });
        return Ok(());
    }
    let what = format!(
        "the name of this part is `{}`, expected `{}` in columns 15-24 as on the NAME card",
        latin1(card.field3()),
        latin1(name)
    );
    Err((card.line, what))
}

fn read_part(
    lines: &mut Lines<'_>,
    header: &Card,
    part: &mut Vec<Card>,
    store: &mut Store,
) -> Result<(), Fault> {
    while let Some(text) = lines.next() {
        if text.first() == Some(&b'*') {
            continue;
        }
        let mut card = Card::new(lines.line, text);
        if card.columns(1, 12).iter().all(|&b| b == b' ') {
            continue;
        }
        if card.is_indicator() {
            match card.keyword() {
                b"ENDATA" => return Ok(()),
                b"TEMPORARIES" | b"GLOBALS" | b"INDIVIDUALS" => {}
                other => {
                    let other = latin1(other);
                    let what = format!(
                        "unknown indicator `{other}`, expected TEMPORARIES, GLOBALS, INDIVIDUALS or ENDATA"
                    );
                    return Err((card.line, what));
                }
            }
        } else if part.is_empty() {
            continue; // before the first subsection cards are ignored
        } else if store.lenient {
            card = repair(card, text, store);
        }
        if card.overlong && !card.is_indicator() {
            store.remarks.add(Remark::LongLine, card.line, || "text past column 65 is dropped".to_string());
        }
        part.push(card);
    }
    Err((
        lines.line,
        format!("the file ends before the ENDATA of the part that begins at line {}", header.line),
    ))
}

/// Moves a name that starts in column 4 to column 5, where the blanks behind it allow that.
fn repair(card: Card, text: &[u8], store: &mut Store) -> Card {
    let starts = |b: u8| b.is_ascii_alphanumeric();
    if !card.columns(4, 4).iter().copied().all(starts) || card.columns(3, 3) != b" " {
        return card;
    }
    let Some(blank) = text.get(3..).and_then(|rest| rest.iter().position(|&b| b == b' ')) else {
        return card;
    };
    let mut moved = text.to_vec();
    moved[3..=3 + blank].rotate_right(1);
    store.remarks.add(Remark::Repair, card.line, || {
        "the name starts in column 4, it is read as if it started in column 5".to_string()
    });
    Card::new(card.line, &moved)
}

/// Text after the last ENDATA: Fortran, or something misplaced.
fn trailing(card: &Card, first: &[u8], rest: Lines<'_>, cards: &mut FunctionCards) -> Result<(), Fault> {
    cards.trailing_line = card.line;
    for text in std::iter::once(first).chain(rest) {
        if matches!(text.first(), Some(b'*' | b'!' | b'C' | b'c')) {
            continue;
        }
        let text = latin1(text).to_ascii_uppercase();
        let mut words =
            text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|w| !w.is_empty());
        while let Some(word) = words.next() {
            if matches!(word, "END" | "CALL") {
                break;
            }
            if matches!(word, "FUNCTION" | "SUBROUTINE") {
                cards.trailing_functions.extend(words.next().map(str::to_string));
                break;
            }
        }
    }
    if cards.trailing_functions.is_empty() {
        let found = latin1(trim_end(card.columns(1, 65)));
        let what = format!(
            "found `{found}`, expected ELEMENTS or GROUPS, each once and in this order, or the end of the file"
        );
        return Err((card.line, what));
    }
    Ok(())
}
