//! What control sequences do to the screen.

use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::Cell;
use alacritty_terminal::vte::ansi::{Attr, CharsetIndex, ClearMode, Handler, LineClearMode, StandardCharset};

use crate::cells::mend;
use crate::colors::attributes;
use crate::modes::Modes;
use crate::scan::Csi;
use crate::screen::{Effects, Screen, standard_tabs};

const MAX_KEYBOARD: usize = 16;

impl Screen {
    /// Runs a control sequence. Queries change nothing and are answered elsewhere.
    pub(crate) fn csi(&mut self, csi: &Csi, effects: &mut Effects) {
        let count = usize::from(csi.get(0, 1));
        match (csi.private, csi.intermediate, csi.last) {
            (0, 0, b'A') => self.move_lines(-(count as i32)),
            (0, 0, b'B' | b'e') => self.move_lines(count as i32),
            (0, 0, b'C' | b'a') => self.term.move_forward(count),
            (0, 0, b'D') => self.term.move_backward(count),
            (0, 0, b'E') => {
                self.move_lines(count as i32);
                self.term.carriage_return();
            }
            (0, 0, b'F') => {
                self.move_lines(-(count as i32));
                self.term.carriage_return();
            }
            (0, 0, b'G' | b'`') => self.go_column(count - 1),
            (0, 0, b'H' | b'f') => self.term.goto(count as i32 - 1, usize::from(csi.get(1, 1)) - 1),
            (0, 0, b'd') => self.term.goto_line(count as i32 - 1),
            (0, 0, b'I') => self.tab_forward(count),
            (0, 0, b'Z') => self.tab_backward(count),
            (0, 0, b'b') => self.repeated(csi.get(0, 1)).chars().for_each(|c| self.print(c)),
            (0 | b'?', 0, b'J') => self.erase_display(csi.get(0, 0)),
            (0 | b'?', 0, b'K') => match csi.get(0, 0) {
                0 => self.edit_line(|screen| screen.term.clear_line(LineClearMode::Right)),
                1 => self.edit_line(|screen| screen.term.clear_line(LineClearMode::Left)),
                2 => self.edit_line(|screen| screen.term.clear_line(LineClearMode::All)),
                _ => {}
            },
            (0, 0, b'X') => self.edit_line(|screen| screen.term.erase_chars(count)),
            (0, 0, b'@') => self.shift_line(|screen| screen.term.insert_blank(count)),
            (0, 0, b'P') => self.shift_line(|screen| screen.delete_chars(count)),
            (0, 0, b'L') => self.term.insert_blank_lines(count),
            (0, 0, b'M') => self.term.delete_lines(count),
            (0, 0, b'S') => self.term.scroll_up(count),
            (0, 0, b'T') if csi.params.len() < 2 => self.term.scroll_down(count),
            (0, 0, b'm') => attributes(csi)
                .into_iter()
                .for_each(|attribute| self.term.terminal_attribute(attribute)),
            (b'>', 0, b'm') => self.modify_keys(csi),
            (b'>', 0, b'n') if csi.get(0, 4) == 4 => self.modes.modify_other_keys = 0,
            (0, 0, b'r') => self.set_region(count, usize::from(csi.get(1, 0))),
            (0, 0, b's') => self.term.save_cursor_position(),
            (0, 0, b'u') => self.term.restore_cursor_position(),
            (b'=' | b'>' | b'<', 0, b'u') => self.keyboard(csi),
            (0, 0, b'g') => match csi.get(0, 0) {
                0 => {
                    let column = self.grid().cursor.point.column.0;
                    self.tabs[column] = false;
                }
                3 => self.tabs.fill(false),
                _ => {}
            },
            (b'?', 0, b'W') if csi.get(0, 0) == 5 => self.tabs = standard_tabs(self.size().cols),
            (0, 0, b't') => match csi.get(0, 0) {
                22 if csi.get(1, 0) != 1 => self.push_title(),
                23 if csi.get(1, 0) != 1 => effects.title |= self.pop_title(),
                _ => {}
            },
            (0, b' ', b'q') if csi.get(0, 0) <= 6 => self.modes.cursor_style = csi.get(0, 0) as u8,
            (0, b'!', b'p') => self.soft_reset(),
            (0, 0, b'h' | b'l') => csi.params.iter().for_each(|param| match param.value {
                4 => self.set_insert(csi.last == b'h'),
                20 => self.set_newline(csi.last == b'h'),
                _ => {}
            }),
            (b'?', 0, b'h' | b'l') => csi
                .params
                .iter()
                .for_each(|param| self.private_mode(param.value, csi.last == b'h')),
            _ => {}
        }
    }

