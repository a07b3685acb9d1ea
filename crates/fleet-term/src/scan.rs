//! Cuts a program's output into whole pieces: characters, controls, escape sequences, strings.
//!
//! The bytes of a piece that is not yet complete are held, so what comes out does not depend on how the output was
//! chunked. C1 controls count in their UTF-8 form only (`C2 9B` is CSI), as in any terminal in UTF-8 mode: a lone `9B`
//! is a broken character.

/// Held bytes of one sequence. A longer one passes through unexamined until it ends.
const MAX_HELD: usize = 64 * 1024;

const ESC: u8 = 0x1b;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const BEL: u8 = 0x07;

/// One whole piece of output.
pub(crate) struct Piece<'a> {
    /// What views get for it: the bytes the program wrote, nearly always.
    pub(crate) raw: &'a [u8],
    pub(crate) token: Token<'a>,
}

/// What a piece means.
pub(crate) enum Token<'a> {
    /// Printable characters.
    Text(&'a str),
    /// Bytes that are no UTF-8: one replacement character.
    Broken,
    /// A C0 control, or DEL.
    Control(u8),
    /// `ESC`, at most one intermediate, and a final byte. C1 controls arrive in this form too.
    Escape { intermediate: Option<u8>, last: u8 },
    /// A control sequence.
    Csi(Csi),
    /// The text of a control string. `bell`: it was ended by BEL and wants its answer to be.
    Str { kind: Kind, body: &'a [u8], bell: bool },
    /// Passed on, without a meaning to us: cancelled, malformed or too long.
    Opaque,
}

/// The kind of a control string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Osc,
    Dcs,
    Apc,
    /// SOS and PM: nothing understands them.
    Other,
}

/// A parsed control sequence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Csi {
    /// `?`, `>`, `<`, `=` or 0.
    pub(crate) private: u8,
    /// The first intermediate byte or 0.
    pub(crate) intermediate: u8,
    pub(crate) last: u8,
    /// Values; an absent one is 0.
    pub(crate) params: Vec<Param>,
}

/// One parameter with its colon-separated parts: `4:3` is value 4 and part 3.
#[derive(Clone, Debug, Default)]
pub(crate) struct Param {
    pub(crate) value: u16,
    pub(crate) parts: Vec<u16>,
}

impl Csi {
    /// The value at `index`, or `default` when it is absent or 0.
    pub(crate) fn get(&self, index: usize, default: u16) -> u16 {
        match self.params.get(index) {
            Some(param) if param.value != 0 => param.value,
            _ => default,
        }
    }

    fn parse(bytes: &[u8]) -> Option<Csi> {
        let mut csi = Csi::default();
        let mut current: Option<Vec<u16>> = None;
        let mut seen = false;
        for &byte in bytes {
            match byte {
                b'0'..=b'9' if csi.intermediate == 0 => {
                    let value = current.get_or_insert_with(|| vec![0]).last_mut()?;
                    *value = value.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                }
                b':' if csi.intermediate == 0 => current.get_or_insert_with(|| vec![0]).push(0),
                b';' if csi.intermediate == 0 => csi.push(current.take()),
                b'<'..=b'?' if !seen => csi.private = byte,
                0x20..=0x2f if csi.intermediate == 0 => csi.intermediate = byte,
                0x40..=0x7e => csi.last = byte,
                0x7f => continue,
                _ => return None,
            }
            seen = true;
        }
        if current.is_some() || !csi.params.is_empty() {
            csi.push(current.take());
        }
        Some(csi)
    }

    fn push(&mut self, values: Option<Vec<u16>>) {
        // More than any real sequence has: a longer list is cut, so that no output can make us hold much.
        if self.params.len() < 64 {
            let mut values = values.unwrap_or_default().into_iter();
            self.params.push(Param {
                value: values.next().unwrap_or(0),
                parts: values.collect(),
            });
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Utf8,
    Escape,
    Csi,
    Str(Kind),
    /// An ESC inside a string: its end, or the start of another sequence.
    StrEscape(Kind),
}

/// The state between two chunks of output.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    state: State,
    held: Vec<u8>,
    overlong: bool,
    /// The last byte of an overlong string that was passed on, for an end cut in two.
    last: u8,
}

impl Scanner {
    /// Scans `bytes` and hands every piece that is complete to `each`, in order.
    pub(crate) fn feed(&mut self, bytes: &[u8], each: &mut impl FnMut(Piece<'_>)) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            let used = match self.state {
                State::Ground => self.ground(rest, each),
                State::Utf8 => self.utf8(byte, each),
                State::Escape => self.escape(byte, each),
                State::Csi => self.csi(byte, each),
                State::Str(kind) => self.string(kind, rest, each),
                State::StrEscape(kind) => self.string_escape(kind, byte, each),
            };
            rest = &rest[used..];
        }
        if self.overlong {
            self.pass_overlong(each);
        }
        if self.state == State::Ground && self.held.capacity() > 1024 {
            self.held = Vec::new();
        }
    }

