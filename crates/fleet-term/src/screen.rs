//! The screen itself: alacritty's grid, and beside it all state that a snapshot needs and alacritty keeps to itself.
//!
//! Of alacritty's `Term` only the editing of the grid is used. Screens, scroll region, tab stops, titles and keyboard
//! flags are ours, so they can be read; the parser is ours, because `Processor` reserves 2 MiB for synchronized updates.

use alacritty_terminal::event::VoidListener;
use alacritty_terminal::grid::{Dimensions, Grid, Row};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags, Hyperlink};
use alacritty_terminal::term::{Config, Term};
use alacritty_terminal::vte::ansi::{CharsetIndex, Handler, NamedMode, NamedPrivateMode, StandardCharset};
use unicode_width::UnicodeWidthChar;

use crate::cells::mend;
use crate::colors::{FOREGROUND, Palette, parse_specification};
use crate::modes::Modes;
use crate::scan::{Kind, Token};

/// Marks kept on one character: no text needs more, and no output may grow a cell without end.
const MAX_MARKS: usize = 16;
/// The longest title and link kept, in bytes.
const MAX_TEXT: usize = 2048;
const MAX_STACK: usize = 16;

/// The state of one terminal.
pub(crate) struct Screen {
    pub(crate) term: Term<VoidListener>,
    /// The main screen while the alternate one is shown.
    pub(crate) main: Option<Box<Main>>,
    pub(crate) modes: Modes,
    /// First line of the scroll region and the line after its last.
    pub(crate) region: (usize, usize),
    pub(crate) charset: CharsetIndex,
    pub(crate) tabs: Vec<bool>,
    pub(crate) title: Option<String>,
    /// Titles put aside, which the program may take back.
    pub(crate) titles: Vec<Option<String>>,
    /// Keyboard flags below the current ones.
    pub(crate) keyboard: Vec<u8>,
    pub(crate) palette: Palette,
    last: Option<char>,
    history: usize,
}

/// What is put aside while the alternate screen is shown.
pub(crate) struct Main {
    pub(crate) grid: Grid<Cell>,
    pub(crate) keyboard: (u8, Vec<u8>),
    /// Entered by `?1049`, which keeps the cursor.
    pub(crate) keeps_cursor: bool,
}

/// What a piece did besides changing the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) bell: bool,
    pub(crate) title: bool,
}

/// A size in cells, held to what alacritty can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

impl Size {
    pub(crate) fn new(rows: u16, cols: u16) -> Self {
        Size {
            rows: usize::from(rows).clamp(1, 1000),
            cols: usize::from(cols).clamp(2, 2000),
        }
    }
}

impl Dimensions for Size {
    fn total_lines(&self) -> usize {
        self.rows
    }

    fn screen_lines(&self) -> usize {
        self.rows
    }

    fn columns(&self) -> usize {
        self.cols
    }
}

impl Screen {
    pub(crate) fn new(size: Size, history: usize) -> Self {
        Screen {
            term: editor(size, history),
            main: None,
            modes: Modes::default(),
            region: (0, size.rows),
            charset: CharsetIndex::G0,
            tabs: standard_tabs(size.cols),
            title: None,
            titles: Vec::new(),
            keyboard: Vec::new(),
            palette: Palette::default(),
            last: None,
            history,
        }
    }

    pub(crate) fn size(&self) -> Size {
        Size {
            rows: self.grid().screen_lines(),
            cols: self.grid().columns(),
        }
    }

    /// The grid that is shown.
    pub(crate) fn grid(&self) -> &Grid<Cell> {
        self.term.grid()
    }

    /// The grid of the main screen, shown or not.
    pub(crate) fn main_grid(&self) -> &Grid<Cell> {
        self.main.as_ref().map_or(self.grid(), |main| &main.grid)
    }

    pub(crate) fn grid_mut(&mut self) -> &mut Grid<Cell> {
        self.term.grid_mut()
    }

