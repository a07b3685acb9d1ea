//! Anthropic Messages.

use serde_json::{Value, json};

use super::{Asked, Call, Offered, Piece, Reply, Said, chunks, list, parts, text, text_of};
use crate::model::script::Usage;

pub(super) fn read(body: &Value) -> Asked {
    let mut asked = Asked {
        model: text(&body["model"]).to_owned(),
        stream: body["stream"] == true,
        system: text_of(&body["system"]),
        tools: list(&body["tools"]).iter().map(offered).collect(),
        schema: schema(body),
        limit: body["max_tokens"].as_u64(),
        ..Asked::default()
    };
    for message in list(&body["messages"]) {
        match text(&message["role"]) {
            "assistant" => asked.said.push(Said::Reply),
            "system" => asked.hear_system(&text_of(&message["content"])),
            _ => hear_user(&mut asked, &parts(&message["content"])),
        }
    }
    asked
}

pub(super) fn whole(reply: &Reply) -> Value {
    let mut content = Vec::new();
    if !reply.reasoning.is_empty() {
        content.push(json!({"type": "thinking", "thinking": reply.reasoning, "signature": signature(reply)}));
    }
    if !reply.text.is_empty() {
        content.push(json!({"type": "text", "text": reply.text}));
    }
    for (index, call) in reply.calls.iter().enumerate() {
        let id = reply.call_id("toolu", index);
        content.push(json!({"type": "tool_use", "id": id, "name": call.name, "input": call.input}));
    }
    let mut message = message(reply, usage(&reply.usage, reply.usage.output));
    message["content"] = content.into();
    message["stop_reason"] = stop_reason(reply).into();
    message
}

pub(super) fn stream(reply: &Reply) -> Vec<Piece> {
    let start = message(reply, usage(&reply.usage, 1));
    let mut pieces = vec![
        event(json!({"type": "message_start", "message": start})),
        event(json!({"type": "ping"})),
    ];
    let mut index = 0;
    let mut block = |start: Value, deltas: Vec<Value>| {
        pieces.push(event(
            json!({"type": "content_block_start", "index": index, "content_block": start}),
        ));
        for delta in deltas {
            let counted = delta["type"] != "signature_delta";
            let piece = event(json!({"type": "content_block_delta", "index": index, "delta": delta}));
            pieces.push(if counted { piece.chunk() } else { piece });
        }
        pieces.push(event(json!({"type": "content_block_stop", "index": index})));
        index += 1;
    };
    if !reply.reasoning.is_empty() {
        let thinking = |chunk| json!({"type": "thinking_delta", "thinking": chunk});
        let mut deltas: Vec<Value> = chunks(&reply.reasoning, reply.chunk_chars)
            .into_iter()
            .map(thinking)
            .collect();
        deltas.push(json!({"type": "signature_delta", "signature": signature(reply)}));
        block(json!({"type": "thinking", "thinking": "", "signature": ""}), deltas);
    }
    if !reply.text.is_empty() {
        let delta = |chunk| json!({"type": "text_delta", "text": chunk});
        let deltas = chunks(&reply.text, reply.chunk_chars).into_iter().map(delta).collect();
        block(json!({"type": "text", "text": ""}), deltas);
    }
    for (number, Call { name, input, .. }) in reply.calls.iter().enumerate() {
        let id = reply.call_id("toolu", number);
        let delta = |chunk| json!({"type": "input_json_delta", "partial_json": chunk});
        let input = input.to_string();
        let deltas = chunks(&input, reply.chunk_chars).into_iter().map(delta).collect();
        block(json!({"type": "tool_use", "id": id, "name": name, "input": {}}), deltas);
    }
    pieces.push(event(json!({
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason(reply), "stop_sequence": null},
        "usage": usage(&reply.usage, reply.usage.output),
    })));
    pieces.push(event(json!({"type": "message_stop"})));
    pieces
}

/// Takes up the parts of a user message.
fn hear_user(asked: &mut Asked, parts: &[Value]) {
    for (index, part) in parts.iter().enumerate() {
        match text(&part["type"]) {
            "tool_result" => asked.said.push(Said::Result),
            "text" => {
                let words = text(&part["text"]);
                // Claude Code puts messages in a row into one, with a line end between, which nobody typed.
                let joined = parts.get(index + 1).is_some_and(|next| next["type"] == "text");
                asked.hear(words.strip_suffix('\n').filter(|_| joined).unwrap_or(words));
            }
            _ => {}
        }
    }
}

fn offered(tool: &Value) -> Offered {
    Offered::new(text(&tool["name"]), &tool["input_schema"])
}

fn schema(body: &Value) -> Option<Value> {
    let formats = [&body["output_config"]["format"], &body["output_format"]];
    formats.iter().find_map(|format| format.get("schema").cloned())
}

fn event(data: Value) -> Piece {
    Piece::named(text(&data["type"]), &data)
}

fn message(reply: &Reply, usage: Value) -> Value {
    json!({
        "id": format!("msg_{}", reply.id),
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": usage,
    })
}

/// `output` apart, because a stream begins before it is known.
fn usage(usage: &Usage, output: u64) -> Value {
    json!({
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": output,
    })
}

fn stop_reason(reply: &Reply) -> &'static str {
    if reply.calls.is_empty() { "end_turn" } else { "tool_use" }
}

/// Clients send it back and never look into it.
fn signature(reply: &Reply) -> String {
    format!("signature-{}", reply.id)
}
