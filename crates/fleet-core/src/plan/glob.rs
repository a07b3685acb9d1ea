//! Patterns of `target_files`, and whether two of them can mean the same file.
//!
//! A pattern is a path from the repository's top. `*` and `?` stay within one part of it, `[ab]` and `[!ab]` are one
//! character, `{a,b}` is one of several texts, `**` as a whole part is any number of parts, `\` takes the next
//! character as it is. A path without any of these that looks like a folder (it ends in `/`, or its last part has no
//! extension) also means everything below it.
//!
//! Two patterns are compared by walking both at once over the paths they take, so the answer is exact, and comes with
//! a path that both match.

use std::collections::{BTreeSet, VecDeque};

/// A pattern of `target_files`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What it means once the braces are written out; each is compared by itself.
    pub(super) ways: Vec<Way>,
}

/// One way to write a pattern out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    tokens: Vec<Token>,
    /// The text before the first wildcard; all of it where there is none.
    pub(super) literal: String,
    /// The text behind the last wildcard.
    tail: String,
    /// Whether there is no wildcard.
    whole: bool,
    /// Whether it means what is below it as well.
    folder: bool,
}

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It cannot be read; what is wrong.
    Malformed(&'static str),
    /// It leads out of the repository.
    Outside,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// One character of these.
    One(Set),
    /// `*`: any of one part.
    Star,
    /// `**` and its slash: any parts, each with its slash.
    Parts,
    /// `**` at the end: one part or more.
    Rest,
    /// What may follow a folder: nothing, or a slash and more.
    Below,
}

/// Characters, as ranges of code points in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set(Vec<(u32, u32)>);

/// The longest pattern, in bytes, and the most texts that its braces may stand for.
const LONGEST: usize = 500;
const MOST_WAYS: usize = 256;

impl Pattern {
    /// Reads a pattern, with `.`, `..` and doubled slashes resolved.
    pub fn new(text: &str) -> Result<Pattern, Unusable> {
        if text.is_empty() {
            return Err(Unusable::Malformed("it is empty"));
        }
        if text.len() > LONGEST {
            return Err(Unusable::Malformed("it is too long"));
        }
        if text.chars().any(char::is_control) {
            return Err(Unusable::Malformed("it has a control character"));
        }
        let written_out = braces(text)?;
        let ways = written_out.iter().map(|text| way(text)).collect::<Result<_, _>>()?;
        Ok(Pattern { ways })
    }

    /// A path that both patterns match, if there is one.
    pub fn common_path(&self, other: &Pattern) -> Option<String> {
        let mut steps = u64::MAX;
        let pairs = self.ways.iter().flat_map(|a| other.ways.iter().map(move |b| (a, b)));
        pairs.into_iter().find_map(|(a, b)| a.common_path(b, &mut steps))
    }

    /// Whether `path`, from the repository's top, is one of those that the pattern means.
    pub fn matches(&self, path: &str) -> bool {
        self.ways.iter().any(|way| Machine::new(way, way.folder).takes(path))
    }
}

impl Way {
    /// A path that both match. The search and its preparation take from `steps`; at 0 it gives up and finds none.
    pub(super) fn common_path(&self, other: &Way, steps: &mut u64) -> Option<String> {
        let (self_below, other_below) = (self.means_below(other), other.means_below(self));
        let fits = self.tail.ends_with(&other.tail) || other.tail.ends_with(&self.tail);
        if !self_below && !other_below && !fits {
            *steps = steps.saturating_sub(1);
            return None;
        }
        *steps = steps.saturating_sub((self.tokens.len() + other.tokens.len()) as u64);
        if *steps == 0 {
            return None;
        }
        let (one, two) = (Machine::new(self, self_below), Machine::new(other, other_below));
        let path = search(&one, &two, true, steps)?;
        // `src/x.ts` says more to a person than `src/.ts`, which is shorter.
        let hidden = path.starts_with('.') || path.contains("/.");
        let plainer = hidden.then(|| search(&one, &two, false, steps)).flatten();
        Some(plainer.unwrap_or(path))
    }

    /// Whether it takes what is below it, for `other`, which may say that it is a folder.
    fn means_below(&self, other: &Way) -> bool {
        let below = |rest: &str| rest.starts_with('/');
        self.folder || self.whole && other.literal.strip_prefix(&self.literal).is_some_and(below)
    }
}

