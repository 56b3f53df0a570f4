//! When a CronJob is due: the five-field grammar of robfig/cron, in a time zone.
//!
//! Kubernetes: vendor/github.com/robfig/cron/v3 (parser.go, spec.go). A time that a change of the clocks skips is taken at
//! the moment that the zone's rules give it, one that comes twice is taken the first time.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::kernel::Duration;

/// A parsed schedule.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    Fields(Box<Fields>),
    /// `@every 90s`, in seconds.
    Every(i64),
}

/// Which values of each field match, as bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Day of month or day of week is `*`: then both must match, else one of them.
    any_day: bool,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Reads a schedule; the error says what is wrong with it.
pub fn parse(text: &str) -> Result<Schedule, String> {
    let text = text.trim();
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => other,
    };
    if let Some(every) = fields.strip_prefix("@every ") {
        let every = Duration::parse_go(every).ok_or_else(|| format!("failed to parse duration {text}"))?;
        return Ok(Schedule::Every((every.as_secs() as i64).max(1)));
    }
    if fields.starts_with('@') {
        return Err(format!("unrecognized descriptor: {text}"));
    }
    let parts: Vec<&str> = fields.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = parts[..] else {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
    };
    let (days, any_day) = field(day, 1, 31, &[])?;
    let (weekdays, any_weekday) = field(weekday, 0, 6, &WEEKDAYS)?;
    Ok(Schedule::Fields(Box::new(Fields {
        minutes: field(minute, 0, 59, &[])?.0,
        hours: field(hour, 0, 23, &[])?.0,
        days,
        months: field(month, 1, 12, &MONTHS)?.0,
        weekdays,
        any_day: any_day || any_weekday,
    })))
}

/// The bits of one field, and whether it is a plain `*`.
fn field(text: &str, low: u32, high: u32, names: &[&str]) -> Result<(u64, bool), String> {
    let (mut bits, mut star) = (0, false);
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let value = |word: &str| {
            let named = names.iter().position(|name| word.eq_ignore_ascii_case(name));
            let number = named.map(|at| at as u32 + low).or_else(|| word.parse().ok());
            number.ok_or_else(|| format!("failed to parse int from {word}"))
        };
        let (first, mut last) = match range {
            "*" | "?" => (low, high),
            _ => match range.split_once('-') {
                Some((first, last)) => (value(first)?, value(last)?),
                None => (value(range)?, value(range)?),
            },
        };
        let step_by = match step {
            Some(step) => step.parse::<u32>().map_err(|_| format!("failed to parse int from {step}"))?,
            None => 1,
        };
        if step_by == 0 {
            return Err(format!("step of range should be a positive number: {part}"));
        }
        // `5/15` means `5-59/15`.
        if step.is_some() && !range.contains(['-', '*', '?']) {
            last = high;
        }
        if first < low || last > high {
            return Err(format!("value out of range ({low} - {high}): {part}"));
        }
        if first > last {
            return Err(format!("beginning of range ({first}) beyond end of range ({last}): {part}"));
        }
        star |= matches!(range, "*" | "?") && step_by == 1;
        bits |= (first..=last).step_by(step_by as usize).map(|value| 1u64 << value).sum::<u64>();
    }
    Ok((bits, star))
}

impl Schedule {
    /// The first moment after `unix` at which the schedule is due, both in seconds since 1970; None if there is none
    /// within five years.
    pub fn next(&self, unix: i64, zone: &TimeZone) -> Option<i64> {
        let fields = match self {
            Schedule::Every(seconds) => return Some(unix + seconds),
            Schedule::Fields(fields) => fields,
        };
        let start = Timestamp::from_second(unix).ok()?.to_zoned(zone.clone());
        let mut date = start.date();
        for _ in 0..5 * 366 {
            if fields.matches_day(date) {
                for hour in (0..24).filter(|hour| fields.hours & 1 << hour != 0) {
                    for minute in (0..60).filter(|minute| fields.minutes & 1 << minute != 0) {
                        let due = date.at(hour, minute, 0, 0).to_zoned(zone.clone()).ok()?.timestamp().as_second();
                        if due > unix {
                            return Some(due);
                        }
                    }
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }
}

impl Fields {
    fn matches_day(&self, date: Date) -> bool {
        if self.months & 1 << date.month() == 0 {
            return false;
        }
        let day = self.days & 1 << date.day() != 0;
        let weekday = self.weekdays & 1 << date.weekday().to_sunday_zero_offset() != 0;
        if self.any_day { day && weekday } else { day || weekday }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next times after one, in a zone, as text.
    fn check(schedule: &str, zone: &str, after: &str, expected: &[&str]) {
        let schedule = parse(schedule).expect("it is a schedule");
        let zone = TimeZone::get(zone).expect("it is a zone");
        let mut unix = after.parse::<Timestamp>().expect("it is a time").as_second();
        for expected in expected {
            unix = schedule.next(unix, &zone).expect("there is a next time");
            assert_eq!(Timestamp::from_second(unix).expect("it is in range").to_string(), *expected);
        }
    }

    #[test]
    fn schedules_give_the_times_that_robfig_cron_gives() {
        check("* * * * *", "UTC", "2026-01-01T00:00:00Z", &["2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"]);
        check("*/20 8-9 * * mon", "UTC", "2026-01-01T00:00:00Z", &["2026-01-05T08:00:00Z", "2026-01-05T08:20:00Z"]);
        check("5/25 0 * * *", "UTC", "2026-01-01T00:10:00Z", &["2026-01-01T00:30:00Z", "2026-01-01T00:55:00Z"]);
        // Both days are given: one of them is enough.
        check(
            "0 0 13 * fri",
            "UTC",
            "2026-01-01T00:00:00Z",
            &["2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z"],
        );
        check("@monthly", "Europe/Berlin", "2026-06-15T00:00:00Z", &["2026-06-30T22:00:00Z"]);
        check("@every 90s", "UTC", "2026-01-01T00:00:00Z", &["2026-01-01T00:01:30Z"]);
        check("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z"]);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for wrong in ["", "* * * *", "60 * * * *", "* * * * 7", "*/0 * * * *", "5-1 * * * *", "a * * * *", "@often"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
