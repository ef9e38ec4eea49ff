//! What the data part has said so far, and how its linear sections change it.

use super::data::{Action, Bound, DataCard, Form, Reserved, StartOf};
use super::key::{Key, Table};
use super::operand::{Integers, NONE, Operands};
use super::params::Reals;
use super::types::Types;
use super::warn::{Remark, Remarks};
use super::{GroupKind, SifLimits};

/// Infinity of bounds and ranges.
pub(crate) const INFINITE: f64 = 1e20;

/// Data sets of one section: the first-named, or a chosen one, is used.
#[derive(Debug, Default)]
struct DataSet {
    name: Option<Key>,
    count: usize,
    individual: bool,
}

/// A start point that is not the one used: entries of the variables in order of appearance.
#[derive(Debug)]
struct OtherStart {
    default: f64,
    entries: Vec<(u32, f64)>,
}

/// Other start points that are kept.
const OTHER_STARTS: usize = 4;

/// A D-group: its linear part is the sum of its donors' times factors.
#[derive(Debug)]
pub(crate) struct GroupSum {
    pub group: u32,
    /// Donors, `NONE` if absent.
    pub donors: [(u32, f64); 2],
    pub line: u32,
}

/// Position of a card in its section's data sets.
enum InSet {
    Used,
    Unused,
}

/// Objects created so far.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub lenient: bool,
    pub remarks: Remarks,
    /// What is left.
    pub limits: SifLimits,
    pub integers: Integers,
    pub reals: Reals,
    pub operands: Operands,
    /// VARIABLES came before GROUPS.
    pub variables_first: bool,
    pub start: usize,

    pub variables: Table,
    pub lower: Vec<f64>,
    pub upper: Vec<f64>,
    pub x0: Vec<f64>,
    pub groups: Table,
    pub kind: Vec<GroupKind>,
    pub scale: Vec<f64>,
    pub constant: Vec<f64>,
    pub range: Vec<f64>,
    pub y0: Vec<f64>,
    /// (group, variable, coefficient) in order of appearance.
    pub linear: Vec<(u32, u32, f64)>,
    pub sums: Vec<GroupSum>,
    pub quadratic: Vec<(u32, u32, f64)>,
    pub objective_bounds: (f64, f64),

    pub types: Types,
    pub elements: Table,
    pub element_line: Vec<u32>,
    pub element_type: Vec<u32>,
    pub var_start: Vec<usize>,
    pub vars: Vec<u32>,
    pub par_start: Vec<usize>,
    pub pars: Vec<f64>,
    pub default_element: Option<u32>,
    pub group_line: Vec<u32>,
    pub group_type: Vec<u32>,
    pub default_group: Option<u32>,
    /// (group, element, weight) in order of appearance.
    pub uses: Vec<(u32, u32, f64)>,
    /// (group, parameter, value, line).
    pub group_params: Vec<(u32, u32, f64, u32)>,

    constants: DataSet,
    ranges: DataSet,
    bounds: DataSet,
    starts: DataSet,
    /// Start points besides the first, where that is the one used.
    other_starts: Vec<OtherStart>,
    objectives: DataSet,
    default_bounds: (f64, f64),
}

impl Store {
    /// Nothing yet.
    pub fn new(start: usize, lenient: bool, limits: SifLimits) -> Self {
        Self {
            lenient,
            limits,
            start,
            objective_bounds: (-INFINITE, INFINITE),
            default_bounds: (0.0, INFINITE),
            var_start: vec![0],
            par_start: vec![0],
            ..Self::default()
        }
    }

    /// Charges work.
    #[inline]
    pub fn work(&mut self, steps: u64) -> Result<(), String> {
        match self.limits.cards.checked_sub(steps) {
            Some(left) => self.limits.cards = left,
            None => return Err("the file asks for too many card executions".to_string()),
        }
        Ok(())
    }
    /// Charges memory.
    #[inline]
    pub fn room(&mut self, objects: u64) -> Result<(), String> {
        match self.limits.objects.checked_sub(objects) {
            Some(left) => self.limits.objects = left,
            None => return Err("the file creates too many objects".to_string()),
        }
        Ok(())
    }

    /// Runs a data card.
    #[inline]
    pub fn run(&mut self, card: &DataCard) -> Result<(), String> {
        match card.action {
            Action::Group(kind) => self.group(card, kind),
            Action::GroupSum(kind) => self.group_sum(card, kind),
            Action::Variable => self.variable(card),
            Action::Constant => self.constant(card),
            Action::Range => self.range(card),
            Action::Bound(kind) => self.bound(card, kind),
            Action::Start(of) => self.start(card, of),
            Action::Quadratic => self.quadratic(card),
            Action::ElementDefault => self.element_default(card),
            Action::ElementOf => self.element_of(card),
            Action::ElementVariable => self.element_variable(card),
            Action::ElementParameter => self.element_parameter(card),
            Action::GroupDefault => self.group_default(card),
            Action::GroupOf => self.group_of(card),
            Action::GroupElement => self.group_element(card),
            Action::GroupParameter => self.group_parameter(card),
            Action::ObjectLower | Action::ObjectUpper => self.objective(card),
        }
    }

