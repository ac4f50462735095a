//! Positions in a song as people write them: `90`, `1:30`, `1:30.250`, `1:02:03`.

use jam_proto::time::Flicks;

/// Parses a position.
pub fn parse(text: &str) -> Result<Flicks, String> {
    millis(text)
        .map(Flicks::from_millis)
        .ok_or_else(|| "must be a position in the song, such as 90, 1:30 or 1:30.250".to_owned())
}

fn millis(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<&str> = whole.split(':').collect();
    if parts.len() > 3 || fraction.len() > 3 || text.ends_with('.') {
        return None;
    }
    let mut seconds: i64 = 0;
    for (place, part) in parts.iter().enumerate() {
        // Nine digits are thirty years; behind a colon two, below sixty.
        let limit = if place == 0 { 9 } else { 2 };
        if part.is_empty() || part.len() > limit {
            return None;
        }
        let value = digits(part)?;
        if place > 0 && value >= 60 {
            return None;
        }
        seconds = seconds * 60 + value;
    }
    let thousandths = digits(&format!("{fraction:0<3}"))?;
    Some(seconds * 1000 + thousandths)
}

fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_ways_to_write_a_position() {
        for (text, want) in [
            ("0", 0),
            ("90", 90_000),
            ("1:30", 90_000),
            ("1:30.250", 90_250),
            ("1:30.5", 90_500),
            ("1:02:03", 3_723_000),
        ] {
            assert_eq!(parse(text), Ok(Flicks::from_millis(want)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "-1",
            "+1",
            "1:",
            ":30",
            "1:60",
            "1:3x",
            "1.2345",
            "1.",
            "1:2:3:4",
            "1:030",
            "99999999999",
            "1e3",
            "١",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
