//! The formats, event by event.

use serde_json::json;

use super::*;
use crate::model::script::Trouble;

/// A reply with everything in it.
fn full() -> Reply {
    Reply {
        id: "7".into(),
        model: "m".into(),
        created: 1,
        text: "hello world".into(),
        reasoning: "hm".into(),
        calls: vec![Call {
            name: "Bash".into(),
            namespace: None,
            free_text: false,
            input: json!({"command": "ls"}),
        }],
        usage: Usage {
            input: 10,
            cached: 200,
            cache_write: 3000,
            output: 40,
            reasoning: 15,
        },
        chunk_chars: 8,
    }
}

/// A reply that only says something.
fn plain() -> Reply {
    Reply {
        reasoning: String::new(),
        calls: Vec::new(),
        usage: Usage::default(),
        ..full()
    }
}

/// The names of the events in order; those that are chunks end in `*`, and a row of the same is told once.
fn names(pieces: &[Piece]) -> Vec<String> {
    let name = |piece: &Piece| {
        let line = piece.bytes.lines().next().unwrap_or_default();
        let name = line.strip_prefix("event: ").expect("each event has a name");
        format!("{name}{}", if piece.is_chunk { "*" } else { "" })
    };
    let mut names: Vec<String> = pieces.iter().map(name).collect();
    names.dedup();
    names
}

/// The data of the events.
fn data(pieces: &[Piece]) -> Vec<Value> {
    let lines = pieces.iter().flat_map(|piece| piece.bytes.lines());
    let data = lines.filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// One value of each event that has it.
fn each(pieces: &[Piece], pointer: &str) -> Vec<Value> {
    let data = data(pieces);
    data.iter()
        .filter_map(|event| event.pointer(pointer).cloned())
        .collect()
}

#[test]
fn messages_stream_in_blocks() {
    let pieces = messages::stream(&full());
    assert_eq!(
        names(&pieces),
        [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta*",
            "content_block_delta",
            "content_block_stop",
            "content_block_start",
            "content_block_delta*",
            "content_block_stop",
            "content_block_start",
            "content_block_delta*",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    assert_eq!(each(&pieces, "/delta/text"), ["hello wo", "rld"]);
    assert_eq!(each(&pieces, "/delta/partial_json"), ["{\"comman", "d\":\"ls\"}"]);
    assert_eq!(each(&pieces, "/content_block/type"), ["thinking", "text", "tool_use"]);
    assert_eq!(each(&pieces, "/delta/stop_reason"), ["tool_use"]);
    assert_eq!(each(&messages::stream(&plain()), "/delta/stop_reason"), ["end_turn"]);
    assert_eq!(each(&pieces, "/message/usage/output_tokens"), [1]);
    assert_eq!(
        each(&pieces, "/usage"),
        [
            json!({"input_tokens": 10, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 3000,
            "output_tokens": 40})
        ]
    );
}

#[test]
fn responses_stream_in_items() {
    let pieces = responses::stream(&full());
    assert_eq!(
        names(&pieces),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta*",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta*",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta*",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let numbers: Vec<Value> = (0..pieces.len()).map(Value::from).collect();
    assert_eq!(each(&pieces, "/sequence_number"), numbers);
    assert_eq!(
        each(&pieces, "/delta"),
        ["hm", "hello wo", "rld", "{\"comman", "d\":\"ls\"}"]
    );
    let last = data(&pieces).pop().unwrap();
    assert_eq!(last["response"], responses::whole(&full()));
    assert_eq!(last["response"]["status"], "completed");
}

#[test]
fn responses_call_tools_of_namespaces_and_tools_that_take_text() {
    let call = |call: Call| Reply {
        calls: vec![call],
        ..plain()
    };
    let within = call(Call {
        name: "mcp__server__echo".into(),
        namespace: Some(("mcp__server".into(), "echo".into())),
        free_text: false,
        input: json!({"s": "x"}),
    });
    let item = &responses::whole(&within)["output"][1];
    assert_eq!(
        (&item["namespace"], &item["name"]),
        (&json!("mcp__server"), &json!("echo"))
    );
    assert_eq!(item["arguments"], "{\"s\":\"x\"}");
    let patch = call(Call {
        name: "apply_patch".into(),
        namespace: None,
        free_text: true,
        input: "*** Begin Patch".into(),
    });
    let item = &responses::whole(&patch)["output"][1];
    assert_eq!(
        (&item["type"], &item["input"]),
        (&json!("custom_tool_call"), &json!("*** Begin Patch"))
    );
    let names = names(&responses::stream(&patch));
    assert!(
        names.contains(&"response.custom_tool_call_input.delta*".to_owned()),
        "{names:?}"
    );
}

#[test]
fn chat_streams_deltas_and_then_the_bill() {
    let pieces = chat::stream(&full());
    assert_eq!(
        each(&pieces, "/choices/0/delta"),
        [
            json!({"role": "assistant", "content": ""}),
            json!({"reasoning_content": "hm"}),
            json!({"content": "hello wo"}),
            json!({"content": "rld"}),
            json!({"tool_calls": [
                {"index": 0, "id": "call_7_0", "type": "function", "function": {"name": "Bash", "arguments": ""}}]}),
            json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"comman"}}]}),
            json!({"tool_calls": [{"index": 0, "function": {"arguments": "d\":\"ls\"}"}}]}),
            json!({}),
        ]
    );
    let last = &pieces[pieces.len() - 1];
    assert_eq!(last.bytes, "data: [DONE]\n\n");
    let bill = data(&pieces).pop().unwrap();
    assert_eq!(bill["choices"], json!([]));
    assert_eq!(bill["usage"]["total_tokens"], 3250);
    assert_eq!(chat::whole(&plain())["choices"][0]["finish_reason"], "stop");
}

