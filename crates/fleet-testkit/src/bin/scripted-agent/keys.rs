//! Bytes from a terminal, as keys.

const PASTE_END: &[u8] = b"\x1b[201~";

/// What the user (or the terminal) did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A run of printable characters.
    Text(String),
    /// A bracketed paste, with `\n` between its lines.
    Paste(String),
    Enter,
    /// Ctrl-J or Alt-Enter: a new line in the draft.
    Newline,
    Backspace,
    Escape,
    /// Ctrl and a lower-case letter.
    Ctrl(char),
    /// A mouse event, described.
    Mouse(String),
    /// Anything else, by a name to show.
    Other(String),
}

/// Turns chunks of input into keys, however the chunks are cut.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    /// Inside a bracketed paste: how much of the buffer cannot hold the beginning of its end.
    pasting: Option<usize>,
}

impl Key {
    /// A name to show.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Text(text) => text.chars().next_back().map(String::from).unwrap_or_default(),
            Self::Paste(text) => format!("paste of {} bytes", text.len()),
            Self::Enter => "enter".into(),
            Self::Newline => "newline".into(),
            Self::Backspace => "backspace".into(),
            Self::Escape => "escape".into(),
            Self::Ctrl(letter) => format!("ctrl-{letter}"),
            Self::Mouse(text) | Self::Other(text) => text.clone(),
        }
    }
}

impl Decoder {
    /// The keys that `bytes` completes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.buffer.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut done = 0;
        while done < self.buffer.len() {
            let next = match self.pasting {
                Some(seen) => self.paste(seen),
                None => key(&self.buffer[done..]),
            };
            let Some((key, length)) = next else { break };
            done += length;
            match key {
                Some(Key::Other(name)) if name == PASTE_START => {
                    // The paste is looked for at the buffer's beginning.
                    self.buffer.drain(..done);
                    done = 0;
                    self.pasting = Some(0);
                }
                Some(key) => keys.push(key),
                None => {}
            }
        }
        self.buffer.drain(..done);
        keys
    }

    /// True if an escape waits to become a key of its own or the beginning of a sequence.
    pub(crate) fn escape_waits(&self) -> bool {
        self.pasting.is_none() && self.buffer == b"\x1b"
    }

    /// Nothing followed the escape: it was the key.
    pub(crate) fn take_escape(&mut self) -> Key {
        self.buffer.clear();
        Key::Escape
    }

    /// The paste, once its end is there. Looks at every byte once, however large it is.
    fn paste(&mut self, seen: usize) -> Option<(Option<Key>, usize)> {
        let found = self.buffer[seen..]
            .windows(PASTE_END.len())
            .position(|window| window == PASTE_END);
        let Some(at) = found.map(|at| seen + at) else {
            self.pasting = Some(self.buffer.len().saturating_sub(PASTE_END.len() - 1));
            return None;
        };
        self.pasting = None;
        let text = String::from_utf8_lossy(&self.buffer[..at])
            .replace("\r\n", "\n")
            .replace('\r', "\n");
        Some((Some(Key::Paste(text)), at + PASTE_END.len()))
    }
}

const PASTE_START: &str = "paste start";

/// The first key in `bytes` (none for what is swallowed) and its length; none if more bytes are needed.
fn key(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let one = |key| Some((Some(key), 1));
    match *bytes.first()? {
        0x1b => escape(bytes),
        b'\r' => one(Key::Enter),
        b'\n' => one(Key::Newline),
        0x7f | 0x08 => one(Key::Backspace),
        b'\t' => one(Key::Other("tab".into())),
        byte @ 1..=26 => one(Key::Ctrl(char::from(byte + b'a' - 1))),
        byte @ 0..0x20 => one(Key::Other(format!("control-{byte}"))),
        _ => text(bytes),
    }
}

fn text(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let length = bytes
        .iter()
        .position(|byte| *byte < 0x20 || *byte == 0x7f)
        .unwrap_or(bytes.len());
    match std::str::from_utf8(&bytes[..length]) {
        Ok(run) => Some((Some(Key::Text(run.to_owned())), length)),
        Err(error) if error.valid_up_to() > 0 => {
            let run = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
            Some((Some(Key::Text(run)), error.valid_up_to()))
        }
        // A character cut in two by the end of the chunk.
        Err(error) if error.error_len().is_none() && length == bytes.len() => None,
        Err(error) => {
            let bad = error.error_len().unwrap_or(length);
            Some((Some(Key::Text(char::REPLACEMENT_CHARACTER.into())), bad))
        }
    }
}

