//! Changes of one place of a JSON text that leave every other byte as it is: the order of keys, the way numbers are
//! written, the indentation. What is added and removed again leaves the text it was added to.
//!
//! Each change is checked: the new text, read anew, must be the old value with exactly that change.

use std::ops::Range;

use serde_json::{Map, Value};

/// Why a text cannot be changed, in words that continue the name of its file.
pub type Unfit = String;

/// A member of an object or an item of an array, in the text.
struct Child {
    /// Of a member.
    key: Option<Range<usize>>,
    value: Range<usize>,
}

impl Child {
    fn start(&self) -> usize {
        self.key.as_ref().unwrap_or(&self.value).start
    }
}

/// The value of `text`.
pub fn parse(text: &str) -> Result<Value, Unfit> {
    serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
}

/// Sets the member at `path` to `value`, with the objects on the way to it. Gives the new text, and how many steps of
/// the path were there before.
pub fn set(text: &str, path: &[&str], value: &Value) -> Result<(String, usize), Unfit> {
    let mut wanted = parse(text)?;
    let (there, range) = descend(text, path)?;
    let new = if there == path.len() {
        format!("{}{value}{}", &text[..range.start], &text[range.end..])
    } else {
        let nested = path[there + 1..].iter().rev().fold(value.clone(), |inner, key| {
            Value::Object(Map::from_iter([((*key).to_owned(), inner)]))
        });
        insert(text, range.start, Some(path[there]), &nested)
    };
    let mut place = &mut wanted;
    for key in path {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[*key];
    }
    *place = value.clone();
    checked(new, &wanted).map(|new| (new, there))
}

/// Removes the member at `path`, and the objects on the way to it that are empty then and not among the first `kept`
/// steps. One that is not there is no error.
pub fn unset(text: &str, path: &[&str], kept: usize) -> Result<String, Unfit> {
    let mut wanted = parse(text)?;
    let (there, _) = descend(text, path)?;
    if there < path.len() {
        return Ok(text.to_owned());
    }
    let mut text = text.to_owned();
    for length in (1..=path.len()).rev() {
        let (to_parent, key) = (&path[..length - 1], path[length - 1]);
        if length < path.len() {
            let (_, range) = descend(&text, &path[..length])?;
            if length <= kept || text.as_bytes()[range.start] != b'{' || !children(&text, range.start).is_empty() {
                break;
            }
        }
        let (_, parent) = descend(&text, to_parent)?;
        text = cut(&text, parent.start, |child, text| names(child, text, key));
        let place = to_parent.iter().fold(&mut wanted, |place, key| &mut place[*key]);
        if let Some(object) = place.as_object_mut() {
            object.remove(key);
        }
    }
    checked(text, &wanted)
}

/// Appends `item` to the array at `path`, which is made when it is missing. Gives the new text, and how
/// many steps of the path were there before.
pub fn push(text: &str, path: &[&str], item: &Value) -> Result<(String, usize), Unfit> {
    let mut wanted = parse(text)?;
    let (there, range) = descend(text, path)?;
    if there < path.len() {
        return set(text, path, &Value::from(vec![item.clone()]));
    }
    let array = path.iter().fold(&mut wanted, |place, key| &mut place[*key]);
    let Some(array) = array.as_array_mut() else {
        return Err(format!("has a `{}` that is no array", path.join(".")));
    };
    array.push(item.clone());
    checked(insert(text, range.start, None, item), &wanted).map(|new| (new, there))
}

/// Removes the items that `which` says from the array at `path`; then the array and the objects on the way to it
/// like [`unset`].
pub fn pull(text: &str, path: &[&str], which: impl Fn(&Value) -> bool, kept: usize) -> Result<String, Unfit> {
    let mut wanted = parse(text)?;
    let (there, range) = descend(text, path)?;
    let array = path.iter().try_fold(&mut wanted, |place, key| place.get_mut(*key));
    let (true, Some(array)) = (there == path.len(), array.and_then(Value::as_array_mut)) else {
        return Ok(text.to_owned());
    };
    array.retain(|item| !which(item));
    let empty = array.is_empty();
    let is_it = |child: &Child, text: &str| parse(&text[child.value.clone()]).is_ok_and(|item| which(&item));
    let mut new = text.to_owned();
    while children(&new, range.start).iter().any(|child| is_it(child, &new)) {
        new = cut(&new, range.start, is_it);
    }
    let new = checked(new, &wanted)?;
    if empty && kept < path.len() {
        unset(&new, path, kept)
    } else {
        Ok(new)
    }
}

