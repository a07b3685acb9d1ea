//! From a script's abstract tool call to the tool that a client offers.
//!
//! Clients differ in the names of their tools and of their arguments; both are found in what the request offers,
//! so that one script serves all of them.

use serde_json::{Map, Value, json};

use super::script::ToolCall;
use super::wire::{Call, Offered};

const SHELL: &[&str] = &[
    "Bash",
    "bash",
    "exec_command",
    "shell_command",
    "run_shell_command",
    "shell",
];
const WRITE: &[&str] = &["Write", "write", "write_file"];
const READ: &[&str] = &["Read", "read", "read_file"];
/// A tool that takes a patch as free text, for clients that have no tool to write with.
const PATCH: &str = "apply_patch";

const COMMAND_KEYS: &[&str] = &["command", "cmd"];
const PATH_KEYS: &[&str] = &["file_path", "filePath", "path", "absolute_path"];
const CONTENT_KEYS: &[&str] = &["content", "contents"];

/// The call of an offered tool that does this, or none when nothing that is offered can. An exact name is called
/// even if it is not offered.
pub(crate) fn translate(call: &ToolCall, offered: &[Offered]) -> Option<Call> {
    match call {
        ToolCall::Shell(command) => shell(command, offered),
        ToolCall::Write { path, content } => {
            let with_tool = find(WRITE, offered).map(|tool| {
                let path = (key(tool, PATH_KEYS), path.as_str().into());
                call_of(tool, [path, (key(tool, CONTENT_KEYS), content.as_str().into())])
            });
            let with_patch = || {
                find(&[PATCH], offered).filter(|tool| tool.free_text).map(|tool| Call {
                    input: patch(path, content).into(),
                    ..call_of(tool, [])
                })
            };
            let with_shell = || shell(&format!("printf %s {} > {}", quoted(content), quoted(path)), offered);
            with_tool.or_else(with_patch).or_else(with_shell)
        }
        ToolCall::Read(path) => {
            let with_tool =
                find(READ, offered).map(|tool| call_of(tool, [(key(tool, PATH_KEYS), path.as_str().into())]));
            with_tool.or_else(|| shell(&format!("cat -- {}", quoted(path)), offered))
        }
        ToolCall::Tool { name, input } => {
            let input = if input.is_null() { json!({}) } else { input.clone() };
            Some(match find(&[name.as_str()], offered) {
                Some(tool) => Call {
                    input,
                    ..call_of(tool, [])
                },
                // Whoever names a tool that is not there wants to see what the client makes of it.
                None => Call {
                    name: name.clone(),
                    namespace: None,
                    free_text: false,
                    input,
                },
            })
        }
    }
}

fn shell(command: &str, offered: &[Offered]) -> Option<Call> {
    let tool = find(SHELL, offered)?;
    let key = key(tool, COMMAND_KEYS);
    let command = if tool.parameters["properties"][key]["type"] == "array" {
        json!(["bash", "-lc", command])
    } else {
        command.into()
    };
    let mut call = call_of(tool, [(key, command)]);
    if has(tool, "description") {
        call.input["description"] = "A scripted command".into();
    }
    Some(call)
}

fn find<'a>(names: &[&str], offered: &'a [Offered]) -> Option<&'a Offered> {
    names
        .iter()
        .find_map(|name| offered.iter().find(|tool| tool.name == *name))
}

/// The first of these names that the tool has an argument of.
fn key<'a>(tool: &Offered, names: &[&'a str]) -> &'a str {
    names.iter().find(|name| has(tool, name)).unwrap_or(&names[0])
}

fn has(tool: &Offered, argument: &str) -> bool {
    tool.parameters["properties"].get(argument).is_some()
}

fn call_of<const N: usize>(tool: &Offered, arguments: [(&str, Value); N]) -> Call {
    let arguments = arguments.into_iter().map(|(key, value)| (key.to_owned(), value));
    Call {
        name: tool.name.clone(),
        namespace: tool.namespace.clone(),
        free_text: tool.free_text,
        input: Value::Object(arguments.collect::<Map<_, _>>()),
    }
}

fn patch(path: &str, content: &str) -> String {
    let lines: String = content.lines().map(|line| format!("+{line}\n")).collect();
    format!("*** Begin Patch\n*** Add File: {path}\n{lines}*** End Patch\n")
}

/// One word of a shell line.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, arguments: &[&str]) -> Offered {
        let properties: Map<String, Value> = arguments
            .iter()
            .map(|argument| ((*argument).to_owned(), json!({"type": "string"})))
            .collect();
        Offered {
            name: name.into(),
            namespace: None,
            parameters: json!({"type": "object", "properties": properties}),
            free_text: false,
        }
    }

    fn input(call: &ToolCall, offered: &[Offered]) -> Option<(String, Value)> {
        translate(call, offered).map(|call| (call.name, call.input))
    }

    #[test]
    fn a_command_goes_to_the_shell_tool_that_is_offered() {
        let ls = ToolCall::Shell("ls".into());
        for (offered, expected) in [
            (tool("exec_command", &["cmd", "workdir"]), json!({"cmd": "ls"})),
            (tool("bash", &["command"]), json!({"command": "ls"})),
            (
                tool("Bash", &["command", "description"]),
                json!({"command": "ls", "description": "A scripted command"}),
            ),
        ] {
            let name = offered.name.clone();
            assert_eq!(input(&ls, &[offered]), Some((name, expected)));
        }
        let mut words = tool("shell", &["command"]);
        words.parameters["properties"]["command"] = json!({"type": "array"});
        assert_eq!(
            input(&ls, &[words]).unwrap().1,
            json!({"command": ["bash", "-lc", "ls"]})
        );
        assert_eq!(input(&ls, &[tool("Read", &["file_path"])]), None);
    }

    #[test]
    fn a_file_is_written_with_what_there_is() {
        let write = ToolCall::Write {
            path: "a b".into(),
            content: "it's\ntwo".into(),
        };
        let opencode = tool("write", &["content", "filePath"]);
        assert_eq!(
            input(&write, &[opencode]).unwrap().1,
            json!({"content": "it's\ntwo", "filePath": "a b"})
        );
        let patch = Offered {
            free_text: true,
            ..tool("apply_patch", &[])
        };
        let shell = tool("exec_command", &["cmd"]);
        assert_eq!(
            input(&write, &[shell.clone(), patch]).unwrap().1,
            "*** Begin Patch\n*** Add File: a b\n+it's\n+two\n*** End Patch\n"
        );
        assert_eq!(
            input(&write, &[shell]).unwrap().1,
            json!({"cmd": "printf %s 'it'\\''s\ntwo' > 'a b'"})
        );
    }
}
