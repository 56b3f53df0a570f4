//! Whether a text is a CronJob's schedule.
//!
//! Kubernetes: github.com/robfig/cron/v3 (parser.go, ParseStandard), whose words the messages are.

/// One of the five fields.
struct Field {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { min: 0, max: 59, names: &[] },
    Field { min: 0, max: 23, names: &[] },
    Field { min: 1, max: 31, names: &[] },
    Field {
        min: 1,
        max: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

/// An error in robfig/cron's words if `schedule` is none.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    if let Some(descriptor) = schedule.strip_prefix('@') {
        return match descriptor {
            "yearly" | "annually" | "monthly" | "weekly" | "daily" | "midnight" | "hourly" => Ok(()),
            _ => match descriptor.strip_prefix("every ") {
                Some(every) if crate::kernel::Duration::parse_go(every).is_some() => Ok(()),
                Some(every) => Err(format!("failed to parse duration {schedule}: time: invalid duration {every:?}")),
                None => Err(format!("unrecognized descriptor: {schedule}")),
            },
        };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    for (text, field) in fields.iter().zip(&FIELDS) {
        for part in text.split(',').filter(|part| !part.is_empty()) {
            check_range(part, field)?;
        }
    }
    Ok(())
}

fn check_range(part: &str, field: &Field) -> Result<(), String> {
    let (range, step) = match part.split_once('/') {
        Some((_, step)) if step.contains('/') => return Err(format!("too many slashes: {part}")),
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    let (start, end) = match range.split_once('-') {
        Some((_, end)) if end.contains('-') => return Err(format!("too many hyphens: {part}")),
        Some((start, end)) => (number(start, field)?, number(end, field)?),
        None if range == "*" || range == "?" => (field.min, field.max),
        None => {
            let start = number(range, field)?;
            (start, if step.is_some() { field.max } else { start })
        }
    };
    if let Some(step) = step {
        let step: u32 = step
            .parse()
            .map_err(|_| format!("failed to parse int from {step}: strconv.Atoi: parsing {step:?}: invalid syntax"))?;
        if step == 0 {
            return Err(format!("step of range should be a positive number: {part}"));
        }
    }
    if start < field.min {
        return Err(format!("beginning of range ({start}) below minimum ({}): {part}", field.min));
    }
    if end > field.max {
        return Err(format!("end of range ({end}) above maximum ({}): {part}", field.max));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {part}"));
    }
    Ok(())
}

fn number(text: &str, field: &Field) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(at) = field.names.iter().position(|name| *name == lower) {
        return Ok(field.min + at as u32);
    }
    text.parse().map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_told_from_what_is_none() {
        for right in ["*/5 * * * *", "0 0 30 2 *", "@every 1h30m", "@daily", "0 9-17/2 * JAN-mar mon,FRI", "? * * * ?"]
        {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for (wrong, message) in [
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("@noon", "unrecognized descriptor: @noon"),
        ] {
            assert_eq!(check(wrong), Err(message.to_owned()), "{wrong}");
        }
    }
}
