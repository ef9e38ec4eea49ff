//! Data cards: compiled from columns, the same in and outside of loops.

use super::GroupKind;
use super::card::{Card, latin1};
use super::number;
use super::operand::{NONE, Space};
use super::store::Store;
use super::warn::{Remark, Remarks};

/// Sections of the data part, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// Between NAME and the first section.
    Head,
    Groups,
    Variables,
    Constants,
    Ranges,
    Bounds,
    Start,
    Quadratic,
    ElementType,
    ElementUses,
    GroupType,
    GroupUses,
    ObjectBound,
}

/// Keywords and their sections.
pub(crate) const KEYWORDS: [(&str, Section); 21] = [
    ("GROUPS", Section::Groups),
    ("ROWS", Section::Groups),
    ("CONSTRAINTS", Section::Groups),
    ("VARIABLES", Section::Variables),
    ("COLUMNS", Section::Variables),
    ("CONSTANTS", Section::Constants),
    ("RHS", Section::Constants),
    ("RHS'", Section::Constants),
    ("RANGES", Section::Ranges),
    ("BOUNDS", Section::Bounds),
    ("START POINT", Section::Start),
    ("HESSIAN", Section::Quadratic),
    ("QUADRATIC", Section::Quadratic),
    ("QUADS", Section::Quadratic),
    ("QUADOBJ", Section::Quadratic),
    ("QSECTION", Section::Quadratic),
    ("QMATRIX", Section::Quadratic),
    ("ELEMENT TYPE", Section::ElementType),
    ("ELEMENT USES", Section::ElementUses),
    ("GROUP TYPE", Section::GroupType),
    ("GROUP USES", Section::GroupUses),
];

impl Section {
    /// Section of a keyword.
    pub fn of(keyword: &[u8]) -> Option<Self> {
        if keyword == b"OBJECT BOUND" {
            return Some(Self::ObjectBound);
        }
        KEYWORDS.iter().find(|(word, _)| word.as_bytes() == keyword).map(|(_, section)| *section)
    }
    /// Place in the order; GROUPS and VARIABLES share theirs.
    pub fn rank(self) -> usize {
        if self == Self::Variables { Self::Groups as usize } else { self as usize }
    }
    /// Codes, for messages.
    fn codes(self) -> &'static str {
        match self {
            Self::Head => "a parameter card or DO",
            Self::Groups => "N, E, L, G, XN to XG, ZN to ZG, DN to DG",
            Self::Variables | Self::Quadratic | Self::Constants | Self::Ranges => "blank, X or Z",
            Self::Bounds => "LO, UP, FX, FR, MI, PL, XL, XU, XX, XR, XM, XP, ZL, ZU or ZX",
            Self::Start => "blank, X, Z, V, XV, ZV, M, XM or ZM",
            Self::ElementType => "EV, IV or EP",
            Self::ElementUses => "T, XT, V, ZV, P, XP or ZP",
            Self::GroupType => "GV or GP",
            Self::GroupUses => "T, XT, E, XE, ZE, P, XP or ZP",
            Self::ObjectBound => "LO, UP, XL, XU, ZL or ZU",
        }
    }
}

/// How a BOUNDS card changes [l, u].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Lower,
    Upper,
    Fixed,
    Free,
    Minus,
    Plus,
}

/// What a START POINT card sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartOf {
    Variables,
    Multipliers,
    Either,
    /// The decoder reads the card and does nothing.
    Nothing,
}

/// What a data card does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Group(GroupKind),
    GroupSum(GroupKind),
    Variable,
    Constant,
    Range,
    Bound(Bound),
    Start(StartOf),
    Quadratic,
    ElementDefault,
    ElementOf,
    ElementVariable,
    ElementParameter,
    GroupDefault,
    GroupOf,
    GroupElement,
    GroupParameter,
    ObjectLower,
    ObjectUpper,
}

/// Reserved names in field 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reserved {
    No,
    Scale,
    Default,
    Marker,
    Integer,
    ZeroOne,
}

impl Reserved {
    fn of(field: &[u8]) -> Self {
        match field {
            b"'SCALE'" => Self::Scale,
            b"'DEFAULT'" => Self::Default,
            b"'MARKER'" => Self::Marker,
            b"'INTEGER'" => Self::Integer,
            b"'ZERO-ONE'" => Self::ZeroOne,
            _ => Self::No,
        }
    }
}

/// How names and numbers are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Literal names, numbers in fields 4 and 6.
    Plain,
    /// Array names, numbers in fields 4 and 6.
    Array,
    /// Array names, the number is the real parameter in field 5.
    Parameter,
}

/// A compiled data card. Names are operands; blank ones are `NONE`, except f2.
#[derive(Debug, Clone)]
pub(crate) struct DataCard {
    pub line: u32,
    pub action: Action,
    pub form: Form,
    pub reserved: Reserved,
    pub f2: u32,
    pub f3: u32,
    pub f5: u32,
    pub v4: f64,
    pub v6: f64,
}

