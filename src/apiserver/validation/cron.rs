//! Whether a CronJob's schedule can be read. What it means is the CronJob controller's.
//!
//! Kubernetes: vendor/github.com/robfig/cron/v3/parser.go (ParseStandard), whose words are kept.

/// The fields: least, greatest, and names that stand for numbers from the least on.
const FIELDS: [(u32, u32, &[&str]); 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// What is wrong with `schedule`.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    let schedule = match schedule.strip_prefix("TZ=").or_else(|| schedule.strip_prefix("CRON_TZ=")) {
        Some(rest) => rest.split_once(' ').map_or("", |(_, fields)| fields.trim()),
        None => schedule,
    };
    if let Some(word) = schedule.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"].contains(&word);
        let every = word.strip_prefix("every ");
        return match every {
            _ if known => Ok(()),
            Some(length) if crate::kernel::Duration::parse_go(length).is_some() => Ok(()),
            Some(_) => Err(format!("failed to parse duration {schedule}")),
            None => Err(format!("unrecognized descriptor: {schedule}")),
        };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    for (field, bounds) in fields.iter().zip(FIELDS) {
        for part in field.split(',').filter(|part| !part.is_empty()) {
            range(part, bounds)?;
        }
    }
    Ok(())
}

/// `*`, `5`, `1-5`, each with `/step`.
fn range(text: &str, (least, greatest, words): (u32, u32, &[&str])) -> Result<(), String> {
    let mut halves = text.split('/');
    let (of, step, more) = (halves.next().unwrap_or(""), halves.next(), halves.next());
    let mut ends = of.split('-');
    let (begin, end, more_ends) = (ends.next().unwrap_or(""), ends.next(), ends.next());
    let all = begin == "*" || begin == "?";
    let (begin, end) = if all {
        (least, greatest)
    } else {
        if more_ends.is_some() {
            return Err(format!("too many hyphens: {text}"));
        }
        let begin = number(begin, least, words)?;
        match end {
            Some(end) => (begin, number(end, least, words)?),
            // `5/10` means from 5 on.
            None if step.is_some() => (begin, greatest),
            None => (begin, begin),
        }
    };
    if more.is_some() {
        return Err(format!("too many slashes: {text}"));
    }
    let step = step.map_or(Ok(1), |step| number(step, 0, &[]))?;
    if begin < least {
        return Err(format!("beginning of range ({begin}) below minimum ({least}): {text}"));
    }
    if end > greatest {
        return Err(format!("end of range ({end}) above maximum ({greatest}): {text}"));
    }
    if begin > end {
        return Err(format!("beginning of range ({begin}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    Ok(())
}

fn number(text: &str, least: u32, words: &[&str]) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(at) = words.iter().position(|word| *word == lower) {
        return Ok(least + at as u32);
    }
    let number: i64 = text
        .parse()
        .map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))?;
    u32::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}"))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn schedules_are_read_as_robfig_cron_reads_them() {
        for good in
            ["* * * * *", "*/5 0-6 1,15 JAN-mar mon", "@daily", "@every 1h30m", "TZ=UTC 0 0 * * 0", "5/10 * ? * *"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax"),
            ("@often", "unrecognized descriptor: @often"),
        ] {
            assert_eq!(check(bad), Err(why.to_owned()), "{bad}");
        }
    }
}
