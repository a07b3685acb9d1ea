//! The one abstraction: an operation, the list of all, and the one door to them.
//!
//! An [`Operation`] is an args struct, an output struct and a plain `run`. From it come the CLI verb with its
//! help, the MCP tool with its schema and, later, the other surfaces. Doc comments are the only text.

use std::str::FromStr;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Args};
use fleet_core::{Error, Kind, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::page::{Page, Show};
use crate::{budgets, ops, request};

/// Where an operation can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surfaces {
    /// As a CLI verb.
    pub cli: bool,
    /// As an MCP tool.
    pub mcp: bool,
}

impl Surfaces {
    /// Everywhere.
    pub const ALL: Surfaces = Surfaces { cli: true, mcp: true };
    /// The CLI alone: what an agent has no use for.
    pub const CLI: Surfaces = Surfaces { cli: true, mcp: false };
}

/// One thing a person, program or agent can ask fleet to do.
pub trait Operation: Args + Serialize + DeserializeOwned + JsonSchema + Send + 'static {
    /// `create`, or `salvage.list` for a verb below a noun.
    const NAME: &'static str;
    /// What it does to the world.
    const EFFECT: Effect;
    /// Where it can be asked for.
    const SURFACES: Surfaces = Surfaces::ALL;
    /// Its answer.
    type Output: Serialize + JsonSchema + Show + Send;

    /// What this request does, where that depends on its arguments.
    fn effect(&self) -> Effect {
        Self::EFFECT
    }

    /// Replaces `@file` and `-` by their contents. Only the CLI calls it: elsewhere a text is a text.
    fn read_local(&mut self, _read: &ReadText<'_>) -> Result<()> {
        Ok(())
    }

    /// The arguments as they may be recorded: without the values of environment variables.
    fn redacted(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }

    /// Does it.
    fn run(self, app: &App, caller: &Caller) -> Result<Self::Output>;
}

/// What an operation answered.
#[derive(Debug)]
pub struct Done {
    /// For programs.
    pub json: Value,
    /// For people.
    pub page: Page,
    /// The kind of failure, when a part of it failed.
    pub failed: Option<Kind>,
}

/// Gives the text that a word of the command line means: `@FILE` and `-` are read.
pub type ReadText<'a> = dyn Fn(&str) -> Result<String> + 'a;

/// One row of [`ALL`].
#[derive(Clone, Copy)]
pub struct Op {
    /// [`Operation::NAME`].
    pub name: &'static str,
    /// [`Operation::EFFECT`].
    pub effect: Effect,
    /// [`Operation::SURFACES`].
    pub surfaces: Surfaces,
    /// Adds help and arguments to a command of the CLI.
    pub command: fn(clap::Command) -> clap::Command,
    /// The schema of its arguments.
    pub params: fn() -> Schema,
    /// The schema of its answer.
    pub output: fn() -> Schema,
    /// The arguments of a parsed command line, local texts read, as JSON.
    pub from_matches: fn(&ArgMatches, &ReadText<'_>) -> Result<Value>,
    call: fn(&App, &Caller, Option<&str>, Value) -> Result<Done>,
}

impl Op {
    /// The row of `O`.
    pub const fn of<O: Operation>() -> Op {
        Op {
            name: O::NAME,
            effect: O::EFFECT,
            surfaces: O::SURFACES,
            command: command::<O>,
            params: schema::<O>,
            output: schema::<O::Output>,
            from_matches: from_matches::<O>,
            call: call::<O>,
        }
    }

    /// The name of its MCP tool: letters, digits and underscores.
    pub fn tool_name(&self) -> String {
        format!("fleet_{}", self.name.replace(['.', '-'], "_"))
    }

