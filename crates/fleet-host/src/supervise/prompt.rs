//! How a text becomes a turn exactly once.
//!
//! A delivery is a small machine without I/O. The supervisor feeds it what the terminal looks like and does
//! what it says.
//!
//! `Typing` (our bytes are not all written) → `Draft` (they are; is the text in the draft?) → `Entered` (Enter
//! was pressed; has the text left the draft?) → done.
//!
//! - A text is written once. Enter is pressed a second time only while the text is still seen in the draft.
//! - The receipt: the text was seen in the draft, then seen to have left it, while the terminal's input queue
//!   was empty, so the program has read all of it. Anything less ends as `unverified`. Where it would be seen that the
//!   program works and it is not, the text has to stay away for a while.
//! - While the program draws no draft nothing is known, and where it asks a person nobody presses Enter for them.
//! - A program that has not read a byte for [`UNREAD_WRITE`] while the text is written gets no more looks: Enter
//!   follows the rest whenever it reads again, so that the text stays one message, and the end is `unverified`. A text
//!   of which nothing was written is taken back, and the end is `refused`.
//! - A text that begins with a slash is delivered when a turn is seen to follow. Otherwise the program has taken it for a
//!   command of its own, as far as anybody knows, and the end is `unverified`.
//! - A program that says itself that a turn began with the text needs none of this: the supervisor ends the delivery.
//! - With bracketed paste Enter follows as soon as the draft shows the text. Without it some programs take an
//!   Enter that comes within 120 ms of a burst for a line break, so it waits longer.
//!
//! Not decided here: whether the program takes a prompt at all (the `ready` rule), and the order of prompts.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use fleet_core::{Error, Result};

/// The longest prompt.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The longest line that a terminal in line mode takes (N_TTY_BUF_SIZE of the kernel, less room for the end).
const MAX_COOKED_BYTES: usize = 4000;

const DRAFT_WAIT: Duration = Duration::from_millis(600);
/// A program that has not read its input yet, on a busy machine, is given longer to show it.
const UNREAD_WAIT: Duration = Duration::from_millis(8000);
/// For this long a program may read nothing of a text that is longer than what the kernel keeps for it.
pub const UNREAD_WRITE: Duration = Duration::from_secs(15);
const BURST_GAP: Duration = Duration::from_millis(160);
const CONFIRM: Duration = Duration::from_millis(5);
/// A text that left the draft of a program whose work would be seen, and is not: it may be drawing its screen anew.
const CONFIRM_AT_REST: Duration = Duration::from_millis(300);
const SECOND_ENTER: Duration = Duration::from_millis(900);
/// A program that loads what it goes on with is waited for so long.
const LOADS_WAIT: Duration = Duration::from_secs(120);
/// A program that works for so long has begun a turn; over a command that it does not know some work for a moment.
const IS_A_TURN: Duration = Duration::from_millis(700);
const RECEIPT_WAIT: Duration = Duration::from_millis(3000);

/// A prompt that may be sent, without line breaks at its end. Errors: empty, too large, control characters.
pub fn check_text(text: &str) -> Result<String> {
    let text = text.trim_end_matches(['\n', '\r']).replace("\r\n", "\n");
    if text.trim().is_empty() {
        return Err(
            Error::usage("the prompt is empty").hint("give a text, or `@FILE` to read one, or `-` for standard input")
        );
    }
    if text.len() > MAX_BYTES {
        return Err(
            Error::usage(format!("the prompt has {} bytes; the most is {MAX_BYTES}", text.len()))
                .hint("put the text into a file in the workspace and name the file in the prompt"),
        );
    }
    match text
        .char_indices()
        .find(|(_, c)| c.is_control() && !"\n\t".contains(*c))
    {
        Some((at, c)) => Err(Error::usage(format!(
            "the prompt has the control character U+{:04X} at byte {at}",
            c as u32
        ))
        .hint("remove escape sequences and control characters: a terminal would obey them")),
        None => Ok(text),
    }
}