    /// The expanded name of an operand.
    pub fn key(&mut self, k: u32) -> Result<Key, String> {
        self.operands.at(k).key(&self.integers)
    }
    /// The (first) number of a card.
    pub fn value(&mut self, card: &DataCard) -> Result<f64, String> {
        match card.form {
            Form::Parameter => self.reals.get(&mut self.operands, card.f5, &self.integers),
            _ => Ok(card.v4),
        }
    }
    /// (name, value) pairs of a card, up to two.
    pub fn pairs(&mut self, card: &DataCard) -> Result<[Option<(u32, f64)>; 2], String> {
        let first = if card.f3 == NONE { None } else { Some((card.f3, self.value(card)?)) };
        let second = (card.form != Form::Parameter && card.f5 != NONE).then_some((card.f5, card.v6));
        Ok([first, second])
    }
    /// A declared variable.
    pub fn find_variable(&mut self, k: u32) -> Result<u32, String> {
        match self.operands.at(k).find(&self.integers, &self.variables)? {
            Some(v) => Ok(v),
            None => Err(format!("unknown variable `{}`", self.key(k)?.text())),
        }
    }
    /// A declared group.
    pub fn find_group(&mut self, k: u32) -> Result<u32, String> {
        match self.operands.at(k).find(&self.integers, &self.groups)? {
            Some(g) => Ok(g),
            None => Err(format!("unknown group `{}`", self.key(k)?.text())),
        }
    }
    /// A variable that was just created.
    pub fn new_variable(&mut self, (lower, upper): (f64, f64)) -> Result<(), String> {
        self.lower.push(lower);
        self.upper.push(upper);
        self.x0.push(0.0);
        self.room(4)
    }

    fn make_group(&mut self, card: &DataCard, kind: GroupKind) -> Result<(u32, bool), String> {
        let (g, new) = self.operands.at(card.f2).intern(&self.integers, &mut self.groups)?;
        if new {
            self.kind.push(kind);
            self.scale.push(1.0);
            self.constant.push(0.0);
            self.range.push(INFINITE);
            self.y0.push(0.0);
            self.group_type.push(NONE);
            self.group_line.push(card.line);
            self.room(6)?;
        } else if self.kind[g as usize] != kind {
            let name = self.key(card.f2)?;
            self.remarks.add(Remark::KindChange, card.line as usize, || {
                format!("group `{}` keeps the kind of its first mention", name.text())
            });
        }
        Ok((g, new))
    }

    fn group(&mut self, card: &DataCard, kind: GroupKind) -> Result<(), String> {
        let (g, _) = self.make_group(card, kind)?;
        if card.reserved == Reserved::Scale {
            let scale = self.value(card)?;
            if scale == 0.0 {
                return Err(format!(
                    "scale 0 of group `{}`, expected a nonzero number",
                    self.key(card.f2)?.text()
                ));
            }
            self.scale[g as usize] = scale;
            return Ok(());
        }
        for (name, value) in self.pairs(card)?.into_iter().flatten() {
            let v = self.find_variable(name)?;
            self.linear.push((g, v, value));
            self.room(1)?;
        }
        Ok(())
    }

    fn group_sum(&mut self, card: &DataCard, kind: GroupKind) -> Result<(), String> {
        let mut donors = [(NONE, 0.0); 2];
        for (place, pair) in donors.iter_mut().zip(self.pairs(card)?) {
            let Some((name, factor)) = pair else { continue };
            match self.operands.at(name).find(&self.integers, &self.groups)? {
                Some(donor) => *place = (donor, factor),
                None => {
                    let name = self.key(name)?.text();
                    return Err(format!("unknown group `{name}`, expected one defined before this D-group"));
                }
            }
        }
        let (g, _) = self.make_group(card, kind)?;
        self.sums.push(GroupSum { group: g, donors, line: card.line });
        self.room(4)
    }

