//! OpenAI Responses.

use serde_json::{Value, json};

use super::{Asked, Call, Offered, Piece, Reply, Said, chunks, list, parts, text, text_of};

pub(super) fn read(body: &Value) -> Asked {
    let mut asked = Asked {
        model: text(&body["model"]).to_owned(),
        stream: body["stream"] == true,
        system: text_of(&body["instructions"]),
        tools: list(&body["tools"]).iter().flat_map(offered).collect(),
        schema: body["text"]["format"].get("schema").cloned(),
        limit: body["max_output_tokens"].as_u64(),
        ..Asked::default()
    };
    if let Some(prompt) = body["input"].as_str() {
        asked.hear(prompt);
    }
    for item in list(&body["input"]) {
        match (item["type"].as_str().unwrap_or("message"), text(&item["role"])) {
            ("message", "user") => {
                for part in parts(&item["content"]) {
                    asked.hear(text(&part["text"]));
                }
            }
            ("message", "assistant") => asked.hear_part_of_reply(),
            ("message", _) => asked.hear_system(&text_of(&item["content"])),
            (kind, _) if kind.ends_with("_output") => asked.said.push(Said::Result),
            (kind, _) if kind.ends_with("_call") || kind == "reasoning" => asked.hear_part_of_reply(),
            _ => {}
        }
    }
    asked
}

pub(super) fn whole(reply: &Reply) -> Value {
    let items = items(reply);
    completed(reply, items.into_iter().map(|item| item.done).collect())
}

pub(super) fn stream(reply: &Reply) -> Vec<Piece> {
    let mut events = Events::default();
    let beginning = response(reply, "in_progress");
    events.add("response.created", json!({"response": beginning}));
    events.add("response.in_progress", json!({"response": beginning}));
    let items = items(reply);
    for (index, item) in items.iter().enumerate() {
        let place = json!({"item_id": item.done["id"], "output_index": index});
        events.add(
            "response.output_item.added",
            json!({"output_index": index, "item": item.begun}),
        );
        if let Some((kind, part)) = &item.part {
            let mut empty = part.clone();
            empty["text"] = "".into();
            events.add(&format!("response.{kind}.added"), with(&place, item.at, "part", &empty));
        }
        for chunk in chunks(&item.text, reply.chunk_chars) {
            let data = with(&place, item.at, "delta", &chunk.into());
            events.add(&format!("response.{}.delta", item.channel), data);
            events.count_last();
        }
        let whole = with(&place, item.at, item.whole_key, &item.text.as_str().into());
        events.add(&format!("response.{}.done", item.channel), whole);
        if let Some((kind, part)) = &item.part {
            events.add(&format!("response.{kind}.done"), with(&place, item.at, "part", part));
        }
        events.add(
            "response.output_item.done",
            json!({"output_index": index, "item": item.done}),
        );
    }
    let whole = completed(reply, items.into_iter().map(|item| item.done).collect());
    events.add("response.completed", json!({"response": whole}));
    events.pieces
}

/// The event by which a response that began says that it failed.
pub(super) fn failed(reply: &Reply, body: &Value) -> Piece {
    let mut response = response(reply, "failed");
    response["error"] = json!({"code": body["error"]["code"], "message": body["error"]["message"]});
    Piece::named(
        "response.failed",
        &json!({"type": "response.failed", "response": response}),
    )
}

/// An item of the output, and how it comes in a stream.
struct Item {
    begun: Value,
    done: Value,
    /// The part that its text is in: the kind in the events' names, and the part when it is done.
    part: Option<(&'static str, Value)>,
    /// The key of the part's index.
    at: Option<&'static str>,
    /// The name in the events of its text.
    channel: &'static str,
    text: String,
    /// The key of the whole text in the last event of the channel.
    whole_key: &'static str,
}

/// Events with their numbers.
#[derive(Default)]
struct Events {
    pieces: Vec<Piece>,
}

impl Events {
    fn add(&mut self, kind: &str, mut data: Value) {
        data["type"] = kind.into();
        data["sequence_number"] = self.pieces.len().into();
        self.pieces.push(Piece::named(kind, &data));
    }