fn escape(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    match *bytes.get(1)? {
        b'[' => csi(bytes),
        b'O' => bytes.get(2).map(|last| (Some(Key::Other(arrow(*last, ""))), 3)),
        b']' | b'P' | b'_' => string_sequence(bytes),
        0x1b => Some((Some(Key::Escape), 1)),
        b'\r' | b'\n' => Some((Some(Key::Newline), 2)),
        other => Some((Some(Key::Other(format!("alt-{}", char::from(other)))), 2)),
    }
}

fn csi(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let last = 2 + bytes[2..].iter().position(|byte| !(0x20..0x40).contains(byte))?;
    let parameters = String::from_utf8_lossy(&bytes[2..last]).into_owned();
    let key = match (parameters.as_str(), bytes[last]) {
        ("200", b'~') => Key::Other(PASTE_START.into()),
        ("", b'I') => Key::Other("focus in".into()),
        ("", b'O') => Key::Other("focus out".into()),
        (mouse, end @ (b'M' | b'm')) if mouse.starts_with('<') => Key::Mouse(mouse_event(&mouse[1..], end == b'M')),
        (other, end) => Key::Other(arrow(end, other)),
    };
    Some((Some(key), last + 1))
}

/// Answers of the terminal to queries: swallowed.
fn string_sequence(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let ends = |at: usize| bytes[at] == 0x07 || bytes[at] == b'\\' && bytes[at - 1] == 0x1b;
    (2..bytes.len()).find(|at| ends(*at)).map(|at| (None, at + 1))
}

fn arrow(last: u8, parameters: &str) -> String {
    match last {
        b'A' => "up".into(),
        b'B' => "down".into(),
        b'C' => "right".into(),
        b'D' => "left".into(),
        b'H' => "home".into(),
        b'F' => "end".into(),
        _ => format!("sequence {parameters}{}", char::from(last)),
    }
}

fn mouse_event(fields: &str, press: bool) -> String {
    let mut numbers = fields.split(';').map(|field| field.parse::<u32>().unwrap_or(0));
    let (code, x, y) = (
        numbers.next().unwrap_or(0),
        numbers.next().unwrap_or(0),
        numbers.next().unwrap_or(0),
    );
    let what = match (code, press) {
        (64, _) => "wheel up".to_owned(),
        (65, _) => "wheel down".to_owned(),
        (32.., _) => "move".to_owned(),
        (button, true) => format!("press {}", button & 3),
        (button, false) => format!("release {}", button & 3),
    };
    format!("{what} at {x},{y}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Vec<Key> {
        Decoder::default().feed(bytes)
    }

    fn decode_bytewise(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Decoder::default();
        let keys = bytes.iter().flat_map(|byte| decoder.feed(&[*byte])).collect::<Vec<_>>();
        // Runs of text are cut where the chunks were.
        keys.into_iter().fold(Vec::new(), |mut keys, key| {
            match (keys.last_mut(), key) {
                (Some(Key::Text(run)), Key::Text(more)) => run.push_str(&more),
                (_, key) => keys.push(key),
            }
            keys
        })
    }

    #[test]
    fn the_same_keys_come_out_however_the_input_is_cut() {
        let input =
            "hé\x1b[200~a\r\nb\rc\x1b[A\x1b[201~\r\x1b[A\x1b[<0;10;5M\x1b[I\x7f\x03\x1b\r\x1bOB\x1b]11;rgb\x07x";
        let expected = vec![
            Key::Text("hé".into()),
            Key::Paste("a\nb\nc\x1b[A".into()),
            Key::Enter,
            Key::Other("up".into()),
            Key::Mouse("press 0 at 10,5".into()),
            Key::Other("focus in".into()),
            Key::Backspace,
            Key::Ctrl('c'),
            Key::Newline,
            Key::Other("down".into()),
            Key::Text("x".into()),
        ];
        assert_eq!(decode(input.as_bytes()), expected);
        assert_eq!(decode_bytewise(input.as_bytes()), expected);
    }

    #[test]
    fn an_escape_waits_for_what_may_follow() {
        let mut decoder = Decoder::default();
        assert!(decoder.feed(b"\x1b").is_empty());
        assert!(decoder.escape_waits());
        assert_eq!(decoder.take_escape(), Key::Escape);
        assert_eq!(decoder.feed(b"a"), [Key::Text("a".into())]);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_not_waited_for() {
        assert_eq!(decode(b"\xffa"), [Key::Text("\u{fffd}".into()), Key::Text("a".into())]);
        assert_eq!(decode(b"\xc3\r"), [Key::Text("\u{fffd}".into()), Key::Enter]);
    }
}