/// `text` with each `{a,b}` written out.
fn braces(text: &str) -> Result<Vec<String>, Unusable> {
    let mut done = Vec::new();
    let mut waiting = vec![text.to_owned()];
    while let Some(text) = waiting.pop() {
        if waiting.len() + done.len() >= MOST_WAYS {
            return Err(Unusable::Malformed("its braces stand for more than 256 texts"));
        }
        match first_braces(&text)? {
            None => done.push(text),
            Some((start, parts, end)) => {
                let whole = parts
                    .iter()
                    .rev()
                    .map(|part| format!("{}{part}{}", &text[..start], &text[end..]));
                waiting.extend(whole);
            }
        }
    }
    Ok(done)
}

/// A group of braces: where it begins, its parts, and where the text goes on.
type Braces<'a> = (usize, Vec<&'a str>, usize);

/// The first group of braces, if there is one.
fn first_braces(text: &str) -> Result<Option<Braces<'_>>, Unusable> {
    let (mut depth, mut start, mut part, mut parts) = (0, 0, 0, Vec::new());
    let (mut in_class, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ']' => in_class = false,
            _ if in_class => {}
            '[' => in_class = true,
            '{' => {
                depth += 1;
                if depth == 1 {
                    (start, part) = (at, at + 1);
                }
            }
            ',' if depth == 1 => {
                parts.push(&text[part..at]);
                part = at + 1;
            }
            '}' if depth == 0 => return Err(Unusable::Malformed("a `}` has no `{` before it")),
            '}' => {
                depth -= 1;
                if depth == 0 {
                    parts.push(&text[part..at]);
                    return Ok(Some((start, parts, at + 1)));
                }
            }
            _ => {}
        }
    }
    match depth {
        0 => Ok(None),
        _ => Err(Unusable::Malformed("a `{` has no `}`")),
    }
}

fn way(text: &str) -> Result<Way, Unusable> {
    let drive = text.as_bytes().get(1) == Some(&b':') && text.starts_with(|c: char| c.is_ascii_alphabetic());
    if text.starts_with(['/', '~']) || drive {
        return Err(Unusable::Outside);
    }
    let mut parts: Vec<Vec<Token>> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.pop() {
                None => return Err(Unusable::Outside),
                Some(last) if last == [Token::Parts] => {
                    return Err(Unusable::Malformed("`..` behind `**` leads anywhere"));
                }
                Some(_) => {}
            },
            "**" if parts.last().is_some_and(|last| *last == [Token::Parts]) => {}
            "**" => parts.push(vec![Token::Parts]),
            part => parts.push(tokens_of(part)?),
        }
    }
    let folder = text.ends_with('/') || parts.last().is_some_and(|last| looks_like_folder(last));
    let mut tokens = Vec::new();
    let last = parts.len().saturating_sub(1);
    for (index, part) in parts.iter().enumerate() {
        let anywhere = *part == [Token::Parts];
        match (anywhere, index == last) {
            (true, true) => tokens.push(Token::Rest),
            (true, false) => tokens.push(Token::Parts),
            (false, _) => {
                tokens.extend(part.iter().cloned());
                if index != last {
                    tokens.push(Token::One(Set::of('/')));
                }
            }
        }
    }
    if parts.is_empty() {
        // The repository itself.
        tokens.push(Token::Rest);
    }
    let chars: Vec<Option<char>> = tokens.iter().map(Token::literal).collect();
    let literal: String = chars.iter().map_while(|c| *c).collect();
    let tail: Vec<char> = chars.iter().rev().map_while(|c| *c).collect();
    Ok(Way {
        literal,
        tail: tail.iter().rev().collect(),
        whole: chars.iter().all(Option::is_some),
        folder,
        tokens,
    })
}