    /// The first sentence of its help.
    pub fn about(&self) -> String {
        (self.command)(clap::Command::new("about"))
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default()
    }
}

/// Every operation, in the order of the help.
pub const ALL: &[Op] = &[
    Op::of::<ops::create::Create>(),
    Op::of::<ops::fanout::Fanout>(),
    Op::of::<ops::multi::Multi>(),
    Op::of::<ops::list::List>(),
    Op::of::<ops::prompt::Prompt>(),
    Op::of::<ops::logs::Logs>(),
    Op::of::<ops::diff::Diff>(),
    Op::of::<ops::path::Path>(),
    Op::of::<ops::wait::Wait>(),
    Op::of::<ops::explain::Explain>(),
    Op::of::<ops::rank::Rank>(),
    Op::of::<ops::merge::Merge>(),
    Op::of::<ops::pr::Pr>(),
    Op::of::<ops::kill::Kill>(),
    Op::of::<ops::resume::Resume>(),
    Op::of::<ops::restart::Restart>(),
    Op::of::<ops::salvage::List>(),
    Op::of::<ops::salvage::Show>(),
    Op::of::<ops::salvage::Restore>(),
    Op::of::<ops::salvage::Prune>(),
    Op::of::<ops::clean::Clean>(),
    Op::of::<ops::types::Types>(),
    Op::of::<ops::plan::Plan>(),
    Op::of::<ops::check::Check>(),
    Op::of::<ops::launch::Launch>(),
    Op::of::<ops::status::Status>(),
    Op::of::<ops::pause::Pause>(),
    Op::of::<ops::pause::Stop>(),
    Op::of::<ops::relaunch::Relaunch>(),
    Op::of::<ops::run::Run>(),
    Op::of::<ops::contract::Check>(),
    Op::of::<ops::report::Check>(),
    Op::of::<ops::task::Create>(),
    Op::of::<ops::task::List>(),
    Op::of::<ops::task::Show>(),
    Op::of::<ops::task::CostOf>(),
    Op::of::<ops::task::FollowUps>(),
    Op::of::<ops::task::Blame>(),
    Op::of::<ops::task::Promote>(),
    Op::of::<ops::task::Report>(),
    Op::of::<ops::task::End>(),
    Op::of::<ops::profile::Profile>(),
    Op::of::<ops::budget::Show>(),
    Op::of::<ops::budget::Set>(),
    Op::of::<ops::budget::Raise>(),
    Op::of::<ops::budget::Prices>(),
    Op::of::<ops::config::Show>(),
    Op::of::<ops::config::Validate>(),
    Op::of::<ops::config::Path>(),
    Op::of::<ops::doctor::Doctor>(),
    Op::of::<ops::integrate::Claude>(),
];

/// The one door: looks the operation up, authorises, records the intent, runs, records the outcome.
///
/// A `request` names this request for good: asked for again under the same name it is not done twice, but its
/// recorded answer is given. Without one, the call is a request of its own.
pub fn dispatch(app: &App, caller: &Caller, name: &str, args: Value, request: Option<&str>) -> Result<Done> {
    let op = ALL.iter().find(|op| op.name == name).ok_or_else(|| {
        let near = fleet_core::nearest::nearest(name, ALL.iter().map(|op| op.name), 1);
        let error = Error::not_found(format!("there is no operation `{name}`"));
        match near.first() {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("run `fleet --help` for the list"),
        }
    })?;
    let done = (op.call)(app, caller, request, args);
    // What it took in may have brought a ceiling near its end.
    if app.has_store() {
        budgets::notify::soon(app, caller);
    }
    done
}

fn call<O: Operation>(app: &App, caller: &Caller, request: Option<&str>, args: Value) -> Result<Done> {
    check_numbers(O::NAME, &args)?;
    let op: O = serde_json::from_value(args).map_err(|error| bad_arguments::<O>(&error))?;
    let effect = op.effect();
    caller.may(effect, O::NAME)?;
    if effect == Effect::Read {
        return finish(op.run(app, caller)?);
    }
    let mut args = op.redacted();
    shorten(&mut args);
    let id = request.map_or_else(|| app.new_id(), str::to_owned);
    if let Some(answer) = request::begin(app, &id, O::NAME, &args)? {
        let page = Page {
            blocks: vec![crate::page::Block::Raw(answer.to_string())],
        };
        return Ok(Done {
            json: answer,
            page,
            failed: None,
        });
    }
    let done = op.run(app, caller).and_then(finish);
    let outcome = done.as_ref().map(|done| done.json.clone()).map_err(Clone::clone);
    request::finish(app, &id, &outcome, request.is_some());
    done
}

/// No length of time and no amount is larger: 30 years of seconds, more money than there is.
const LARGEST: f64 = 1e9;

/// The arguments of `O` on a command line. A number is read here and nowhere else: what is none would be lost on its way as
/// JSON, and the limit that it stands for with it.
fn command<O: Operation>(command: clap::Command) -> clap::Command {
    O::augment_args(command).mut_args(|arg| match reader(&arg) {
        // `-1` is a number that is refused, and no flag.
        Some(reader) => arg.allow_negative_numbers(true).value_parser(reader),
        None => arg,
    })
}

/// What reads the numbers that `arg` takes; none where it takes something else.
fn reader(arg: &Arg) -> Option<ValueParser> {
    let readers = [
        ValueParser::new(number),
        ValueParser::new(whole::<u16>),
        ValueParser::new(whole::<u32>),
        ValueParser::new(whole::<u64>),
        ValueParser::new(whole::<usize>),
    ];
    let wanted = arg.get_value_parser().type_id();
    readers.into_iter().find(|reader| reader.type_id() == wanted)
}

/// Reads a whole number of a command line. None is below 0.
fn whole<N: FromStr>(text: &str) -> std::result::Result<N, String> {
    let is_whole = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().map_err(|_| {
        let advice = match text.strip_prefix('-') {
            Some(rest) if is_whole(rest) => "give a whole number from 0 on",
            None if is_whole(text) => "give a smaller whole number",
            _ => "give a whole number, such as `5`",
        };
        advice.to_owned()
    })
}

/// Reads a number of a command line. What it may be is asked where every surface comes by: [`check_numbers`].
fn number(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| "give a number, such as `5` or `0.50`".to_owned())
}