    /// Moves up or down, but not out of the scroll region when the cursor is inside it.
    fn move_lines(&mut self, by: i32) {
        let rows = self.size().rows as i32;
        let (top, bottom) = (self.region.0 as i32, self.region.1 as i32);
        let cursor = &mut self.grid_mut().cursor;
        let line = cursor.point.line.0;
        let first = if line >= top { top } else { 0 };
        let last = if line < bottom { bottom - 1 } else { rows - 1 };
        cursor.point.line = Line((line + by).clamp(first, last));
        cursor.input_needs_wrap = false;
    }

    fn go_column(&mut self, column: usize) {
        let last = self.size().cols - 1;
        let cursor = &mut self.grid_mut().cursor;
        cursor.point.column = Column(column.min(last));
        cursor.input_needs_wrap = false;
    }

    /// An edit that blanks cells of the cursor's line.
    fn edit_line(&mut self, edit: impl FnOnce(&mut Self)) {
        edit(self);
        let line = self.grid().cursor.point.line;
        mend(&mut self.grid_mut()[line]);
    }

    /// An edit that moves cells within the cursor's line: it no longer goes on below.
    fn shift_line(&mut self, edit: impl FnOnce(&mut Self)) {
        let line = self.grid().cursor.point.line;
        self.unwrap_line(line);
        self.edit_line(edit);
    }

    fn delete_chars(&mut self, count: usize) {
        let after = self.size().cols - self.grid().cursor.point.column.0;
        // alacritty blanks `count` cells at the end, even where fewer were deleted.
        self.term.delete_chars(count.min(after));
    }

    fn erase_display(&mut self, what: u16) {
        match what {
            0 => self.edit_line(|screen| screen.term.clear_screen(ClearMode::Below)),
            1 => {
                let line = self.grid().cursor.point.line;
                if line > 0 {
                    self.grid_mut().reset_region(..line);
                }
                self.edit_line(|screen| screen.term.clear_line(LineClearMode::Left));
            }
            2 => self.term.clear_screen(ClearMode::All),
            3 if self.grid().history_size() > 0 => self.term.clear_screen(ClearMode::Saved),
            _ => {}
        }
    }

    fn private_mode(&mut self, mode: u16, on: bool) {
        match (mode, on) {
            (6, _) => self.set_origin(on),
            (7, _) => self.set_autowrap(on),
            (47 | 1047, true) => self.enter_alternate(false),
            (47 | 1047, false) => self.leave_alternate(false),
            (1048, true) => self.term.save_cursor_position(),
            (1048, false) => self.term.restore_cursor_position(),
            (1049, true) => self.enter_alternate(true),
            (1049, false) => self.leave_alternate(true),
            _ => {
                self.modes.set_private(mode, on);
            }
        }
    }

    fn modify_keys(&mut self, csi: &Csi) {
        if csi.params.is_empty() || csi.get(0, 0) == 4 {
            self.modes.modify_other_keys = csi.get(1, 0).min(2) as u8;
        }
    }

    fn keyboard(&mut self, csi: &Csi) {
        let flags = (csi.get(0, 0) & 0x1f) as u8;
        let current = self.modes.kitty_keyboard;
        self.modes.kitty_keyboard = match csi.private {
            b'=' => match csi.get(1, 1) {
                2 => current | flags,
                3 => current & !flags,
                _ => flags,
            },
            b'>' => {
                if self.keyboard.len() == MAX_KEYBOARD {
                    self.keyboard.remove(0);
                }
                self.keyboard.push(current);
                flags
            }
            _ => {
                let keep = self.keyboard.len().saturating_sub(usize::from(csi.get(0, 1)) - 1);
                let empty = usize::from(csi.get(0, 1)) > self.keyboard.len();
                self.keyboard.truncate(keep);
                if empty { 0 } else { self.keyboard.pop().unwrap_or(0) }
            }
        };
    }

    fn soft_reset(&mut self) {
        let point = self.grid().cursor.point;
        self.set_insert(false);
        self.set_origin(false);
        self.set_autowrap(true);
        self.set_region(1, 0);
        self.set_charset(CharsetIndex::G0);
        for slot in [CharsetIndex::G0, CharsetIndex::G1, CharsetIndex::G2, CharsetIndex::G3] {
            self.term.configure_charset(slot, StandardCharset::Ascii);
        }
        self.term.terminal_attribute(Attr::Reset);
        self.grid_mut().saved_cursor = alacritty_terminal::grid::Cursor::<Cell>::default();
        self.grid_mut().cursor.point = point;
        self.modes = Modes {
            cursor_visible: true,
            app_cursor: false,
            app_keypad: false,
            ..self.modes
        };
    }
}
