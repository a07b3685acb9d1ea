//! Providers and their models, as far as they are known: one data file, `models.json`.

use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule::near;
use super::word::{Sandbox, WorkerType};

/// A provider that fleet knows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Its name in a plan, which is the harness's.
    pub name: String,
    /// Its known models.
    pub models: Vec<Model>,
    /// The model of a worker that names none; without one the program chooses.
    #[serde(default)]
    pub default: Option<String>,
    /// The model that it goes on with when the first one is overloaded; none where it cannot.
    #[serde(default)]
    pub fallback: Option<String>,
    /// Whether it takes a reasoning effort.
    pub effort: bool,
    /// Whether it has a budget limit of its own.
    pub budget: bool,
    /// Which names of models it takes.
    pub names: Names,
    /// What it can keep a worker from that has no shell.
    pub enforces: Vec<Act>,
    /// What of that it keeps the commands of a worker from as well.
    pub confines: Vec<Act>,
    /// Whether it can search or fetch the web by itself.
    pub web: bool,
}

/// A known model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its full name.
    pub name: String,
    /// A shorter name.
    #[serde(default)]
    pub alias: Option<String>,
    /// When to use it.
    #[serde(rename = "use")]
    pub purpose: String,
}

/// Which names of models a provider takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// Those that are listed.
    Listed,
    /// `PROVIDER/MODEL`.
    Qualified,
    /// Any.
    Any,
}

/// What a worker's type may forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// To change files.
    Write,
    /// To run commands.
    Shell,
    /// To search or fetch the web.
    Web,
    /// To change files that are neither in its folder, nor in one that was added, nor temporary.
    Leave,
}

/// Why a model is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody knows it; what to write instead.
    Unknown(String),
    /// It belongs to this other provider.
    Other(&'static str),
}

/// The providers that are known.
pub fn providers() -> &'static [Provider] {
    static PROVIDERS: OnceLock<Vec<Provider>> = OnceLock::new();
    PROVIDERS.get_or_init(|| serde_json::from_str(include_str!("models.json")).expect("a test reads the same file"))
}

/// The provider called `name`, if it is a known one.
pub fn provider(name: &str) -> Option<&'static Provider> {
    providers().iter().find(|provider| provider.name == name)
}

impl Act {
    /// All of them.
    pub const ALL: &[Act] = &[Act::Write, Act::Shell, Act::Web, Act::Leave];

    /// In words: `changing files`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Act::Write => "changing files",
            Act::Shell => "running commands",
            Act::Web => "using the web",
            Act::Leave => "changing files elsewhere",
        }
    }

    /// Whether a worker of this type may do it.
    pub const fn is_allowed(self, worker_type: WorkerType) -> bool {
        match self {
            Act::Write => worker_type.writes(),
            Act::Shell => worker_type.has_shell(),
            Act::Web => worker_type.has_web(),
            Act::Leave => worker_type.leaves(),
        }
    }
}

impl Provider {
    /// Says why `model` cannot be given to this provider.
    pub(super) fn refusal(&self, model: &str) -> Option<Refusal> {
        let known: Vec<&str> = self.models.iter().flat_map(Model::names).collect();
        if known.contains(&model) || self.names == Names::Any {
            return None;
        }
        let owner = providers()
            .iter()
            .find(|other| other.models.iter().any(|each| each.names().any(|name| name == model)));
        if let Some(owner) = owner {
            return Some(Refusal::Other(&owner.name));
        }
        if self.names == Names::Qualified {
            let whole = model
                .split_once('/')
                .is_some_and(|(provider, name)| !provider.is_empty() && !name.is_empty());
            return (!whole).then(|| Refusal::Unknown("write it as `PROVIDER/MODEL`".to_owned()));
        }
        Some(Refusal::Unknown(match near(model, &known) {
            Some(near) => format!("did you mean `{near}`? Known are {}", known.join(", ")),
            None => format!("known are {}", known.join(", ")),
        }))
    }

    /// Says why `model` is none of this provider's, and what would be.
    pub fn model_fault(&self, model: &str) -> Option<String> {
        self.refusal(model).map(|refusal| match refusal {
            Refusal::Unknown(hint) => format!("`{model}` is not known as a model of `{}`: {hint}", self.name),
            Refusal::Other(owner) => format!("`{model}` is a model of `{owner}`, not of `{}`", self.name),
        })
    }

