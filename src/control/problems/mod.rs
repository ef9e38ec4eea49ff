//! Problems with published optima: one file each, one row here.

mod alp_rider;
mod brachistochrone;
mod bryson_denham;
mod catalyst_mixing;
mod free_flying_robot;
mod goddard_rocket;
mod hang_glider;
mod lap_time;
mod particle_steering;
mod robot_arm;
mod rocket_car;
mod shuttle_reentry;
mod van_der_pol;

pub use lap_time::lap_time;

use super::problem::Problem;
use super::tableau::Scheme;

/// A problem with its published optimum.
#[derive(Debug, Clone, Copy)]
pub struct Benchmark {
    /// Name on the command line.
    pub name: &'static str,
    /// Makes the problem.
    pub problem: fn() -> Problem,
    /// The published value.
    pub published: f64,
    /// Where the value is from.
    pub source: &'static str,
    /// Scheme and intervals of the first mesh.
    pub start: (Scheme, usize),
    /// Wanted error of each interval for the value in the table.
    pub tolerance: f64,
}

macro_rules! rows {
    ($($module:ident $published:expr, $scheme:expr, $intervals:literal, $tolerance:literal, $source:literal;)*) => {
        /// All of them.
        pub const ALL: &[Benchmark] = &[$(Benchmark {
            name: stringify!($module),
            problem: $module::$module,
            published: $published,
            source: $source,
            start: ($scheme, $intervals),
            tolerance: $tolerance,
        }),*];
    };
}

/// 3.14159... / 32.174, as the value is its root.
const CYCLOID: f64 = 0.312_480_131_137_073_5;

rows! {
    alp_rider 2030.85609, Scheme::Radau(3), 100, 1e-7, "J. T. Betts, Practical Methods for Optimal Control, 3rd edition, example 10.1";
    brachistochrone CYCLOID, Scheme::Radau(3), 20, 1e-8, "exact: sqrt(pi / g), A. E. Bryson and Y.-C. Ho, Applied Optimal Control, section 2.7";
    bryson_denham 4.0, Scheme::Radau(3), 60, 1e-7, "exact: 4 / (9 l), Bryson and Ho, section 3.11";
    catalyst_mixing -0.048_055_6, Scheme::Radau(3), 50, 1e-8, "E. Dolan, J. More, T. Munson, COPS 3.0, ANL/MCS-TM-273, section 14";
    free_flying_robot 7.910_154_71, Scheme::Radau(3), 60, 1e-7, "Betts, 3rd edition, section 6.13; Y. Sakawa (1999)";
    goddard_rocket 1.012_837, Scheme::Radau(3), 50, 1e-7, "COPS 3.0, section 10";
    hang_glider 1_248.031_03, Scheme::Radau(3), 50, 1e-7, "Betts, 3rd edition, example 10.54; R. Bulirsch et al. (1993); COPS 3.0, section 11";
    particle_steering 0.554_570_88, Scheme::Radau(3), 30, 1e-8, "Bryson and Ho, section 2.4; COPS 3.0, section 9";
    robot_arm 9.140_936_2, Scheme::Radau(3), 50, 1e-7, "Betts, 3rd edition, chapter 10; COPS 3.0, section 8";
    rocket_car 30.0, Scheme::Radau(3), 40, 1e-8, "exact: sqrt(2 d (a + b) / (a b))";
    shuttle_reentry 34.141_2, Scheme::Radau(3), 50, 1e-8, "Betts, 2nd edition, section 6.1, without the limit of heating";
    van_der_pol 2.953_699_16, Scheme::Radau(3), 50, 1e-8, "Betts, 3rd edition, examples 4.11 and 10.144";
}

/// The problem of this name.
pub fn find(name: &str) -> Option<&'static Benchmark> {
    ALL.iter().find(|b| b.name == name)
}