    /// Changes the screen as a piece of output says.
    pub(crate) fn apply(&mut self, token: &Token<'_>, effects: &mut Effects) {
        match token {
            Token::Text(text) => text.chars().for_each(|c| self.print(c)),
            Token::Broken => self.print('\u{fffd}'),
            Token::Control(byte) => self.control(*byte, effects),
            Token::Escape { intermediate, last } => self.escape(*intermediate, *last, effects),
            Token::Csi(csi) => self.csi(csi, effects),
            Token::Str {
                kind: Kind::Osc, body, ..
            } => self.osc(body, effects),
            Token::Str { .. } | Token::Opaque => return,
        }
        self.settle();
    }

    /// Changes the size. Text of the main screen flows anew; the alternate one is cut or filled, its program redraws it.
    pub(crate) fn resize(&mut self, size: Size) {
        if size == self.size() {
            return;
        }
        let shown = std::mem::replace(self.grid_mut(), Grid::new(1, 2, 0));
        let alternate = self.main.is_some();
        if let Some(main) = &mut self.main {
            let grid = std::mem::replace(&mut main.grid, Grid::new(1, 2, 0));
            main.grid = resized(grid, true, size, self.history);
            if main.keeps_cursor {
                // The cursor moved with its text; the saved one did not.
                main.grid.saved_cursor = main.grid.cursor.clone();
            }
        }
        let history = if alternate { 0 } else { self.history };
        self.term = editor(size, 0);
        *self.grid_mut() = resized(shown, !alternate, size, history);
        let kept = self.modes;
        self.term.set_active_charset(self.charset);
        self.set_autowrap(kept.autowrap);
        self.set_insert(kept.insert);
        self.set_newline(kept.newline);
        // Setting this one moves the cursor.
        let cursor = self.grid().cursor.clone();
        self.set_origin(kept.origin);
        self.grid_mut().cursor = cursor;
        self.region = (0, size.rows);
        let old = std::mem::replace(&mut self.tabs, standard_tabs(size.cols));
        let both = old.len().min(size.cols);
        self.tabs[..both].copy_from_slice(&old[..both]);
        self.settle();
    }

    /// Shows the alternate screen, blank. `keeps_cursor`: leaving will put the cursor back.
    pub(crate) fn enter_alternate(&mut self, keeps_cursor: bool) {
        if self.main.is_some() {
            return;
        }
        let size = self.size();
        let mut grid = Grid::new(size.rows, size.cols, 0);
        grid.cursor = self.grid().cursor.clone();
        grid.reset_region(..);
        if keeps_cursor {
            self.grid_mut().saved_cursor = self.grid().cursor.clone();
        }
        let grid = std::mem::replace(self.grid_mut(), grid);
        let keyboard = (self.modes.kitty_keyboard, std::mem::take(&mut self.keyboard));
        self.modes.kitty_keyboard = 0;
        self.main = Some(Box::new(Main {
            grid,
            keyboard,
            keeps_cursor,
        }));
        self.modes.alt_screen = true;
    }

    /// Shows the main screen again.
    pub(crate) fn leave_alternate(&mut self, restore_cursor: bool) {
        let Some(main) = self.main.take() else { return };
        let Main { mut grid, keyboard, .. } = *main;
        grid.cursor = if restore_cursor {
            grid.saved_cursor.clone()
        } else {
            self.grid().cursor.clone()
        };
        *self.grid_mut() = grid;
        (self.modes.kitty_keyboard, self.keyboard) = keyboard;
        self.modes.alt_screen = false;
    }

    pub(crate) fn print(&mut self, c: char) {
        if !c.is_ascii() && c.width() == Some(0) {
            let cursor = &self.grid().cursor;
            let back = usize::from(!cursor.input_needs_wrap);
            let (line, column) = (cursor.point.line, cursor.point.column.0.saturating_sub(back));
            let row = &self.grid()[line];
            let spacer = row[Column(column)].flags.contains(Flags::WIDE_CHAR_SPACER);
            let base = &row[Column(column - usize::from(spacer && column > 0))];
            if base.zerowidth().is_some_and(|marks| marks.len() >= MAX_MARKS) {
                return;
            }
        }
        self.last = Some(c);
        if self.modes.insert {
            let line = self.grid().cursor.point.line;
            if !self.grid().cursor.input_needs_wrap {
                self.unwrap_line(line);
            }
            self.term.input(c);
            let line = self.grid().cursor.point.line;
            mend(&mut self.grid_mut()[line]);
        } else {
            self.term.input(c);
        }
    }

