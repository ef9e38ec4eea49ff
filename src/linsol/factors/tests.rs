use super::conformance::{Demands, check};
use super::*;

/// Both precisions of one kind.
fn conform(
    demands: &Demands,
    of_f64: &(dyn Fn() -> Box<dyn Factors<f64>> + Sync),
    of_f32: &(dyn Fn() -> Box<dyn Factors<f32>> + Sync),
) {
    assert_eq!(check::<f64>(of_f64, demands), Ok(()));
    assert_eq!(check::<f32>(of_f32, demands), Ok(()));
}

#[test]
fn dense_lu_conforms() {
    let demands = Demands::default();
    conform(&demands, &|| Box::new(DenseLu::new()), &|| Box::new(DenseLu::new()));
    // faer's kernels on every size, own kernels on every size.
    conform(&demands, &|| Box::new(DenseLu::blocked_above(0)), &|| Box::new(DenseLu::blocked_above(0)));
    conform(&demands, &|| Box::new(DenseLu::blocked_above(usize::MAX)), &|| {
        Box::new(DenseLu::blocked_above(usize::MAX))
    });
}

#[test]
fn band_lu_conforms() {
    conform(&Demands::default(), &|| Box::new(BandLu::new()), &|| Box::new(BandLu::new()));
}
