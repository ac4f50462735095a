//! Small texts: what stands in HTML, and numbers and times as people read them.

/// Text as it may stand in an element or a quoted attribute, of HTML and of XML.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(one),
            // Neither may hold them, and overrides of the direction make a text look like another.
            one if one.is_control()
                || matches!(one, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}') =>
            {
                safe.push('\u{fffd}');
            }
            one => safe.push(one),
        }
    }
    safe
}

/// A path beside the page, as a link's target: a name such as `a:b#c` stays a name.
pub(super) fn href(path: &str) -> String {
    let mut safe = String::from("./");
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                safe.push(char::from(byte));
            }
            _ => safe.push_str(&format!("%{byte:02X}")),
        }
    }
    safe
}

/// A number with up to two decimals and without zeros at its end; for coordinates.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A number with about three digits that tell something.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => thousands(value.round() as i64),
        size if size >= 100.0 || value == value.trunc() => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// A whole number, its thousands apart.
pub(super) fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

/// A time since the run began.
pub(super) fn moment(at_ns: i64) -> String {
    format!("{:.3} s", at_ns as f64 * 1e-9)
}

/// A length of time, in the unit that fits it.
pub(super) fn span(length_ns: i64) -> String {
    let ns = length_ns as f64;
    match ns.abs() {
        size if size < 1e3 => format!("{length_ns} ns"),
        size if size < 1e6 => format!("{} µs", short(ns / 1e3)),
        size if size < 1e9 => format!("{} ms", short(ns / 1e6)),
        size if size < 120e9 => format!("{} s", short(ns / 1e9)),
        _ => format!("{} min", short(ns / 60e9)),
    }
}

/// `1 fault`, `2 faults`.
pub(super) fn count(number: usize, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", thousands(number as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_place() {
        assert_eq!(
            escape("<b a='1'>\"&\u{1b}\u{202e}"),
            "&lt;b a=&#39;1&#39;&gt;&quot;&amp;\u{fffd}\u{fffd}"
        );
        assert_eq!(href("logs/n 1#.txt"), "./logs/n%201%23.txt");
        assert_eq!(href("javascript:alert(1)"), "./javascript%3Aalert%281%29");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([12.3, 12.0, -0.001].map(number), ["12.3", "12", "0"]);
        assert_eq!(thousands(-1_234_567), "-1,234,567");
        assert_eq!(span(1_500), "1.50 µs");
        assert_eq!(span(61_000_000_000), "61 s");
        assert_eq!(span(0), "0 ns");
        assert_eq!(count(1, "fault") + &count(2, "fault"), "1 fault2 faults");
    }
}
