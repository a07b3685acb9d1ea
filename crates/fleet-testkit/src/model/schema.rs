//! The smallest instance of a JSON schema, for clients that insist on an answer of a given shape.

use serde_json::{Map, Value, json};

/// How deep a schema is followed: one that contains itself has no smallest instance otherwise.
const DEPTH: usize = 16;

/// An instance of `schema`: required and optional properties, each as small as it may be.
pub(crate) fn instance(schema: &Value) -> Value {
    build(schema, schema, DEPTH)
}

fn build(schema: &Value, root: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    let deeper = |inner: &Value| build(inner, root, depth - 1);
    if let Some(value) = schema.get("const").or_else(|| schema.get("default")) {
        return value.clone();
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    if let Some(target) = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        return root.pointer(target).map_or(Value::Null, deeper);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(first) = schema[key].get(0) {
            return deeper(first);
        }
    }
    if let Some(all) = schema["allOf"].as_array() {
        let parts = all.iter().map(deeper).filter_map(|part| part.as_object().cloned());
        return Value::Object(parts.flatten().collect());
    }
    match kind(schema).as_str() {
        "array" => {
            let count = schema["minItems"].as_u64().unwrap_or(0);
            (0..count).map(|_| deeper(&schema["items"])).collect()
        }
        "string" => string(schema).into(),
        "number" | "integer" => number(schema),
        "boolean" => false.into(),
        "null" => Value::Null,
        _ => {
            let properties = schema["properties"].as_object().cloned().unwrap_or_default();
            let filled = properties.iter().map(|(key, inner)| (key.clone(), deeper(inner)));
            Value::Object(filled.collect::<Map<_, _>>())
        }
    }
}

/// The first type that it may have, in lower case: Gemini writes them in capitals.
fn kind(schema: &Value) -> String {
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    kind.unwrap_or("object").to_lowercase()
}

fn string(schema: &Value) -> String {
    let least = schema["minLength"].as_u64().unwrap_or(0);
    let mut text = "scripted".to_owned();
    while (text.chars().count() as u64) < least {
        text.push('.');
    }
    match schema["maxLength"].as_u64().and_then(|most| usize::try_from(most).ok()) {
        Some(most) => text.chars().take(most).collect(),
        None => text,
    }
}

fn number(schema: &Value) -> Value {
    for key in ["minimum", "maximum"] {
        if schema[key].is_number() {
            return schema[key].clone();
        }
    }
    match schema["exclusiveMinimum"].as_i64() {
        Some(bound) => json!(bound + 1),
        None => json!(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_has_every_property_at_its_smallest() {
        let schema = json!({
            "type": "object",
            "properties": {
                "choice": {"type": "string", "enum": ["flash", "pro"]},
                "reason": {"type": "STRING", "minLength": 10},
                "score": {"type": "integer", "minimum": 3, "maximum": 9},
                "list": {"type": "array", "items": {"type": "boolean"}, "minItems": 2},
                "maybe": {"anyOf": [{"type": "null"}, {"type": "string"}]},
                "other": {"$ref": "#/$defs/other"},
            },
            "$defs": {"other": {"type": ["object", "null"], "properties": {"x": {"const": 7}}}},
        });
        assert_eq!(
            instance(&schema),
            json!({"choice": "flash", "reason": "scripted..", "score": 3, "list": [false, false], "maybe": null,
                "other": {"x": 7}})
        );
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let schema = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        assert!(instance(&schema)["next"]["next"].is_object());
    }
}