fn group_kind(letter: u8) -> Option<GroupKind> {
    Some(match letter {
        b'N' => GroupKind::Objective,
        b'E' => GroupKind::Equality,
        b'L' => GroupKind::Less,
        b'G' => GroupKind::Greater,
        _ => return None,
    })
}

/// Action and form of a code in a section.
fn action(section: Section, code: [u8; 2], field2: &[u8], field3: &[u8]) -> Option<(Action, Form)> {
    use {Action as A, Bound as B, Form as F, StartOf as S};
    let form = match code[0] {
        b'X' => F::Array,
        b'Z' => F::Parameter,
        _ => F::Plain,
    };
    let kind_of = |letter, form| group_kind(letter).map(|kind| (A::Group(kind), form));
    match (section, &code) {
        (Section::Groups, [b'X' | b'Z', kind]) => kind_of(*kind, form),
        (Section::Groups, [b'D', kind]) => group_kind(*kind).map(|kind| (A::GroupSum(kind), F::Plain)),
        (Section::Groups, [kind, b' '] | [b' ', kind]) => kind_of(*kind, F::Plain),
        (Section::Variables, b"  " | b"X " | b"Z ") => Some((A::Variable, form)),
        // Only the first character counts here.
        (Section::Constants, [b' ' | b'X' | b'Z', _]) => Some((A::Constant, form)),
        (Section::Ranges, [b' ' | b'X' | b'Z', _]) => Some((A::Range, form)),
        (Section::Bounds, b"LO" | b"XL" | b"ZL") => Some((A::Bound(B::Lower), form)),
        (Section::Bounds, b"UP" | b"XU" | b"ZU") => Some((A::Bound(B::Upper), form)),
        (Section::Bounds, b"FX" | b"XX" | b"ZX") => Some((A::Bound(B::Fixed), form)),
        (Section::Bounds, b"FR" | b"XR") => Some((A::Bound(B::Free), form)),
        (Section::Bounds, b"MI" | b"XM") => Some((A::Bound(B::Minus), form)),
        (Section::Bounds, b"PL" | b"XP") => Some((A::Bound(B::Plus), form)),
        (Section::Start, b"V " | b"XV" | b"ZV") => Some((A::Start(S::Variables), form)),
        (Section::Start, b"M " | b"XM" | b"ZM") => Some((A::Start(S::Multipliers), form)),
        (Section::Start, b"  " | b"X " | b"Z ") => Some((A::Start(S::Either), form)),
        (Section::Start, _) if field3 == b"'DEFAULT'" => Some((A::Start(S::Nothing), F::Plain)),
        (Section::Quadratic, b"  " | b"X " | b"Z ") => Some((A::Quadratic, form)),
        (Section::ElementUses, b"T " | b"XT") if field2 == b"'DEFAULT'" => {
            Some((A::ElementDefault, F::Plain))
        }
        (Section::ElementUses, b"T " | b"XT") => Some((A::ElementOf, form)),
        (Section::ElementUses, b"V " | b"ZV") => Some((A::ElementVariable, form)),
        (Section::ElementUses, b"P " | b"XP" | b"ZP") => Some((A::ElementParameter, form)),
        (Section::GroupUses, _) if field2 == b"'DEFAULT'" => Some((A::GroupDefault, F::Plain)),
        (Section::GroupUses, b"T " | b"XT") => Some((A::GroupOf, form)),
        (Section::GroupUses, b"E " | b"XE" | b"ZE") => Some((A::GroupElement, form)),
        (Section::GroupUses, b"P " | b"XP" | b"ZP") => Some((A::GroupParameter, form)),
        (Section::ObjectBound, b"LO" | b"XL" | b"ZL") => Some((A::ObjectLower, form)),
        (Section::ObjectBound, b"UP" | b"XU" | b"ZU") => Some((A::ObjectUpper, form)),
        _ => None,
    }
}

/// Message for a code that a section does not know.
pub(crate) fn unknown_code(section: Section, code: [u8; 2]) -> String {
    format!("unknown code `{}`, expected {}", latin1(&code), section.codes())
}

/// Where the names of a card are looked up: fields 2, 3 and 5; whether fields 4 and 6 are numbers; whether there is a
/// second pair.
struct Layout {
    spaces: [Space; 3],
    numbers: bool,
    second: bool,
}

