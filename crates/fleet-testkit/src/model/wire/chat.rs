//! OpenAI Chat Completions.

use serde_json::{Value, json};

use super::{Asked, Offered, Piece, Reply, Said, chunks, list, parts, text, text_of};

pub(super) fn read(body: &Value) -> Asked {
    let mut asked = Asked {
        model: text(&body["model"]).to_owned(),
        stream: body["stream"] == true,
        tools: list(&body["tools"]).iter().map(offered).collect(),
        schema: schema(body),
        limit: body["max_completion_tokens"]
            .as_u64()
            .or_else(|| body["max_tokens"].as_u64()),
        ..Asked::default()
    };
    for message in list(&body["messages"]) {
        match text(&message["role"]) {
            "user" => {
                for part in parts(&message["content"]) {
                    asked.hear(text(&part["text"]));
                }
            }
            "assistant" => asked.said.push(Said::Reply),
            "tool" => asked.said.push(Said::Result),
            _ => asked.hear_system(&text_of(&message["content"])),
        }
    }
    asked
}

pub(super) fn whole(reply: &Reply) -> Value {
    let mut message = json!({"role": "assistant", "content": null});
    if !reply.text.is_empty() {
        message["content"] = reply.text.as_str().into();
    }
    if !reply.reasoning.is_empty() {
        message["reasoning_content"] = reply.reasoning.as_str().into();
    }
    if !reply.calls.is_empty() {
        let calls = (0..reply.calls.len()).map(|index| call(reply, index, &reply.calls[index].arguments()));
        message["tool_calls"] = calls.collect();
    }
    json!({
        "id": format!("chatcmpl-{}", reply.id),
        "object": "chat.completion",
        "created": reply.created,
        "model": reply.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason(reply)}],
        "usage": usage(reply),
    })
}

pub(super) fn stream(reply: &Reply) -> Vec<Piece> {
    let delta = |delta: Value| {
        Piece::unnamed(&part(
            reply,
            json!([{"index": 0, "delta": delta, "finish_reason": null}]),
        ))
    };
    let mut pieces = vec![delta(json!({"role": "assistant", "content": ""}))];
    for chunk in chunks(&reply.reasoning, reply.chunk_chars) {
        pieces.push(delta(json!({"reasoning_content": chunk})).chunk());
    }
    for chunk in chunks(&reply.text, reply.chunk_chars) {
        pieces.push(delta(json!({"content": chunk})).chunk());
    }
    for (index, made) in reply.calls.iter().enumerate() {
        let mut begun = call(reply, index, "");
        begun["index"] = index.into();
        pieces.push(delta(json!({"tool_calls": [begun]})));
        for chunk in chunks(&made.arguments(), reply.chunk_chars) {
            let more = json!({"tool_calls": [{"index": index, "function": {"arguments": chunk}}]});
            pieces.push(delta(more).chunk());
        }
    }
    let last = json!([{"index": 0, "delta": {}, "finish_reason": finish_reason(reply)}]);
    pieces.push(Piece::unnamed(&part(reply, last)));
    let mut bill = part(reply, json!([]));
    bill["usage"] = usage(reply);
    pieces.push(Piece::unnamed(&bill));
    pieces.push(Piece {
        bytes: "data: [DONE]\n\n".into(),
        is_chunk: false,
    });
    pieces
}

fn offered(tool: &Value) -> Offered {
    let function = &tool["function"];
    Offered::new(text(&function["name"]), &function["parameters"])
}

fn schema(body: &Value) -> Option<Value> {
    let format = &body["response_format"];
    match text(&format["type"]) {
        "json_schema" => format["json_schema"].get("schema").cloned(),
        "json_object" => Some(json!({"type": "object"})),
        _ => None,
    }
}

fn call(reply: &Reply, index: usize, arguments: &str) -> Value {
    json!({
        "id": reply.call_id("call", index),
        "type": "function",
        "function": {"name": reply.calls[index].name, "arguments": arguments},
    })
}

fn part(reply: &Reply, choices: Value) -> Value {
    json!({
        "id": format!("chatcmpl-{}", reply.id),
        "object": "chat.completion.chunk",
        "created": reply.created,
        "model": reply.model,
        "choices": choices,
    })
}

fn finish_reason(reply: &Reply) -> &'static str {
    if reply.calls.is_empty() { "stop" } else { "tool_calls" }
}

fn usage(reply: &Reply) -> Value {
    let usage = &reply.usage;
    json!({
        "prompt_tokens": usage.all_input(),
        "completion_tokens": usage.output,
        "total_tokens": usage.total(),
        "prompt_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}
