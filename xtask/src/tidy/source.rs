//! Rust text as the checks want it: what is code, what is a literal, and where the tests begin.

/// One Rust file, blanked in two ways. Both texts have the line breaks of the file, so lines agree.
#[derive(Debug)]
pub(crate) struct Source {
    /// Without comments and without the contents of literals.
    code: String,
    /// Without comments only.
    literals: String,
    /// The line at which the tests begin, from 1; the whole file when it is a test.
    tests_from: usize,
}

/// Where the scanner is.
enum At {
    Code,
    LineComment,
    /// Nested this deep.
    BlockComment(usize),
    /// In a string with escapes.
    Text,
    /// In a raw string with this many `#`.
    RawText(usize),
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, literals) = blanked(text);
        let tests_from = if is_test_file(path) { 1 } else { tests_from(&code) };
        Self {
            code,
            literals,
            tests_from,
        }
    }

    /// Lines of code with their numbers; literals are empty.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.code)
    }

    /// Those before the tests.
    pub(crate) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().take_while(|(line, _)| *line < self.tests_from)
    }

    /// Those of the tests.
    pub(crate) fn test_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().skip_while(|(line, _)| *line < self.tests_from)
    }

    /// True if `word` is on `line` or one of the `count` lines before it.
    pub(crate) fn names_before(&self, line: usize, count: usize, word: &str) -> bool {
        self.code
            .lines()
            .take(line)
            .skip(line.saturating_sub(count + 1))
            .any(|code| has_word(code, word))
    }

    /// The text before the tests, with literals and without comments.
    pub(crate) fn product_text(&self) -> &str {
        let end = self
            .literals
            .split_inclusive('\n')
            .take(self.tests_from - 1)
            .map(str::len)
            .sum();
        &self.literals[..end]
    }

    /// How many lines have code on them, the tests not counted.
    pub(crate) fn size(&self) -> usize {
        self.product_lines().filter(|(_, line)| !line.trim().is_empty()).count()
    }
}

/// True if `text` has `word` in it with no letter, digit or underscore at either end.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    // A word that ends in a sign, such as `print!`, ends there whatever follows.
    let open = word.ends_with(|c| !part_of_name(c));
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(part_of_name) && (open || !text[at + word.len()..].starts_with(part_of_name))
    })
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("/testing.rs")
}

/// The line of the attribute of the first test module; one past the end without one.
fn tests_from(code: &str) -> usize {
    let lines: Vec<&str> = code.lines().collect();
    let opens_module = |line: &str| line.contains("mod ") && line.trim_end().ends_with('{');
    let begins = |at: usize| {
        lines[at].trim() == "#[cfg(test)]"
            && lines[at + 1..]
                .iter()
                .find(|line| !line.trim().starts_with("#["))
                .is_some_and(|line| opens_module(line))
    };
    (0..lines.len()).find(|at| begins(*at)).unwrap_or(lines.len()) + 1
}

/// The text without comments and contents of literals, and without comments only.
fn blanked(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut literals) = (String::with_capacity(text.len()), String::with_capacity(text.len()));
    let mut at = At::Code;
    let mut i = 0;
    while i < chars.len() {
        let rest = &chars[i..];
        // How many characters this step takes, and whether each text keeps them.
        let (take, in_code, in_literals) = match at {
            At::Code => {
                let (next, take) = step(&chars, i);
                let keep = !matches!(next, At::LineComment | At::BlockComment(_));
                at = next;
                // A character literal is taken whole: nobody looks for one.
                (take, keep && !(rest[0] == '\'' && take > 1), keep)
            }
            At::LineComment => {
                if rest[0] == '\n' {
                    at = At::Code;
                }
                (1, false, false)
            }
            At::BlockComment(depth) => match rest {
                ['*', '/', ..] => {
                    at = if depth == 1 {
                        At::Code
                    } else {
                        At::BlockComment(depth - 1)
                    };
                    (2, false, false)
                }
                ['/', '*', ..] => {
                    at = At::BlockComment(depth + 1);
                    (2, false, false)
                }
                _ => (1, false, false),
            },
            At::Text => match rest {
                ['\\', _, ..] => (2, false, true),
                ['"', ..] => {
                    at = At::Code;
                    (1, true, true)
                }
                _ => (1, false, true),
            },
            At::RawText(hashes) => {
                let closes = rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|c| *c == '#');
                if closes {
                    at = At::Code;
                }
                (if closes { hashes + 1 } else { 1 }, closes, true)
            }
        };
        for c in &chars[i..i + take] {
            let line_break = *c == '\n';
            code.push(if in_code || line_break { *c } else { ' ' });
            literals.push(if in_literals || line_break { *c } else { ' ' });
        }
        i += take;
    }
    // Blanks of several bytes' worth of characters are no matter; blanks at line ends would be lines of code.
    (code, literals)
}

