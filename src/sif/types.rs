//! Element and group types: sections ELEMENT TYPE and GROUP TYPE.

use super::card::{Card, latin1};
use super::data::{Section, unknown_code};
use super::key::{Key, Table};
use super::operand::NONE;
use super::{ElementType, GroupType};

/// An element type with its names as keys.
#[derive(Debug, Default)]
pub(crate) struct ElementDeclaration {
    pub public: ElementType,
    pub elemental: Vec<Key>,
    pub params: Vec<Key>,
}

/// A group type with its names as keys.
#[derive(Debug, Default)]
pub(crate) struct GroupDeclaration {
    pub public: GroupType,
    pub params: Vec<Key>,
    has_argument: bool,
}

/// All types.
#[derive(Debug, Default)]
pub(crate) struct Types {
    pub element_names: Table,
    pub elements: Vec<ElementDeclaration>,
    pub group_names: Table,
    pub groups: Vec<GroupDeclaration>,
}

impl Types {
    /// A card of ELEMENT TYPE.
    pub fn element_card(&mut self, card: &Card) -> Result<(), String> {
        let code = card.code();
        if !matches!(&code, b"EV" | b"IV" | b"EP") {
            return Err(unknown_code(Section::ElementType, code));
        }
        let (t, new) = self.element_names.intern(Key::new(card.field2()), NONE);
        let name = latin1(card.field2());
        if new {
            let public = ElementType { name, line: card.line, ..ElementType::default() };
            self.elements.push(ElementDeclaration { public, ..Default::default() });
        } else if t as usize + 1 != self.elements.len() {
            return Err(format!(
                "element type `{name}` is declared twice, expected its cards to be contiguous"
            ));
        }
        let declaration = &mut self.elements[t as usize];
        for field in names(card) {
            let (key, text) = (Key::new(field), latin1(field));
            let public = &mut declaration.public;
            // An internal variable may have the name of an elemental one: their lists are apart.
            let (elemental, params) =
                (declaration.elemental.contains(&key), declaration.params.contains(&key));
            let internal = public.internal.contains(&text);
            let known = match &code {
                b"EV" => elemental || params,
                b"IV" => internal || params,
                _ => elemental || internal || params,
            };
            if known {
                return Err(format!("`{text}` is declared twice in element type `{}`", public.name));
            }
            match &code {
                b"EV" => {
                    declaration.elemental.push(key);
                    public.elemental.push(text);
                }
                b"IV" => public.internal.push(text),
                _ => {
                    declaration.params.push(key);
                    public.params.push(text);
                }
            }
        }
        Ok(())
    }

    /// A card of GROUP TYPE.
    pub fn group_card(&mut self, card: &Card) -> Result<(), String> {
        let code = card.code();
        if !matches!(&code, b"GV" | b"GP") {
            return Err(unknown_code(Section::GroupType, code));
        }
        let (t, new) = self.group_names.intern(Key::new(card.field2()), NONE);
        let name = latin1(card.field2());
        if new {
            let public = GroupType { name: name.clone(), line: card.line, ..GroupType::default() };
            self.groups.push(GroupDeclaration { public, ..Default::default() });
        } else if t as usize + 1 != self.groups.len() {
            return Err(format!(
                "group type `{name}` is declared twice, expected its cards to be contiguous"
            ));
        }
        let declaration = &mut self.groups[t as usize];
        let public = &mut declaration.public;
        if code == *b"GV" {
            if declaration.has_argument {
                return Err(format!("group type `{name}` has two arguments, expected one GV card"));
            }
            declaration.has_argument = true;
            public.argument = latin1(card.field3());
            if declaration.params.contains(&Key::new(card.field3())) {
                return Err(format!("`{}` is declared twice in group type `{name}`", public.argument));
            }
            return Ok(());
        }
        for field in names(card) {
            let (key, text) = (Key::new(field), latin1(field));
            if declaration.params.contains(&key) || declaration.has_argument && public.argument == text {
                return Err(format!("`{text}` is declared twice in group type `{name}`"));
            }
            declaration.params.push(key);
            public.params.push(text);
        }
        Ok(())
    }

    /// Checks the declarations; the error comes with its line.
    pub fn check(&self) -> Result<(), (usize, String)> {
        for t in self.elements.iter().map(|d| &d.public) {
            if !t.internal.is_empty() && t.internal.len() >= t.elemental.len() {
                let what = format!(
                    "element type `{}` has {} internal and {} elemental variables, expected fewer internal ones",
                    t.name,
                    t.internal.len(),
                    t.elemental.len()
                );
                return Err((t.line, what));
            }
        }
        match self.groups.iter().find(|d| !d.has_argument) {
            Some(d) => Err((d.public.line, format!("group type `{}` without a GV card", d.public.name))),
            None => Ok(()),
        }
    }
}

/// Names in fields 3 and 5; `$` starts a comment.
fn names(card: &Card) -> impl Iterator<Item = &[u8]> {
    [card.field3(), card.field5()]
        .into_iter()
        .take_while(|f| f.first() != Some(&b'$'))
        .filter(|f| !f.is_empty())
}
