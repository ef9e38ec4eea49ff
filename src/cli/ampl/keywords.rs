//! Keywords of the AMPL protocol: one row each. Where Ipopt has a name for the same thing, scripts may use it.

use std::str::FromStr;

use costate::opt::{HessianModel, Method, Options};

/// What the keywords set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For the solver.
    pub solver: Options,
    /// Which objective, counted from 1; 0: none.
    pub objno: usize,
    /// 1: write the answer, 2: print the variables, 4: print the multipliers, 8: no message.
    pub wantsol: u32,
    /// 0: silent, up to 5: the table of the iterations.
    pub outlev: u32,
    /// Print the times.
    pub timing: bool,
    /// Print the version.
    pub version: bool,
    /// Integer variables as continuous ones.
    pub relax_integers: bool,
    /// Begin with the multipliers of the model.
    pub warm_start: bool,
    /// What was ignored.
    pub remarks: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            solver: Options::default(),
            objno: 1,
            wantsol: 0,
            outlev: 0,
            timing: false,
            version: false,
            relax_integers: false,
            warm_start: false,
            remarks: vec![],
        }
    }
}

type Set = fn(&mut Settings, &str) -> Result<(), String>;

/// Names (the first is ours), what it does, how it is set.
struct Keyword {
    names: &'static [&'static str],
    what: &'static str,
    set: Set,
}

/// Keywords of Ipopt's that scripts set and that mean nothing here.
const IGNORED: &[&str] = &[
    "linear_solver",
    "option_file_name",
    "halt_on_ampl_error",
    "mu_strategy",
    "acceptable_tol",
    "acceptable_iter",
    "print_user_options",
    "print_timing_statistics",
    "output_file",
    "file_print_level",
    "sb",
];

