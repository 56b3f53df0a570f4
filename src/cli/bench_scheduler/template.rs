//! The Go templates of scheduler_perf: `{{.Index}}`, `{{.Count}}` and arithmetic on them.
//!
//! Kubernetes: test/integration/scheduler_perf/util.go (getSpecFromTextTemplateFile).

/// The numbers of a template.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    pub index: i64,
    pub count: i64,
}

/// True if the text says something else for another index.
pub fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// Renders a template.
///
/// # Errors
/// The expression that is not understood.
pub fn render(text: &str, numbers: Numbers) -> Result<String, String> {
    let mut rendered = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        rendered.push_str(&rest[..at]);
        let inside = &rest[at + 2..];
        let end = inside.find("}}").ok_or("a template expression has no end")?;
        rendered.push_str(&evaluate(inside[..end].trim_matches(|c: char| c == '-' || c.is_whitespace()), numbers)?);
        rest = &inside[end + 2..];
    }
    rendered.push_str(rest);
    Ok(rendered)
}

/// `.Index`, `DivideInt .Index 10`.
fn evaluate(expression: &str, numbers: Numbers) -> Result<String, String> {
    let unknown = || format!("`{{{{{expression}}}}}` is not understood");
    let words: Vec<&str> = expression.split_whitespace().collect();
    let value = |word: &str| match word {
        ".Index" => Ok(numbers.index as f64),
        ".Count" => Ok(numbers.count as f64),
        number => number.parse::<f64>().map_err(|_| unknown()),
    };
    let (function, first, second) = match words.as_slice() {
        [one] => return Ok((value(one)? as i64).to_string()),
        [function, first, second] => (*function, value(first)?, value(second)?),
        _ => return Err(unknown()),
    };
    let (name, is_int) = match function.strip_suffix("Int") {
        Some(name) => (name, true),
        None => (function.strip_suffix("Float").unwrap_or(function), function == "Mod"),
    };
    if matches!(name, "Divide" | "Mod") && second == 0.0 {
        return Err(format!("`{{{{{expression}}}}}` divides by zero"));
    }
    let result = match name {
        "Add" => first + second,
        "Subtract" => first - second,
        "Multiply" => first * second,
        "Divide" => first / second,
        "Mod" => first % second,
        _ => return Err(unknown()),
    };
    Ok(if is_int { (result.trunc() as i64).to_string() } else { result.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_rendered_and_others_are_named() {
        let render = |text: &str| render(text, Numbers { index: 23, count: 40 });
        assert_eq!(render("a-{{.Index}} {{ .Count }}"), Ok("a-23 40".to_owned()));
        assert_eq!(render("{{ DivideInt .Index 10 }}{{Mod .Index 12}}"), Ok("211".to_owned()));
        assert_eq!(render("{{ DivideFloat 1 .Count }}"), Ok("0.025".to_owned()));
        assert!(render("{{ Random 3 }}").is_err());
        assert!(render("{{ Mod .Index 0 }}").is_err());
    }
}