    fn variable(&mut self, card: &DataCard) -> Result<(), String> {
        let (v, new) = self.operands.at(card.f2).intern(&self.integers, &mut self.variables)?;
        if new {
            self.new_variable((0.0, INFINITE))?;
        }
        if matches!(card.reserved, Reserved::Integer | Reserved::ZeroOne) {
            let name = self.key(card.f2)?;
            self.remarks.add(Remark::IntegerVariable, card.line as usize, || {
                format!("integer variable `{}` is treated as continuous", name.text())
            });
        }
        for (name, value) in self.pairs(card)?.into_iter().flatten() {
            let g = self.find_group(name)?;
            self.linear.push((g, v, value));
            self.room(1)?;
        }
        Ok(())
    }

    /// Enters the card's data set.
    fn enter(
        &mut self,
        card: &DataCard,
        set: fn(&mut Self) -> &mut DataSet,
        what: &str,
        used: usize,
    ) -> Result<InSet, String> {
        let name = self.key(card.f2)?;
        let data = set(self);
        if data.name != Some(name) {
            data.name = Some(name);
            data.count += 1;
            data.individual = false;
            if data.count == 2 {
                self.remarks.add(Remark::SeveralSets, card.line as usize, || {
                    format!("`{}` begins a second set of {what}, number {used} is used", name.text())
                });
            }
        }
        let data = set(self);
        if card.reserved == Reserved::Default {
            if data.individual && data.count == used {
                return Err(format!(
                    "'DEFAULT' after individual {what} of the same set, expected before them"
                ));
            }
        } else {
            data.individual = true;
        }
        Ok(if data.count == used { InSet::Used } else { InSet::Unused })
    }

    fn no_marker(card: &DataCard, what: &str) -> Result<(), String> {
        match card.reserved {
            Reserved::No | Reserved::Default => Ok(()),
            _ => Err(format!("scale or integer marker among the {what}, expected a group or 'DEFAULT'")),
        }
    }

    fn constant(&mut self, card: &DataCard) -> Result<(), String> {
        Self::no_marker(card, "constants")?;
        if let InSet::Unused = self.enter(card, |s| &mut s.constants, "constants", 1)? {
            return Ok(());
        }
        if card.reserved == Reserved::Default {
            let value = self.value(card)?;
            self.work(self.constant.len() as u64)?;
            self.constant.fill(value);
            return Ok(());
        }
        for (name, value) in self.pairs(card)?.into_iter().flatten() {
            let g = self.find_group(name)?;
            self.constant[g as usize] = value;
        }
        Ok(())
    }

    fn range(&mut self, card: &DataCard) -> Result<(), String> {
        Self::no_marker(card, "ranges")?;
        if let InSet::Unused = self.enter(card, |s| &mut s.ranges, "ranges", 1)? {
            return Ok(());
        }
        if card.reserved == Reserved::Default {
            let value = self.value(card)?;
            self.work(self.range.len() as u64)?;
            self.range.fill(value.abs());
            return Ok(());
        }
        for (name, value) in self.pairs(card)?.into_iter().flatten() {
            let g = self.find_group(name)?;
            let one_sided = matches!(self.kind[g as usize], GroupKind::Less | GroupKind::Greater);
            if !one_sided || value < 0.0 {
                let name = self.key(name)?;
                let fault = if one_sided { "is negative, its magnitude counts" } else { "has no effect" };
                self.remarks.add(Remark::Range, card.line as usize, || {
                    format!("the range of group `{}` {fault}", name.text())
                });
            }
            self.range[g as usize] = value.abs();
        }
        Ok(())
    }

    fn bound(&mut self, card: &DataCard, kind: Bound) -> Result<(), String> {
        if let InSet::Unused = self.enter(card, |s| &mut s.bounds, "bounds", 1)? {
            return Ok(());
        }
        if card.f3 == NONE {
            return Err("no variable in field 3, expected one or 'DEFAULT'".to_string());
        }
        let value = match kind {
            Bound::Lower | Bound::Upper | Bound::Fixed => self.value(card)?,
            _ => 0.0,
        };
        if card.reserved == Reserved::Default {
            if kind == Bound::Plus {
                return Ok(()); // the decoder does nothing
            }
            self.work(self.lower.len() as u64)?;
            let change = |l: &mut f64, u: &mut f64| {
                if kind == Bound::Minus {
                    *u = 0.0;
                }
                apply(kind, value, l, u);
            };
            self.lower.iter_mut().zip(&mut self.upper).for_each(|(l, u)| change(l, u));
            change(&mut self.default_bounds.0, &mut self.default_bounds.1);
            return Ok(());
        }
        let v = self.find_variable(card.f3)? as usize;
        apply(kind, value, &mut self.lower[v], &mut self.upper[v]);
        Ok(())
    }