/// Refuses a number in `args`, however deep, that is below 0 or beyond all measure. `key` is where they stand.
fn check_numbers(key: &str, args: &Value) -> Result<()> {
    match args {
        Value::Number(number) if number.as_f64().is_none_or(|number| !(0.0..=LARGEST).contains(&number)) => {
            Err(Error::usage(format!("`{key}` cannot be {number}"))
                .hint(format!("give a number from 0 to {LARGEST}, or leave it out")))
        }
        Value::Array(values) => values.iter().try_for_each(|value| check_numbers(key, value)),
        Value::Object(map) => map.iter().try_for_each(|(key, value)| check_numbers(key, value)),
        _ => Ok(()),
    }
}

/// Replaces long texts by their length and digest: a request is recorded to be told from others, not to be kept.
fn shorten(value: &mut Value) {
    const LONGEST: usize = 200;
    match value {
        Value::String(text) if text.len() > LONGEST => {
            *text = format!(
                "{} bytes, SHA-256 {}",
                text.len(),
                fleet_host::files::digest(text.as_bytes())
            );
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(map) => map.values_mut().for_each(shorten),
        _ => {}
    }
}

fn finish<T: Serialize + Show>(output: T) -> Result<Done> {
    let json =
        serde_json::to_value(&output).map_err(|error| Error::internal(format!("the answer is no JSON: {error}")))?;
    let mut page = Page::default();
    output.show(&mut page);
    Ok(Done {
        json,
        page,
        failed: output.failed(),
    })
}

fn bad_arguments<O: Operation>(error: &serde_json::Error) -> Error {
    let schema = schema::<O>();
    let known: Vec<&str> = schema
        .get("properties")
        .and_then(Value::as_object)
        .map(|map| map.keys().map(String::as_str).collect())
        .unwrap_or_default();
    Error::usage(format!("`{}`: {error}", O::NAME)).hint(format!("its arguments are: {}", known.join(", ")))
}

fn schema<T: JsonSchema>() -> Schema {
    SchemaGenerator::default().into_root_schema_for::<T>()
}

fn from_matches<O: Operation>(matches: &ArgMatches, read: &ReadText<'_>) -> Result<Value> {
    let mut op = O::from_arg_matches(matches).map_err(|error| Error::usage(error.to_string()))?;
    op.read_local(read)?;
    serde_json::to_value(&op).map_err(|error| Error::internal(format!("the arguments are no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_that_no_limit_can_be_is_refused_however_deep_it_stands() {
        for bad in [json!(-1), json!(-0.5), json!(1e308), json!(u64::MAX), json!(i64::MIN)] {
            for args in [json!({"timeout": bad}), json!({"list": [{"timeout": bad}]})] {
                let error = check_numbers("wait", &args).expect_err("refused");
                assert_eq!((error.kind, error.hint.is_some()), (Kind::Usage, true), "{args}");
                assert!(error.message.starts_with("`timeout` cannot be "), "{}", error.message);
            }
        }
        for good in [json!(0), json!(0.25), json!(1e9), json!("-1"), json!(null)] {
            assert!(check_numbers("wait", &json!({"timeout": good})).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_is_no_number_is_never_taken_for_no_limit() {
        for bad in ["NaN", "nan", "inf", "-inf", "infinity", "1e400", "", "five", "1_0"] {
            assert!(number(bad).is_err(), "{bad}");
        }
        assert_eq!((number("0.25"), number("1e3")), (Ok(0.25), Ok(1000.0)));
    }
}
