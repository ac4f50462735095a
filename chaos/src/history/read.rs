//! Histories on disk: a line a record.

use std::io::{self, BufRead, Write};

use super::{History, Record};

/// A history that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file can't be.
    #[error("the history can't be read")]
    Io(#[from] io::Error),
    /// A line is no record.
    #[error("line {line} of the history is not a record")]
    Line {
        /// From 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// Time goes back.
    #[error("line {line} of the history happened before the line above it")]
    Order {
        /// From 1.
        line: usize,
    },
}

/// Reads a history record by record.
pub struct Reader<R> {
    from: R,
    line: usize,
    text: String,
    at_ns: i64,
}

impl<R: BufRead> Reader<R> {
    /// From its first line.
    pub fn new(from: R) -> Self {
        Self { from, line: 0, text: String::new(), at_ns: i64::MIN }
    }

    fn read(&mut self) -> Result<Option<Record>, HistoryError> {
        loop {
            self.text.clear();
            self.line += 1;
            if self.from.read_line(&mut self.text)? == 0 {
                return Ok(None);
            }
            if self.text.trim().is_empty() {
                continue;
            }
            let record: Record = match serde_json::from_str(&self.text) {
                Ok(record) => record,
                // A kill may cut the last line short.
                Err(_) if !self.text.ends_with('\n') => return Ok(None),
                Err(source) => return Err(HistoryError::Line { line: self.line, source }),
            };
            if record.at_ns < self.at_ns {
                return Err(HistoryError::Order { line: self.line });
            }
            self.at_ns = record.at_ns;
            return Ok(Some(record));
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Record, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

impl Record {
    /// Writes its line.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *to, self)?;
        to.write_all(b"\n")
    }
}

impl History {
    /// Reads a whole one.
    pub fn read(from: impl BufRead) -> Result<Self, HistoryError> {
        Ok(Self { records: Reader::new(from).collect::<Result<_, _>>()? })
    }

    /// Writes all of it.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        self.records.iter().try_for_each(|record| record.write(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Answer, Digest, Entry, Got, Hex, Phase, Request, Stop, TimeSample, What};

    fn sample() -> History {
        let (node, life, digest) = (2, 1, Digest([7; 32]));
        let sample = TimeSample {
            node,
            life,
            term: 3,
            epoch: 1,
            leads: false,
            shared: -5,
            bound_ns: i64::MAX,
            bound_term: 2,
            asked_ns: 3,
        };
        let command = Request::Command {
            session: Hex(vec![9; 16]),
            number: u64::MAX,
            room: "ABCD-EFGH-JKMN".to_owned(),
            command: Hex(vec![1, 2]),
        };
        let whats = vec![
            What::Started { node, life },
            What::Phase(Phase::Safety),
            What::Invoked { client: "ann".to_owned(), op: 1, request: command },
            What::Applied { node, life, index: 1, term: 3, entry: Entry::Batch(Hex(vec![])) },
            What::Applied { node, life, index: 2, term: 3, entry: Entry::Blank },
            What::Answered { op: 1, answer: Answer::Room { revision: 4, digest } },
            What::Answered { op: 2, answer: Answer::Unknown },
            What::Watched { watcher: 1, got: Got::Events(vec![Hex(vec![0])]) },
            What::Time(sample),
            What::Stopped { node, life, how: Stop::Power },
            What::Sometimes { name: "conflict".to_owned() },
        ];
        let mut history = History::default();
        for (at, what) in whats.into_iter().enumerate() {
            history.push(at as i64, what);
        }
        history
    }

    #[test]
    fn there_and_back() {
        let mut text = Vec::new();
        sample().write(&mut text).expect("into memory");
        assert_eq!(History::read(text.as_slice()).expect("the same"), sample());
        // Cut short by a kill: all but the last record.
        let cut = History::read(&text[..text.len() - 3]).expect("all but the last");
        assert_eq!(cut.records[..], sample().records[..sample().records.len() - 1]);
    }

    #[test]
    fn time_does_not_go_back() {
        let mut history = sample();
        history.records.swap(1, 2);
        let mut text = Vec::new();
        history.write(&mut text).expect("into memory");
        let error = History::read(text.as_slice()).expect_err("out of order");
        assert_eq!(error.to_string(), "line 3 of the history happened before the line above it");
        let rubbish = History::read("{}\n".as_bytes()).expect_err("rubbish");
        assert_eq!(rubbish.to_string(), "line 1 of the history is not a record");
    }
}
