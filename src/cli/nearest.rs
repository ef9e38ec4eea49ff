//! The known name closest to one that is not known.

/// The name with the fewest changes from `found`, if they are few.
pub fn nearest<'a>(found: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (d, name) = names.map(|n| (distance(found, n), n)).min()?;
    (d <= 1 + found.len() / 3).then_some(name)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let up = row[j + 1];
            row[j + 1] = (corner + (x != *y) as usize).min(up + 1).min(row[j] + 1);
            corner = up;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_changes() {
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("same", "same")), (3, 3, 0));
        let names = || ["wide_deep", "gbnn", "opposing"].into_iter();
        assert_eq!(nearest("wide-deep", names()), Some("wide_deep"));
        assert_eq!(nearest("gbn", names()), Some("gbnn"));
        assert_eq!(nearest("qqqqqq", names()), None);
    }
}
