//! A body's compression, undone for its reader alone.

use std::io::{self, Write};

use flate2::write::{MultiGzDecoder, ZlibDecoder};
use fleet_core::meter::Reader;

/// How much is undone at a time: a little of it may be a thousand times as much.
const PIECE: usize = 1024;

/// A reader behind a compression.
pub(super) enum Decoder {
    Plain(Sink),
    Gzip(Box<MultiGzDecoder<Sink>>),
    Deflate(Box<ZlibDecoder<Sink>>),
    /// What cannot be undone is not read.
    Unreadable(Sink),
}

/// Where what is undone goes.
pub(super) struct Sink(Reader);

impl Decoder {
    /// `reader` behind the compression of this name; empty: none.
    pub(super) fn new(encoding: &str, reader: Reader) -> Decoder {
        let sink = Sink(reader);
        match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Decoder::Plain(sink),
            "gzip" | "x-gzip" => Decoder::Gzip(Box::new(MultiGzDecoder::new(sink))),
            "deflate" => Decoder::Deflate(Box::new(ZlibDecoder::new(sink))),
            _ => Decoder::Unreadable(sink),
        }
    }

    /// Reads on. After bytes that are not compressed as was said nothing more can be read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let undone = bytes.chunks(PIECE).try_for_each(|piece| match self {
            Decoder::Plain(sink) => sink.write_all(piece),
            Decoder::Gzip(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Decoder::Deflate(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Decoder::Unreadable(_) => Ok(()),
        });
        if undone.is_err() {
            let reader = self.reader().clone();
            *self = Decoder::Unreadable(Sink(reader));
        }
    }

    /// The reader.
    pub(super) fn reader(&self) -> &Reader {
        match self {
            Decoder::Plain(sink) | Decoder::Unreadable(sink) => &sink.0,
            Decoder::Gzip(decoder) => &decoder.get_ref().0,
            Decoder::Deflate(decoder) => &decoder.get_ref().0,
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use fleet_core::meter::{Format, Shape};
    use fleet_core::usage::Tokens;

    use super::*;

    const REPLY: &[u8] = br#"{"model":"m","usage":{"prompt_tokens":7,"completion_tokens":5},"choices":[]}"#;

    fn output(encoding: &str, bytes: &[u8], size: usize) -> Option<u64> {
        let mut decoder = Decoder::new(encoding, Reader::new(Format::Chat, Shape::Document));
        bytes.chunks(size).for_each(|piece| decoder.push(piece));
        let reading = decoder.reader().reading(Tokens::default());
        reading.whole.then_some(reading.tokens.output)
    }

    #[test]
    fn a_compressed_reply_is_counted_as_a_plain_one_in_every_cut() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(REPLY).unwrap();
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(REPLY).unwrap();
        let all = [
            ("", REPLY.to_vec()),
            ("gzip", gzip.finish().unwrap()),
            ("deflate", deflate.finish().unwrap()),
        ];
        for (encoding, bytes) in all {
            for size in 1..bytes.len() {
                assert_eq!(output(encoding, &bytes, size), Some(5), "{encoding} {size}");
            }
        }
    }

    #[test]
    fn what_cannot_be_undone_is_not_counted_as_if_it_could() {
        assert_eq!(output("br", REPLY, 5), None);
        assert_eq!(output("gzip", REPLY, 5), None);
    }
}