    /// Whether it keeps a worker of this type, in this sandbox of the plan's, from the act.
    fn holds(&self, worker_type: WorkerType, sandbox: Option<Sandbox>, act: Act) -> bool {
        let without_shell = self.enforces.contains(&act);
        let with_shell = self.confines.contains(&act) || !worker_type.has_shell();
        without_shell && with_shell && sandbox != Some(Sandbox::FullAccess)
    }
}

/// What a worker of this type may not do, and nothing keeps it from: not the provider, none for a harness of the user's
/// own, and not the sandbox of the plan.
pub fn gaps(provider: Option<&Provider>, worker_type: WorkerType, sandbox: Option<Sandbox>) -> Vec<Act> {
    // A boundary is around files. The network has to stay open for the model, and commands run inside.
    let contained = |act: Act| sandbox == Some(Sandbox::Bwrap) && matches!(act, Act::Write | Act::Leave);
    let held = |act: Act| provider.is_some_and(|provider| provider.holds(worker_type, sandbox, act));
    let open = |act: &Act| !act.is_allowed(worker_type) && !contained(*act) && !held(*act);
    Act::ALL.iter().copied().filter(open).collect()
}

/// Those of the [`gaps`] that are open to a worker's commands alone: with its own tools the provider keeps to the type.
pub fn reach(provider: &Provider, worker_type: WorkerType, sandbox: Option<Sandbox>) -> Vec<Act> {
    let by_commands = |act: &Act| worker_type.has_shell() && provider.enforces.contains(act);
    let mut open = gaps(Some(provider), worker_type, sandbox);
    open.retain(by_commands);
    open
}

impl Model {
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.alias.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_a_provider_are_models_of_it() {
        for provider in providers() {
            for model in provider.default.iter().chain(&provider.fallback) {
                assert_eq!(provider.refusal(model), None, "{model} of {}", provider.name);
            }
        }
        let default = |name| provider(name).and_then(|provider| provider.default.as_deref());
        assert_eq!(default("codex"), Some("gpt-5.4"));
        assert_eq!(default("claude"), Some("sonnet"));
    }

    #[test]
    fn a_model_fits_its_provider_or_is_refused() {
        let refusal = |provider_name: &str, model: &str| provider(provider_name).expect("known").refusal(model);
        for (provider, model) in [
            ("claude", "opus"),
            ("claude", "claude-haiku-4-5"),
            ("codex", "gpt-5.4-mini"),
            ("pi", "anything at all"),
            ("opencode", "openrouter/qwen/qwen3"),
            ("gemini", "gemini-2.5-pro"),
        ] {
            assert_eq!(refusal(provider, model), None, "{provider} {model}");
        }
        assert_eq!(refusal("codex", "sonnet"), Some(Refusal::Other("claude")));
        assert_eq!(refusal("claude", "gpt-5.4"), Some(Refusal::Other("codex")));
        for (provider, model, says) in [
            ("claude", "sonet", "`sonnet`"),
            ("codex", "gpt-5.5", "`gpt-5.4`"),
            ("opencode", "qwen3", "`PROVIDER/MODEL`"),
            ("gemini", "xyz", "known are gemini-2.5-pro"),
        ] {
            let Some(Refusal::Unknown(hint)) = refusal(provider, model) else {
                panic!("{provider} takes {model}");
            };
            assert!(hint.contains(says), "{hint}");
        }
    }

    #[test]
    fn a_provider_has_gaps_where_it_cannot_keep_a_type() {
        let bwrap = Some(Sandbox::Bwrap);
        let shell_goes_everywhere = [Act::Web, Act::Leave];
        for (name, worker_type, sandbox, open) in [
            ("claude", WorkerType::ReadOnly, None, &[][..]),
            ("claude", WorkerType::CodeRun, None, &shell_goes_everywhere),
            ("claude", WorkerType::CodeRun, bwrap, &[Act::Web]),
            ("codex", WorkerType::ReadOnly, None, &[Act::Shell]),
            ("codex", WorkerType::ReadOnly, bwrap, &[Act::Shell]),
            ("codex", WorkerType::CodeRun, None, &[]),
            (
                "codex",
                WorkerType::CodeRun,
                Some(Sandbox::FullAccess),
                &shell_goes_everywhere,
            ),
            ("gemini", WorkerType::Write, None, &[]),
            ("codex", WorkerType::Reviewer, None, &[]),
            ("own", WorkerType::Research, None, &[Act::Shell, Act::Leave]),
            ("own", WorkerType::ReadOnly, bwrap, &[Act::Shell, Act::Web]),
        ] {
            assert_eq!(
                gaps(provider(name), worker_type, sandbox),
                open,
                "{name} {worker_type:?} {sandbox:?}"
            );
        }
    }
}
