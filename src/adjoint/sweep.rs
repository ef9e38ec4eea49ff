//! The order in which steps are computed again and transposed, whatever the method.

use super::tape::{Memory, Tape, split};
use crate::linalg::Scalar;

/// Steps that can be computed again from their start and transposed.
pub(crate) trait Steps<T: Scalar> {
    /// The state from which the next step is computed.
    fn state(&mut self) -> &mut [T];
    /// `state` from the start of step a to the start of step b > a.
    fn advance(&mut self, tape: &Tape<T>, a: usize, b: usize);
    /// Transposes step j, whose start is in `state`.
    fn reverse(&mut self, tape: &mut Tape<T>, j: usize);
}

/// Transposes all steps of the tape, the last one first. Under the policies that drop states the tape is used up.
pub(crate) fn sweep<T: Scalar>(tape: &mut Tape<T>, steps: &mut impl Steps<T>) {
    let mut end = tape.len();
    if matches!(tape.memory(), Memory::Stages | Memory::States) {
        for j in (0..end).rev() {
            steps.state().copy_from_slice(&tape.slots[tape.held[j].1]);
            steps.reverse(tape, j);
        }
        return;
    }
    while let Some((a, slot)) = tape.held.pop() {
        let spare = tape.spare();
        segment(tape, steps, (a, end), slot, spare);
        tape.free.push(slot);
        end = a;
    }
}

/// Steps a..b, y_a in `slot`, with `spare` slots left.
fn segment<T: Scalar>(
    tape: &mut Tape<T>,
    steps: &mut impl Steps<T>,
    (a, b): (usize, usize),
    slot: usize,
    spare: usize,
) {
    if b - a == 1 || spare == 0 {
        for j in (a..b).rev() {
            steps.state().copy_from_slice(&tape.slots[slot]);
            if j > a {
                steps.advance(tape, a, j);
            }
            steps.reverse(tape, j);
        }
        return;
    }
    let m = a + split(b - a, spare + 1);
    steps.state().copy_from_slice(&tape.slots[slot]);
    steps.advance(tape, a, m);
    let middle = tape.take_slot();
    tape.slots[middle].copy_from_slice(steps.state());
    segment(tape, steps, (m, b), middle, spare - 1);
    tape.free.push(middle);
    segment(tape, steps, (a, m), slot, spare);
}

/// Save points inside step j: (theta, index).
pub(crate) fn find_saves<T: Scalar>(tape: &Tape<T>, times: &[T], j: usize, saves: &mut Vec<(T, usize)>) {
    let ((t, h), end) = (tape.step(j), tape.t_next[j]);
    saves.clear();
    let forward = h > T::ZERO;
    let first = times.partition_point(|&x| if forward { x <= t } else { x >= t });
    for (i, &x) in times.iter().enumerate().skip(first) {
        if (forward && x > end) || (!forward && x < end) {
            break;
        }
        saves.push((if x == end { T::ONE } else { (x - t) / h }, i));
    }
}
