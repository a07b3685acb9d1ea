//! A line of arguments as a list: quotes and backslashes as in a shell, and nothing else of a shell.

/// Splits `line` at white space. `'…'` is taken as it is; in `"…"` a backslash takes `"`, `\`, `$` and `` ` ``
/// as they are; elsewhere it takes any character. Variables, patterns and `~` are plain text.
///
/// Errors: the mistake in words, such as a quote without its end.
pub(super) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        match c {
            '\'' => loop {
                match chars.next().ok_or("a `'` has no end")? {
                    '\'' => break,
                    inner => word.push(inner),
                }
            },
            '"' => loop {
                match chars.next().ok_or("a `\"` has no end")? {
                    '"' => break,
                    '\\' => {
                        let escaped = chars.next().ok_or("a `\"` has no end")?;
                        if !"\"\\$`".contains(escaped) {
                            word.push('\\');
                        }
                        word.push(escaped);
                    }
                    inner => word.push(inner),
                }
            },
            '\\' => word.push(chars.next().ok_or("it ends with a backslash")?),
            plain => word.push(plain),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_are_split_as_a_shell_would() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  \t\n ", &[]),
            ("--a  --b=c", &["--a", "--b=c"]),
            ("--say 'a b' \"c d\"", &["--say", "a b", "c d"]),
            ("a'b c'd\"e f\"", &["ab cde f"]),
            ("'' \"\"", &["", ""]),
            (r#""a\"b\\c\$d\e""#, &[r#"a"b\c$d\e"#]),
            (r"a\ b \'c", &["a b", "'c"]),
            (r"'a\b'", &[r"a\b"]),
            ("$HOME ~/x *.rs ; | &", &["$HOME", "~/x", "*.rs", ";", "|", "&"]),
            ("ä\u{3000}ö", &["ä", "ö"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line).expect(line), *words, "{line}");
        }
    }

    #[test]
    fn a_quote_without_its_end_is_an_error() {
        assert_eq!(split("a 'b"), Err("a `'` has no end".to_owned()));
        assert_eq!(split("a \"b"), Err("a `\"` has no end".to_owned()));
        assert_eq!(split("\"a\\"), Err("a `\"` has no end".to_owned()));
        assert_eq!(split("a\\"), Err("it ends with a backslash".to_owned()));
    }
}
