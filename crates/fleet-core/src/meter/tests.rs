//! Replies as the services send them, cut everywhere.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const ALL: [Format; 4] = [Format::Messages, Format::Responses, Format::Chat, Format::Gemini];

/// What all of these replies used.
const USED: Tokens = Tokens {
    input: 10,
    cached: 200,
    cache_write: 3000,
    output: 40,
    reasoning: 15,
};

/// What the requests are taken to have read.
const EXPECTED: Tokens = Tokens {
    input: 100,
    cached: 0,
    cache_write: 0,
    output: 0,
    reasoning: 0,
};

fn usage(format: Format) -> Value {
    match format {
        Format::Messages => json!({"input_tokens": 10, "cache_read_input_tokens": 200,
            "cache_creation_input_tokens": 3000, "output_tokens": 40}),
        Format::Responses => json!({"input_tokens": 3210, "output_tokens": 40,
            "input_tokens_details": {"cached_tokens": 200, "cache_write_tokens": 3000},
            "output_tokens_details": {"reasoning_tokens": 15}}),
        Format::Chat => json!({"prompt_tokens": 3210, "completion_tokens": 40,
            "prompt_tokens_details": {"cached_tokens": 200, "cache_write_tokens": 3000},
            "completion_tokens_details": {"reasoning_tokens": 15}}),
        Format::Gemini => json!({"promptTokenCount": 3210, "cachedContentTokenCount": 200,
            "candidatesTokenCount": 25, "thoughtsTokenCount": 15}),
    }
}

/// The pieces of a stream whose text has 13 bytes.
fn stream(format: Format) -> Vec<Value> {
    match format {
        Format::Messages => vec![
            json!({"type": "message_start", "message": {"model": "m-1", "usage": {"input_tokens": 10,
                "cache_read_input_tokens": 200, "cache_creation_input_tokens": 3000, "output_tokens": 1}}}),
            json!({"type": "ping"}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello \"wörld"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 40}}),
            json!({"type": "message_stop"}),
        ],
        Format::Responses => vec![
            json!({"type": "response.created", "response": {"model": "m-1", "usage": null}}),
            json!({"type": "response.output_text.delta", "delta": "hello \"wörld"}),
            json!({"type": "response.completed", "response": {"model": "m-1", "usage": usage(format),
                "output": [{"type": "message", "content": [{"text": "hello \"wörld"}]}]}}),
        ],
        Format::Chat => vec![
            json!({"model": "m-1", "choices": [{"delta": {"content": "hello \"wörld"}, "finish_reason": null}], "usage": null}),
            json!({"model": "m-1", "choices": [{"delta": {}, "finish_reason": "stop"}]}),
            json!({"model": "m-1", "choices": [], "usage": usage(format)}),
        ],
        Format::Gemini => vec![
            json!({"candidates": [{"content": {"parts": [{"text": "hello \"wörld"}]}}], "modelVersion": "m-1"}),
            json!({"candidates": [{"content": {"parts": []}, "finishReason": "STOP"}], "usageMetadata": usage(format)}),
        ],
    }
}

fn document(format: Format) -> Value {
    match format {
        Format::Messages => {
            json!({"model": "m-1", "content": [{"type": "text", "text": "hello"}], "usage": usage(format)})
        }
        Format::Responses => json!({"model": "m-1", "status": "completed", "usage": usage(format),
            "output": [{"type": "message", "content": [{"text": "hello"}]}]}),
        Format::Chat => json!({"model": "m-1", "choices": [{"message": {"content": "hello"}}], "usage": usage(format)}),
        Format::Gemini => json!({"candidates": [{"content": {"parts": [{"text": "hello"}]}}], "modelVersion": "m-1",
            "usageMetadata": usage(format)}),
    }
}

fn events(format: Format) -> String {
    let mut text: String = stream(format)
        .iter()
        .map(|each| format!("event: x\ndata: {each}\n\n"))
        .collect();
    if format == Format::Chat {
        text.push_str("data: [DONE]\n\n");
    }
    text
}

fn read(format: Format, shape: Shape, bytes: &[u8], size: usize) -> Reading {
    let mut reader = Reader::new(format, shape);
    for chunk in bytes.chunks(size.max(1)) {
        reader.push(chunk);
    }
    reader.reading(EXPECTED)
}

fn expected(format: Format) -> Reading {
    // Anthropic does not tell its thinking apart.
    let reasoning = if format == Format::Messages { 0 } else { USED.reasoning };
    let cache_write = if format == Format::Gemini { 0 } else { USED.cache_write };
    let input = if format == Format::Gemini { 3010 } else { USED.input };
    Reading {
        model: Some("m-1".to_owned()),
        tokens: Tokens {
            input,
            cache_write,
            reasoning,
            ..USED
        },
        whole: true,
        told: true,
    }
}

#[test]
fn a_whole_reply_is_counted_exactly_however_it_is_cut_into_pieces() {
    for format in ALL {
        let (events, document) = (events(format), document(format).to_string());
        for size in 1..events.len() {
            assert_eq!(
                read(format, Shape::Events, events.as_bytes(), size),
                expected(format),
                "{format:?} {size}"
            );
        }
        for size in 1..document.len() {
            let reading = read(format, Shape::Document, document.as_bytes(), size);
            assert_eq!(reading, expected(format), "{format:?} {size}");
        }
    }
}

#[test]
fn a_list_of_replies_without_events_is_counted_once() {
    let text = Value::from(stream(Format::Gemini)).to_string();
    assert_eq!(
        read(Format::Gemini, Shape::Document, text.as_bytes(), 9),
        expected(Format::Gemini)
    );
}

