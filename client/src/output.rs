//! Where results go: text for people, or one JSON object per line.

use std::io::{self, Write};
use std::sync::OnceLock;

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
        if let Err(error) = write_line(io::stdout().lock(), &line) {
            // The first error is the one to tell.
            let _ = UNWRITTEN.set(error);
        }
    }

    /// A remark for people that is no result; programs don't get it.
    pub fn remark(self, text: &str) {
        if !self.json {
            // Where that can't be written either, nothing is left to say it.
            let _ = write_line(io::stderr().lock(), text);
        }
    }

    /// How it ended badly.
    pub fn fail(self, failure: &Failure) {
        let object = error_json(failure).to_string();
        if !self.json || write_line(io::stdout().lock(), &object).is_err() {
            // Where that can't be written either, the exit code says it.
            let _ = write_line(io::stderr().lock(), &format!("jam: {failure}"));
        }
    }
}

/// Why a result could not be written to standard output.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();

/// Why one of the results so far could not be written, if so.
pub fn unwritten() -> Option<&'static io::Error> {
    UNWRITTEN.get()
}

/// `{"error": {"code", "message"}}`
pub fn error_json(failure: &Failure) -> Value {
    json!({"error": {"code": failure.code(), "message": failure.to_string()}})
}

/// A reader that has gone (`jam queue | head -1`) is no error.
fn write_line(mut to: impl Write, line: &str) -> io::Result<()> {
    match writeln!(to, "{line}").and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
