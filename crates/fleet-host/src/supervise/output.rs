//! What the program wrote, kept as it was.
//!
//! The agent's folder has `output/` ([`Kept::Screen`]), and `stream/` in the same form where the program prints a stream
//! of events, of which the output is a view ([`Kept::Stream`]). In each are segments `000001`, `000002`, … of at most 4 MiB, and `index`, a line
//! `{"segment":n,"offset":n,"rows":n,"cols":n}` for each begin of a segment and each change of size. A segment
//! begins with bytes that redraw the screen as it was, so each can be shown without the ones before it. The
//! oldest segments go when more than the configured amount is kept.
//!
//! What cannot be written (the disk is full) is counted, and what is there stays whole: a write that fails leaves the
//! segment and the index as they were. When writing works again, a line says how many bytes are missing there and since
//! when, and the screen as it is now follows. The file `missing` beside `output/` is empty while output is lost, and
//! has the same numbers afterwards.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use fleet_core::Time;
use serde::{Deserialize, Serialize};

const SEGMENT: u64 = 4 * 1024 * 1024;
/// In the agent's folder, while and after output was lost.
const MISSING: &str = "missing";

/// Which of the things that are kept of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// What its terminal shows.
    Screen,
    /// The stream of events that a program without a terminal prints. Its sizes say nothing.
    Stream,
}

impl Kept {
    fn folder(self, agent_dir: &Path) -> PathBuf {
        agent_dir.join(match self {
            Kept::Screen => "output",
            Kept::Stream => "stream",
        })
    }
}

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
    kept: Kept,
    folder: PathBuf,
    index: File,
    segment: u32,
    file: File,
    length: u64,
    index_length: u64,
    limit: u64,
    /// Since something could not be written: how many bytes, and when the first.
    gap: Option<Missing>,
}

/// Output that could not be kept, when that last happened in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// How many bytes; none while output is still lost.
    pub bytes: Option<u64>,
    /// When the first could not be written.
    pub since: Time,
}

impl Output {
    /// Begins a new segment after those that exist in `agent_dir`, keeping about `limit` bytes.
    pub fn open(agent_dir: &Path, kept: Kept, limit: u64, rows: u16, cols: u16) -> io::Result<Output> {
        let folder = kept.folder(agent_dir);
        std::fs::create_dir_all(&folder)?;
        let index = append(&folder.join("index"))?;
        let segment = segments(&folder).last().copied().unwrap_or(0) + 1;
        let file = append(&folder.join(name(segment)))?;
        let index_length = index.metadata()?.len();
        // What was lost in an earlier run is told by the output of that run.
        if kept == Kept::Screen {
            let _ = std::fs::remove_file(agent_dir.join(MISSING));
        }
        let mut output = Output {
            kept,
            folder,
            index,
            segment,
            file,
            length: 0,
            index_length,
            limit,
            gap: None,
        };
        output.note((segment, 0), rows, cols, 0)?;
        Ok(output)
    }

    /// Keeps `bytes`, or counts them as missing. `redraw` gives the bytes that a new segment begins with.
    pub fn write(&mut self, bytes: &[u8], size: (u16, u16), now: Time, redraw: impl FnOnce() -> Vec<u8>) {
        let kept = match self.gap {
            None if self.length >= SEGMENT => self.next_segment(size, &redraw()).and_then(|()| self.append(bytes)),
            None => self.append(bytes),
            Some(gap) => self.close_gap(gap, size, &redraw()).and_then(|()| self.append(bytes)),
        };
        if kept.is_err() {
            self.lose(bytes.len() as u64, now);
        }
    }

    /// Notes that the terminal has another size from here on.
    pub fn mark(&mut self, rows: u16, cols: u16, now: Time) {
        if self.note((self.segment, self.length), rows, cols, 0).is_err() {
            self.lose(0, now);
        }
    }

    /// Says what is missing while that is not said yet: nothing more is written after this.
    pub fn finish(&mut self, size: (u16, u16), redraw: impl FnOnce() -> Vec<u8>) {
        if let Some(gap) = self.gap {
            let _ = self.close_gap(gap, size, &redraw());
        }
    }