#[test]
fn a_reply_that_was_cut_is_an_estimate_that_never_falls_below_what_was_told() {
    for format in ALL {
        let pieces = stream(format);
        let last = pieces
            .iter()
            .position(|each| each.to_string().contains("hello"))
            .expect("the text");
        let text: String = pieces[..=last].iter().map(|each| format!("data: {each}\n\n")).collect();
        let reading = read(format, Shape::Events, text.as_bytes(), 10);
        let told = format == Format::Messages;
        assert!(!reading.whole, "{format:?}");
        assert_eq!(reading.told, told, "{format:?}");
        assert_eq!(reading.model.as_deref(), Some("m-1"));
        // Thirteen bytes of text, and three hundred of the request.
        assert_eq!(reading.tokens.output, 5, "{format:?}");
        assert_eq!(reading.tokens.input, if told { 10 } else { 100 }, "{format:?}");
    }
    let nothing = read(Format::Chat, Shape::Events, b"", 1);
    assert_eq!(
        (nothing.tokens.input, nothing.tokens.output, nothing.whole),
        (100, 0, false)
    );
}

#[test]
fn nothing_that_counts_comes_after_the_final_account() {
    for format in ALL {
        let events = events(format);
        let mut reader = Reader::new(format, Shape::Events);
        let mut before = 0;
        for byte in events.bytes() {
            before += usize::from(!reader.is_over());
            reader.push(&[byte]);
        }
        assert!(reader.is_over(), "{format:?}");
        assert!(before > events.find("hello").expect("the text"), "{format:?}");
        assert_eq!(reader.reading(Tokens::default()), expected(format), "{format:?}");
    }
}

#[test]
fn what_is_asked_for_is_known_by_method_and_path() {
    for (method, path, format) in [
        ("POST", "/v1/messages", Some(Format::Messages)),
        ("POST", "/v1/messages/count_tokens", None),
        ("GET", "/v1/messages", None),
        ("POST", "/v1/responses", Some(Format::Responses)),
        ("POST", "/backend-api/codex/responses/compact", Some(Format::Responses)),
        ("POST", "/api/v1/chat/completions", Some(Format::Chat)),
        ("POST", "/v1beta/models/g-1:streamGenerateContent", Some(Format::Gemini)),
        ("POST", "/v1beta/models/g-1:countTokens", None),
        ("HEAD", "/", None),
    ] {
        assert_eq!(Format::of(method, path), format, "{method} {path}");
    }
    let path = "/v1beta/models/g-1:generateContent";
    assert_eq!(Format::Gemini.model_in(path).as_deref(), Some("g-1"));
}

#[test]
fn a_request_names_its_model_wherever_it_stands() {
    let body = br#"{"messages": [{"model": "no"}], "model": "m-1", "stream": true}"#;
    let mut request = RequestReader::default();
    for byte in body {
        request.push(&[*byte]);
    }
    assert_eq!((request.model(), request.text()), (Some("m-1"), 5));
}

#[test]
fn an_image_in_a_request_is_not_taken_for_text() {
    let mut request = RequestReader::default();
    let image = "A".repeat(1_000_000);
    let body = json!({"model": "m-1", "input": [{"content": [{"text": "look", "image_url": image}]}]});
    request.push(body.to_string().as_bytes());
    assert_eq!(request.text(), 3 + 4 + MEDIUM);
}

#[test]
fn a_request_that_cannot_be_read_is_as_long_as_its_bytes() {
    let mut request = RequestReader::default();
    request.push(b"\x28\xb5\x2f\xfd compressed");
    assert_eq!((request.model(), request.text()), (None, 15));
}

#[test]
fn a_refusal_tells_how_long_to_wait() {
    let now = Time(1_795_000_000_000);
    for (body, ahead) in [
        (
            json!({"error": {"details": [{"@type": "x"}, {"retryDelay": "34.5s"}]}}),
            Some(34_500),
        ),
        (json!({"error": {"resets_in_seconds": 60}}), Some(60_000)),
        (json!({"error": {"resets_at": 1_795_000_100}}), Some(100_000)),
        (json!({"error": {"message": "no"}}), None),
    ] {
        let mut reader = Reader::new(Format::Gemini, Shape::Document);
        reader.push(body.to_string().as_bytes());
        assert_eq!(reader.wait(now).map(|at| at.0 - now.0), ahead, "{body}");
        assert!(!reader.reading(Tokens::default()).told);
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic_and_every_cut_gives_the_same(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        size in 1usize..50,
        which in 0usize..4,
    ) {
        for shape in [Shape::Events, Shape::Document] {
            let whole = read(ALL[which], shape, &bytes, bytes.len());
            prop_assert_eq!(read(ALL[which], shape, &bytes, size), whole);
        }
    }

    #[test]
    fn a_reply_with_bytes_lost_or_changed_never_panics_and_is_the_same_in_every_cut(
        which in 0usize..4,
        at in 0usize..2000,
        instead in any::<u8>(),
        end in 0usize..2000,
        size in 1usize..50,
    ) {
        let mut bytes = events(ALL[which]).into_bytes();
        let place = at % bytes.len();
        bytes[place] = instead;
        bytes.truncate(end.max(1));
        let whole = read(ALL[which], Shape::Events, &bytes, bytes.len());
        prop_assert_eq!(read(ALL[which], Shape::Events, &bytes, size), whole);
    }
}