fn checked(text: String, wanted: &Value) -> Result<String, Unfit> {
    match parse(&text) {
        Ok(value) if value == *wanted => Ok(text),
        _ => Err("has a form that fleet cannot extend without changing more of it".to_owned()),
    }
}

/// The value at as many steps of `path` as there are, and how many these are. Error: one on the way is no object.
fn descend(text: &str, path: &[&str]) -> Result<(usize, Range<usize>), Unfit> {
    let start = text.len() - text.trim_start_matches(WHITE).len();
    let mut range = start..skip_value(text.as_bytes(), start);
    for (depth, key) in path.iter().enumerate() {
        if text.as_bytes().get(range.start) != Some(&b'{') {
            let place = if depth == 0 {
                "no object".to_owned()
            } else {
                format!("a `{}` that is no object", path[..depth].join("."))
            };
            return Err(format!("has {place}"));
        }
        // Of a key that is there twice the last counts.
        let found = children(text, range.start)
            .into_iter()
            .rev()
            .find(|child| names(child, text, key));
        match found {
            Some(child) => range = child.value,
            None => return Ok((depth, range)),
        }
    }
    Ok((path.len(), range))
}

fn names(child: &Child, text: &str, key: &str) -> bool {
    let name = child.key.clone().and_then(|range| string(&text[range]));
    name.as_deref() == Some(key)
}

fn string(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

/// Appends to the object or array that begins at `at`, written like its last child.
fn insert(text: &str, at: usize, key: Option<&str>, value: &Value) -> String {
    let children = children(text, at);
    let (place, before) = match children.last() {
        None => (at + 1, String::new()),
        Some(last) => {
            let head = &text[..last.start()];
            let gap = &head[head.trim_end_matches(WHITE).len()..];
            (last.value.end, format!(",{gap}"))
        }
    };
    let like = children
        .last()
        .and_then(|last| Some(&text[last.key.as_ref()?.end..last.value.start]));
    let key = key.map(|key| format!("{}{}", Value::from(key), like.unwrap_or(":")));
    format!(
        "{}{before}{}{value}{}",
        &text[..place],
        key.unwrap_or_default(),
        &text[place..]
    )
}

/// Removes the last child that `is_it` says from the object or array that begins at `at`.
fn cut(text: &str, at: usize, is_it: impl Fn(&Child, &str) -> bool) -> String {
    let children = children(text, at);
    let Some(index) = children.iter().rposition(|child| is_it(child, text)) else {
        return text.to_owned();
    };
    let range = match (index.checked_sub(1), children.get(index + 1)) {
        (_, Some(next)) => children[index].start()..next.start(),
        (Some(previous), None) => children[previous].value.end..children[index].value.end,
        (None, None) => at + 1..children[index].value.end,
    };
    format!("{}{}", &text[..range.start], &text[range.end..])
}

const WHITE: [char; 4] = [' ', '\t', '\n', '\r'];

/// What is in the object or array that begins at `at`. The text is known to be JSON.
fn children(text: &str, at: usize) -> Vec<Child> {
    let bytes = text.as_bytes();
    let mut children = Vec::new();
    let object = bytes[at] == b'{';
    let mut next = skip_white(bytes, at + 1);
    while next < bytes.len() && !matches!(bytes[next], b'}' | b']') {
        let mut key = None;
        if object {
            let end = skip_value(bytes, next);
            key = Some(next..end);
            // Past the colon.
            next = skip_white(bytes, skip_white(bytes, end) + 1);
        }
        let end = skip_value(bytes, next);
        children.push(Child { key, value: next..end });
        next = skip_white(bytes, end);
        if bytes.get(next) == Some(&b',') {
            next = skip_white(bytes, next + 1);
        }
    }
    children
}

fn skip_white(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|byte| WHITE.contains(&char::from(*byte))) {
        at += 1;
    }
    at
}

