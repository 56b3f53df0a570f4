//! Quantities: `500m`, `2`, `1.5Gi`, `1e3`, exact, with Kubernetes' grammar, rounding, caps and way of printing.
//!
//! Kubernetes: `k8s.io/apimachinery/pkg/api/resource/quantity.go`. Its two representations (int64 with a scale, and
//! `inf.Dec`) are one here: a count of nanos in an `i128`. That holds every quantity that Kubernetes can tell apart up
//! to 1.7e29; beyond it we stay at that bound, where Kubernetes goes on (`1e40`).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// One unit, in nanos.
const UNIT: i128 = 1_000_000_000;
/// One thousandth, in nanos.
const MILLI: i128 = 1_000_000;
/// Binary quantities (`16Ei`) are capped at 2^63-1 units.
const MAX_BINARY: i128 = i64::MAX as i128 * UNIT;

/// How a quantity was written, which decides how it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// `k`, `M`, `m`: powers of ten, in steps of a thousand. Also what has no suffix.
    #[default]
    DecimalSI,
    /// `Ki`, `Mi`: powers of 1024.
    BinarySI,
    /// `1e3`.
    DecimalExponent,
}

/// An exact amount of something: cores, bytes, devices. Compares by value: `1000m` equals `1`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is no quantity, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// A character that cannot be there, or nothing at all.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// Letters that could be a suffix but are none: `MM`, `mi`.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Quantity = Quantity { nanos: 0, format: Format::DecimalSI };

    /// So many whole units (cores, bytes, devices).
    pub const fn from_units(units: i64, format: Format) -> Quantity {
        Quantity { nanos: units as i128 * UNIT, format }
    }

    /// So many thousandths, as CPU is counted.
    pub const fn from_milli(milli: i64) -> Quantity {
        Quantity { nanos: milli as i128 * MILLI, format: Format::DecimalSI }
    }

    /// The exact value in nanos (10^-9 units).
    pub const fn nanos(self) -> i128 {
        self.nanos
    }

    /// How it was written.
    pub const fn format(self) -> Format {
        self.format
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is less than nothing.
    pub const fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whole units, rounded away from zero; at most `i64::MAX`. Kubernetes: `Quantity.Value`.
    pub fn value_rounding_up(self) -> i64 {
        clamp(div_away_from_zero(self.nanos, UNIT))
    }

    /// Thousandths, rounded away from zero; at most `i64::MAX`. Kubernetes: `Quantity.MilliValue`, which overflows
    /// where this stays at the bound.
    pub fn milli_rounding_up(self) -> i64 {
        clamp(div_away_from_zero(self.nanos, MILLI))
    }

    /// Rounded away from zero to thousandths: what the API server's defaulting does to resource lists, so that
    /// `cpu: 0.0001` is stored as `1m` (`pkg/apis/core/v1/defaults.go`, `SetDefaults_ResourceList`).
    #[must_use]
    pub fn rounded_up_to_milli(self) -> Quantity {
        Quantity { nanos: div_away_from_zero(self.nanos, MILLI).saturating_mul(MILLI), ..self }
    }

    /// Whether it is a whole number of units, as bytes and devices must be.
    pub const fn is_whole(self) -> bool {
        self.nanos % UNIT == 0
    }

    /// Less so many nanos, in this quantity's format.
    #[must_use]
    pub fn minus_nanos(self, nanos: i128) -> Quantity {
        Quantity { nanos: self.nanos.saturating_sub(nanos), ..self }
    }

    /// The sum, in this quantity's format; stays at the bound of what we hold.
    #[must_use]
    pub fn plus(self, other: Quantity) -> Quantity {
        Quantity { nanos: self.nanos.saturating_add(other.nanos), ..self }
    }
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

fn div_away_from_zero(value: i128, by: i128) -> i128 {
    let rest = value % by;
    value / by + rest.signum()
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    /// Kubernetes keeps what its scanner lets through: `+`, `.` and a lone suffix such as `Mi` are zero.
    fn from_str(text: &str) -> Result<Quantity, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..).unwrap_or_default()),
            Some(b'+') => (false, text.get(1..).unwrap_or_default()),
            _ => (false, text),
        };
        let (whole, rest) = split_while(rest, |b| b.is_ascii_digit());
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => split_while(rest, |b| b.is_ascii_digit()),
            None => ("", rest),
        };
        let (format, scale) = parse_suffix(suffix)?;
        let mut nanos = match scale {
            Scale::Ten(exponent) => decimal(whole, fraction, exponent),
            Scale::Two(shift) => binary(whole, fraction, shift).min(MAX_BINARY),
        };
        if negative {
            nanos = -nanos;
        }
        // A binary quantity below one is shown in decimal: "this avoids rounding and hopefully confusion, too".
        let format = if format == Format::BinarySI && nanos > 0 && nanos < UNIT { Format::DecimalSI } else { format };
        Ok(Quantity { nanos, format })
    }
}

