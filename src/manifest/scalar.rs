//! What a plain YAML scalar is for kubectl: YAML 1.1 as `sigs.k8s.io/yaml` reads it, not YAML 1.2.
//!
//! Kubernetes: `sigs.k8s.io/yaml/goyaml.v2/resolve.go`. `y`, `no`, `On` are booleans; `0644` and `0o644` are octal;
//! `8_080` is 8080; `08` is the number 8 and `1e3` is 1000; base 60 and dates are strings.

use super::tree::Value;

/// What a plain (unquoted, untagged) scalar is; `None` if it is a string.
pub(super) fn resolve(text: &str) -> Option<Value<'static>> {
    let first = *text.as_bytes().first().unwrap_or(&b'~');
    match first {
        b'~' | b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' => word(text),
        b'.' => point(text),
        b'+' | b'-' | b'0'..=b'9' => number(text),
        _ => None,
    }
}

fn word(text: &str) -> Option<Value<'static>> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(Value::Bool(true)),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(Value::Bool(false))
        }
        _ => None,
    }
}

fn point(text: &str) -> Option<Value<'static>> {
    match text {
        ".nan" | ".NaN" | ".NAN" => Some(Value::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" => Some(Value::Float(f64::INFINITY)),
        _ if is_float(text) => float(text),
        _ => None,
    }
}

fn number(text: &str) -> Option<Value<'static>> {
    match text {
        "+.inf" | "+.Inf" | "+.INF" => return Some(Value::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => return Some(Value::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    let without: String;
    let plain = if text.contains('_') {
        without = text.replace('_', "");
        &without
    } else {
        text
    };
    if let Some(value) = integer(plain) {
        return Some(value);
    }
    if is_float(plain) { float(plain) } else { None }
}

/// What does not fit is no float for Go, and so a string.
fn float(text: &str) -> Option<Value<'static>> {
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Float)
}

/// Go's `strconv.ParseInt(text, 0, 64)`, then `ParseUint`: the prefix names the base.
fn integer(text: &str) -> Option<Value<'static>> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let lower = |prefix: &str, other: &str| digits.strip_prefix(prefix).or_else(|| digits.strip_prefix(other));
    let (base, digits) = if let Some(rest) = lower("0x", "0X") {
        (16, rest)
    } else if let Some(rest) = lower("0b", "0B") {
        (2, rest)
    } else if let Some(rest) = lower("0o", "0O") {
        (8, rest)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, digits.get(1..)?)
    } else {
        (10, digits)
    };
    // A sign after the prefix is no number, although `from_str_radix` would take it.
    if !digits.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(digits, base).ok()?);
    let value = if negative { -magnitude } else { magnitude };
    match i64::try_from(value) {
        Ok(value) => Some(Value::Int(value)),
        Err(_) if value > 0 => Some(Value::Float(value as f64)),
        Err(_) => None,
    }
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn is_float(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(rest);
    let mut rest = rest.get(whole..).unwrap_or_default();
    if let Some(after) = rest.strip_prefix('.') {
        let fraction = digits(after);
        if whole == 0 && fraction == 0 {
            return false;
        }
        rest = after.get(fraction..).unwrap_or_default();
    } else if whole == 0 {
        return false;
    }
    match rest.strip_prefix(['e', 'E']) {
        Some(exponent) => {
            let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        None => rest.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cases: &[(&str, Option<Value<'static>>)]) {
        for (text, want) in cases {
            assert_eq!(resolve(text), *want, "{text:?}");
        }
    }

    #[test]
    fn words_of_yaml_1_1_are_booleans_and_null() {
        let (yes, no, null) = (Some(Value::Bool(true)), Some(Value::Bool(false)), Some(Value::Null));
        for text in ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"] {
            check(&[(text, yes.clone())]);
        }
        for text in ["n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"] {
            check(&[(text, no.clone())]);
        }
        for text in ["", "~", "null", "Null", "NULL"] {
            check(&[(text, null.clone())]);
        }
        for text in ["yEs", "nO", "nULL", "oN", "nginx", "tRUE", "yes please"] {
            check(&[(text, None)]);
        }
    }

    #[test]
    fn integers_have_gos_bases_and_underscores() {
        for (text, value) in [
            ("0", 0),
            ("8080", 8080),
            ("-1", -1),
            ("+1", 1),
            ("0644", 420),
            ("0o644", 420),
            ("0x1F90", 8080),
            ("-0x10", -16),
            ("0b101", 5),
            ("8_080", 8080),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            check(&[(text, Some(Value::Int(value)))]);
        }
    }

    #[test]
    fn floats_include_bad_octals_and_integers_that_do_not_fit() {
        for (text, value) in [
            ("08", 8.0),
            ("1.10", 1.1),
            ("1e3", 1000.0),
            ("1234e56", 1234e56),
            (".5", 0.5),
            ("3.", 3.0),
            ("-1.5e-3", -0.0015),
        ] {
            check(&[(text, Some(Value::Float(value)))]);
        }
        check(&[("99999999999999999999", Some(Value::Float(1e20)))]);
        check(&[("18446744073709551615", Some(Value::Float(18446744073709551615.0)))]);
    }

    #[test]
    fn everything_else_is_a_string() {
        for text in [
            "22:30:00",
            "1e400",
            "2001-01-01",
            "1.2.3",
            "500m",
            "1Gi",
            "0x",
            "0xg",
            "-",
            "+",
            ".",
            "1e",
            "0b2",
            "--1",
            "0x+1",
            "10.0.0.1",
        ] {
            check(&[(text, None)]);
        }
    }
}
