//! Where results go: text for people, or one JSON object per line.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::error::Failure;

/// How results are shown.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Text, or JSON.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether it is JSON.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// One result: the object for programs, the text for people.
    pub fn show(self, object: impl FnOnce() -> Value, text: impl FnOnce() -> String) {
        let line = if self.json { object().to_string() } else { text() };
        write_line(io::stdout().lock(), &line);
    }

    /// A remark for people that is no result; programs don't get it.
    pub fn remark(self, text: &str) {
        if !self.json {
            write_line(io::stderr().lock(), text);
        }
    }

    /// How it ended badly.
    pub fn fail(self, failure: &Failure) {
        if self.json {
            write_line(io::stdout().lock(), &error_json(failure).to_string());
        } else {
            write_line(io::stderr().lock(), &format!("jam: {failure}"));
        }
    }
}

/// `{"error": {"code", "message"}}`
pub fn error_json(failure: &Failure) -> Value {
    json!({"error": {"code": failure.code(), "message": failure.to_string()}})
}

/// A reader that has gone (`jam queue | head -1`) is no error.
fn write_line(mut to: impl Write, line: &str) {
    let _ = writeln!(to, "{line}").and_then(|()| to.flush());
}