/// What begins at `i` in code, and how many characters open it.
fn step(chars: &[char], i: usize) -> (At, usize) {
    let rest = &chars[i..];
    let after_name = i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_');
    match rest {
        ['/', '/', ..] => (At::LineComment, 2),
        ['/', '*', ..] => (At::BlockComment(1), 2),
        ['"', ..] => (At::Text, 1),
        ['b' | 'c', '"', ..] if !after_name => (At::Text, 2),
        ['r', ..] | ['b' | 'c', 'r', ..] if !after_name => {
            let prefix = if rest[0] == 'r' { 1 } else { 2 };
            let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
            match rest.get(prefix + hashes) {
                Some('"') => (At::RawText(hashes), prefix + hashes + 1),
                _ => (At::Code, 1),
            }
        }
        // A character, not a lifetime: it closes after one character or an escape.
        ['\'', '\\', ..] => {
            let close = rest.iter().skip(3).position(|c| *c == '\'');
            (At::Code, close.map_or(1, |at| at + 4))
        }
        ['\'', c, '\'', ..] if *c != '\'' => (At::Code, 3),
        _ => (At::Code, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("crates/x/src/x.rs", text)
    }

    fn code(text: &str) -> String {
        blanked(text).0
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        assert_eq!(code("a // unsafe\nb"), "a          \nb");
        assert_eq!(code("a /* x /* y */ z */ b"), "a                   b");
        assert_eq!(code(r#"f("a\"b", x)"#), r#"f("    ", x)"#);
        assert_eq!(code(r##"f(r#"a"b"#, x)"##), r##"f(r#"   "#, x)"##);
        assert_eq!(code("f(b\"ab\")"), "f(b\"  \")");
    }

    #[test]
    fn characters_and_lifetimes_are_told_apart() {
        assert_eq!(code("f('\"', x) // y"), "f(   , x)     ");
        assert_eq!(code(r"f('\'', '\u{41}', 'a')"), "f(    ,         ,    )");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    }

    #[test]
    fn literals_stay_where_only_comments_go() {
        let source = source("f(\"a.b\", 1); // \"c.d\"\n#[cfg(test)]\nmod tests {\n g(\"e.f\");\n}\n");
        assert_eq!(source.product_text().trim_end(), "f(\"a.b\", 1);");
    }

    #[test]
    fn tests_begin_at_their_module_and_not_at_a_single_item() {
        let text = "fn a() {}\n#[cfg(test)]\nfn b() {}\n#[cfg(test)]\nmod c;\nfn d() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n}\n";
        let source = source(text);
        assert_eq!(source.tests_from, 7);
        assert_eq!(source.size(), 6);
        assert_eq!(source.test_lines().count(), 4);
        assert_eq!(Source::new("crates/x/tests/it/a.rs", text).size(), 0);
    }

    #[test]
    fn size_counts_lines_with_code() {
        assert_eq!(
            source("//! doc\n\n/// doc\nfn a() {\n    // why\n    b()\n}\n").size(),
            3
        );
    }

    #[test]
    fn a_word_has_ends() {
        assert!(has_word("x = unsafe {", "unsafe") && !has_word("unsafe_code", "unsafe"));
        assert!(has_word("print!(x)", "print!") && !has_word("eprint!(x)", "print!"));
        assert!(has_word("std::fs::read", "std::fs") && !has_word("std::fsx", "std::fs"));
    }
}
