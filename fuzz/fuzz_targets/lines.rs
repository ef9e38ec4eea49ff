//! Changes of texts line by line.

/// Numbers below a limit, from a seed.
pub fn dice(seed: u32) -> impl FnMut(usize) -> usize {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |n| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % n.max(1)
    }
}

/// A change within the lines, at two of them.
pub type Within<'a> = dyn FnMut(&mut [Vec<u8>], (usize, usize), &mut dyn FnMut(usize) -> usize) + 'a;

/// A few changes: lines deleted, repeated, swapped, or changed by `within`; the new size.
pub fn change(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    below: &mut dyn FnMut(usize) -> usize,
    within: &mut Within<'_>,
) -> usize {
    let mut lines: Vec<Vec<u8>> = data[..size].split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
    for _ in 0..=below(3) {
        let (i, j) = (below(lines.len()), below(lines.len()));
        match below(6) {
            0 if lines.len() > 1 => drop(lines.remove(i)),
            1 => lines.insert(i, lines[j].clone()),
            2 => lines.swap(i, j),
            _ => within(&mut lines, (i, j), below),
        }
    }
    let text = lines.join(&b'\n');
    let size = text.len().min(max_size);
    data[..size].copy_from_slice(&text[..size]);
    size
}