    fn start(&mut self, card: &DataCard, of: StartOf) -> Result<(), String> {
        if of == StartOf::Nothing {
            self.remarks.add(Remark::InertCard, card.line as usize, || {
                "this 'DEFAULT' has no effect, expected the code in columns 2-3 to be blank, X, Z, V or M"
                    .to_string()
            });
            return Ok(());
        }
        if let InSet::Unused = self.enter(card, |s| &mut s.starts, "start values", self.start)? {
            return self.other_start(card, of);
        }
        if card.reserved == Reserved::Default {
            let value = self.value(card)?;
            self.work((self.x0.len() + self.y0.len()) as u64)?;
            if of != StartOf::Multipliers {
                self.x0.fill(value);
            }
            if of != StartOf::Variables {
                self.y0.fill(value);
            }
            return Ok(());
        }
        for (name, value) in self.pairs(card)?.into_iter().flatten() {
            match of {
                StartOf::Variables => {
                    let v = self.find_variable(name)?;
                    self.x0[v as usize] = value;
                }
                StartOf::Multipliers => {
                    let g = self.find_group(name)?;
                    self.y0[g as usize] = value;
                }
                _ => {
                    let key = self.key(name)?;
                    if let Some(v) = self.variables.find(key, NONE) {
                        self.x0[v as usize] = value;
                    } else if let Some(g) = self.groups.find(key, NONE) {
                        self.y0[g as usize] = value;
                    } else {
                        return Err(format!("`{}` is neither a variable nor a group", key.text()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Keeps the variables of a start point behind the first one, unless its name says that it is the solution.
    fn other_start(&mut self, card: &DataCard, of: StartOf) -> Result<(), String> {
        let solution = self.key(card.f2)?.text().contains("SOL");
        if solution || of == StartOf::Multipliers || self.starts.count > 1 + OTHER_STARTS || self.start != 1 {
            return Ok(());
        }
        if self.other_starts.len() < self.starts.count - 1 {
            self.other_starts
                .resize_with(self.starts.count - 1, || OtherStart { default: 0.0, entries: Vec::new() });
        }
        let at = self.starts.count - 2;
        if card.reserved == Reserved::Default {
            self.other_starts[at].default = self.value(card)?;
            return Ok(());
        }
        for (name, value) in self.pairs(card)?.into_iter().flatten() {
            let key = self.key(name)?;
            if let Some(v) = self.variables.find(key, NONE) {
                self.room(1)?;
                self.other_starts[at].entries.push((v, value));
            }
        }
        Ok(())
    }

    /// The start points behind the first one, those that name a variable and are finite.
    pub fn other_starts(&self) -> Vec<Vec<f64>> {
        let finite = |s: &OtherStart| s.default.is_finite() && s.entries.iter().all(|e| e.1.is_finite());
        let kept = self.other_starts.iter().filter(|s| !s.entries.is_empty() && finite(s));
        kept.map(|s| {
            let mut x = vec![s.default; self.x0.len()];
            s.entries.iter().for_each(|&(v, value)| x[v as usize] = value);
            x
        })
        .collect()
    }

    /// The user has chosen one.
    pub fn forget_other_starts(&mut self) {
        self.other_starts.clear();
    }

    /// Start points in the file.
    pub fn start_points(&self) -> usize {
        self.starts.count
    }
    /// Bounds of variables that ELEMENT USES creates.
    pub fn default_bounds(&self) -> (f64, f64) {
        self.default_bounds
    }

    fn quadratic(&mut self, card: &DataCard) -> Result<(), String> {
        let j = self.find_variable(card.f2)?;
        for (name, value) in self.pairs(card)?.into_iter().flatten() {
            let k = self.find_variable(name)?;
            self.quadratic.push((j, k, value));
            self.room(1)?;
        }
        Ok(())
    }

    fn objective(&mut self, card: &DataCard) -> Result<(), String> {
        if let InSet::Unused = self.enter(card, |s| &mut s.objectives, "objective bounds", 1)? {
            return Ok(());
        }
        let value = self.value(card)?;
        match card.action {
            Action::ObjectLower => self.objective_bounds.0 = value,
            _ => self.objective_bounds.1 = value,
        }
        Ok(())
    }
}

/// [l, u] after a BOUNDS card.
fn apply(kind: Bound, value: f64, l: &mut f64, u: &mut f64) {
    match kind {
        Bound::Lower => *l = value,
        Bound::Upper => {
            if value == 0.0 && *l == 0.0 && *u >= INFINITE {
                *l = -INFINITE;
            }
            *u = value;
        }
        Bound::Fixed => (*l, *u) = (value, value),
        Bound::Free => (*l, *u) = (-INFINITE, INFINITE),
        Bound::Minus => {
            if *l == 0.0 && *u >= INFINITE {
                *u = 0.0;
            }
            *l = -INFINITE;
        }
        Bound::Plus => *u = INFINITE,
    }
}
