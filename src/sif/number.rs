//! Numbers in twelve columns, as Fortran reads them.

use super::card::latin1;

/// A real number: blanks anywhere, `5`, `.5`, `1.D+3`, bare signed exponents; blank is 0.
pub(crate) fn real(field: &[u8]) -> Result<f64, String> {
    let mut text = [0u8; 64];
    let mut len = 0;
    let mut digits = 0;
    let mut point = false;
    let mut exponent = None;
    let bad = || format!("malformed number {}, expected for example -1.5, 2 or 1.0D-3", shown(field));
    for &byte in field.iter().filter(|&&b| b != b' ') {
        if len + 2 > text.len() {
            return Err(bad());
        }
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                if let Some(count) = exponent.as_mut() {
                    *count += 1;
                }
            }
            b'+' | b'-' if len == 0 => {}
            // Right after the letter, or a bare signed exponent.
            b'+' | b'-' if exponent == Some(0) && text[len - 1] == b'e' => {}
            b'+' | b'-' if exponent.is_none() && digits > 0 => {
                exponent = Some(0);
                text[len] = b'e';
                len += 1;
            }
            b'.' if !point && exponent.is_none() => point = true,
            b'e' | b'E' | b'd' | b'D' if exponent.is_none() && digits > 0 => {
                exponent = Some(0);
                text[len] = b'e';
                len += 1;
                continue;
            }
            _ => return Err(bad()),
        }
        text[len] = byte;
        len += 1;
    }
    if len == 0 {
        return Ok(0.0);
    }
    if digits == 0 || exponent == Some(0) {
        return Err(bad());
    }
    let value: f64 = std::str::from_utf8(&text[..len]).ok().and_then(|t| t.parse().ok()).ok_or_else(bad)?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(format!("number {} is too large for double precision", shown(field)))
    }
}

/// An integer: signed digits, blanks anywhere; blank is 0.
pub(crate) fn integer(field: &[u8]) -> Result<i32, String> {
    let bad = || format!("malformed integer {}, expected digits with an optional sign", shown(field));
    let (mut value, mut negative, mut digits, mut seen) = (0i64, false, 0, false);
    for &byte in field.iter().filter(|&&b| b != b' ') {
        match byte {
            b'0'..=b'9' => {
                value = (value * 10 + (byte - b'0') as i64).min(1 << 40);
                digits += 1;
            }
            b'+' | b'-' if !seen => negative = byte == b'-',
            _ => return Err(bad()),
        }
        seen = true;
    }
    if seen && digits == 0 {
        return Err(bad());
    }
    let value = if negative { -value } else { value };
    i32::try_from(value).map_err(|_| format!("integer {} needs more than 32 bits", shown(field)))
}

fn shown(field: &[u8]) -> String {
    format!("`{}`", latin1(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reals() {
        for (text, value) in [
            ("", 0.0),
            ("      ", 0.0),
            ("5", 5.0),
            (" 5. ", 5.0),
            ("-.5", -0.5),
            ("- 1.0", -1.0),
            ("1.154+04", 11540.0),
            ("1-2", 0.01),
            ("1.5d2", 150.0),
            ("1.5E+2", 150.0),
            ("+1.5D-02", 0.015),
            ("1 000.0 D 1", 10000.0),
            ("0.1", 0.1),
        ] {
            assert_eq!(real(text.as_bytes()), Ok(value), "{text}");
        }
        for text in [
            "x", "1.0.0", ".", "+", "1e", "1.0E+", "e5", "--1", "1e5+3", "1e+-3", "1E400", "inf", "nan",
            "1,5", "$ 3",
        ] {
            assert!(real(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(
            real(b"1.0x        ").unwrap_err(),
            "malformed number `1.0x        `, expected for example -1.5, 2 or 1.0D-3"
        );
        assert!(real(&[b'1'; 100]).is_err());
    }

    #[test]
    fn integers() {
        for (text, value) in
            [("", 0), ("12", 12), (" - 3 ", -3), ("+7", 7), ("1 0", 10), ("2147483647", i32::MAX)]
        {
            assert_eq!(integer(text.as_bytes()), Ok(value), "{text}");
        }
        for text in ["1.0", "x", "-", "1-", "2147483648", "99999999999999999999"] {
            assert!(integer(text.as_bytes()).is_err(), "{text}");
        }
    }
}
