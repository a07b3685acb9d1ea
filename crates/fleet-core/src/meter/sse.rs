//! Server-sent events, cut anywhere: the data of each, piece by piece, and where it ends.

/// What comes of the bytes of a stream.
pub(super) enum Part<'a> {
    /// More of the data of the event.
    Data(&'a [u8]),
    /// The event is over.
    End,
}

/// The state between two pieces of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    line: Line,
    /// The name of the field so far; no longer than any that matters.
    name: Vec<u8>,
    /// The last byte was a CR: an LF behind it is no other line.
    after_cr: bool,
    /// Whether the event has data.
    has_data: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    /// At its beginning, or within the name of its field.
    #[default]
    Name,
    /// Behind `data:`, where one blank does not count.
    Blank,
    /// Within data.
    Data,
    /// Within what does not matter.
    Other,
}

const DATA: &[u8] = b"data";

impl Events {
    /// Reads on.
    pub(super) fn push(&mut self, bytes: &[u8], part: &mut dyn FnMut(Part<'_>)) {
        let mut rest = bytes;
        while let Some((&byte, behind)) = rest.split_first() {
            if self.after_cr {
                self.after_cr = false;
                if byte == b'\n' {
                    rest = behind;
                    continue;
                }
            }
            if matches!(byte, b'\n' | b'\r') {
                self.after_cr = byte == b'\r';
                self.end_line(part);
                rest = behind;
                continue;
            }
            match self.line {
                Line::Name if byte == b':' => {
                    self.line = if self.name == DATA { Line::Blank } else { Line::Other };
                    self.begin_data(part);
                    rest = behind;
                }
                Line::Name => {
                    if self.name.len() <= DATA.len() {
                        self.name.push(byte);
                    }
                    rest = behind;
                }
                Line::Blank => {
                    self.line = Line::Data;
                    if byte == b' ' {
                        rest = behind;
                    }
                }
                Line::Data | Line::Other => {
                    let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                    let (line, behind) = rest.split_at(end.unwrap_or(rest.len()));
                    if self.line == Line::Data {
                        part(Part::Data(line));
                    }
                    rest = behind;
                }
            }
        }
    }

    /// Several lines of data are joined by line ends.
    fn begin_data(&mut self, part: &mut dyn FnMut(Part<'_>)) {
        if self.line == Line::Blank {
            if self.has_data {
                part(Part::Data(b"\n"));
            }
            self.has_data = true;
        }
    }

    fn end_line(&mut self, part: &mut dyn FnMut(Part<'_>)) {
        let is_empty = self.line == Line::Name && self.name.is_empty();
        if is_empty && self.has_data {
            self.has_data = false;
            part(Part::End);
        }
        self.line = Line::Name;
        self.name.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, size: usize) -> Vec<String> {
        let mut events = Events::default();
        let (mut all, mut data) = (Vec::new(), Vec::new());
        for chunk in text.as_bytes().chunks(size) {
            events.push(chunk, &mut |part| match part {
                Part::Data(more) => data.extend_from_slice(more),
                Part::End => all.push(String::from_utf8(std::mem::take(&mut data)).expect("text")),
            });
        }
        all
    }

    #[test]
    fn events_are_the_same_with_every_line_end_and_every_cut() {
        let text = ": hello\nevent: x\ndata: {\"a\": 1}\n\n\n\ndata:b\ndata:  c\nid\n\ndatab: no\n\ndata\n\ndata: cut";
        for ends in ["\n", "\r", "\r\n"] {
            let text = text.replace('\n', ends);
            for size in 1..text.len() {
                assert_eq!(read(&text, size), ["{\"a\": 1}", "b\n c"], "{ends:?} {size}");
            }
        }
    }
}