#[test]
fn gemini_streams_parts_and_the_bill_comes_with_the_last() {
    let pieces = gemini::stream(&full());
    assert!(pieces.iter().all(|piece| piece.bytes.ends_with("\r\n\r\n")));
    assert_eq!(
        each(&pieces, "/candidates/0/content/parts/0"),
        [
            json!({"text": "hm", "thought": true}),
            json!({"text": "hello wo"}),
            json!({"text": "rld"}),
            json!({"functionCall": {"id": "call_7_0", "name": "Bash", "args": {"command": "ls"}}}),
            json!({"text": ""}),
        ]
    );
    assert_eq!(each(&pieces, "/candidates/0/finishReason"), ["STOP"]);
    assert_eq!(each(&pieces, "/usageMetadata/totalTokenCount"), [3250]);
}

#[test]
fn each_format_tells_prompts_from_what_the_client_put_in() {
    let reminder = "<system-reminder>\nA\n</system-reminder>";
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "x"});
    let text = |text: &str| json!({"type": "text", "text": text});
    let messages = json!({"messages": [
        {"role": "user", "content": [text(reminder), text("one\n"), text("two")]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "n", "input": {}}]},
        {"role": "user", "content": [result("a"), text(reminder)]},
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": "Stop hook feedback:\ngo on"},
        {"role": "system", "content": "Skills: none"},
    ]});
    let asked = Format::Messages.read(&messages);
    assert_eq!(asked.prompts(), ["one", "two"]);
    assert_eq!(asked.replies_since_prompt(), 2);

    let responses = json!({"input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "rules"}]},
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "<environment_context>\nx</environment_context>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "one"}]},
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
        {"type": "function_call", "call_id": "a", "name": "n", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "x"},
    ]});
    let asked = Format::Responses.read(&responses);
    assert_eq!(
        (asked.prompts(), asked.replies_since_prompt()),
        (vec!["one".to_owned()], 1)
    );

    let chat = json!({"messages": [
        {"role": "system", "content": "rules"},
        {"role": "user", "content": [text("one")]},
        {"role": "assistant", "tool_calls": []},
        {"role": "tool", "content": "x"},
    ]});
    let asked = Format::Chat.read(&chat);
    assert_eq!(
        (asked.prompts(), asked.replies_since_prompt()),
        (vec!["one".to_owned()], 1)
    );

    let gemini = json!({"contents": [
        {"role": "user", "parts": [{"text": "<session_context>\nx\n</session_context>"}]},
        {"role": "user", "parts": [{"text": "one"}]},
        {"role": "model", "parts": [{"text": "x"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "n"}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "n"}}]},
    ]});
    let asked = Format::Gemini.read(&gemini);
    assert_eq!(
        (asked.prompts(), asked.replies_since_prompt()),
        (vec!["one".to_owned()], 1)
    );
}

#[test]
fn errors_have_their_vendors_shape() {
    let body = |format| trouble::body(format, &ApiError::of(Trouble::Overloaded));
    assert_eq!(
        body(Format::Messages),
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    );
    assert_eq!(body(Format::Chat)["error"]["code"], "server_is_overloaded");
    assert_eq!(body(Format::Gemini)["error"]["code"], 503);
    let own = ApiError {
        status: Some(418),
        message: Some("tea".into()),
        ..ApiError::of(Trouble::BadRequest)
    };
    assert_eq!(trouble::status(Format::Gemini, &own), 418);
    assert_eq!(trouble::body(Format::Gemini, &own)["error"]["message"], "tea");
}

#[test]
fn chunks_never_split_a_character() {
    assert_eq!(chunks("a🦀漢b", 2), ["a🦀", "漢b"]);
    assert!(chunks("", 2).is_empty());
}
