//! What the program wrote, kept as it was.
//!
//! The agent's folder has `output/`: segments `000001`, `000002`, … of at most 4 MiB, and `index`, a line
//! `{"segment":n,"offset":n,"rows":n,"cols":n}` for each begin of a segment and each change of size. A segment
//! begins with bytes that redraw the screen as it was, so each can be shown without the ones before it. The
//! oldest segments go when more than the configured amount is kept.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const SEGMENT: u64 = 4 * 1024 * 1024;

/// A point in the output from which another size holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The segment.
    pub segment: u32,
    /// Byte in the segment.
    pub offset: u64,
    /// Rows from here on.
    pub rows: u16,
    /// Columns from here on.
    pub cols: u16,
    /// How many of the bytes that follow are a redraw and not the program's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redraw: u64,
}

/// The writing end.
#[derive(Debug)]
pub struct Output {
    folder: PathBuf,
    index: File,
    segment: u32,
    file: File,
    length: u64,
    limit: u64,
}

impl Output {
    /// Begins a new segment after those that exist in `agent_dir`, keeping about `limit` bytes.
    pub fn open(agent_dir: &Path, limit: u64, rows: u16, cols: u16) -> io::Result<Output> {
        let folder = agent_dir.join("output");
        std::fs::create_dir_all(&folder)?;
        let index = append(&folder.join("index"))?;
        let segment = segments(&folder).last().copied().unwrap_or(0) + 1;
        let file = append(&folder.join(name(segment)))?;
        let mut output = Output {
            folder,
            index,
            segment,
            file,
            length: 0,
            limit,
        };
        output.mark(rows, cols)?;
        Ok(output)
    }

    /// Keeps `bytes`. `redraw` gives the bytes that a new segment begins with.
    pub fn write(&mut self, bytes: &[u8], size: (u16, u16), redraw: impl FnOnce() -> Vec<u8>) -> io::Result<()> {
        if self.length >= SEGMENT {
            let first = redraw();
            // The mark first: whoever sees the new file knows how much of it is a redraw.
            self.note((self.segment + 1, 0), size.0, size.1, first.len() as u64)?;
            self.file = append(&self.folder.join(name(self.segment + 1)))?;
            self.segment += 1;
            self.length = 0;
            self.file.write_all(&first)?;
            self.length = first.len() as u64;
            self.drop_oldest();
        }
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Notes that the terminal has another size from here on.
    pub fn mark(&mut self, rows: u16, cols: u16) -> io::Result<()> {
        self.note((self.segment, self.length), rows, cols, 0)
    }

    fn note(&mut self, (segment, offset): (u32, u64), rows: u16, cols: u16, redraw: u64) -> io::Result<()> {
        let mark = Mark {
            segment,
            offset,
            rows,
            cols,
            redraw,
        };
        let mut line = serde_json::to_vec(&mark).map_err(io::Error::other)?;
        line.push(b'\n');
        self.index.write_all(&line)
    }

    fn drop_oldest(&self) {
        let keep = (self.limit / SEGMENT).max(2) as usize;
        let all = segments(&self.folder);
        for old in all.iter().take(all.len().saturating_sub(keep)) {
            let _ = std::fs::remove_file(self.folder.join(name(*old)));
        }
    }
}

/// A stretch of output of one size.
#[derive(Debug)]
pub struct Stretch {
    /// Rows of the terminal.
    pub rows: u16,
    /// Columns of the terminal.
    pub cols: u16,
    /// What was written.
    pub bytes: Vec<u8>,
}

/// The kept output of `agent_dir` from its `back`-th last segment on (1 is the last alone), and whether there
/// is more before it.
pub fn read(agent_dir: &Path, back: usize) -> io::Result<(Vec<Stretch>, bool)> {
    let folder = agent_dir.join("output");
    let all = segments(&folder);
    let from = all.len().saturating_sub(back);
    let marks = marks(&folder);
    let mut stretches = Vec::new();
    for segment in &all[from..] {
        let bytes = std::fs::read(folder.join(name(*segment)))?;
        let own: Vec<&Mark> = marks.iter().filter(|mark| mark.segment == *segment).collect();
        for (index, mark) in own.iter().enumerate() {
            let begin = (mark.offset as usize).min(bytes.len());
            let end = own
                .get(index + 1)
                .map_or(bytes.len(), |next| (next.offset as usize).min(bytes.len()));
            stretches.push(Stretch {
                rows: mark.rows,
                cols: mark.cols,
                bytes: bytes[begin..end.max(begin)].to_vec(),
            });
        }
    }
    Ok((stretches, from > 0))
}

/// A place in the kept output, behind what was read already. The default is its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    segment: u32,
    offset: u64,
}