fn split_while(text: &str, keep: impl Fn(&u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|b| !keep(&b)).unwrap_or(text.len());
    text.split_at(end)
}

#[derive(Clone, Copy)]
enum Scale {
    /// Times 10 to the power of.
    Ten(i32),
    /// Times 2 to the power of; 10 to 60.
    Two(u32),
}

fn parse_suffix(suffix: &str) -> Result<(Format, Scale), QuantityError> {
    let (letters, rest) = split_while(suffix, |b| b"eEinumkKMGTP".contains(b));
    let digits = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(QuantityError::Format);
    }
    let decimal = |exponent| Ok((Format::DecimalSI, Scale::Ten(exponent)));
    let binary = |shift| Ok((Format::BinarySI, Scale::Two(shift)));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ if (letters == "e" || letters == "E") && !rest.is_empty() => {
            let exponent: i64 = rest.parse().map_err(|_| QuantityError::Suffix)?;
            // Far beyond what an i128 holds in either direction.
            Ok((Format::DecimalExponent, Scale::Ten(exponent.clamp(-10_000, 10_000) as i32)))
        }
        _ => Err(QuantityError::Suffix),
    }
}

/// `whole.fraction` times 10^exponent, in nanos, rounded up; `i128::MAX` if it is more than that.
fn decimal(whole: &str, fraction: &str, exponent: i32) -> i128 {
    let digits = || whole.bytes().chain(fraction.bytes()).map(|b| i128::from(b - b'0'));
    let count = whole.len() + fraction.len();
    let shift = i64::from(exponent) + 9 - fraction.len() as i64;
    let kept = if shift >= 0 { count } else { count.saturating_sub(shift.unsigned_abs() as usize) };
    let mut value: i128 = 0;
    for digit in digits().take(kept) {
        value = value.saturating_mul(10).saturating_add(digit);
    }
    if digits().skip(kept).any(|digit| digit != 0) {
        value = value.saturating_add(1);
    }
    for _ in 0..shift.clamp(0, 40) {
        value = value.saturating_mul(10);
    }
    value
}

