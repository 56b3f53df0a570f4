//! Patterns with `*`, as the scenario language and image rules use them.

/// True if `text` matches `pattern`, in which each `*` stands for any run of characters, `/` and none included.
/// Everything else stands for itself.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    // Each middle piece takes its first place: a later one could only leave less for those that follow.
    while let Some((piece, after)) = rest.split_once('*') {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
        rest = after;
    }
    text.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, text, expected) in [
            ("web", "web", true),
            ("web", "web-1", false),
            ("web-*", "web-1", true),
            ("web-*", "web-", true),
            ("*", "", true),
            ("*/checkout:*", "registry.example.com/shop/checkout:v3", true),
            ("*/checkout:*", "checkout:v3", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("*ab", "aab", true),
            ("é*", "été", true),
            ("é*é", "é", false),
            ("*é", "été", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }
}