fn layout(action: Action, variables_first: bool) -> Layout {
    use Space::{Element, Group, Other, Variable};
    let (spaces, numbers, second) = match action {
        Action::Group(_) => ([Group, Variable, Variable], variables_first, true),
        Action::GroupSum(_) => ([Group, Group, Group], true, true),
        Action::Variable => ([Variable, Group, Group], !variables_first, true),
        Action::Constant | Action::Range => ([Other, Group, Group], true, true),
        Action::Bound(kind) => {
            let numbers = matches!(kind, Bound::Lower | Bound::Upper | Bound::Fixed);
            ([Other, Variable, Other], numbers, false)
        }
        Action::Start(StartOf::Variables) => ([Other, Variable, Variable], true, true),
        Action::Start(StartOf::Multipliers) => ([Other, Group, Group], true, true),
        Action::Start(StartOf::Either) => ([Other, Other, Other], true, true),
        Action::Start(StartOf::Nothing) => ([Other, Other, Other], false, false),
        Action::Quadratic => ([Variable, Variable, Variable], true, true),
        Action::ElementDefault | Action::GroupDefault => ([Other, Other, Other], false, false),
        Action::ElementOf => ([Element, Other, Other], false, false),
        Action::ElementVariable => ([Element, Other, Variable], false, true),
        Action::ElementParameter => ([Element, Other, Other], true, true),
        Action::GroupOf => ([Group, Other, Other], false, false),
        Action::GroupElement => ([Group, Element, Element], true, true),
        Action::GroupParameter => ([Group, Other, Other], true, true),
        Action::ObjectLower | Action::ObjectUpper => ([Other, Other, Other], true, false),
    };
    Layout { spaces, numbers, second }
}

/// Compiles a data card; `Ok(None)`: nothing to do.
pub(crate) fn compile(
    card: &Card,
    section: Section,
    in_loop: bool,
    store: &mut Store,
) -> Result<Option<DataCard>, String> {
    let code = card.code();
    let (mut field3, mut field5) = (card.field3(), card.field5());
    if field3.first() == Some(&b'$') {
        (field3, field5) = (b"", b"");
    } else if field5.first() == Some(&b'$') {
        field5 = b"";
    }
    let Some((action, form)) = action(section, code, card.field2(), field3) else {
        return Err(unknown_code(section, code));
    };
    if in_loop && form == Form::Plain {
        return Err(format!(
            "code `{}` in a loop, expected a parameter card or a code that starts with X, Z or A",
            latin1(&code)
        ));
    }
    let reserved = Reserved::of(field3);
    if action == Action::Variable && reserved == Reserved::Marker {
        return Ok(None);
    }
    let Layout { spaces, mut numbers, second } = layout(action, store.variables_first);
    // Coefficients are given in the later one of GROUPS and VARIABLES; in the other, only scales are read.
    let linear = matches!(action, Action::Group(_) | Action::Variable);
    let has_name = !(field3.is_empty() || linear && reserved != Reserved::No || linear && !numbers);
    if linear {
        numbers = if reserved == Reserved::No { numbers } else { reserved == Reserved::Scale };
    }
    let array = form != Form::Plain;
    let line = card.line;
    let mut name = |field: &[u8], space| {
        let (k, dropped) = store.operands.add(field, space, array, in_loop, &mut store.integers)?;
        if dropped {
            store.remarks.add(Remark::TextAfterIndices, line, || {
                format!("text after `)` is dropped in `{}`", latin1(field))
            });
        }
        Ok::<u32, String>(k)
    };
    let f2 = name(card.field2(), spaces[0])?;
    let f3 = if has_name { name(field3, spaces[1])? } else { NONE };
    let parameter = form == Form::Parameter && action != Action::ElementVariable;
    let is_set = matches!(action, Action::ObjectLower | Action::ObjectUpper) || !field3.is_empty();
    let f5 = if parameter {
        if numbers && is_set { name(field5, Space::Real)? } else { NONE }
    } else if second && !field5.is_empty() && (has_name || !linear) {
        name(field5, spaces[2])?
    } else {
        NONE
    };
    let blank_is = if matches!(action, Action::GroupElement) { 1.0 } else { 0.0 };
    let mut number = |field: &[u8], wanted: bool, next: usize| {
        if !wanted || parameter || !numbers {
            return Ok(0.0);
        }
        if field.iter().all(|&b| b == b' ') {
            return Ok(blank_is);
        }
        if store.lenient {
            remark_cut_number(card, field, next, &mut store.remarks);
        }
        number::real(field)
    };
    let v4 = number(card.field4(), is_set, 37)?;
    let v6 = number(card.field6(), f5 != NONE, 62)?;
    Ok(Some(DataCard { line: line as u32, action, form, reserved, f2, f3, f5, v4, v6 }))
}

/// Remarks digits that follow a full number field.
pub(crate) fn remark_cut_number(card: &Card, field: &[u8], next: usize, remarks: &mut Remarks) {
    if field[11] != b' ' && card.columns(next, next)[0].is_ascii_digit() {
        remarks.add(Remark::CutNumber, card.line, || {
            format!("the number `{}` goes on past column {}, the rest is lost", latin1(field), next - 1)
        });
    }
}