    /// The bytes that put a terminal where we are inside an overlong string, of which the start was passed on already.
    /// Empty nearly always.
    pub(crate) fn reentry(&self) -> &'static [u8] {
        match self.state {
            _ if !self.overlong => b"",
            // A number nobody uses: the rest of the string must not become a command of its own.
            State::Str(Kind::Osc) | State::StrEscape(Kind::Osc) => b"\x1b]7777;",
            State::Str(_) | State::StrEscape(_) => b"\x1b_",
            State::Csi => b"\x1b[",
            _ => b"",
        }
    }

    fn ground(&mut self, bytes: &[u8], each: &mut impl FnMut(Piece<'_>)) -> usize {
        let first = bytes[0];
        if first == ESC {
            self.start(&[ESC], State::Escape);
            return 1;
        }
        if is_control(first) {
            each(Piece {
                raw: &bytes[..1],
                token: Token::Control(first),
            });
            return 1;
        }
        let end = bytes.iter().position(|&byte| is_control(byte)).unwrap_or(bytes.len());
        let run = &bytes[..end];
        match std::str::from_utf8(run) {
            Ok(text) => self.text(text, each),
            Err(error) if error.valid_up_to() > 0 => {
                let valid = &run[..error.valid_up_to()];
                self.text(std::str::from_utf8(valid).unwrap_or_default(), each)
            }
            Err(error) => match error.error_len() {
                None if end == bytes.len() => {
                    self.start(run, State::Utf8);
                    end
                }
                wrong => {
                    let wrong = wrong.unwrap_or(end);
                    each(Piece {
                        raw: &run[..wrong],
                        token: Token::Broken,
                    });
                    wrong
                }
            },
        }
    }

    /// Emits characters up to the first C1 control, or that control.
    fn text(&mut self, text: &str, each: &mut impl FnMut(Piece<'_>)) -> usize {
        let at = text
            .char_indices()
            .find(|(_, c)| ('\u{80}'..='\u{9f}').contains(c))
            .map_or(text.len(), |(at, _)| at);
        if at > 0 {
            let text = &text[..at];
            each(Piece {
                raw: text.as_bytes(),
                token: Token::Text(text),
            });
            return at;
        }
        let raw = &text.as_bytes()[..2];
        let last = raw[1] - 0x40;
        match introduces(last) {
            Some(state) => self.start(raw, state),
            None => each(Piece {
                raw,
                token: Token::Escape {
                    intermediate: None,
                    last,
                },
            }),
        }
        2
    }

    fn utf8(&mut self, byte: u8, each: &mut impl FnMut(Piece<'_>)) -> usize {
        self.held.push(byte);
        let held = std::mem::take(&mut self.held);
        match std::str::from_utf8(&held) {
            Ok(text) => {
                self.state = State::Ground;
                self.text(text, each);
                1
            }
            Err(error) if error.error_len().is_none() => {
                self.held = held;
                1
            }
            Err(_) => {
                // The new byte does not continue the character: it stands for itself.
                self.state = State::Ground;
                each(Piece {
                    raw: &held[..held.len() - 1],
                    token: Token::Broken,
                });
                0
            }
        }
    }

    fn escape(&mut self, byte: u8, each: &mut impl FnMut(Piece<'_>)) -> usize {
        match byte {
            CAN | SUB => self.cancel(byte, each),
            ESC => {
                self.abort(each);
                self.start(&[ESC], State::Escape);
            }
            0x80.. => {
                self.abort(each);
                return 0;
            }
            // A control inside a sequence works at once, so views get it before the sequence.
            0x00..=0x1f => each(Piece {
                raw: &[byte],
                token: Token::Control(byte),
            }),
            0x20..=0x2f | 0x7f => self.hold(byte, each),
            _ => {
                let mut intermediates = self.held.iter().copied().filter(|held| (0x20..=0x2f).contains(held));
                let (intermediate, more) = (intermediates.next(), intermediates.next());
                self.held.push(byte);
                match introduces(byte) {
                    Some(state) if intermediate.is_none() && !self.overlong => self.state = state,
                    _ if more.is_some() || self.overlong => self.finish(each, Token::Opaque),
                    _ => self.finish(
                        each,
                        Token::Escape {
                            intermediate,
                            last: byte,
                        },
                    ),
                }
            }
        }
        1
    }

    fn csi(&mut self, byte: u8, each: &mut impl FnMut(Piece<'_>)) -> usize {
        match byte {
            CAN | SUB => self.cancel(byte, each),
            ESC => {
                self.abort(each);
                self.start(&[ESC], State::Escape);
            }
            0x80.. => {
                self.abort(each);
                return 0;
            }
            // A control inside a sequence works at once, so views get it before the sequence.
            0x00..=0x1f => each(Piece {
                raw: &[byte],
                token: Token::Control(byte),
            }),
            0x40..=0x7e => {
                self.held.push(byte);
                let csi = if self.overlong {
                    None
                } else {
                    Csi::parse(&self.held[2..])
                };
                self.finish(each, csi.map_or(Token::Opaque, Token::Csi));
            }
            _ => self.hold(byte, each),
        }
        1
    }

    fn string(&mut self, kind: Kind, bytes: &[u8], each: &mut impl FnMut(Piece<'_>)) -> usize {
        // The body in one go: what may end it is a control or the second half of a C1 ST.
        let end = bytes
            .iter()
            .position(|byte| matches!(byte, 0x00..=0x1f | 0x9c))
            .unwrap_or(bytes.len());
        if end > 0 {
            // In pieces, so that a huge chunk is not held whole.
            let end = end.min(MAX_HELD);
            self.held.extend_from_slice(&bytes[..end]);
            self.bound(each);
            return end;
        }
        let byte = bytes[0];
        let before = self.held.last().copied().unwrap_or(self.last);
        match byte {
            CAN | SUB => self.cancel(byte, each),
            ESC => {
                self.held.push(ESC);
                self.state = State::StrEscape(kind);
            }
            BEL if kind == Kind::Osc => {
                self.held.push(byte);
                self.finish_string(kind, 1, true, each);
            }
            0x9c if before == 0xc2 => {
                self.held.push(byte);
                self.finish_string(kind, 2, false, each);
            }
            _ => self.hold(byte, each),
        }
        1
    }

    fn string_escape(&mut self, kind: Kind, byte: u8, each: &mut impl FnMut(Piece<'_>)) -> usize {
        if byte == b'\\' {
            self.held.push(byte);
            self.finish_string(kind, 2, false, each);
            return 1;
        }
        // Some terminals act on a string cut short, so it gets its meaning, and its end: the sequence that cut it may be
        // one that views do not see.
        self.held.push(b'\\');
        self.finish_string(kind, 2, false, each);
        self.start(&[ESC], State::Escape);
        0
    }

    fn start(&mut self, bytes: &[u8], state: State) {
        self.held.clear();
        self.held.extend_from_slice(bytes);
        self.state = state;
    }

    fn hold(&mut self, byte: u8, each: &mut impl FnMut(Piece<'_>)) {
        self.held.push(byte);
        self.bound(each);
    }

    fn bound(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        if self.held.len() > MAX_HELD {
            self.overlong = true;
        }
        if self.overlong && self.held.len() > MAX_HELD {
            self.pass_overlong(each);
        }
    }

    /// Passes on what is held of an overlong sequence, but an ESC that may belong to the next one.
    fn pass_overlong(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        let keep = usize::from(matches!(self.state, State::StrEscape(_)));
        let pass = self.held.len() - keep;
        if let Some(&last) = self.held[..pass].last() {
            self.last = last;
            each(Piece {
                raw: &self.held[..pass],
                token: Token::Opaque,
            });
            self.held.drain(..pass);
        }
    }

    /// Drops a sequence that another byte cut short: it means nothing, and views may not see what cut it.
    fn abort(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        self.held.clear();
        if self.overlong {
            self.held.push(CAN);
        }
        self.finish(each, Token::Opaque);
    }

    fn cancel(&mut self, byte: u8, each: &mut impl FnMut(Piece<'_>)) {
        self.held.push(byte);
        self.finish(each, Token::Opaque);
    }

    fn finish_string(&mut self, kind: Kind, terminator: usize, bell: bool, each: &mut impl FnMut(Piece<'_>)) {
        if self.overlong {
            return self.finish(each, Token::Opaque);
        }
        let held = std::mem::take(&mut self.held);
        self.state = State::Ground;
        let body = &held[2..held.len() - terminator];
        each(Piece {
            raw: &held,
            token: Token::Str { kind, body, bell },
        });
        self.held = held;
        self.held.clear();
    }

    fn finish(&mut self, each: &mut impl FnMut(Piece<'_>), token: Token<'_>) {
        if !self.held.is_empty() {
            each(Piece { raw: &self.held, token });
        }
        self.held.clear();
        self.state = State::Ground;
        self.overlong = false;
        self.last = 0;
    }
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// The state that `ESC last` leads to, if it starts a longer sequence.
fn introduces(last: u8) -> Option<State> {
    match last {
        b'[' => Some(State::Csi),
        b']' => Some(State::Str(Kind::Osc)),
        b'P' => Some(State::Str(Kind::Dcs)),
        b'_' => Some(State::Str(Kind::Apc)),
        b'X' | b'^' => Some(State::Str(Kind::Other)),
        _ => None,
    }
}