/// The program's bytes of `agent_dir` from `place` to the end, and where that is. Redraws at the begin of segments
/// are left out, unless what came before them is gone.
pub fn read_on(agent_dir: &Path, place: Place) -> io::Result<(Vec<u8>, Place)> {
    let folder = agent_dir.join("output");
    let (mut bytes, mut place) = (Vec::new(), place);
    let all = segments(&folder);
    let marks = marks(&folder);
    for segment in all {
        if segment < place.segment {
            continue;
        }
        let own = marks.iter().find(|mark| mark.segment == segment && mark.offset == 0);
        let offset = match own {
            _ if segment == place.segment => place.offset,
            Some(mark) if segment == place.segment + 1 => mark.redraw,
            _ => 0,
        };
        let mut file = File::open(folder.join(name(segment)))?;
        file.seek(SeekFrom::Start(offset))?;
        let count = file.read_to_end(&mut bytes)?;
        place = Place {
            segment,
            offset: offset + count as u64,
        };
    }
    Ok((bytes, place))
}

fn marks(folder: &Path) -> Vec<Mark> {
    let index = std::fs::read_to_string(folder.join("index")).unwrap_or_default();
    let parsed = index.lines().filter_map(|line| serde_json::from_str(line).ok());
    parsed.collect()
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn segments(folder: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

fn name(segment: u32) -> String {
    format!("{segment:06}")
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_kept_with_its_sizes_and_the_oldest_goes_first() {
        let dir = tempfile::tempdir().expect("dir");
        let mut output = Output::open(dir.path(), 0, 24, 80).expect("opened");
        output.write(b"one", (24, 80), Vec::new).expect("written");
        output.mark(30, 90).expect("marked");
        output.write(b"two", (30, 90), Vec::new).expect("written");
        let (stretches, more) = read(dir.path(), 9).expect("read");
        let seen: Vec<_> = stretches
            .iter()
            .map(|each| (each.rows, each.cols, each.bytes.as_slice()))
            .collect();
        assert_eq!(seen, [(24, 80, b"one".as_slice()), (30, 90, b"two".as_slice())]);
        assert!(!more);

        let (bytes, place) = read_on(dir.path(), Place::default()).expect("read");
        assert_eq!(bytes, b"onetwo");
        output.write(b"three", (30, 90), Vec::new).expect("written");
        assert_eq!(read_on(dir.path(), place).expect("read").0, b"three");

        let big = vec![b'x'; SEGMENT as usize];
        for _ in 0..4 {
            output.write(&big, (30, 90), || b"redraw".to_vec()).expect("written");
        }
        assert_eq!(segments(&dir.path().join("output")).len(), 2);
        let (stretches, more) = read(dir.path(), 1).expect("read");
        assert!(more && stretches[0].bytes.starts_with(b"redraw"));
        let (bytes, _) = read_on(dir.path(), place).expect("read");
        let rest = bytes
            .strip_prefix(b"redraw")
            .expect("the redraw instead of what is gone");
        assert!(
            rest.iter().all(|byte| *byte == b'x'),
            "the second redraw is no output of the program"
        );
    }
}