    /// The last character as often as a request to repeat it prints it: not more than fills the screen.
    pub(crate) fn repeated(&self, count: u16) -> String {
        let size = self.size();
        let count = usize::from(count).min(size.rows * size.cols);
        self.last.map(|c| c.to_string().repeat(count)).unwrap_or_default()
    }

    pub(crate) fn control(&mut self, byte: u8, effects: &mut Effects) {
        match byte {
            0x07 => effects.bell = true,
            0x08 => self.term.backspace(),
            b'\t' => self.tab_forward(1),
            b'\n' | 0x0b | 0x0c => self.term.newline(),
            b'\r' => self.term.carriage_return(),
            0x0e => self.set_charset(CharsetIndex::G1),
            0x0f => self.set_charset(CharsetIndex::G0),
            _ => {}
        }
    }

    fn escape(&mut self, intermediate: Option<u8>, last: u8, effects: &mut Effects) {
        match (intermediate, last) {
            (None, b'7') => self.term.save_cursor_position(),
            (None, b'8') => self.term.restore_cursor_position(),
            (None, b'D') => self.term.linefeed(),
            (None, b'E') => {
                self.term.linefeed();
                self.term.carriage_return();
            }
            (None, b'H') => {
                let column = self.grid().cursor.point.column.0;
                self.tabs[column] = true;
            }
            (None, b'M') => self.term.reverse_index(),
            (None, b'c') => {
                effects.title |= self.title.is_some();
                *self = Screen::new(self.size(), self.history);
            }
            (None, b'=') => self.modes.app_keypad = true,
            (None, b'>') => self.modes.app_keypad = false,
            (Some(b'#'), b'8') => self.term.decaln(),
            (Some(slot @ b'('..=b'+'), set) => {
                let set = if set == b'0' {
                    StandardCharset::SpecialCharacterAndLineDrawing
                } else {
                    StandardCharset::Ascii
                };
                self.term.configure_charset(charset_slot(slot), set);
            }
            _ => {}
        }
    }

    fn osc(&mut self, body: &[u8], effects: &mut Effects) {
        let (number, text) = match body.iter().position(|&byte| byte == b';') {
            Some(at) => (&body[..at], &body[at + 1..]),
            None => (body, &b""[..]),
        };
        match number {
            b"0" | b"2" => {
                // An empty one takes it away.
                self.title = Some(printable(text)).filter(|title| !title.is_empty());
                effects.title = true;
            }
            b"4" => {
                let fields: Vec<&[u8]> = text.split(|&byte| byte == b';').collect();
                for pair in fields.chunks_exact(2) {
                    if let (Some(index), Some(color)) = (palette_index(pair[0]), parse_specification(pair[1])) {
                        self.palette.set(index, color);
                    }
                }
            }
            b"10" | b"11" | b"12" => {
                let first = FOREGROUND + u16::from(number[1] - b'0');
                for (index, field) in (first..FOREGROUND + 3).zip(text.split(|&byte| byte == b';')) {
                    if let Some(color) = parse_specification(field) {
                        self.palette.set(index, color);
                    }
                }
            }
            b"104" if text.is_empty() => self.palette.reset_indexed(),
            b"104" => text
                .split(|&byte| byte == b';')
                .filter_map(palette_index)
                .for_each(|at| self.palette.reset(at)),
            b"110" | b"111" | b"112" => self.palette.reset(FOREGROUND + u16::from(number[2] - b'0')),
            b"8" => self.hyperlink(text),
            _ => {}
        }
    }