/// What the supervisor sees when it steps a delivery.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// What is typed and not sent, as far as it can be seen; none while the program shows no draft at all, as in the
    /// middle of drawing its screen anew.
    pub draft: Option<&'a str>,
    /// Whether that shows a long text only by its size: the draft was empty before, so the text is ours.
    pub folded: bool,
    /// Bytes the program has not read yet.
    pub pending: usize,
    /// Whether the terminal collects lines itself.
    pub cooked: bool,
    /// Whether bytes of ours still wait to be written.
    pub unsent: bool,
    /// Bytes that were written since the delivery began, those of the text first.
    pub written: usize,
    /// When the program last wrote something.
    pub last_output: Option<Instant>,
    /// Whether the program is seen at work; none where nobody knows how that looks.
    pub works: Option<bool>,
    /// Whether it loads something, and shows no draft meanwhile.
    pub loads: bool,
    /// Whether it asks a person, who alone may press Enter there.
    pub asks: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Press Enter.
    Enter,
    /// The receipt was seen.
    Delivered,
    /// No receipt came: what was seen instead.
    Unverified(&'static str),
    /// The program has stopped reading in the middle of the text: Enter belongs behind it, and nobody will see the rest.
    Abandoned(&'static str),
    /// The program reads nothing, and nothing of the text was written: it is to be taken back.
    TakenBack(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Typing {
        /// Bytes that were written, and since when it is so many; none before the first look.
        stuck: Option<(usize, Instant)>,
    },
    Draft {
        since: Instant,
    },
    Entered {
        at: Instant,
        /// Since when the program has nothing to read, as far as was looked.
        read: Instant,
        seen: bool,
        presses: u8,
        left: Option<Instant>,
    },
}

/// One prompt on its way into the program.
#[derive(Debug)]
pub struct Delivery {
    /// The request's id.
    pub id: String,
    /// Bytes that are to be written.
    pub length: usize,
    squeezed: Vec<char>,
    /// It begins with a slash: many programs take that for a command of their own, and no turn follows.
    command: bool,
    /// When it was first seen to load.
    loads_since: Option<Instant>,
    /// Since when the program is seen at work, at every look.
    worked_since: Option<Instant>,
    /// Whether that was for long enough to be a turn.
    worked: bool,
    bracketed: bool,
    cooked: bool,
    phase: Phase,
    deadline: Option<Instant>,
}

impl Delivery {
    /// Starts the delivery of `text` (as [`check_text`] gave it) to a program that asked for bracketed paste or
    /// not, on a terminal in line mode (`cooked`) or not. Gives the bytes to write.
    ///
    /// Error: the text cannot reach this program as one message.
    pub fn start(id: String, text: &str, bracketed: bool, cooked: bool) -> Result<(Delivery, Vec<u8>)> {
        Self::check(text, bracketed, cooked)?;
        let bytes = if bracketed {
            format!("\x1b[200~{text}\x1b[201~").into_bytes()
        } else {
            text.as_bytes().to_vec()
        };
        let squeezed = squeeze(text);
        Ok((
            Delivery {
                id,
                squeezed,
                command: text.starts_with('/'),
                loads_since: None,
                worked_since: None,
                worked: false,
                length: bytes.len(),
                bracketed,
                cooked,
                phase: Phase::Typing { stuck: None },
                deadline: None,
            },
            bytes,
        ))
    }

    /// Whether `text` can reach such a program as one message.
    pub fn check(text: &str, bracketed: bool, cooked: bool) -> Result<()> {
        if !bracketed && text.contains('\n') {
            return Err(Error::refused(format!(
                "the program has not asked for bracketed paste, so {} lines would arrive as that many messages",
                text.lines().count()
            ))
            .hint("send one line, or put the text into a file in the workspace and name the file"));
        }
        if cooked && text.len() > MAX_COOKED_BYTES {
            return Err(Error::refused(format!(
                "the program reads line by line; the kernel would cut {} bytes at 4095",
                text.len()
            ))
            .hint("put the text into a file in the workspace and name the file"));
        }
        Ok(())
    }

    /// Whether Enter was pressed: before that the program cannot have taken the prompt.
    pub fn entered(&self) -> bool {
        matches!(self.phase, Phase::Entered { .. })
    }

    /// Whether `said` is its text. Programs trim, indent and wrap, so white space does not count.
    pub fn is_text(&self, said: &str) -> bool {
        squeeze(said) == self.squeezed
    }

    /// The [`mark`] of its text.
    pub fn mark(&self) -> u64 {
        mark_of(&self.squeezed)
    }

    /// Whether the program may take it for a command of its own.
    pub fn is_command(&self) -> bool {
        self.command
    }

    /// When to step again at the latest, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Looks at the terminal and decides. Called after every output, after every write, and at the deadline.
    pub fn step(&mut self, mut look: Look<'_>, now: Instant) -> Option<Action> {
        if look.loads {
            look.loads = now < *self.loads_since.get_or_insert(now) + LOADS_WAIT;
        }
        if let Phase::Typing { stuck } = self.phase {
            if look.unsent {
                return self.step_typing(stuck, look.written, now);
            }
            self.phase = Phase::Draft { since: now };
        }
        match self.phase {
            Phase::Typing { .. } => None,
            Phase::Draft { since } => self.step_draft(since, look, now),
            Phase::Entered {
                at,
                read,
                seen,
                presses,
                left,
            } => self.step_entered((at, read, seen, presses, left), look, now),
        }
    }

    fn step_typing(&mut self, stuck: Option<(usize, Instant)>, written: usize, now: Instant) -> Option<Action> {
        let (_, since) = stuck.filter(|(before, _)| *before == written).unwrap_or((written, now));
        self.phase = Phase::Typing {
            stuck: Some((written, since)),
        };
        self.deadline = Some(since + UNREAD_WRITE);
        if now < since + UNREAD_WRITE {
            return None;
        }
        Some(match written {
            0 => Action::TakenBack("the program does not read its input, so nothing was written"),
            _ => Action::Abandoned("the program has stopped reading its input in the middle of the text"),
        })
    }

    fn step_draft(&mut self, since: Instant, look: Look<'_>, now: Instant) -> Option<Action> {
        if look.loads {
            self.phase = Phase::Draft { since: now };
            self.deadline = Some(now + UNREAD_WAIT);
            return None;
        }
        let seen = look.folded || self.shows(look.draft);
        let gap = if self.bracketed || self.cooked {
            Duration::ZERO
        } else {
            BURST_GAP
        };
        let read = look.pending == 0;
        let taken = seen && read && now >= since + gap;
        let shown = look.draft.is_some() && !look.asks;
        let patience = match shown && (read || self.cooked) {
            true => DRAFT_WAIT,
            false => UNREAD_WAIT,
        };
        if !taken && now < since + patience {
            let wait = if seen && read { gap } else { patience };
            // That the program has read is no event: looked for once more when it could have drawn as well.
            let next = if now < since + DRAFT_WAIT { DRAFT_WAIT } else { patience };
            self.deadline = Some(since + wait.min(next));
            return None;
        }
        if !seen && !shown {
            return Some(Action::Unverified(match look.asks {
                true => "the program asked something while the text was on its way; Enter was not pressed",
                false => "the program shows no draft any more; Enter was not pressed",
            }));
        }
        self.phase = Phase::Entered {
            at: now,
            read: now,
            seen,
            presses: 1,
            left: None,
        };
        self.deadline = Some(now + SECOND_ENTER);
        Some(Action::Enter)
    }

    fn step_entered(
        &mut self,
        (at, read, seen, presses, left): (Instant, Instant, bool, u8, Option<Instant>),
        look: Look<'_>,
        now: Instant,
    ) -> Option<Action> {
        let drafted = look.folded || self.shows(look.draft);
        let seen = seen || drafted;
        let answered = look.last_output.is_some_and(|last| last >= at);
        // A draft that is not drawn may still hold the text.
        let known = look.draft.is_some() || look.works == Some(true);
        let gone = seen && !drafted && known && !look.unsent && look.pending == 0 && answered;
        let left = if gone { left.or(Some(now)) } else { None };
        self.worked_since = match look.works {
            Some(true) => Some(self.worked_since.unwrap_or(now)),
            _ => None,
        };
        self.worked |= self.worked_since.is_some_and(|since| now >= since + IS_A_TURN);
        let turn = !self.command || look.works.is_none() || self.worked;
        let confirm = if look.works == Some(false) {
            CONFIRM_AT_REST
        } else {
            CONFIRM
        };
        if left.is_some_and(|since| now >= since + confirm) && turn {
            return Some(match self.cooked && !look.cooked {
                // What the terminal had echoed was no draft of the program's: it was still coming up.
                true => Action::Unverified("the program changed its terminal while the text was on its way"),
                false => Action::Delivered,
            });
        }
        // What a busy program has not read yet it cannot answer.
        let unread = look.pending > 0;
        let at = if look.loads { now } else { at };
        let read = if unread || look.loads { now } else { read };
        let end = (read + RECEIPT_WAIT).min(at + UNREAD_WRITE);
        // What has left in the last moment is looked at once more.
        let leaves = left.is_some() && turn;
        if now >= end && !leaves {
            return Some(Action::Unverified(match (seen, drafted) {
                _ if unread => "the program has not read its input",
                _ if left.is_some() => "it begins with a slash and no turn followed: a command of the program's own",
                (false, _) => "the text was never seen in the draft",
                (true, true) => "the text stayed in the draft after Enter",
                (true, false) => "nothing shows what became of the text",
            }));
        }
        let again = drafted && !unread && presses == 1 && now >= read + SECOND_ENTER;
        self.phase = Phase::Entered {
            at,
            read,
            seen,
            presses: presses + u8::from(again),
            left,
        };
        self.deadline = Some(match left {
            Some(since) if turn => since + confirm,
            Some(_) => self.worked_since.map_or(end, |since| (since + IS_A_TURN).min(end)),
            // That the program has read is no event.
            None if unread || look.loads => now + SECOND_ENTER,
            None if presses == 1 && !again && now < read + SECOND_ENTER => read + SECOND_ENTER,
            None => end,
        });
        again.then_some(Action::Enter)
    }

    fn shows(&self, draft: Option<&str>) -> bool {
        draft.is_some_and(|draft| self.is_draft(draft))
    }

    /// Whether the draft ends as the text ends. Programs wrap, indent and decorate drafts, so white space and lines of
    /// boxes do not count, and a short last row of a wrapped draft is enough.
    fn is_draft(&self, draft: &str) -> bool {
        let line = squeeze(draft);
        let common = line
            .iter()
            .rev()
            .zip(self.squeezed.iter().rev())
            .take_while(|(a, b)| a == b)
            .count();
        common >= self.squeezed.len().min(8) || (common >= 2 && line.len() - common <= 3)
    }
}

/// A number that two texts share when they differ only in white space and lines of boxes.
pub fn mark(text: &str) -> u64 {
    mark_of(&squeeze(text))
}

fn mark_of(squeezed: &[char]) -> u64 {
    let mut hasher = DefaultHasher::new();
    squeezed.hash(&mut hasher);
    hasher.finish()
}

fn squeeze(text: &str) -> Vec<char> {
    let is_box = |c: char| ('\u{2500}'..='\u{257F}').contains(&c);
    text.chars().filter(|c| !c.is_whitespace() && !is_box(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        delivery: Delivery,
        start: Instant,
        last_output: Option<Instant>,
    }

    impl Bench {
        fn new(text: &str, bracketed: bool) -> Bench {
            let (delivery, _) = Delivery::start("p".into(), text, bracketed, false).expect("started");
            Bench {
                delivery,
                start: Instant::now(),
                last_output: None,
            }
        }

        fn at(&mut self, millis: u64, before_cursor: &str, pending: usize, output: bool) -> Option<Action> {
            let now = self.start + Duration::from_millis(millis);
            if output {
                self.last_output = Some(now);
            }
            self.delivery.step(
                Look {
                    draft: Some(before_cursor),
                    folded: false,
                    pending,
                    cooked: false,
                    unsent: false,
                    written: 0,
                    last_output: self.last_output,
                    works: None,
                    loads: false,
                    asks: false,
                },
                now,
            )
        }
    }

    #[test]
    fn a_text_that_leaves_the_draft_is_delivered() {
        let mut bench = Bench::new("fix the login", true);
        assert_eq!(bench.at(0, "> ", 25, false), None);
        assert_eq!(bench.at(3, "> fix the login", 0, true), Some(Action::Enter));
        assert_eq!(bench.at(5, "> ", 0, true), None);
        assert_eq!(bench.at(20, "> ", 0, false), Some(Action::Delivered));
    }

    #[test]
    fn nothing_is_delivered_while_input_is_unread_or_the_draft_comes_back() {
        let mut bench = Bench::new("fix the login", true);
        bench.at(0, "> fix the login", 0, true);
        assert_eq!(bench.at(5, "", 1, true), None, "a cleared line while Enter is unread");
        assert_eq!(bench.at(30, "", 1, false), None);
        assert_eq!(bench.at(32, "", 0, true), None);
        assert_eq!(bench.at(34, "> fix the login", 0, true), None, "only a redraw");
        assert_eq!(bench.at(60, "> fix the login", 0, false), None);
    }

    #[test]
    fn a_screen_without_a_draft_is_no_receipt_and_a_question_gets_no_enter() {
        let start = Instant::now();
        let look = |millis: u64, draft, asks| {
            let now = start + Duration::from_millis(millis);
            let look = Look {
                draft,
                folded: false,
                pending: 0,
                cooked: false,
                unsent: false,
                written: 0,
                last_output: Some(now),
                works: Some(false),
                loads: false,
                asks,
            };
            (look, now)
        };
        let begin = || {
            Delivery::start("p".into(), "fix the login", true, false)
                .expect("started")
                .0
        };
        let mut torn = begin();
        let mut step = |(look, now)| torn.step(look, now);
        assert_eq!(step(look(0, Some("> fix the login"), false)), Some(Action::Enter));
        assert_eq!(step(look(20, None, false)), None, "half of a screen");
        assert_eq!(step(look(40, None, false)), None);
        assert_eq!(
            step(look(950, Some("> fix the login"), false)),
            Some(Action::Enter),
            "it had come too early"
        );
        assert_eq!(step(look(960, Some("> "), false)), None);
        assert_eq!(step(look(1200, Some("> fix the login"), false)), None, "drawn anew");
        assert_eq!(step(look(1300, Some("> "), false)), None);
        assert_eq!(step(look(1610, Some("> "), false)), Some(Action::Delivered));

        let mut begins = begin();
        let mut step = |(look, now)| begins.step(look, now);
        assert_eq!(step(look(0, Some("> fix the login"), false)), Some(Action::Enter));
        for (millis, end) in [(10, None), (16, Some(Action::Delivered))] {
            let (rests, now) = look(millis, Some("> "), false);
            let works = Look {
                works: Some(true),
                ..rests
            };
            assert_eq!(step((works, now)), end);
        }

        for (draft, asks) in [(Some("> "), true), (None, false)] {
            let mut asked = begin();
            assert_eq!(asked.step(look(0, draft, asks).0, start), None);
            let (look, now) = look(9000, draft, asks);
            let end = asked.step(look, now);
            assert!(matches!(end, Some(Action::Unverified(_))), "{end:?}");
        }
    }

    #[test]
    fn an_enter_that_is_not_read_yet_is_waited_for_and_not_pressed_again() {
        let mut busy = Bench::new("fix the login", true);
        assert_eq!(busy.at(0, "> fix the login", 0, true), Some(Action::Enter));
        for millis in [10, 950, 3100, 6000] {
            assert_eq!(busy.at(millis, "> fix the login", 1, false), None, "{millis}");
        }
        assert_eq!(busy.at(6500, "> ", 0, true), None);
        assert_eq!(busy.at(6510, "> ", 0, false), Some(Action::Delivered));

        let mut stuck = Bench::new("fix the login", true);
        stuck.at(0, "> fix the login", 0, true);
        let mut last = None;
        for millis in (900..=15_300).step_by(900) {
            last = stuck.at(millis, "> fix the login", 1, false);
            assert!(last.is_none() || millis >= 15_000, "{millis}: {last:?}");
        }
        assert!(matches!(last, Some(Action::Unverified(_))), "{last:?}");
    }

    #[test]
    fn a_program_that_loads_in_between_is_waited_for() {
        let start = Instant::now();
        let mut delivery = Delivery::start("p".into(), "fix the login", true, false)
            .expect("started")
            .0;
        let mut at = |millis: u64, draft, loads| {
            let now = start + Duration::from_millis(millis);
            let look = Look {
                draft,
                folded: false,
                pending: 0,
                cooked: false,
                unsent: false,
                written: 0,
                last_output: Some(now),
                works: Some(false),
                loads,
                asks: false,
            };
            delivery.step(look, now)
        };
        assert_eq!(at(0, None, true), None);
        assert_eq!(at(20_000, None, true), None, "before Enter");
        assert_eq!(at(20_010, Some("> fix the login"), false), Some(Action::Enter));
        assert_eq!(at(20_020, None, true), None);
        assert_eq!(at(50_000, None, true), None, "after it");
        assert_eq!(at(50_010, Some("> fix the login"), false), None);
        assert_eq!(at(51_000, Some("> fix the login"), false), Some(Action::Enter));
        assert_eq!(at(51_010, Some("> "), false), None);
        assert_eq!(at(51_400, Some("> "), false), Some(Action::Delivered));
    }

    #[test]
    fn a_draft_that_stays_gets_one_more_enter_and_then_an_honest_end() {
        let mut bench = Bench::new("fix", true);
        bench.at(0, "> fix", 0, true);
        assert_eq!(bench.at(950, "> fix", 0, true), Some(Action::Enter));
        assert_eq!(bench.at(1900, "> fix", 0, true), None);
        assert!(matches!(bench.at(3100, "> fix", 0, false), Some(Action::Unverified(_))));
    }

    #[test]
    fn a_text_that_leaves_the_draft_in_the_last_moment_is_delivered() {
        let mut bench = Bench::new("fix", true);
        bench.at(0, "> fix", 0, true);
        bench.at(950, "> fix", 0, true);
        assert_eq!(bench.at(3100, "> ", 0, true), None);
        assert_eq!(bench.at(3106, "> ", 0, false), Some(Action::Delivered));
    }

    #[test]
    fn a_program_without_an_echo_is_unverified() {
        let mut bench = Bench::new("secret", true);
        assert_eq!(bench.at(0, "> ", 0, true), None);
        assert_eq!(bench.at(700, "> ", 0, false), Some(Action::Enter));
        assert_eq!(bench.at(720, "", 0, true), None);
        assert!(matches!(bench.at(4000, "> ", 0, true), Some(Action::Unverified(_))));
    }

    #[test]
    fn without_bracketed_paste_enter_waits_out_the_burst() {
        let mut bench = Bench::new("fix", false);
        assert_eq!(bench.at(0, "> ", 3, false), None);
        assert_eq!(bench.at(2, "> fix", 0, true), None);
        assert_eq!(bench.at(170, "> fix", 0, false), Some(Action::Enter));
    }

    #[test]
    fn a_program_that_has_not_read_yet_is_waited_for() {
        let mut bench = Bench::new("fix the login", true);
        assert_eq!(bench.at(0, "> ", 25, false), None);
        assert_eq!(bench.at(650, "> ", 25, false), None, "busy elsewhere");
        assert_eq!(bench.at(1200, "> fix the login", 0, true), Some(Action::Enter));
        let mut stuck = Bench::new("fix the login", true);
        stuck.at(0, "> ", 25, false);
        assert_eq!(stuck.at(8100, "> ", 25, false), Some(Action::Enter));
    }

    #[test]
    fn a_program_that_reads_no_more_of_a_long_text_is_not_waited_for_without_end() {
        let start = Instant::now();
        let at = |delivery: &mut Delivery, seconds: u64, written: usize| {
            let look = Look {
                draft: Some("> "),
                folded: false,
                pending: 4000,
                cooked: false,
                unsent: true,
                written,
                last_output: None,
                works: None,
                loads: false,
                asks: false,
            };
            delivery.step(look, start + Duration::from_secs(seconds))
        };
        let text = "long ".repeat(20_000);
        let begin = || Delivery::start("p".into(), &text, true, false).expect("started").0;
        let mut slow = begin();
        for step in 0..20 {
            assert_eq!(at(&mut slow, step * 14, 4000 + step as usize), None, "it reads");
        }
        let end = at(&mut slow, 19 * 14 + 15, 4019);
        assert!(matches!(end, Some(Action::Abandoned(_))), "{end:?}");

        let mut deaf = begin();
        assert_eq!(at(&mut deaf, 0, 0), None);
        assert_eq!(deaf.deadline(), Some(start + UNREAD_WRITE));
        let end = at(&mut deaf, 15, 0);
        assert!(matches!(end, Some(Action::TakenBack(_))), "{end:?}");
    }

    #[test]
    fn an_echo_of_the_terminals_own_is_no_draft_of_a_program_that_then_leaves_line_mode() {
        for (cooked, wanted) in [(true, true), (false, false)] {
            let (mut delivery, _) = Delivery::start("p".into(), "fix", false, true).expect("started");
            let start = Instant::now();
            let look = |before_cursor, cooked, last_output| Look {
                draft: Some(before_cursor),
                folded: false,
                pending: 0,
                cooked,
                unsent: false,
                written: 0,
                last_output: Some(last_output),
                works: None,
                loads: false,
                asks: false,
            };
            let later = |millis| start + Duration::from_millis(millis);
            assert_eq!(
                delivery.step(look("fix", true, start), start),
                Some(Action::Enter),
                "echoed by the kernel"
            );
            assert_eq!(delivery.step(look("", cooked, later(2)), later(2)), None);
            let end = delivery.step(look("", cooked, later(2)), later(20));
            assert_eq!(end == Some(Action::Delivered), wanted, "{end:?}");
        }
    }

    #[test]
    fn several_lines_need_bracketed_paste() {
        assert!(Delivery::start("p".into(), "a\nb", false, false).is_err());
        assert!(Delivery::start("p".into(), "a\nb", true, false).is_ok());
    }

    #[test]
    fn a_wrapped_draft_is_seen_by_its_last_row() {
        let (delivery, _) = Delivery::start("p".into(), "a long text that wraps", true, false).expect("started");
        assert!(delivery.is_draft("│ aps"));
        assert!(!delivery.is_draft("> "));
    }

    #[test]
    fn texts_are_checked() {
        assert_eq!(check_text("a\r\nb\n\n").expect("fine"), "a\nb");
        assert!(check_text(" \n").is_err());
        assert!(check_text("a\x1b[201~b").is_err());
        assert!(check_text(&"x".repeat(MAX_BYTES + 1)).is_err());
    }

    #[test]
    fn a_text_with_a_slash_is_delivered_only_when_a_turn_follows() {
        for (works, wanted) in [(true, true), (false, false)] {
            let (mut delivery, _) = Delivery::start("p".into(), "/compact now", true, false).expect("started");
            let start = Instant::now();
            let at = |millis: u64| start + Duration::from_millis(millis);
            let look = |draft, last_output: u64, works| Look {
                draft: Some(draft),
                folded: false,
                pending: 0,
                cooked: false,
                unsent: false,
                written: 0,
                last_output: Some(at(last_output)),
                works: Some(works),
                loads: false,
                asks: false,
            };
            assert_eq!(
                delivery.step(look("> /compact now", 5, false), at(10)),
                Some(Action::Enter)
            );
            assert_eq!(delivery.step(look("> ", 20, false), at(20)), None);
            // A moment of work is no turn yet.
            assert_eq!(delivery.step(look("> ", 20, true), at(40)), None);
            assert_eq!(delivery.step(look("> ", 20, works), at(300)), None);
            let end = delivery.step(look("> ", 20, works), at(800));
            let end = end.or_else(|| delivery.step(look("> ", 20, false), at(4000)));
            assert_eq!(end == Some(Action::Delivered), wanted, "{end:?}");
        }
    }
}
