//! By ear: clicks are moved until they coincide with those of another machine.

use std::io::{IsTerminal, stdin, stdout};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind};

use crate::audio::{Player, TRIM_MS_MAX};
use crate::error::Failure;
use crate::join::{keys, screen::Screen};
use crate::output::Output;

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Key {
    Move(f64),
    Keep,
    Quit,
}

/// Plays with the trim until it is right: milliseconds; none: given up.
///
/// # Errors
/// Without a keyboard.
pub async fn adjust(player: &Player, from_ms: f64, output: Output) -> Result<Option<f64>, Failure> {
    if output.is_json() || !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(Failure::Usage(
            "by ear it takes a terminal; or say what you know with --set MS".to_owned(),
        ));
    }
    let screen = Screen::open(output, false);
    let mut keys = keys::read(screen.is_live(), meaning, || Key::Quit);
    let mut trim_ms = from_ms;
    loop {
        player.set_trim((trim_ms * 1e6) as i64);
        screen.draw(vec![
            "Clicks at every whole second. Run `jam calibrate --by-ear` on another machine too, whose output is right,"
                .to_owned(),
            "and listen to both. Are these behind? Then →. Ahead? Then ←. Together? Then Enter.".to_owned(),
            format!("  this output sounds {trim_ms:+.0} ms later than it says   [← → 10 ms, ↑ ↓ 1 ms, Enter, q]"),
        ]);
        match keys.recv().await {
            Some(Key::Move(by)) => trim_ms = (trim_ms + by).clamp(-TRIM_MS_MAX, TRIM_MS_MAX),
            Some(Key::Keep) => return Ok(Some(trim_ms)),
            Some(Key::Quit) | None => return Ok(None),
        }
    }
}

fn meaning(event: &Event) -> Option<Key> {
    match event {
        Event::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => None,
        Event::Key(key) if keys::is_interrupt(key) => Some(Key::Quit),
        Event::Key(KeyEvent { code, .. }) => match code {
            KeyCode::Right => Some(Key::Move(10.0)),
            KeyCode::Left => Some(Key::Move(-10.0)),
            KeyCode::Up => Some(Key::Move(1.0)),
            KeyCode::Down => Some(Key::Move(-1.0)),
            KeyCode::Enter => Some(Key::Keep),
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(Key::Quit),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::KeyModifiers;

    #[test]
    fn arrows_move_and_enter_keeps() {
        let press = |code| meaning(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        assert_eq!(press(KeyCode::Right), Some(Key::Move(10.0)));
        assert_eq!(press(KeyCode::Down), Some(Key::Move(-1.0)));
        assert_eq!(press(KeyCode::Enter), Some(Key::Keep));
        assert_eq!(press(KeyCode::Char('x')), None);
    }
}