/// `whole.fraction` times 2^shift, in nanos, rounded up. Digits after the 18th of the fraction only round.
fn binary(whole: &str, fraction: &str, shift: u32) -> i128 {
    let number =
        |text: &str| text.bytes().fold(0i128, |value, b| value.saturating_mul(10).saturating_add(i128::from(b - b'0')));
    let units = number(whole).saturating_mul(1 << shift).saturating_mul(UNIT);
    let kept = fraction.len().min(18);
    let (kept_digits, dropped) = fraction.split_at(kept);
    let sticky = i128::from(dropped.bytes().any(|b| b != b'0'));
    let part = (number(kept_digits) + sticky) * (1i128 << shift);
    let part = match kept {
        0..=9 => part * 10i128.pow(9 - kept as u32),
        _ => {
            let by = 10i128.pow(kept as u32 - 9);
            part / by + i128::from(part % by != 0)
        }
    };
    units.saturating_add(part)
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, no loss, the largest suffix. Kubernetes: `Quantity.CanonicalizeBytes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * UNIT;
        if self.format == Format::BinarySI && !small && self.is_whole() {
            let mut value = self.nanos / UNIT;
            let mut suffixes = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].into_iter();
            let mut suffix = "";
            while value % 1024 == 0 {
                let Some(next) = suffixes.next() else { break };
                value /= 1024;
                suffix = next;
            }
            return write!(f, "{value}{suffix}");
        }
        let mut value = self.nanos;
        let mut exponent = -9;
        // Steps of a thousand, and never past exa: there is no suffix beyond it.
        while value % 1000 == 0 && (exponent < 18 || self.format == Format::DecimalExponent) {
            value /= 1000;
            exponent += 3;
        }
        if self.format == Format::DecimalExponent {
            return match exponent {
                0 => write!(f, "{value}"),
                _ => write!(f, "{value}e{exponent}"),
            };
        }
        let suffix = match exponent {
            -9 => "n",
            -6 => "u",
            -3 => "m",
            0 => "",
            3 => "k",
            6 => "M",
            9 => "G",
            12 => "T",
            15 => "P",
            _ => "E",
        };
        write!(f, "{value}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each line: what was written, how Kubernetes prints it, its thousandths and its whole units, both rounded up.
    fn check(cases: &[(&str, &str, i64, i64)]) {
        for &(text, printed, milli, units) in cases {
            let quantity: Quantity = text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"));
            let got = (quantity.to_string(), quantity.milli_rounding_up(), quantity.value_rounding_up());
            assert_eq!(got, (printed.to_owned(), milli, units), "{text:?}");
        }
    }

    #[test]
    fn decimal_suffixes_print_in_their_largest_form() {
        check(&[
            ("0", "0", 0, 0),
            ("1", "1", 1000, 1),
            ("500m", "500m", 500, 1),
            ("1.5", "1500m", 1500, 2),
            ("1000m", "1", 1000, 1),
            ("0.5", "500m", 500, 1),
            (".5", "500m", 500, 1),
            ("5.", "5", 5000, 5),
            ("+5", "5", 5000, 5),
            ("-100m", "-100m", -100, -1),
            ("1000", "1k", 1_000_000, 1000),
            ("1k", "1k", 1_000_000, 1000),
            ("1500", "1500", 1_500_000, 1500),
            ("128M", "128M", 128_000_000_000, 128_000_000),
            ("1E", "1E", i64::MAX, 1_000_000_000_000_000_000),
            ("100u", "100u", 1, 1),
            ("1n", "1n", 1, 1),
            ("000001", "1", 1000, 1),
        ]);
    }

    #[test]
    fn binary_suffixes_stay_binary_while_nothing_is_lost() {
        check(&[
            ("1Ki", "1Ki", 1_024_000, 1024),
            ("1024", "1024", 1_024_000, 1024),
            ("1.5Gi", "1536Mi", 1_610_612_736_000, 1_610_612_736),
            ("0.5Gi", "512Mi", 536_870_912_000, 536_870_912),
            ("1024Mi", "1Gi", 1_073_741_824_000, 1_073_741_824),
            ("0.1Ki", "102400m", 102_400, 103),
            ("1.1Ki", "1126400m", 1_126_400, 1127),
            ("0.25Ki", "256", 256_000, 256),
            ("16Ei", "9223372036854775807", i64::MAX, i64::MAX),
            ("8Ei", "9223372036854775807", i64::MAX, i64::MAX),
            ("7Ei", "7Ei", i64::MAX, 8_070_450_532_247_928_832),
            ("-16Ki", "-16Ki", -16_384_000, -16_384),
        ]);
    }

    #[test]
    fn exponents_print_as_exponents() {
        check(&[
            ("1e3", "1e3", 1_000_000, 1000),
            ("1E3", "1e3", 1_000_000, 1000),
            ("1.5e3", "1500", 1_500_000, 1500),
            ("12e6", "12e6", 12_000_000_000, 12_000_000),
            ("1e-3", "1e-3", 1, 1),
            ("1e+2", "100", 100_000, 100),
        ]);
    }

    #[test]
    fn what_is_finer_than_a_nano_is_rounded_up() {
        check(&[("0.1n", "1n", 1, 1), ("1e-20", "1e-9", 1, 1), ("0.1234567890123", "123456790n", 124, 1)]);
        let tiny: Quantity = "0.0001".parse().unwrap();
        assert_eq!(tiny.rounded_up_to_milli().to_string(), "1m");
        let long: Quantity = "0.1234567890123".parse().unwrap();
        assert_eq!(long.rounded_up_to_milli().to_string(), "124m");
    }

    #[test]
    fn huge_numbers_stay_at_the_bound_instead_of_wrapping() {
        for text in ["1e40", "99999999999999999999999999999999999999999999E", "1e9999999"] {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!(quantity.value_rounding_up(), i64::MAX, "{text}");
        }
        assert_eq!("1e99999999999999999999".parse::<Quantity>(), Err(QuantityError::Suffix));
    }

    #[test]
    fn kubernetes_scanner_lets_a_lone_suffix_through_as_zero() {
        check(&[("Mi", "0", 0, 0), ("+", "0", 0, 0), (".", "0", 0, 0), ("m", "0", 0, 0)]);
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", " ", "1 Gi", "128MB", "true", "abc", "1_000", "0x10", "1,5", "1..5", "1Gi ", "１"] {
            assert_eq!(text.parse::<Quantity>(), Err(QuantityError::Format), "{text:?}");
        }
        for text in ["1MM", "1mi", "1ki", "1K", "1e", "1g", "1i", "1Gi5", "1m3"] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn quantities_compare_by_value() {
        let read = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!(read("1000m"), read("1"));
        assert_eq!(read("1024Ki"), read("1Mi"));
        assert!(read("128M") < read("128Mi"));
        assert!(read("-1") < Quantity::ZERO);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back_with_the_same_value(nanos in any::<i64>(), format in 0..3usize) {
            let format = [Format::DecimalSI, Format::BinarySI, Format::DecimalExponent][format];
            for unit in [1, MILLI, UNIT] {
                let quantity = Quantity { nanos: i128::from(nanos) * unit, format };
                let printed = quantity.to_string();
                prop_assert_eq!(printed.parse::<Quantity>().unwrap(), quantity, "{}", printed);
            }
        }

        #[test]
        fn any_text_is_a_quantity_or_an_error(text in "\\PC*") {
            let _ = text.parse::<Quantity>();
        }
    }
}
