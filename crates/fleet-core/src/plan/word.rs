//! The words of a plan: its types, the types of workers, and the other choices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A choice from a few words.
pub(crate) trait Word: Copy + 'static {
    /// Every word with its meaning.
    const WORDS: &[(&'static str, Self)];
}

macro_rules! words {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $each:literal])* $variant:ident = $word:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name {
            $($(#[doc = $each])* #[serde(rename = $word)] $variant,)*
        }

        impl $crate::plan::word::Word for $name {
            const WORDS: &[(&'static str, Self)] = &[$(($word, $name::$variant)),*];
        }

        impl $name {
            /// As it is written.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }
    };
}

pub(crate) use words;

words! {
    /// What kind of graph, rounds and stop rule a plan has.
    PlanType {
        /// Independent files, one branch each.
        Worktree = "worktree",
        /// Workers that wait for each other.
        Dag = "dag",
        /// Builders and one reviewer, round after round.
        Iterative = "iterative",
        /// Change, measure, keep or discard.
        Autoresearch = "autoresearch",
    }
}

words! {
    /// What a worker may do. Chosen by what it has to hand in, not by what it reads.
    WorkerType {
        /// Reads, and answers in its messages. Saves nothing.
        ReadOnly = "read-only",
        /// Reads and writes files. No shell, no web.
        Write = "write",
        /// Files and a shell. No web.
        CodeRun = "code-run",
        /// Files and the web. No shell.
        Research = "research",
        /// Everything, and its verdict ends a round.
        Reviewer = "reviewer",
        /// Reads, writes new files and has a shell, to lead others. No web.
        Orchestrator = "orchestrator",
    }
}

words! {
    /// How long a model thinks.
    Effort {
        /// Short.
        Low = "low",
        /// The usual.
        Medium = "medium",
        /// Long.
        High = "high",
    }
}

words! {
    /// What becomes of a worker when one that it waits for has failed.
    OnDepFailure {
        /// It is not started.
        Skip = "skip",
        /// It is started all the same.
        Run = "run",
        /// The run ends.
        Abort = "abort",
    }
}

words! {
    /// A worker's part in a round.
    Role {
        /// It builds.
        Builder = "builder",
        /// It judges.
        Reviewer = "reviewer",
    }
}

words! {
    /// Which way a metric gets better.
    Direction {
        /// Less is better.
        Minimize = "minimize",
        /// More is better.
        Maximize = "maximize",
    }
}

words! {
    /// A boundary around a worker's program.
    Sandbox {
        /// Codex's own: nothing is written.
        ReadOnly = "read-only",
        /// Codex's own: only the workspace is written.
        WorkspaceWrite = "workspace-write",
        /// Codex's own: none.
        FullAccess = "danger-full-access",
        /// An older word for `workspace-write`.
        FullAuto = "full-auto",
        /// Bubblewrap around any program.
        Bwrap = "bwrap",
    }
}

words! {
    /// How much a task is, and with it what it may cost.
    Size {
        /// A line, a simple edit.
        Edit = "edit",
        /// A function, one file.
        Function = "function",
        /// A feature, several files.
        Feature = "feature",
        /// A module, a change of architecture.
        Module = "module",
    }
}

/// A line of the index of types.
#[derive(Clone, Copy, Debug)]
pub struct TypeRow {
    /// What it is, in a few words.
    pub hint: &'static str,
    /// When to choose it.
    pub when: &'static str,
    /// What its plan must have beside `fleet_name`, `type` and `workers`.
    pub needs: &'static str,
}

impl PlanType {
    /// Every type, in the order of the index.
    pub const ALL: &[PlanType] = &[
        PlanType::Worktree,
        PlanType::Dag,
        PlanType::Iterative,
        PlanType::Autoresearch,
    ];

    /// Its line of the index.
    pub const fn row(self) -> TypeRow {
        match self {
            PlanType::Worktree => TypeRow {
                hint: "independent files, one branch each",
                when: "the work splits into parts that have no file in common",
                needs: "`branch` and `target_files` for each worker",
            },
            PlanType::Dag => TypeRow {
                hint: "workers that wait for each other",
                when: "one part needs what another made, or no other type fits",
                needs: "`type` for each worker, `depends_on` where one waits",
            },
            PlanType::Iterative => TypeRow {
                hint: "builders and one reviewer, round after round",
                when: "the work is done when a reviewer says so",
                needs: "one worker of type `reviewer`, `stop_when.max_iterations` and `stop_when.reviewer_lgtm_count`",
            },
            PlanType::Autoresearch => TypeRow {
                hint: "change, measure, keep or discard",
                when: "one number is to get better, and a command measures it quickly",
                needs: "`problem.eval_command` and `problem.metric_regex`, and program.md instead of workers",
            },
        }
    }
}

impl WorkerType {
    /// Every type.
    pub const ALL: &[WorkerType] = &[
        WorkerType::ReadOnly,
        WorkerType::Write,
        WorkerType::CodeRun,
        WorkerType::Research,
        WorkerType::Reviewer,
        WorkerType::Orchestrator,
    ];

    /// What a worker of this type hands in.
    pub const fn hands_in(self) -> &'static str {
        match self {
            WorkerType::ReadOnly => "an answer in its last message, and no file",
            WorkerType::Write => "a text made from what is there, such as a synthesis or a page",
            WorkerType::CodeRun => "code that it has built, run or tested",
            WorkerType::Research => "a file with what it has found in the web",
            WorkerType::Reviewer => "a verdict, after it has read the work and run its tests",
            WorkerType::Orchestrator => "what others have made whom it has led",
        }
    }

    /// Whether it can save files.
    pub const fn writes(self) -> bool {
        !matches!(self, WorkerType::ReadOnly)
    }

    /// Whether it can run commands.
    pub const fn has_shell(self) -> bool {
        matches!(
            self,
            WorkerType::CodeRun | WorkerType::Reviewer | WorkerType::Orchestrator
        )
    }

    /// Whether it can search and fetch the web.
    pub const fn has_web(self) -> bool {
        matches!(self, WorkerType::Research | WorkerType::Reviewer)
    }
    /// Whether it may change files beyond its workspace.
    pub const fn leaves(self) -> bool {
        matches!(self, WorkerType::Reviewer)
    }
}

impl Size {
    /// Every size, the smallest first.
    pub const ALL: &[Size] = &[Size::Edit, Size::Function, Size::Feature, Size::Module];

    /// What is of this size.
    pub const fn what(self) -> &'static str {
        match self {
            Size::Edit => "a line, a simple edit",
            Size::Function => "a function, one file",
            Size::Feature => "a feature, several files",
            Size::Module => "a module, a change of architecture",
        }
    }

    /// From what to what a worker may spend on it, in USD. The upper end is what a plan proposes.
    pub const fn band(self) -> (f64, f64) {
        match self {
            Size::Edit => (0.25, 0.50),
            Size::Function => (1.0, 2.0),
            Size::Feature => (3.0, 5.0),
            Size::Module => (5.0, 10.0),
        }
    }
}