/// The end of the value that begins at `at`.
fn skip_value(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while bytes.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATH: [&str; 3] = ["projects", "/a/b", "hasTrustDialogAccepted"];

    fn set_true(text: &str) -> (String, usize) {
        set(text, &PATH, &true.into()).expect("set")
    }

    #[test]
    fn a_member_is_added_in_the_style_of_its_neighbours() {
        let cases = [
            ("{}", r#"{"projects":{"/a/b":{"hasTrustDialogAccepted":true}}}"#, 0),
            (
                "{\n  \"n\": 1.50e+02,\n  \"projects\": {}\n}\n",
                "{\n  \"n\": 1.50e+02,\n  \"projects\": {\"/a/b\":{\"hasTrustDialogAccepted\":true}}\n}\n",
                1,
            ),
            (
                "{\t\"projects\" : { \"/x\" : {\"\\u0061\":[1, \"}\\\"\"]} } }",
                "{\t\"projects\" : { \"/x\" : {\"\\u0061\":[1, \"}\\\"\"]}, \"/a/b\" : {\"hasTrustDialogAccepted\":true} } }",
                1,
            ),
            (
                r#"{"projects":{"\/a\/b":{"k":0}}}"#,
                r#"{"projects":{"\/a\/b":{"k":0,"hasTrustDialogAccepted":true}}}"#,
                2,
            ),
        ];
        for (before, after, there) in cases {
            assert_eq!(set_true(before), (after.to_owned(), there));
            assert_eq!(unset(after, &PATH, there).expect("unset"), before);
        }
    }

    #[test]
    fn a_value_that_is_there_is_replaced_and_of_two_the_last() {
        let before = r#"{"projects":{"/a/b":{"hasTrustDialogAccepted": false , "z":1}}, "projects":{"/a/b":{"hasTrustDialogAccepted": false }}}"#;
        let (after, there) = set_true(before);
        assert_eq!(there, 3);
        assert_eq!(after.len() + 1, before.len());
        assert!(after.ends_with(r#"{"hasTrustDialogAccepted": true }}}"#), "{after}");
        assert_eq!(set(&after, &PATH, &false.into()).expect("back").0, before);
    }

    #[test]
    fn what_the_program_has_put_beside_a_key_stays_when_the_key_goes() {
        let text = "{\n  \"projects\": {\n    \"/a/b\": {\n      \"hasTrustDialogAccepted\": true,\n      \"lastCost\": 0\n    }\n  }\n}";
        let left = "{\n  \"projects\": {\n    \"/a/b\": {\n      \"lastCost\": 0\n    }\n  }\n}";
        assert_eq!(unset(text, &PATH, 0).expect("unset"), left);
    }

    #[test]
    fn strings_are_pushed_and_pulled() {
        let path = ["responses", "approved"];
        for (before, kept) in [
            ("{ }", 0),
            (r#"{"responses":{ }}"#, 1),
            (r#"{"responses":{"approved":[]}}"#, 2),
            ("{\"responses\":{\"approved\":[\n  \"one\"\n]}}", 2),
        ] {
            let (after, there) = push(before, &path, &"two".into()).expect("pushed");
            assert_eq!(there, kept);
            let back = pull(&after, &path, |item| *item == "two", kept).expect("pulled");
            assert_eq!(back, before);
        }
    }

    #[test]
    fn a_text_of_another_shape_is_refused() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"projects":[]}"#,
            r#"{"projects":{"/a/b":true}}"#,
            "{} {}",
            "// x\n{}",
        ] {
            assert!(set(text, &PATH, &true.into()).is_err(), "{text}");
        }
        assert!(push(r#"{"a":{}}"#, &["a"], &"x".into()).is_err());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z\"\\\\{}\\[\\],: é]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-c\"{\\\\]{1,2}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_added_and_removed_again_leaves_the_same_bytes(
            value in json(), path in prop::collection::vec("[a-c\"{\\\\]{1,2}", 1..4), pretty: bool,
        ) {
            let text = if pretty { format!("\n{value:#}\n") } else { value.to_string() };
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            if let Ok((after, there)) = set(&text, &path, &true.into())
                && there < path.len()
            {
                prop_assert_eq!(unset(&after, &path, there).expect("unset"), text);
            }
        }
    }
}