const KEYWORDS: &[Keyword] = &[
    Keyword {
        names: &["hessian", "hessian_approximation"],
        what: "second derivatives: exact, limited-memory or differences",
        set: |s, v| {
            s.solver.hessian = parse::<HessianModel>(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["linear"],
        what: "linear solver: auto, ldl, minres, gmres, ...",
        set: |s, v| {
            s.solver.linear = parse(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["max_eval"],
        what: "evaluations of the objective allowed",
        set: |s, v| {
            s.solver.max_evaluations = Some(number(v)?);
            Ok(())
        },
    },
    Keyword {
        names: &["max_iter", "maxit"],
        what: "iterations allowed",
        set: |s, v| {
            s.solver.max_iterations = number(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["method"],
        what: "auto, sketched-newton, interior-point, augmented-lagrangian or predictor-corrector",
        set: |s, v| {
            s.solver.method = parse::<Method>(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["objno"],
        what: "objective: 0 none, 1 the first (default), ...",
        set: |s, v| {
            s.objno = number(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["outlev", "print_level"],
        what: "what is printed: 0 nothing but the message (default), 3 or more the table of the iterations",
        set: |s, v| {
            s.outlev = number(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["presolve"],
        what: "remove linear rows and variables before the solve: yes (default) or no",
        set: |s, v| {
            s.solver.presolve = yes(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["relax_bounds", "bound_relax_factor"],
        what: "bounds may be violated by this times max(1, |bound|)",
        set: |s, v| {
            s.solver.relax_bounds = real(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["relax_integers"],
        what: "treat integer variables as continuous ones: yes or no (default)",
        set: |s, v| {
            s.relax_integers = yes(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["restarts"],
        what: "other starts that are tried where no feasible point is found",
        set: |s, v| {
            s.solver.restarts = number(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["scaling", "nlp_scaling_method"],
        what: "scale objective and constraints: yes (default) or no (none)",
        set: |s, v| {
            s.solver.scaling = !matches!(v, "none")
                && (matches!(v, "gradient-based" | "user-scaling" | "equilibration-based") || yes(v)?);
            Ok(())
        },
    },
    Keyword {
        names: &["second_order"],
        what: "say whether the point is shown to be a minimum: yes or no (default)",
        set: |s, v| {
            s.solver.second_order = yes(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["seed"],
        what: "seed of everything random",
        set: |s, v| {
            s.solver.seed = number(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["threads"],
        what: "threads of large factorizations",
        set: |s, v| {
            s.solver.threads = number(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["time_limit", "max_cpu_time", "max_wall_time", "timelimit"],
        what: "seconds allowed",
        set: |s, v| {
            s.solver.time_limit = Some(real(v)?);
            Ok(())
        },
    },
    Keyword {
        names: &["timing"],
        what: "print seconds of reading and solving: yes or no (default)",
        set: |s, v| {
            s.timing = yes(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["tol"],
        what: "tolerance of the optimality conditions",
        set: |s, v| {
            s.solver.tolerance = real(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["version"],
        what: "print the version",
        set: |s, _| {
            s.version = true;
            Ok(())
        },
    },
    Keyword {
        names: &["wantsol"],
        what: "without -AMPL, a sum of 1: write the answer, 2: print the variables, 4: print the multipliers, 8: no message",
        set: |s, v| {
            s.wantsol = number(v)?;
            Ok(())
        },
    },
    Keyword {
        names: &["warm_start", "warm_start_init_point"],
        what: "begin with the multipliers of the model: yes or no (default)",
        set: |s, v| {
            s.warm_start = yes(v)?;
            Ok(())
        },
    },
];

fn parse<T: FromStr>(v: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    v.parse().map_err(|e: T::Err| e.to_string())
}

fn number<T: FromStr>(v: &str) -> Result<T, String> {
    v.parse().map_err(|_| "expected a whole number".to_string())
}

fn real(v: &str) -> Result<f64, String> {
    v.parse().map_err(|_| "expected a number".to_string())
}

fn yes(v: &str) -> Result<bool, String> {
    match v {
        "yes" | "1" | "on" | "true" => Ok(true),
        "no" | "0" | "off" | "false" => Ok(false),
        _ => Err("expected yes or no".into()),
    }
}

/// Without a value.
fn is_flag(name: &str) -> bool {
    name == "version"
}

impl Settings {
    /// Sets a keyword.
    ///
    /// # Errors
    /// One line for the user.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if IGNORED.contains(&name) {
            let remark = format!("the keyword {name} has no meaning here and is ignored");
            if !self.remarks.contains(&remark) {
                self.remarks.push(remark);
            }
            return Ok(());
        }
        let Some(keyword) = KEYWORDS.iter().find(|k| k.names.contains(&name)) else {
            return Err(format!("Unknown keyword \"{name}\""));
        };
        (keyword.set)(self, value).map_err(|what| format!("keyword {name}: found \"{value}\", {what}"))
    }

    /// A list of `name=value` or `name value`, separated by blanks; values may be quoted.
    ///
    /// # Errors
    /// One line for the user.
    pub fn set_list(&mut self, text: &str) -> Result<(), String> {
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(rest.len());
            let (name, more) = rest.split_at(end);
            rest = more.trim_start();
            if is_flag(name) && !rest.starts_with('=') {
                self.set(name, "")?;
                continue;
            }
            rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
            let (value, more) = value(rest);
            self.set(name, value)?;
            rest = more.trim_start();
        }
        Ok(())
    }
}

/// The value at the beginning of a text, without its quotes, and the rest.
fn value(text: &str) -> (&str, &str) {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inner = &text[1..];
        let end = inner.find(quote).unwrap_or(inner.len());
        return (&inner[..end], inner.get(end + 1..).unwrap_or_default());
    }
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

/// The keywords, one a line.
pub fn list() -> String {
    let mut text = String::new();
    for k in KEYWORDS {
        let also =
            if k.names.len() > 1 { format!(" (also {})", k.names[1..].join(", ")) } else { String::new() };
        text += &format!("{:<16} {}{also}\n", k.names[0], k.what);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_every_way_of_writing() {
        let mut s = Settings::default();
        s.set_list("tol=1e-9 max_iter 50  method = 'interior-point' linear=\"ldl\" version wantsol=3")
            .unwrap();
        assert_eq!((s.solver.tolerance, s.solver.max_iterations, s.wantsol, s.version), (1e-9, 50, 3, true));
        assert_eq!(s.solver.method, Method::InteriorPoint);
        s.set_list("print_level=5 max_cpu_time=2.5 hessian_approximation=limited-memory").unwrap();
        assert_eq!(
            (s.outlev, s.solver.time_limit, s.solver.hessian),
            (5, Some(2.5), HessianModel::LimitedMemory)
        );
        s.set_list("linear_solver=mumps linear_solver=ma27").unwrap();
        assert_eq!(s.remarks.len(), 1);
    }

    #[test]
    fn mistakes_are_one_line() {
        let mut s = Settings::default();
        assert_eq!(s.set_list("nosuch=1").unwrap_err(), "Unknown keyword \"nosuch\"");
        assert_eq!(
            s.set_list("max_iter=x").unwrap_err(),
            "keyword max_iter: found \"x\", expected a whole number"
        );
        assert!(s.set_list("presolve=maybe").unwrap_err().contains("yes or no"));
    }

    #[test]
    fn names_are_distinct_and_sorted() {
        let all: Vec<&str> = KEYWORDS.iter().flat_map(|k| k.names).chain(IGNORED).copied().collect();
        let mut distinct = all.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), all.len());
        assert!(KEYWORDS.windows(2).all(|k| k[0].names[0] < k[1].names[0]));
    }
}