    fn next_segment(&mut self, size: (u16, u16), redraw: &[u8]) -> io::Result<()> {
        let before = self.index_length;
        // The mark first: whoever sees the new file knows how much of it is a redraw.
        self.note((self.segment + 1, 0), size.0, size.1, redraw.len() as u64)?;
        let path = self.folder.join(name(self.segment + 1));
        let made = append(&path).and_then(|mut file| file.write_all(redraw).map(|()| file));
        self.file = made.inspect_err(|_| {
            let _ = std::fs::remove_file(&path);
            self.index_length = before;
            let _ = self.index.set_len(before);
        })?;
        self.segment += 1;
        self.length = redraw.len() as u64;
        self.drop_oldest();
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            // A part may be written, and a part of a sequence is worse than none.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn lose(&mut self, bytes: u64, now: Time) {
        if self.gap.is_none() && self.kept == Kept::Screen {
            // Empty, because that has room on most full disks.
            let _ = append(&self.missing_file()).and_then(|file| file.set_len(0));
        }
        let gap = self.gap.get_or_insert(Missing {
            bytes: Some(0),
            since: now,
        });
        gap.bytes = gap.bytes.map(|before| before + bytes);
    }

    /// Says in the output what is missing, and draws the screen as it is.
    fn close_gap(&mut self, gap: Missing, size: (u16, u16), redraw: &[u8]) -> io::Result<()> {
        let before = self.index_length;
        self.note((self.segment, self.length), size.0, size.1, 0)?;
        let mut text = match self.kept {
            Kept::Screen => gap_text(gap, size.0),
            Kept::Stream => gap_line(gap),
        };
        text.extend_from_slice(redraw);
        self.append(&text).inspect_err(|_| {
            self.index_length = before;
            let _ = self.index.set_len(before);
        })?;
        self.gap = None;
        if self.kept == Kept::Stream {
            return Ok(());
        }
        let _ = match gap.bytes {
            Some(0) | None => std::fs::remove_file(self.missing_file()),
            Some(_) => serde_json::to_vec(&gap)
                .map_err(io::Error::other)
                .and_then(|line| append(&self.missing_file())?.write_all(&line)),
        };
        Ok(())
    }

    fn missing_file(&self) -> PathBuf {
        self.folder.with_file_name(MISSING)
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
        if let Err(error) = self.index.write_all(&line) {
            let _ = self.index.set_len(self.index_length);
            return Err(error);
        }
        self.index_length += line.len() as u64;
        Ok(())
    }

    fn drop_oldest(&self) {
        let keep = (self.limit / SEGMENT).max(2) as usize;
        let all = segments(&self.folder);
        for old in all.iter().take(all.len().saturating_sub(keep)) {
            let _ = std::fs::remove_file(self.folder.join(name(*old)));
        }
    }
}

/// What is missing of the output of the agent's last run, if anything is.
pub fn missing(agent_dir: &Path) -> Option<Missing> {
    let path = agent_dir.join(MISSING);
    let bytes = std::fs::read(&path).ok()?;
    serde_json::from_slice(&bytes).ok().or_else(|| {
        let began = path.metadata().and_then(|meta| meta.modified()).ok()?;
        let since = began.duration_since(UNIX_EPOCH).ok()?;
        Some(Missing {
            bytes: None,
            since: Time(since.as_millis() as i64),
        })
    })
}

/// The line in the output where something is missing. It ends what was cut off in the middle, and moves what was on the
/// screen, itself included, above the screen, where the redraw that follows leaves it.
fn gap_text(gap: Missing, rows: u16) -> Vec<u8> {
    let Some(bytes) = gap.bytes.filter(|bytes| *bytes > 0) else {
        return Vec::new();
    };
    let line = format!(
        "\x18\x1b[m\r\n[fleet: {bytes} bytes of output are missing here, from {} on: they could not be written]",
        gap.since
    );
    format!("{line}{}", "\r\n".repeat(usize::from(rows))).into_bytes()
}

/// The line in a stream of events where something is missing; it ends what was cut off.
fn gap_line(gap: Missing) -> Vec<u8> {
    let line = serde_json::json!({ "type": "fleet.missing", "bytes": gap.bytes, "since": gap.since });
    format!("\n{line}\n").into_bytes()
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
    let folder = Kept::Screen.folder(agent_dir);
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

/// What the program itself wrote: its stream of events, where it has one.
pub fn raw(agent_dir: &Path) -> Kept {
    match Kept::Stream.folder(agent_dir).is_dir() {
        true => Kept::Stream,
        false => Kept::Screen,
    }
}

/// A place in the kept output, behind what was read already. The default is its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    segment: u32,
    offset: u64,
}

