//! The modes a program has set.

/// What a program asked of its terminal's input and presentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// The alternate screen is shown.
    pub alt_screen: bool,
    /// Pastes are bracketed (`?2004`).
    pub bracketed_paste: bool,
    /// Cursor keys send application sequences (`?1`).
    pub app_cursor: bool,
    /// The keypad sends application sequences (`ESC =`).
    pub app_keypad: bool,
    /// Which mouse events are reported.
    pub mouse: Mouse,
    /// How mouse events are written.
    pub mouse_encoding: MouseEncoding,
    /// Focus changes are reported (`?1004`).
    pub focus_events: bool,
    /// The wheel sends cursor keys in the alternate screen (`?1007`).
    pub alternate_scroll: bool,
    /// The cursor is shown (`?25`).
    pub cursor_visible: bool,
    /// The cursor's shape as a DECSCUSR number, 0 to 6.
    pub cursor_style: u8,
    /// Flags of the kitty keyboard protocol in force.
    pub kitty_keyboard: u8,
    /// xterm's modifyOtherKeys level, 0 to 2.
    pub modify_other_keys: u8,
    /// Lines wrap at the right edge (`?7`).
    pub autowrap: bool,
    /// Addresses count from the scroll region (`?6`).
    pub origin: bool,
    /// Characters are inserted (`4`).
    pub insert: bool,
    /// A line feed returns the carriage too (`20`).
    pub newline: bool,
    /// Colours are swapped (`?5`).
    pub reverse_video: bool,
    /// A synchronized update is under way (`?2026`).
    pub synchronized: bool,
    /// Changes of the colour scheme are reported (`?2031`).
    pub color_scheme_events: bool,
}

/// Mouse events a program wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mouse {
    /// None.
    #[default]
    Off,
    /// Presses only (`?9`).
    X10,
    /// Presses and releases (`?1000`).
    Click,
    /// Also motion while a button is held (`?1002`).
    Drag,
    /// All motion (`?1003`).
    Motion,
}

/// The encoding of mouse events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MouseEncoding {
    /// Three bytes, limited to 223 columns.
    #[default]
    Legacy,
    /// `?1005`.
    Utf8,
    /// `?1006`.
    Sgr,
    /// `?1015`.
    Urxvt,
    /// `?1016`.
    SgrPixels,
}

impl Default for Modes {
    fn default() -> Self {
        Modes {
            alt_screen: false,
            bracketed_paste: false,
            app_cursor: false,
            app_keypad: false,
            mouse: Mouse::Off,
            mouse_encoding: MouseEncoding::Legacy,
            focus_events: false,
            alternate_scroll: true,
            cursor_visible: true,
            cursor_style: 0,
            kitty_keyboard: 0,
            modify_other_keys: 0,
            autowrap: true,
            origin: false,
            insert: false,
            newline: false,
            reverse_video: false,
            synchronized: false,
            color_scheme_events: false,
        }
    }
}

impl Modes {
    /// Sets a DEC private mode that only concerns input and presentation. False: not one of these.
    pub(crate) fn set_private(&mut self, mode: u16, on: bool) -> bool {
        match mode {
            1 => self.app_cursor = on,
            5 => self.reverse_video = on,
            9 => self.set_mouse(Mouse::X10, on),
            12 => self.cursor_style = blinking(self.cursor_style, on),
            25 => self.cursor_visible = on,
            66 => self.app_keypad = on,
            1000 => self.set_mouse(Mouse::Click, on),
            1002 => self.set_mouse(Mouse::Drag, on),
            1003 => self.set_mouse(Mouse::Motion, on),
            1004 => self.focus_events = on,
            1005 => self.set_encoding(MouseEncoding::Utf8, on),
            1006 => self.set_encoding(MouseEncoding::Sgr, on),
            1007 => self.alternate_scroll = on,
            1015 => self.set_encoding(MouseEncoding::Urxvt, on),
            1016 => self.set_encoding(MouseEncoding::SgrPixels, on),
            2004 => self.bracketed_paste = on,
            2026 => self.synchronized = on,
            2031 => self.color_scheme_events = on,
            _ => return false,
        }
        true
    }

    /// Whether a DEC private mode is set; `None`: we do not know it.
    pub(crate) fn private(&self, mode: u16) -> Option<bool> {
        Some(match mode {
            1 => self.app_cursor,
            5 => self.reverse_video,
            6 => self.origin,
            7 => self.autowrap,
            9 => self.mouse == Mouse::X10,
            12 => self.cursor_style % 2 == 1,
            25 => self.cursor_visible,
            47 | 1047 | 1049 => self.alt_screen,
            66 => self.app_keypad,
            1000 => self.mouse == Mouse::Click,
            1002 => self.mouse == Mouse::Drag,
            1003 => self.mouse == Mouse::Motion,
            1004 => self.focus_events,
            1005 => self.mouse_encoding == MouseEncoding::Utf8,
            1006 => self.mouse_encoding == MouseEncoding::Sgr,
            1007 => self.alternate_scroll,
            1015 => self.mouse_encoding == MouseEncoding::Urxvt,
            1016 => self.mouse_encoding == MouseEncoding::SgrPixels,
            2004 => self.bracketed_paste,
            2026 => self.synchronized,
            2031 => self.color_scheme_events,
            _ => return None,
        })
    }

    /// The sequences that set all of these but what the painting of a screen depends on and the keyboard flags.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for mode in [9, 1000, 1002, 1003, 1005, 1006, 1015, 1016] {
            if self.private(mode) == Some(false) {
                put_private(out, mode, false);
            }
        }
        for mode in [9, 1000, 1002, 1003, 1005, 1006, 1015, 1016] {
            if self.private(mode) == Some(true) {
                put_private(out, mode, true);
            }
        }
        for mode in [1, 5, 1004, 1007, 2004, 2031, 25, 2026] {
            put_private(out, mode, self.private(mode) == Some(true));
        }
        out.extend_from_slice(if self.app_keypad { b"\x1b=" } else { b"\x1b>" });
        out.extend_from_slice(format!("\x1b[{} q", self.cursor_style).as_bytes());
        out.extend_from_slice(format!("\x1b[>4;{}m", self.modify_other_keys).as_bytes());
    }

    fn set_mouse(&mut self, mouse: Mouse, on: bool) {
        if on {
            self.mouse = mouse;
        } else if self.mouse == mouse {
            self.mouse = Mouse::Off;
        }
    }

    fn set_encoding(&mut self, encoding: MouseEncoding, on: bool) {
        if on {
            self.mouse_encoding = encoding;
        } else if self.mouse_encoding == encoding {
            self.mouse_encoding = MouseEncoding::Legacy;
        }
    }
}

fn put_private(out: &mut Vec<u8>, mode: u16, on: bool) {
    out.extend_from_slice(format!("\x1b[?{mode}{}", if on { 'h' } else { 'l' }).as_bytes());
}

/// The DECSCUSR number with the same shape, blinking or not.
fn blinking(style: u8, on: bool) -> u8 {
    let shape = style.max(1).div_ceil(2);
    if on { shape * 2 - 1 } else { shape * 2 }
}