    fn hyperlink(&mut self, text: &[u8]) {
        let Some(at) = text.iter().position(|&byte| byte == b';') else {
            return;
        };
        let uri = printable(&text[at + 1..]);
        let id = text[..at]
            .split(|&byte| byte == b':')
            .find_map(|field| field.strip_prefix(b"id="));
        // Always an id of our own: alacritty's come from a counter that is shared by the whole process.
        let id = printable(id.unwrap_or_default()).replace(';', "");
        let link = (!uri.is_empty() && text.len() <= MAX_TEXT).then(|| Hyperlink::new(Some(id), uri));
        self.grid_mut().cursor.template.set_hyperlink(link);
    }

    pub(crate) fn push_title(&mut self) {
        if self.titles.len() == MAX_STACK {
            self.titles.remove(0);
        }
        self.titles.push(self.title.clone());
    }

    pub(crate) fn pop_title(&mut self) -> bool {
        let popped = self.titles.pop();
        let found = popped.is_some();
        if let Some(title) = popped {
            self.title = title;
        }
        found
    }

    pub(crate) fn set_charset(&mut self, index: CharsetIndex) {
        self.charset = index;
        self.term.set_active_charset(index);
    }

    pub(crate) fn set_autowrap(&mut self, on: bool) {
        self.modes.autowrap = on;
        let mode = NamedPrivateMode::LineWrap.into();
        if on {
            self.term.set_private_mode(mode)
        } else {
            self.term.unset_private_mode(mode)
        }
    }

    pub(crate) fn set_insert(&mut self, on: bool) {
        self.modes.insert = on;
        let mode = NamedMode::Insert.into();
        if on {
            self.term.set_mode(mode)
        } else {
            self.term.unset_mode(mode)
        }
    }

    pub(crate) fn set_newline(&mut self, on: bool) {
        self.modes.newline = on;
        let mode = NamedMode::LineFeedNewLine.into();
        if on {
            self.term.set_mode(mode)
        } else {
            self.term.unset_mode(mode)
        }
    }

    /// Switches origin mode and moves the cursor to the home position.
    pub(crate) fn set_origin(&mut self, on: bool) {
        self.modes.origin = on;
        let mode = NamedPrivateMode::Origin.into();
        if on {
            self.term.set_private_mode(mode)
        } else {
            self.term.unset_private_mode(mode)
        }
        self.term.goto(0, 0);
    }

    /// Sets the scroll region, lines from 1; 0 for `bottom` means the last. Homes the cursor.
    pub(crate) fn set_region(&mut self, top: usize, bottom: usize) {
        let rows = self.size().rows;
        let bottom = if bottom == 0 { rows } else { bottom.min(rows) };
        if top < bottom || (top == 1 && rows == 1) {
            self.region = (top - 1, bottom);
            self.term.set_scrolling_region(top, Some(bottom));
            self.term.goto(0, 0);
        }
    }

    pub(crate) fn tab_forward(&mut self, count: usize) {
        let last = self.size().cols - 1;
        let mut column = self.grid().cursor.point.column.0;
        for _ in 0..count.min(last) {
            column = (column + 1..last).find(|&at| self.tabs[at]).unwrap_or(last);
        }
        // At the edge a tab goes nowhere, and a wrap that waits there still waits.
        if column != self.grid().cursor.point.column.0 {
            self.grid_mut().cursor.input_needs_wrap = false;
        }
        self.grid_mut().cursor.point.column = Column(column);
    }

    pub(crate) fn tab_backward(&mut self, count: usize) {
        let mut column = self.grid().cursor.point.column.0;
        for _ in 0..count.min(self.size().cols) {
            column = (0..column).rev().find(|&at| self.tabs[at]).unwrap_or(0);
        }
        self.grid_mut().cursor.input_needs_wrap = false;
        self.grid_mut().cursor.point.column = Column(column);
    }

    /// Forgets that a line goes on below, before an edit would carry the mark into the line.
    pub(crate) fn unwrap_line(&mut self, line: Line) {
        let last = Column(self.size().cols - 1);
        self.grid_mut()[line][last]
            .flags
            .remove(Flags::WRAPLINE | Flags::LEADING_WIDE_CHAR_SPACER);
    }