/// The program's bytes of `agent_dir` from `place` to the end, and where that is. Redraws at the begin of segments
/// are left out, unless what came before them is gone.
pub fn read_on(agent_dir: &Path, kept: Kept, place: Place) -> io::Result<(Vec<u8>, Place)> {
    let folder = kept.folder(agent_dir);
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
        let mut output = Output::open(dir.path(), Kept::Screen, 0, 24, 80).expect("opened");
        output.write(b"one", (24, 80), Time(0), Vec::new);
        output.mark(30, 90, Time(0));
        output.write(b"two", (30, 90), Time(0), Vec::new);
        let (stretches, more) = read(dir.path(), 9).expect("read");
        let seen: Vec<_> = stretches
            .iter()
            .map(|each| (each.rows, each.cols, each.bytes.as_slice()))
            .collect();
        assert_eq!(seen, [(24, 80, b"one".as_slice()), (30, 90, b"two".as_slice())]);
        assert!(!more);

        let (bytes, place) = read_on(dir.path(), Kept::Screen, Place::default()).expect("read");
        assert_eq!(bytes, b"onetwo");
        output.write(b"three", (30, 90), Time(0), Vec::new);
        assert_eq!(read_on(dir.path(), Kept::Screen, place).expect("read").0, b"three");

        let big = vec![b'x'; SEGMENT as usize];
        for _ in 0..4 {
            output.write(&big, (30, 90), Time(0), || b"redraw".to_vec());
        }
        assert_eq!(segments(&dir.path().join("output")).len(), 2);
        let (stretches, more) = read(dir.path(), 1).expect("read");
        assert!(more && stretches[0].bytes.starts_with(b"redraw"));
        let (bytes, _) = read_on(dir.path(), Kept::Screen, place).expect("read");
        let rest = bytes
            .strip_prefix(b"redraw")
            .expect("the redraw instead of what is gone");
        assert!(
            rest.iter().all(|byte| *byte == b'x'),
            "the second redraw is no output of the program"
        );
    }

    #[test]
    fn what_could_not_be_written_is_told_where_it_is_missing_and_nothing_is_cut() {
        let dir = tempfile::tempdir().expect("dir");
        let mut output = Output::open(dir.path(), Kept::Screen, 0, 24, 80).expect("opened");
        output.write(b"before", (24, 80), Time(0), Vec::new);
        // A descriptor that takes nothing stands for a full disk.
        let closed = || File::open(dir.path().join("output/index")).expect("read only");
        let file = std::mem::replace(&mut output.file, closed());
        let index = std::mem::replace(&mut output.index, closed());
        output.write(b"lost", (24, 80), Time(5_000), Vec::new);
        output.mark(30, 90, Time(6_000));
        output.write(b"lost too", (30, 90), Time(7_000), Vec::new);
        let told = missing(dir.path()).expect("told");
        assert_eq!(told.bytes, None, "it goes on");

        (output.file, output.index) = (file, index);
        output.write(b"after", (30, 90), Time(8_000), || b"redraw".to_vec());
        let (bytes, _) = read_on(dir.path(), Kept::Screen, Place::default()).expect("read");
        let text = String::from_utf8(bytes).expect("text");
        assert!(
            text.starts_with("before\x18") && text.ends_with("\nredrawafter"),
            "{text:?}"
        );
        assert!(
            text.contains("[fleet: 12 bytes of output are missing here, from 1970-01-01T00:00:05Z on"),
            "{text:?}"
        );
        let (stretches, _) = read(dir.path(), 1).expect("read");
        assert_eq!(stretches.last().map(|last| (last.rows, last.cols)), Some((30, 90)));
        let told = Missing {
            bytes: Some(12),
            since: Time(5_000),
        };
        assert_eq!(missing(dir.path()), Some(told));

        drop(Output::open(dir.path(), Kept::Screen, 0, 24, 80).expect("opened"));
        assert_eq!(missing(dir.path()), None, "of a later run nothing is missing");
    }
}
