//! Gemini `generateContent` and `streamGenerateContent`. The model and the choice to stream are in the path.

use serde_json::{Value, json};

use super::{Asked, Offered, Piece, Reply, Said, chunks, list, text, text_of};

pub(super) fn read(body: &Value) -> Asked {
    let settings = &body["generationConfig"];
    let mut asked = Asked {
        system: text_of(&body["systemInstruction"]["parts"]),
        tools: list(&body["tools"]).iter().flat_map(offered).collect(),
        schema: schema(settings),
        limit: settings["maxOutputTokens"].as_u64(),
        ..Asked::default()
    };
    for content in list(&body["contents"]) {
        if content["role"] == "model" {
            asked.hear_part_of_reply();
            continue;
        }
        for part in list(&content["parts"]) {
            if part.get("functionResponse").is_some() {
                asked.said.push(Said::Result);
            } else if let Some(text) = part["text"].as_str() {
                asked.hear(text);
            }
        }
    }
    asked
}

pub(super) fn whole(reply: &Reply) -> Value {
    let mut parts = Vec::new();
    if !reply.reasoning.is_empty() {
        parts.push(json!({"text": reply.reasoning, "thought": true}));
    }
    if !reply.text.is_empty() {
        parts.push(json!({"text": reply.text}));
    }
    parts.extend(calls(reply));
    last(reply, parts)
}

pub(super) fn stream(reply: &Reply) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for chunk in chunks(&reply.reasoning, reply.chunk_chars) {
        pieces.push(event(&response(reply, json!([{"text": chunk, "thought": true}]))).chunk());
    }
    for chunk in chunks(&reply.text, reply.chunk_chars) {
        pieces.push(event(&response(reply, json!([{"text": chunk}]))).chunk());
    }
    for call in calls(reply) {
        pieces.push(event(&response(reply, json!([call]))).chunk());
    }
    pieces.push(event(&last(reply, vec![json!({"text": ""})])));
    pieces
}

fn offered(tool: &Value) -> Vec<Offered> {
    let parameters = |declared: &Value| match declared.get("parametersJsonSchema") {
        Some(schema) => schema.clone(),
        None => declared["parameters"].clone(),
    };
    let declared = list(&tool["functionDeclarations"]).iter();
    declared
        .map(|declared| Offered::new(text(&declared["name"]), &parameters(declared)))
        .collect()
}

fn schema(settings: &Value) -> Option<Value> {
    let keys = ["responseJsonSchema", "responseSchema", "response_schema"];
    let asked_for = keys.iter().find_map(|key| settings.get(*key).cloned());
    let any = (settings["responseMimeType"] == "application/json").then(|| json!({"type": "object"}));
    asked_for.or(any)
}

fn calls(reply: &Reply) -> Vec<Value> {
    let call = |(index, call): (usize, &super::Call)| json!({"functionCall": {"id": reply.call_id("call", index), "name": call.name, "args": call.input}});
    reply.calls.iter().enumerate().map(call).collect()
}

fn event(data: &Value) -> Piece {
    Piece {
        bytes: format!("data: {data}\r\n\r\n"),
        is_chunk: false,
    }
}

fn response(reply: &Reply, parts: Value) -> Value {
    json!({
        "candidates": [{"index": 0, "content": {"role": "model", "parts": parts}}],
        "modelVersion": reply.model,
        "responseId": reply.id,
    })
}

fn last(reply: &Reply, parts: Vec<Value>) -> Value {
    let usage = &reply.usage;
    let mut response = response(reply, parts.into());
    response["candidates"][0]["finishReason"] = "STOP".into();
    response["usageMetadata"] = json!({
        "promptTokenCount": usage.all_input(),
        "cachedContentTokenCount": usage.cached,
        "candidatesTokenCount": usage.output.saturating_sub(usage.reasoning),
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": usage.total(),
    });
    response
}
