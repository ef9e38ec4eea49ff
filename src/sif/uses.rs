//! Sections ELEMENT USES and GROUP USES.

use super::data::DataCard;
use super::key::{Key, Table};
use super::operand::NONE;
use super::store::Store;
use super::warn::Remark;

/// Position of a name in a short list.
fn position(list: &[Key], key: Key) -> Option<usize> {
    list.iter().position(|&k| k == key)
}

impl Store {
    fn find_type(&mut self, k: u32, table: fn(&Self) -> &Table, what: &str) -> Result<u32, String> {
        if k == NONE {
            return Err(format!("no {what} type in field 3"));
        }
        let key = self.key(k)?;
        table(self).find(key, NONE).ok_or_else(|| format!("unknown {what} type `{}`", key.text()))
    }

    pub(crate) fn element_default(&mut self, card: &DataCard) -> Result<(), String> {
        let t = self.find_type(card.f3, |s| &s.types.element_names, "element")?;
        if self.default_element.is_some() {
            return Err("second default element type".to_string());
        }
        if self.elements.len() > 0 {
            return Err("default element type after the first element, expected before".to_string());
        }
        self.default_element = Some(t);
        Ok(())
    }

    pub(crate) fn element_of(&mut self, card: &DataCard) -> Result<(), String> {
        let t = self.find_type(card.f3, |s| &s.types.element_names, "element")?;
        let (_, new) = self.operands.at(card.f2).intern(&self.integers, &mut self.elements)?;
        if !new {
            return Err(format!("element `{}` is given a type twice", self.key(card.f2)?.text()));
        }
        self.new_element(t, card.line)
    }

    /// Appends the places of an element that was just created.
    fn new_element(&mut self, t: u32, line: u32) -> Result<(), String> {
        let declaration = &self.types.elements[t as usize];
        let (nv, np) = (declaration.elemental.len(), declaration.params.len());
        self.room((3 + nv + np) as u64)?;
        self.element_type.push(t);
        self.element_line.push(line);
        self.vars.resize(self.vars.len() + nv, NONE);
        self.var_start.push(self.vars.len());
        self.pars.resize(self.pars.len() + np, f64::NAN);
        self.par_start.push(self.pars.len());
        Ok(())
    }

    /// The element in field 2; a new one has the default type.
    #[inline]
    fn element(&mut self, card: &DataCard) -> Result<usize, String> {
        let (e, new) = self.operands.at(card.f2).intern(&self.integers, &mut self.elements)?;
        if new {
            let Some(t) = self.default_element else {
                let name = self.key(card.f2)?.text();
                return Err(format!(
                    "element `{name}` has no type, expected a T card or a default type before"
                ));
            };
            self.new_element(t, card.line)?;
        }
        Ok(e as usize)
    }

    fn element_fault(&mut self, card: &DataCard, name: u32, what: &str) -> String {
        let text = |key: Result<Key, String>| key.map(Key::text).unwrap_or_default();
        let (element, name) = (text(self.key(card.f2)), text(self.key(name)));
        format!("{} of element `{element}`", what.replace("{}", &name))
    }

    pub(crate) fn element_variable(&mut self, card: &DataCard) -> Result<(), String> {
        if card.f3 == NONE || card.f5 == NONE {
            return Err("expected an elemental variable in field 3 and a variable in field 5".to_string());
        }
        let e = self.element(card)?;
        let name = self.key(card.f3)?;
        let elemental = &self.types.elements[self.element_type[e] as usize].elemental;
        let Some(place) = position(elemental, name) else {
            return Err(self.element_fault(card, card.f3, "unknown elemental variable `{}`"));
        };
        let place = self.var_start[e] + place;
        if self.vars[place] != NONE {
            return Err(self.element_fault(card, card.f3, "second assignment of elemental variable `{}`"));
        }
        let (v, new) = self.operands.at(card.f5).intern(&self.integers, &mut self.variables)?;
        if new {
            let bounds = self.default_bounds();
            self.new_variable(bounds)?;
            let name = self.key(card.f5)?;
            self.remarks.add(Remark::CreatedVariable, card.line as usize, || {
                format!("variable `{}` is not declared, it is created here", name.text())
            });
        }
        self.vars[place] = v;
        Ok(())
    }

    pub(crate) fn element_parameter(&mut self, card: &DataCard) -> Result<(), String> {
        let e = self.element(card)?;
        for (param, value) in self.pairs(card)?.into_iter().flatten() {
            let name = self.key(param)?;
            let params = &self.types.elements[self.element_type[e] as usize].params;
            let Some(place) = position(params, name) else {
                return Err(self.element_fault(card, param, "unknown parameter `{}`"));
            };
            let place = self.par_start[e] + place;
            if !self.pars[place].is_nan() {
                return Err(self.element_fault(card, param, "second assignment of parameter `{}`"));
            }
            self.pars[place] = value;
        }
        Ok(())
    }

    pub(crate) fn group_default(&mut self, card: &DataCard) -> Result<(), String> {
        let t = self.find_type(card.f3, |s| &s.types.group_names, "group")?;
        if self.default_group.is_some() {
            return Err("second default group type".to_string());
        }
        self.default_group = Some(t);
        Ok(())
    }

    pub(crate) fn group_of(&mut self, card: &DataCard) -> Result<(), String> {
        let t = self.find_type(card.f3, |s| &s.types.group_names, "group")?;
        let g = self.find_group(card.f2)? as usize;
        let before = self.group_type[g];
        if before != NONE && !self.types.groups[before as usize].params.is_empty() {
            let name = self.key(card.f2)?.text();
            return Err(format!("group `{name}` with parameters is given a type twice"));
        }
        self.group_type[g] = t;
        Ok(())
    }

    pub(crate) fn group_element(&mut self, card: &DataCard) -> Result<(), String> {
        let g = self.find_group(card.f2)?;
        for (name, weight) in self.pairs(card)?.into_iter().flatten() {
            match self.operands.at(name).find(&self.integers, &self.elements)? {
                Some(e) => self.uses.push((g, e, weight)),
                None => return Err(format!("unknown element `{}`", self.key(name)?.text())),
            }
            self.room(1)?;
        }
        Ok(())
    }

    pub(crate) fn group_parameter(&mut self, card: &DataCard) -> Result<(), String> {
        let g = self.find_group(card.f2)?;
        let before = self.group_type[g as usize];
        let t = match (before, self.default_group) {
            (NONE, None) => {
                let name = self.key(card.f2)?.text();
                return Err(format!(
                    "group `{name}` has no type, expected a T card or a default type before"
                ));
            }
            (NONE, Some(t)) => t,
            (t, _) => t,
        };
        self.group_type[g as usize] = t;
        for (param, value) in self.pairs(card)?.into_iter().flatten() {
            let name = self.key(param)?;
            let Some(place) = position(&self.types.groups[t as usize].params, name) else {
                let group = self.key(card.f2)?.text();
                return Err(format!("unknown parameter `{}` of group `{group}`", name.text()));
            };
            self.group_params.push((g, place as u32, value, card.line));
            self.room(1)?;
        }
        Ok(())
    }
}
