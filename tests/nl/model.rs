//! Texts of models, written here from their mathematics.

/// A header of ten lines for a text.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    pub n: usize,
    pub rows: usize,
    pub objectives: usize,
    pub functions: usize,
    pub defined: usize,
    /// Line 7.
    pub integers: &'static str,
}

impl Default for Text {
    fn default() -> Self {
        Self { n: 1, rows: 0, objectives: 1, functions: 0, defined: 0, integers: "0 0 0 0 0" }
    }
}

impl Text {
    /// With these segments.
    pub fn with(&self, segments: &str) -> String {
        let Self { n, rows, objectives, functions, defined, integers } = *self;
        format!(
            "g3 1 1 0\n {n} {rows} {objectives} 0 0\n {rows} {objectives}\n 0 0\n {n} {n} {n}\n 0 {functions} 0 1\n {integers}\n \
             0 0\n 0 0\n {defined} 0 0 0 0\n{segments}"
        )
    }
}

/// Hock and Schittkowski, problem 71: min x1 x4 (x1 + x2 + x3) + x3, x1 x2 x3 x4 >= 25, |x|^2 = 40, 1 <= x <= 5.
pub const HS71: &str = "g3 1 1 0\t# problem hs71\n 4 2 1 0 1\n 2 1\n 0 0\n 4 4 4\n 0 0 0 1\n 0 0 0 0 0\n 8 4\n 0 0\n 0 0 0 0 0\n\
    C0\no2\nv0\no2\nv1\no2\nv2\nv3\nC1\no54\n4\no5\nv0\nn2\no5\nv1\nn2\no5\nv2\nn2\no5\nv3\nn2\n\
    O0 0\no0\no2\no2\nv0\nv3\no54\n3\nv0\nv1\nv2\nv2\n\
    x4\n0 1\n1 5\n2 5\n3 1\nr\n2 25\n4 40\nb\n0 1 5\n0 1 5\n0 1 5\n0 1 5\nk3\n2\n4\n6\n\
    J0 4\n0 0\n1 0\n2 0\n3 0\nJ1 4\n0 0\n1 0\n2 0\n3 0\nG0 4\n0 0\n1 0\n2 0\n3 0\n";