fn tokens_of(part: &str) -> Result<Vec<Token>, Unusable> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut chars = part.chars().peekable();
    while let Some(c) = chars.next() {
        let token = match c {
            '*' => Token::Star,
            '?' => Token::One(Set::part()),
            '[' => {
                let (negated, mut ranges, mut first) =
                    (chars.next_if(|c| "!^".contains(*c)).is_some(), Vec::new(), true);
                loop {
                    let from = match chars.next() {
                        None => return Err(Unusable::Malformed("a `[` has no `]` in its part of the path")),
                        Some(']') if !first => break,
                        Some('\\') => chars.next().unwrap_or('\\'),
                        Some(c) => c,
                    };
                    first = false;
                    let mut ahead = chars.clone();
                    let to = match (ahead.next(), ahead.next()) {
                        (Some('-'), Some(to)) if to != ']' => {
                            chars = ahead;
                            to
                        }
                        _ => from,
                    };
                    if to < from {
                        return Err(Unusable::Malformed("a range in `[ ]` goes backwards"));
                    }
                    ranges.push((u32::from(from), u32::from(to)));
                }
                Token::One(Set::class(ranges, negated))
            }
            '\\' => match chars.next() {
                Some(c) => Token::One(Set::of(c)),
                None => return Err(Unusable::Malformed("it ends with a `\\`, or has one before a `/`")),
            },
            c => Token::One(Set::of(c)),
        };
        if !(token == Token::Star && tokens.last() == Some(&Token::Star)) {
            tokens.push(token);
        }
    }
    Ok(tokens)
}

/// Whether a last part without wildcards may be a folder: it has no extension, and is no file that everybody knows.
fn looks_like_folder(part: &[Token]) -> bool {
    const FILES: &[&str] = &[
        "AUTHORS",
        "CHANGELOG",
        "CODEOWNERS",
        "CONTRIBUTING",
        "COPYING",
        "Dockerfile",
        "Gemfile",
        "Jenkinsfile",
        "Justfile",
        "LICENSE",
        "Makefile",
        "NOTICE",
        "Procfile",
        "README",
        "Rakefile",
        "VERSION",
        "Vagrantfile",
        "justfile",
    ];
    let name: Option<String> = part.iter().map(Token::literal).collect();
    name.is_some_and(|name| {
        let has_extension = name.rfind('.').is_some_and(|dot| dot > 0);
        !has_extension && !FILES.contains(&name.as_str())
    })
}

impl Token {
    /// The character it stands for, if it is one alone.
    fn literal(&self) -> Option<char> {
        match self {
            Token::One(Set(ranges)) => match ranges.as_slice() {
                [(from, to)] if from == to => char::from_u32(*from),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Set {
    fn of(c: char) -> Set {
        Set(vec![(u32::from(c), u32::from(c))])
    }

    /// Every character.
    fn any() -> Set {
        Set(vec![(0, u32::from(char::MAX))])
    }

    /// Every character of a part of a path.
    fn part() -> Set {
        Set::class(Vec::new(), true)
    }

    /// Those of the ranges, or all others; never a slash.
    fn class(mut ranges: Vec<(u32, u32)>, negated: bool) -> Set {
        const SLASH: u32 = '/' as u32;
        if negated {
            ranges.push((SLASH, SLASH));
            ranges.sort_unstable();
            let (mut from, mut others) = (0, Vec::new());
            for (start, end) in ranges {
                if start > from {
                    others.push((from, start - 1));
                }
                from = from.max(end + 1);
            }
            others.push((from, u32::from(char::MAX)));
            return Set(others);
        }
        ranges.sort_unstable();
        Set(ranges).without(SLASH)
    }

    fn without(self, point: u32) -> Set {
        let cut = |(from, to): (u32, u32)| {
            let before = (from < point).then(|| (from, to.min(point.saturating_sub(1))));
            let after = (to > point).then(|| (from.max(point + 1), to));
            before.into_iter().chain(after)
        };
        Set(self.0.into_iter().flat_map(cut).collect())
    }

    fn and(&self, other: &Set) -> Set {
        let pairs = self
            .0
            .iter()
            .flat_map(|a| other.0.iter().map(move |b| (a.0.max(b.0), a.1.min(b.1))));
        Set(pairs.filter(|(from, to)| from <= to).collect())
    }

    fn has(&self, c: char) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&u32::from(c)))
    }

    /// Characters that stand for all of them: an ordinary one, a dot, a slash.
    fn samples(&self) -> impl Iterator<Item = char> {
        let ordinary = ('a'..='z')
            .rev()
            .skip(2)
            .chain(['y', 'z'])
            .find(|c| self.has(*c))
            .or_else(|| {
                let points = self.0.iter().flat_map(|(from, to)| (*from..=*to).take(4));
                points.filter_map(char::from_u32).find(|c| !"./".contains(*c))
            });
        let special = ['.', '/'].into_iter().filter(|c| self.has(*c));
        ordinary.into_iter().chain(special.collect::<Vec<_>>())
    }
}

/// A pattern as states and the characters that lead from one to the next. State 0 is the first.
struct Machine {
    moves: Vec<Vec<(Set, usize)>>,
    ends: Vec<bool>,
}

impl Machine {
    /// Token `i` is entered in state `2i`; state `2i + 1` is within it, where it has an inside.
    fn new(way: &Way, below: bool) -> Machine {
        let mut tokens = way.tokens.clone();
        if below {
            tokens.push(Token::Below);
        }
        let count = 2 * tokens.len() + 1;
        let mut direct: Vec<Vec<(Set, usize)>> = vec![Vec::new(); count];
        let mut free: Vec<Option<usize>> = vec![None; count];
        let slash = || Set::of('/');
        for (index, token) in tokens.iter().enumerate() {
            let (here, inside, next) = (2 * index, 2 * index + 1, 2 * index + 2);
            match token {
                Token::One(set) => direct[here].push((set.clone(), next)),
                Token::Star => {
                    direct[here].push((Set::part(), here));
                    free[here] = Some(next);
                }
                Token::Parts => {
                    direct[here].push((Set::part(), inside));
                    direct[inside].push((Set::part(), inside));
                    direct[inside].push((slash(), here));
                    free[here] = Some(next);
                }
                Token::Rest => {
                    direct[here].push((Set::any(), inside));
                    direct[inside].push((Set::any(), inside));
                    free[inside] = Some(next);
                }
                Token::Below => {
                    direct[here].push((slash(), inside));
                    direct[inside].push((Set::any(), inside));
                    free[here] = Some(next);
                    free[inside] = Some(next);
                }
            }
        }
        let last = count - 1;
        let reached = |state: usize| std::iter::successors(Some(state), |state| free[*state]);
        let moves = (0..count).map(|state| reached(state).flat_map(|each| direct[each].clone()).collect());
        Machine {
            moves: moves.collect(),
            ends: (0..count)
                .map(|state| reached(state).any(|each| each == last))
                .collect(),
        }
    }