    /// Makes the last event one of the chunks.
    fn count_last(&mut self) {
        if let Some(last) = self.pieces.last_mut() {
            last.is_chunk = true;
        }
    }
}

fn with(place: &Value, at: Option<&str>, key: &str, value: &Value) -> Value {
    let mut data = place.clone();
    if let Some(at) = at {
        data[at] = 0.into();
    }
    data[key] = value.clone();
    data
}

fn items(reply: &Reply) -> Vec<Item> {
    let mut items = Vec::new();
    if !reply.reasoning.is_empty() {
        items.push(reasoning(reply));
    }
    if !reply.text.is_empty() {
        items.push(message(reply));
    }
    let calls = reply.calls.iter().enumerate();
    items.extend(calls.map(|(index, call)| function_call(reply, index, call)));
    items
}

fn reasoning(reply: &Reply) -> Item {
    let part = json!({"type": "summary_text", "text": reply.reasoning});
    let begun = json!({"id": format!("rs_{}", reply.id), "type": "reasoning", "summary": []});
    let mut done = begun.clone();
    done["summary"] = json!([part]);
    Item {
        begun,
        done,
        part: Some(("reasoning_summary_part", part)),
        at: Some("summary_index"),
        channel: "reasoning_summary_text",
        text: reply.reasoning.clone(),
        whole_key: "text",
    }
}

fn message(reply: &Reply) -> Item {
    let part = json!({"type": "output_text", "text": reply.text, "annotations": []});
    let begun = json!({
        "id": format!("msg_{}", reply.id),
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    });
    let mut done = begun.clone();
    done["status"] = "completed".into();
    done["content"] = json!([part]);
    Item {
        begun,
        done,
        part: Some(("content_part", part)),
        at: Some("content_index"),
        channel: "output_text",
        text: reply.text.clone(),
        whole_key: "text",
    }
}

fn function_call(reply: &Reply, index: usize, call: &Call) -> Item {
    let (kind, prefix, key, channel) = if call.free_text {
        ("custom_tool_call", "ctc", "input", "custom_tool_call_input")
    } else {
        ("function_call", "fc", "arguments", "function_call_arguments")
    };
    let text = call.arguments();
    let mut begun = json!({
        "id": reply.call_id(prefix, index),
        "type": kind,
        "status": "in_progress",
        "call_id": reply.call_id("call", index),
        "name": call.name,
        key: "",
    });
    if let Some((namespace, name)) = &call.namespace {
        begun["namespace"] = namespace.as_str().into();
        begun["name"] = name.as_str().into();
    }
    let mut done = begun.clone();
    done["status"] = "completed".into();
    done[key] = text.as_str().into();
    Item {
        begun,
        done,
        part: None,
        at: None,
        channel,
        text,
        whole_key: key,
    }
}

/// One tool, or those of a namespace.
fn offered(tool: &Value) -> Vec<Offered> {
    let name = text(&tool["name"]);
    if tool["type"] != "namespace" {
        // A built-in tool has a type and no name.
        let name = if name.is_empty() { text(&tool["type"]) } else { name };
        let free_text = tool["type"] == "custom";
        return vec![Offered {
            free_text,
            ..Offered::new(name, &tool["parameters"])
        }];
    }
    let within = |inner: &Value| {
        let short = text(&inner["name"]);
        Offered {
            namespace: Some((name.to_owned(), short.to_owned())),
            free_text: inner["type"] == "custom",
            ..Offered::new(&format!("{name}__{short}"), &inner["parameters"])
        }
    };
    list(&tool["tools"]).iter().map(within).collect()
}

fn response(reply: &Reply, status: &str) -> Value {
    json!({
        "id": format!("resp_{}", reply.id),
        "object": "response",
        "created_at": reply.created,
        "model": reply.model,
        "status": status,
        "output": [],
        "error": null,
        "usage": null,
    })
}

fn completed(reply: &Reply, output: Vec<Value>) -> Value {
    let usage = &reply.usage;
    let mut response = response(reply, "completed");
    response["output"] = output.into();
    response["usage"] = json!({
        "input_tokens": usage.all_input(),
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total(),
    });
    response
}
