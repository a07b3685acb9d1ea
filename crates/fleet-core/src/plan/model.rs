//! Providers and their models, as far as they are known: one data file, `models.json`.

use std::sync::OnceLock;

use serde::Deserialize;

use super::rule::near;
use super::word::WorkerType;

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
    /// What it can keep a worker from.
    pub enforces: Vec<Act>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// To change files.
    Write,
    /// To run commands.
    Shell,
    /// To search or fetch the web.
    Web,
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
    pub const ALL: &[Act] = &[Act::Write, Act::Shell, Act::Web];

    /// In words: `changing files`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Act::Write => "changing files",
            Act::Shell => "running commands",
            Act::Web => "using the web",
        }
    }

    /// Whether a worker of this type may do it.
    pub const fn is_allowed(self, worker_type: WorkerType) -> bool {
        match self {
            Act::Write => worker_type.writes(),
            Act::Shell => worker_type.has_shell(),
            Act::Web => worker_type.has_web(),
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

    /// What a worker of this type may not do, and this provider cannot keep it from.
    pub fn gaps(&self, worker_type: WorkerType) -> Vec<Act> {
        let open = |act: &Act| !act.is_allowed(worker_type) && !self.enforces.contains(act);
        Act::ALL.iter().copied().filter(open).collect()
    }
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
        let gaps = |name: &str, worker_type| provider(name).expect("known").gaps(worker_type);
        assert_eq!(gaps("claude", WorkerType::ReadOnly), []);
        assert_eq!(gaps("codex", WorkerType::ReadOnly), [Act::Shell]);
        assert_eq!(gaps("codex", WorkerType::CodeRun), []);
        assert_eq!(gaps("gemini", WorkerType::Write), [Act::Web]);
        assert_eq!(gaps("codex", WorkerType::Reviewer), []);
    }
}
