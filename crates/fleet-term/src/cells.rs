//! Rows of cells as text and as sequences that paint them.

use alacritty_terminal::grid::{Dimensions, Grid, Row};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags};

use crate::colors::{same_pen, sgr};

const SPACERS: Flags = Flags::WIDE_CHAR_SPACER.union(Flags::LEADING_WIDE_CHAR_SPACER);

/// The characters of the columns before `end`, not trimmed.
pub(crate) fn row_text(row: &Row<Cell>, end: usize) -> String {
    let mut text = String::new();
    for cell in &row[..Column(end.min(row.len()))] {
        if !cell.flags.intersects(SPACERS) {
            text.push(cell.c);
            text.extend(cell.zerowidth().into_iter().flatten());
        }
    }
    text
}

/// All characters of the row, blanks in the place of faint ones, not trimmed.
pub(crate) fn row_text_without_faint(row: &Row<Cell>) -> String {
    let shown = |cell: &Cell| if cell.flags.contains(Flags::DIM) { ' ' } else { cell.c };
    let cells = row[..Column(row.len())].iter();
    cells
        .filter(|cell| !cell.flags.intersects(SPACERS))
        .map(shown)
        .collect()
}

/// Whether the row goes on in the next one.
pub(crate) fn wraps(row: &Row<Cell>) -> bool {
    row.last().is_some_and(|cell| cell.flags.contains(Flags::WRAPLINE))
}

/// All visible rows, right-trimmed.
pub(crate) fn visible_text(grid: &Grid<Cell>) -> Vec<String> {
    rows(grid, Line(0))
}

/// History and visible rows, right-trimmed.
pub(crate) fn all_text(grid: &Grid<Cell>) -> Vec<String> {
    rows(grid, grid.topmost_line())
}

fn rows(grid: &Grid<Cell>, first: Line) -> Vec<String> {
    (first.0..grid.screen_lines() as i32)
        .map(|line| {
            let mut text = row_text(&grid[Line(line)], grid.columns());
            text.truncate(text.trim_end().len());
            text
        })
        .collect()
}

/// Blanks what is left of wide characters that were cut in half, as terminals do.
pub(crate) fn mend(row: &mut Row<Cell>) {
    let columns = row.len();
    let wide = |cell: &Cell| cell.flags.contains(Flags::WIDE_CHAR);
    let spacer = |cell: &Cell| cell.flags.contains(Flags::WIDE_CHAR_SPACER);
    for column in 0..columns {
        let cells = &row[..];
        let broken = (wide(&cells[column]) && !(column + 1 < columns && spacer(&cells[column + 1])))
            || (spacer(&cells[column]) && !(column > 0 && wide(&cells[column - 1])));
        if broken {
            let cell = &mut row[Column(column)];
            cell.clear_wide();
            cell.flags.remove(Flags::WIDE_CHAR_SPACER);
        }
    }
}

/// A pen that paints cells at a real terminal.
pub(crate) struct Painter<'a> {
    out: &'a mut Vec<u8>,
    pen: Cell,
}

impl<'a> Painter<'a> {
    /// Starts with the default pen, wherever the terminal's was.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        out.extend_from_slice(b"\x1b[0m\x1b]8;;\x1b\\");
        Painter {
            out,
            pen: Cell::default(),
        }
    }

    /// Appends bytes as they are; they must not change the pen.
    pub(crate) fn put(&mut self, bytes: impl AsRef<[u8]>) {
        self.out.extend_from_slice(bytes.as_ref());
    }

    /// Moves the cursor; both count from 0.
    pub(crate) fn go(&mut self, line: usize, column: usize) {
        self.put(format!("\x1b[{};{}H", line + 1, column + 1));
    }

    /// Takes the attributes of `cell`.
    pub(crate) fn pen(&mut self, cell: &Cell) {
        if same_pen(&self.pen, cell) {
            return;
        }
        if self.pen.hyperlink() != cell.hyperlink() {
            let link = match cell.hyperlink() {
                Some(link) if link.id().is_empty() => format!("\x1b]8;;{}\x1b\\", link.uri()),
                Some(link) => format!("\x1b]8;id={};{}\x1b\\", link.id(), link.uri()),
                None => "\x1b]8;;\x1b\\".to_owned(),
            };
            self.put(link);
        }
        self.put(format!("\x1b[{}m", sgr(cell)));
        self.pen = cell.clone();
    }

    /// Paints one cell where the cursor is; a wide one takes two columns.
    pub(crate) fn cell(&mut self, cell: &Cell) {
        self.pen(cell);
        let mut buffer = [0; 4];
        self.put(cell.c.encode_utf8(&mut buffer));
        for c in cell.zerowidth().into_iter().flatten() {
            self.put(c.encode_utf8(&mut buffer));
        }
    }

    /// Paints the first `columns` of a row from column 0 on, up to its last cell that is not blank. Returns the column
    /// reached. The terminal's row must be blank.
    pub(crate) fn row(&mut self, row: &Row<Cell>, columns: usize) -> usize {
        let blank = Cell::default();
        let cells = &row[..Column(columns.min(row.len()))];
        let plain =
            |cell: &Cell| cell.c == ' ' && cell.zerowidth().is_none_or(<[char]>::is_empty) && same_pen(cell, &blank);
        let end = if columns == row.len() && wraps(row) {
            columns
        } else {
            cells
                .iter()
                .rposition(|cell| !plain(cell) || cell.flags.intersects(SPACERS))
                .map_or(0, |last| last + 1)
        };
        self.cells(cells, end);
        end
    }

    /// Paints the cells that start before column `end` where the cursor is, which must be column 0.
    pub(crate) fn cells(&mut self, cells: &[Cell], end: usize) {
        let mut column = 0;
        while column < end.min(cells.len()) {
            let cell = &cells[column];
            let wide = cell.flags.contains(Flags::WIDE_CHAR);
            if cell.flags.contains(Flags::LEADING_WIDE_CHAR_SPACER) || (wide && column + 1 == cells.len()) {
                // Half of a character that the edge cut off.
                self.cell(&Cell {
                    c: ' ',
                    extra: None,
                    ..cell.clone()
                });
            } else {
                self.cell(cell);
            }
            column += if wide { 2 } else { 1 };
            if cell.zerowidth().is_some_and(|marks| !marks.is_empty()) && column < end {
                // Terminals disagree on how wide a sequence of joined characters is.
                self.put(format!("\x1b[{}G", column + 1));
            }
        }
    }
}