    /// Puts right what alacritty lets slip: a cursor outside the region in origin mode, a wrap that waits on a line
    /// which has wrapped already.
    fn settle(&mut self) {
        let (top, bottom) = self.region;
        let line = self.grid().cursor.point.line;
        if self.modes.origin && !(top as i32..bottom as i32).contains(&line.0) {
            let cursor = &mut self.grid_mut().cursor;
            cursor.point.line = Line(line.0.clamp(top as i32, bottom as i32 - 1));
            cursor.input_needs_wrap = false;
        }
        if self.grid().cursor.input_needs_wrap {
            let point = self.grid().cursor.point;
            if point.column.0 + 1 == self.size().cols {
                self.unwrap_line(point.line);
            } else {
                self.grid_mut().cursor.input_needs_wrap = false;
            }
        }
    }
}

pub(crate) fn standard_tabs(cols: usize) -> Vec<bool> {
    (0..cols).map(|column| column % 8 == 0).collect()
}

/// An alacritty terminal with a blank grid to edit.
fn editor(size: Size, history: usize) -> Term<VoidListener> {
    let config = Config {
        scrolling_history: history,
        ..Config::default()
    };
    let mut term = Term::new(config, &size, VoidListener);
    // Its other grid is never shown: the alternate screen is ours. A tiny one saves half of the memory.
    term.swap_alt();
    *term.grid_mut() = Grid::new(1, 2, 0);
    term.swap_alt();
    term
}

fn resized(mut grid: Grid<Cell>, reflow: bool, size: Size, history: usize) -> Grid<Cell> {
    if history == 0 {
        return rebuilt(grid, reflow, size);
    }
    grid.resize(reflow, size.rows, size.cols);
    grid.truncate();
    let Grid {
        cursor, saved_cursor, ..
    } = &mut grid;
    for cursor in [cursor, saved_cursor] {
        cursor.input_needs_wrap &= cursor.point.column.0 + 1 == size.cols;
    }
    grid
}

/// A new grid of the new size with the text of `grid`: growing one in place would reserve a thousand rows for a history
/// that never comes.
fn rebuilt(mut grid: Grid<Cell>, reflow: bool, size: Size) -> Grid<Cell> {
    // Only for a moment: lines that flow out at the top may find room at the bottom.
    grid.update_history(size.rows);
    grid.resize(reflow, grid.screen_lines(), size.cols);
    let rows = size.rows as i32;
    let first = grid.topmost_line().max(grid.cursor.point.line - (rows - 1));
    let mut new = Grid::new(size.rows, size.cols, 0);
    for line in 0..rows.min(grid.screen_lines() as i32 - first.0) {
        let mut row = Row::new(size.cols);
        row[..].clone_from_slice(&grid[first + line][..]);
        mend(&mut row);
        for cell in &mut row[..Column(size.cols - 1)] {
            cell.flags.remove(Flags::WRAPLINE | Flags::LEADING_WIDE_CHAR_SPACER);
        }
        new[Line(line)] = row;
    }
    new.cursor = grid.cursor.clone();
    new.saved_cursor = grid.saved_cursor.clone();
    for cursor in [&mut new.cursor, &mut new.saved_cursor] {
        cursor.point.line = Line((cursor.point.line - first).0.clamp(0, rows - 1));
        cursor.point.column = cursor.point.column.min(Column(size.cols - 1));
        cursor.input_needs_wrap &= cursor.point.column.0 + 1 == size.cols;
    }
    new
}

fn charset_slot(slot: u8) -> CharsetIndex {
    match slot {
        b'(' => CharsetIndex::G0,
        b')' => CharsetIndex::G1,
        b'*' => CharsetIndex::G2,
        _ => CharsetIndex::G3,
    }
}

fn palette_index(field: &[u8]) -> Option<u16> {
    std::str::from_utf8(field)
        .ok()?
        .parse()
        .ok()
        .filter(|index| *index < FOREGROUND)
}

/// Text of a title or link, without controls and of bounded length.
fn printable(text: &[u8]) -> String {
    let text = &text[..text.len().min(MAX_TEXT)];
    String::from_utf8_lossy(text)
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}
