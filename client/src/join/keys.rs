//! Keys while the live line is up.

use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

/// How long one look at the keyboard takes at most, and so the thread's end.
const LOOK: Duration = Duration::from_millis(250);

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Louder,
    Softer,
    Mute,
    /// How well it is in time, in full, or no more.
    Detail,
    Quit,
    /// The window has another size.
    Redraw,
}

/// Reads keys on a thread of its own if `live`; otherwise there are none, ever. `quit` is what a terminal that goes away means.
pub(crate) fn read<K: Send + 'static>(
    live: bool,
    meaning: fn(&Event) -> Option<K>,
    quit: fn() -> K,
) -> mpsc::Receiver<K> {
    let (sender, receiver) = mpsc::channel(16);
    if live {
        let reading = std::thread::Builder::new().name("jam-keys".into()).spawn(move || {
            while !sender.is_closed() {
                let key = match event::poll(LOOK) {
                    Ok(false) => continue,
                    Ok(true) => event::read().ok().and_then(|event| meaning(&event)),
                    // The terminal has gone: so does the listener, as at a hang-up.
                    Err(_) => Some(quit()),
                };
                if let Some(key) = key
                    && sender.blocking_send(key).is_err()
                {
                    break;
                }
            }
        });
        // Without the thread there are no keys, and music all the same.
        drop(reading);
    }
    receiver
}

/// Whether a terminal in raw mode sent the key instead of a signal.
pub(crate) fn is_interrupt(key: &KeyEvent) -> bool {
    matches!(key.code, KeyCode::Char('c' | 'd')) && key.modifiers.contains(KeyModifiers::CONTROL)
}

/// What a key means while somebody listens.
pub(crate) fn meaning(event: &Event) -> Option<Key> {
    match event {
        Event::Resize(..) => Some(Key::Redraw),
        Event::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => None,
        Event::Key(key) if is_interrupt(key) => Some(Key::Quit),
        Event::Key(KeyEvent { code, .. }) => match code {
            KeyCode::Char('+' | '=') | KeyCode::Up => Some(Key::Louder),
            KeyCode::Char('-' | '_') | KeyCode::Down => Some(Key::Softer),
            KeyCode::Char('m' | 'M') => Some(Key::Mute),
            KeyCode::Char('i' | 'I') => Some(Key::Detail),
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(Key::Quit),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
        meaning(&Event::Key(KeyEvent::new(code, modifiers)))
    }

    #[test]
    fn keys_mean_what_the_help_says() {
        let plain = KeyModifiers::NONE;
        for (code, want) in [
            (KeyCode::Char('+'), Key::Louder),
            (KeyCode::Char('-'), Key::Softer),
            (KeyCode::Char('m'), Key::Mute),
            (KeyCode::Char('q'), Key::Quit),
        ] {
            assert_eq!(press(code, plain), Some(want));
        }
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!(press(KeyCode::Char('c'), plain), None);
        assert_eq!(meaning(&Event::Resize(80, 24)), Some(Key::Redraw));
    }
}