    /// Whether the whole of `path` leads to an end.
    fn takes(&self, path: &str) -> bool {
        let mut states = BTreeSet::from([0]);
        for c in path.chars() {
            let moves = states.iter().flat_map(|state| &self.moves[*state]);
            states = moves.filter(|(set, _)| set.has(c)).map(|(_, to)| *to).collect();
        }
        states.iter().any(|state| self.ends[*state])
    }
}

/// Where in a part of a path the walk stands: a path has no empty part, and none that is `.` or `..`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Empty,
    Dot,
    Dots,
    Named,
}

impl Part {
    const COUNT: usize = 4;

    /// The place behind `c`; none where no path goes on so. Without `hidden` no part begins with a dot.
    fn after(self, c: char, hidden: bool) -> Option<Part> {
        match (self, c) {
            (Part::Empty, '.') if !hidden => None,
            (Part::Named, '/') => Some(Part::Empty),
            (_, '/') => None,
            (Part::Empty, '.') => Some(Part::Dot),
            (Part::Dot, '.') => Some(Part::Dots),
            _ => Some(Part::Named),
        }
    }
}

/// The states of two machines, and where the path stands.
type Place = (usize, usize, Part);

/// The shortest path that both machines take.
fn search(a: &Machine, b: &Machine, hidden: bool, steps: &mut u64) -> Option<String> {
    let width = b.moves.len();
    let index = |at: Place| (at.0 * width + at.1) * Part::COUNT + at.2 as usize;
    let mut seen = vec![false; a.moves.len() * width * Part::COUNT];
    // Each place with the one before it and the character that led here.
    let mut trail: Vec<(Place, Option<(usize, char)>)> = vec![((0, 0, Part::Empty), None)];
    let mut waiting = VecDeque::from([0]);
    seen[index((0, 0, Part::Empty))] = true;
    while let Some(current) = waiting.pop_front() {
        *steps = steps.checked_sub(1)?;
        let (x, y, part) = trail[current].0;
        if part == Part::Named && a.ends[x] && b.ends[y] {
            let mut path = Vec::new();
            let mut at = current;
            while let Some((before, c)) = trail[at].1 {
                path.push(c);
                at = before;
            }
            return Some(path.iter().rev().collect());
        }
        for (of_a, to_a) in &a.moves[x] {
            for (of_b, to_b) in &b.moves[y] {
                for c in of_a.and(of_b).samples() {
                    let Some(part) = part.after(c, hidden) else { continue };
                    let next = (*to_a, *to_b, part);
                    if !std::mem::replace(&mut seen[index(next)], true) {
                        trail.push((next, Some((current, c))));
                        waiting.push_back(trail.len() - 1);
                    }
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use globset::{GlobBuilder, GlobMatcher};
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
    }

    #[test]
    fn patterns_that_mean_the_same_file_are_found_with_an_example() {
        for (a, b, example) in [
            ("src/a*.ts", "src/*b.ts", "src/ab.ts"),
            ("src/utils", "src/utils/foo.ts", "src/utils/foo.ts"),
            ("./x", "x", "x"),
            ("src/**/x.ts", "src/x.ts", "src/x.ts"),
            ("src/{a,b}.ts", "src/b.ts", "src/b.ts"),
            ("{src,lib}/{a,b}/**", "lib/{b,c}/x.ts", "lib/b/x.ts"),
            ("src/{a,{b,c}*}.ts", "src/cd.ts", "src/cd.ts"),
            ("a//b/./c", "a/b/d/../c", "a/b/c"),
            ("src/utils/", "src/utils/foo.ts", "src/utils/foo.ts"),
            ("src", "src/deep/er/x.ts", "src/deep/er/x.ts"),
            ("**", "Makefile", "Makefile"),
            (".", "docs/x.md", "docs/x.md"),
            ("**/*.ts", "src/deep/x.ts", "src/deep/x.ts"),
            ("**/test", "src/**", "src/test"),
            ("a/**/b/*.c", "a/b/**", "a/b/x.c"),
            ("src/[a-c]?.rs", "src/[!ab]x.rs", "src/cx.rs"),
            ("packages/*/src", "packages/a/src/x.ts", "packages/a/src/x.ts"),
            ("docs", "docs/**/*.md", "docs/x.md"),
            ("ü*", "*ß", "üß"),
            (r"a\*b", "a*b", "a*b"),
            (".github", ".github/workflows/ci.yml", ".github/workflows/ci.yml"),
            ("a.d", "a.d/x", "a.d/x"),
            ("*", ".env", ".env"),
        ] {
            assert_eq!(
                pattern(a).common_path(&pattern(b)).as_deref(),
                Some(example),
                "{a} and {b}"
            );
            assert!(pattern(b).common_path(&pattern(a)).is_some(), "{b} and {a}");
        }
    }

    #[test]
    fn near_misses_do_not_overlap() {
        for (a, b) in [
            ("src/a*.ts", "src/b*.ts"),
            ("src/*.ts", "src/deep/x.ts"),
            ("src/*", "src/deep/x.ts"),
            ("src/utils", "src/utils2/foo.ts"),
            ("src/utils", "src/util"),
            ("src/utils", "lib/src/utils/foo.ts"),
            ("x", "./y"),
            ("src/**/x.ts", "src/xx.ts"),
            ("src/**/x.ts", "lib/x.ts"),
            ("src/{a,b}.ts", "src/{c,d}.ts"),
            ("**/*.ts", "**/*.tsx"),
            ("**/a.ts", "**/b.ts"),
            ("src/a.ts", "**/b.ts"),
            ("Makefile", "**/*.mk"),
            ("src/?.ts", "src/ab.ts"),
            ("src/[ab].ts", "src/[!ab].ts"),
            ("a/../b", "a"),
            ("src/**", "src.ts"),
            ("*.md", "docs/*.md"),
            (r"a\*b", "axb"),
            ("a/*/c.ts", "a/c.ts"),
        ] {
            assert_eq!(pattern(a).common_path(&pattern(b)), None, "{a} and {b}");
            assert_eq!(pattern(b).common_path(&pattern(a)), None, "{b} and {a}");
        }
    }

    #[test]
    fn what_is_no_pattern_of_the_repository_is_refused() {
        for outside in ["/etc/passwd", "../x", "a/../../x", "~/x", "C:\\x", "{a,../b}"] {
            assert_eq!(Pattern::new(outside), Err(Unusable::Outside), "{outside}");
        }
        let long = "x".repeat(LONGEST + 1);
        let many = "{a,b}".repeat(9);
        for bad in [
            "", "a{b", "a}b", "a[b", "a[b/c]", "a[z-a]", "a\\", "a\nb", "**/../x", &long, &many,
        ] {
            assert!(matches!(Pattern::new(bad), Err(Unusable::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn a_search_that_costs_too_much_is_given_up() {
        let (a, b) = (
            pattern(&format!("{}*c", "*a".repeat(200))),
            pattern(&format!("{}*c", "*b".repeat(200))),
        );
        let mut steps = 2_000;
        assert_eq!(a.ways[0].common_path(&b.ways[0], &mut steps), None);
        assert_eq!(steps, 0);
    }

    #[test]
    fn a_path_is_one_of_a_pattern_or_it_is_not() {
        for (text, path) in [
            ("src/*.rs", "src/a.rs"),
            ("src", "src/deep/a.rs"),
            ("src/", "src/a.rs"),
            ("src/**", "src/a/b"),
            ("**/x.ts", "x.ts"),
            ("{a,b}/c.md", "b/c.md"),
            ("Makefile", "Makefile"),
        ] {
            assert!(pattern(text).matches(path), "{text} {path}");
        }
        for (text, path) in [
            ("src/*.rs", "src/deep/a.rs"),
            ("src/a.rs", "src/a.rs/b"),
            ("src", "srcs/a"),
            ("src/**", "src"),
            ("*.md", "docs/a.md"),
        ] {
            assert!(!pattern(text).matches(path), "{text} {path}");
        }
    }

    /// Another program's idea of a pattern.
    fn matcher(text: &str) -> GlobMatcher {
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        glob.expect("a pattern for both").compile_matcher()
    }

    /// Patterns whose parts are made of few signs, so that they often meet. They end in an extension, so that none is
    /// a folder, which other programs know nothing of.
    fn patterns() -> impl Strategy<Value = String> {
        let sign = prop::sample::select(vec!["a", "b", "*", "?", "[ab]", "[!a]", "{a,b}", "{a,*b}"]);
        let part = prop_oneof![4 => prop::collection::vec(sign, 1..3).prop_map(|signs| signs.concat()), 1 => Just("**".to_owned())];
        let last = prop::sample::select(vec!["a.c", "*.c", "b?.c", "*"]);
        (prop::collection::vec(part, 0..4), last).prop_map(|(mut parts, last)| {
            parts.push(last.to_owned());
            parts.join("/")
        })
    }

    /// Every path of few short parts.
    fn paths() -> Vec<String> {
        let parts = ["a", "b", "ab", "ba", "aa", "bb"];
        let last = ["a.c", "b.c", "ba.c", "ab.c"];
        let mut folders = vec![String::new()];
        let mut paths = Vec::new();
        for _ in 0..4 {
            paths.extend(
                folders
                    .iter()
                    .flat_map(|folder| last.map(|name| format!("{folder}{name}"))),
            );
            folders = folders
                .iter()
                .flat_map(|folder| parts.map(|part| format!("{folder}{part}/")))
                .collect();
        }
        paths
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

        #[test]
        fn an_overlap_is_found_exactly_where_some_path_matches_both(a in patterns(), b in patterns()) {
            let (of_a, of_b) = (matcher(&a), matcher(&b));
            match pattern(&a).common_path(&pattern(&b)) {
                Some(path) => {
                    prop_assert!(of_a.is_match(&path), "{a} and {b}: {path}");
                    prop_assert!(of_b.is_match(&path), "{a} and {b}: {path}");
                }
                None => {
                    let both = paths().into_iter().find(|path| of_a.is_match(path) && of_b.is_match(path));
                    prop_assert_eq!(both, None, "{} and {}", a, b);
                }
            }
        }

        #[test]
        fn no_pattern_is_too_odd_to_be_read(text in r"([a-c*?!\[\]{},/.\\-]|\PC){0,30}") {
            if let Ok(read) = Pattern::new(&text) {
                prop_assert!(read.common_path(&read).is_some() || text.contains('['), "{text} matches nothing");
            }
        }
    }
}
