//! Maps that hand on to a map inside them.

use super::map::{At, BarsMut, Dots, Kept, Map, Offers, Preconditioner, Structure};
use super::{Size, Spec, Work};
use crate::linalg::Scalar;

/// Hands the named methods on to a field that is a map.
macro_rules! forward_map {
    ($to:ident: $($name:ident)*) => { $(forward_map!(@$name $to);)* };
    (@size $to:ident) => {
        #[inline(always)]
        fn size(&self) -> Size {
            self.$to.size()
        }
    };
    (@value $to:ident) => {
        #[inline(always)]
        fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
            self.$to.value(at, y);
        }
        #[inline(always)]
        fn value_one(&mut self, at: At<'_, T>, y: &mut [T]) {
            self.$to.value_one(at, y);
        }
    };
    (@spec $to:ident) => {
        fn spec(&self) -> Spec {
            self.$to.spec()
        }
    };
    (@forward $to:ident) => {
        fn keep_len(&self, batch: usize) -> usize {
            self.$to.keep_len(batch)
        }
        #[inline(always)]
        fn forward(&mut self, at: At<'_, T>, y: &mut [T], keep: &mut [T]) {
            self.$to.forward(at, y, keep);
        }
    };
    (@vjp $to:ident) => {
        #[inline(always)]
        fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
            self.$to.vjp(at, of, w, bars);
        }
        fn vjp_each(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
            self.$to.vjp_each(at, of, w, bars);
        }
        fn gram(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], gram: &mut [f64]) {
            self.$to.gram(at, of, w, gram);
        }
        fn layer_inputs(&mut self, at: At<'_, T>, of: Kept<'_, T>, start: usize, layers: &mut Vec<$crate::diff::LayerInputs<T>>) -> bool {
            self.$to.layer_inputs(at, of, start, layers)
        }
    };
    (@jvp $to:ident) => {
        #[inline(always)]
        fn jvp(&mut self, at: At<'_, T>, of: Kept<'_, T>, dots: Dots<'_, T>, y_dot: &mut [T], keep_dot: &mut [T]) {
            self.$to.jvp(at, of, dots, y_dot, keep_dot);
        }
    };
    (@tangent $to:ident) => {
        fn vjp_tangent(
            &mut self,
            at: At<'_, T>,
            of: Kept<'_, T>,
            dots: Dots<'_, T>,
            dot: Kept<'_, T>,
            w: &[T],
            w_dot: &[T],
            bars: BarsMut<'_, T>,
        ) {
            self.$to.vjp_tangent(at, of, dots, dot, w, w_dot, bars);
        }
    };
    (@jacobian $to:ident) => {
        fn structure(&self) -> &Structure {
            self.$to.structure()
        }
        fn preconditioner(&self) -> crate::diff::Preconditioner<'_> {
            self.$to.preconditioner()
        }
        fn precondition(&mut self, at: At<'_, T>, h_gamma: T, v: &mut [T], transposed: bool) {
            self.$to.precondition(at, h_gamma, v, transposed);
        }
        fn near_jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) -> crate::diff::Work {
            self.$to.near_jacobian(at, jac)
        }
        #[inline(always)]
        fn jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) {
            self.$to.jacobian(at, jac);
        }
    };
    (@time_derivative $to:ident) => {
        #[inline(always)]
        fn time_derivative(&mut self, at: At<'_, T>, dt: &mut [T]) {
            self.$to.time_derivative(at, dt);
        }
    };
    (@offers $to:ident) => {
        #[inline(always)]
        fn offers(&self) -> Offers {
            self.$to.offers()
        }
    };
}
pub(crate) use forward_map;

/// A map behind a pointer is that map.
macro_rules! pointer_map {
    ($($pointer:ty),*) => { $(
        impl<T: Scalar, M: Map<T> + ?Sized> Map<T> for $pointer {
            #[inline(always)]
            fn size(&self) -> Size {
                (**self).size()
            }
            #[inline(always)]
            fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
                (**self).value(at, y);
            }
            #[inline(always)]
            fn value_one(&mut self, at: At<'_, T>, y: &mut [T]) {
                (**self).value_one(at, y);
            }
            #[inline(always)]
            fn offers(&self) -> Offers {
                (**self).offers()
            }
            fn spec(&self) -> Spec {
                (**self).spec()
            }
            fn keep_len(&self, batch: usize) -> usize {
                (**self).keep_len(batch)
            }
            #[inline(always)]
            fn forward(&mut self, at: At<'_, T>, y: &mut [T], keep: &mut [T]) {
                (**self).forward(at, y, keep);
            }
            #[inline(always)]
            fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
                (**self).vjp(at, of, w, bars);
            }
            fn vjp_each(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
                (**self).vjp_each(at, of, w, bars);
            }
            fn gram(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], gram: &mut [f64]) {
                (**self).gram(at, of, w, gram);
            }
            fn layer_inputs(&mut self, at: At<'_, T>, of: Kept<'_, T>, start: usize, layers: &mut Vec<$crate::diff::LayerInputs<T>>) -> bool {
                (**self).layer_inputs(at, of, start, layers)
            }
            fn jvp(&mut self, at: At<'_, T>, of: Kept<'_, T>, dots: Dots<'_, T>, y_dot: &mut [T], keep_dot: &mut [T]) {
                (**self).jvp(at, of, dots, y_dot, keep_dot);
            }
            fn vjp_tangent(
                &mut self,
                at: At<'_, T>,
                of: Kept<'_, T>,
                dots: Dots<'_, T>,
                dot: Kept<'_, T>,
                w: &[T],
                w_dot: &[T],
                bars: BarsMut<'_, T>,
            ) {
                (**self).vjp_tangent(at, of, dots, dot, w, w_dot, bars);
            }
            fn structure(&self) -> &Structure {
                (**self).structure()
            }
            fn preconditioner(&self) -> Preconditioner<'_> {
                (**self).preconditioner()
            }
            fn precondition(&mut self, at: At<'_, T>, h_gamma: T, v: &mut [T], transposed: bool) {
                (**self).precondition(at, h_gamma, v, transposed);
            }
            fn near_jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) -> Work {
                (**self).near_jacobian(at, jac)
            }
            #[inline(always)]
            fn directions(&self) -> usize {
                (**self).directions()
            }
            fn integrals(&self) -> usize {
                (**self).integrals()
            }
            #[inline(always)]
            fn jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) {
                (**self).jacobian(at, jac);
            }
            #[inline(always)]
            fn time_derivative(&mut self, at: At<'_, T>, dt: &mut [T]) {
                (**self).time_derivative(at, dt);
            }
        }
    )* };
}
pointer_map!(&mut M, Box<M>);
