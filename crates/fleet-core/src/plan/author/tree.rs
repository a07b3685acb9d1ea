//! The decision tree: is there a plan at all, and of which type.
//!
//! One session is enough: stop. No type fits: stop. One fits: take it. Where several fit, dag is taken. It does not look
//! at the workers: what does not fit the type is found by the check.

use super::super::word::PlanType;
use super::Spec;

/// A question of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Is a plan needed at all?
    OneSession,
    /// Does worktree fit?
    Independent,
    /// Does iterative fit?
    Reviewed,
    /// Does dag fit?
    Ordered,
    /// Does autoresearch fit?
    Measured,
}

/// What the answers come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// These questions are open, and nothing decides without them.
    Unanswered(Vec<Question>),
    /// There is no plan to write.
    Stop(Stop),
    /// A plan of this type.
    Take(Choice),
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// One session is enough.
    OneSession,
    /// No type fits.
    NoType,
}

/// The type that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The type.
    pub plan_type: PlanType,
    /// Why this one, in one line.
    pub why: String,
    /// All types that fit, where more than one does.
    pub fitting: Vec<PlanType>,
}

/// Walks the tree. A type that was asked for is taken, unless one session is enough.
pub fn decide(spec: &Spec) -> Decision {
    if spec.one_session == Some(true) {
        return Decision::Stop(Stop::OneSession);
    }
    if let Some(plan_type) = spec.plan_type {
        let why = format!("it was asked for; its case is that {}", because(plan_type));
        return Decision::Take(Choice {
            plan_type,
            why,
            fitting: Vec::new(),
        });
    }
    let types = || {
        Question::ALL
            .iter()
            .filter_map(|question| Some((*question, question.leads_to()?)))
    };
    let fitting: Vec<PlanType> = types()
        .filter(|(question, _)| question.answer(spec) == Some(true))
        .map(|(_, plan_type)| plan_type)
        .collect();
    match fitting.as_slice() {
        [] => {
            let open: Vec<Question> = types()
                .map(|(question, _)| question)
                .filter(|question| question.answer(spec).is_none())
                .collect();
            match open.is_empty() {
                true => Decision::Stop(Stop::NoType),
                false => Decision::Unanswered(open),
            }
        }
        [one] => Decision::Take(Choice {
            plan_type: *one,
            why: because(*one).to_owned(),
            fitting,
        }),
        several => {
            let reasons: Vec<String> = several
                .iter()
                .map(|each| format!("{} fits, because {}", each.as_str(), because(*each)))
                .collect();
            Decision::Take(Choice {
                plan_type: PlanType::Dag,
                why: format!("{}; where two fit, dag is taken", reasons.join("; ")),
                fitting,
            })
        }
    }
}

impl Question {
    /// Every question, in the order of the tree.
    pub const ALL: &[Question] = &[
        Question::OneSession,
        Question::Independent,
        Question::Reviewed,
        Question::Ordered,
        Question::Measured,
    ];

    /// Its key in a spec; as a flag with `-` for `_`.
    pub const fn key(self) -> &'static str {
        match self {
            Question::OneSession => "one_session",
            Question::Independent => "independent",
            Question::Reviewed => "reviewed",
            Question::Ordered => "ordered",
            Question::Measured => "measured",
        }
    }

    /// The question itself.
    pub const fn ask(self) -> &'static str {
        match self {
            Question::OneSession => "Can one agent handle this in a single session?",
            Question::Independent => "Does it split into parts that have no file in common?",
            Question::Reviewed => "Is it done when a reviewer says so, round after round?",
            Question::Ordered => "Does one part need what another made?",
            Question::Measured => "Is one number to get better, and does a command measure it quickly?",
        }
    }

    /// The type that a yes leads to; none where it leads to no plan.
    pub const fn leads_to(self) -> Option<PlanType> {
        match self {
            Question::OneSession => None,
            Question::Independent => Some(PlanType::Worktree),
            Question::Reviewed => Some(PlanType::Iterative),
            Question::Ordered => Some(PlanType::Dag),
            Question::Measured => Some(PlanType::Autoresearch),
        }
    }

    /// What `spec` answers.
    pub fn answer(self, spec: &Spec) -> Option<bool> {
        match self {
            Question::OneSession => spec.one_session,
            Question::Independent => spec.independent,
            Question::Reviewed => spec.reviewed,
            Question::Ordered => spec.ordered,
            Question::Measured => spec.measured,
        }
    }

    /// Puts an answer into `spec`.
    pub fn set(self, spec: &mut Spec, answer: bool) {
        let place = match self {
            Question::OneSession => &mut spec.one_session,
            Question::Independent => &mut spec.independent,
            Question::Reviewed => &mut spec.reviewed,
            Question::Ordered => &mut spec.ordered,
            Question::Measured => &mut spec.measured,
        };
        *place = Some(answer);
    }
}

impl Stop {
    /// What is said then.
    pub const fn sentence(self) -> &'static str {
        match self {
            Stop::OneSession => "No fleet needed — this fits in one session.",
            Stop::NoType => "Open multiple Claude Code sessions — you're the orchestrator.",
        }
    }
}

const fn because(plan_type: PlanType) -> &'static str {
    match plan_type {
        // The other half of its line is about what fits no other type.
        PlanType::Dag => "one part needs what another made",
        other => other.row().when,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(set: &[Question]) -> Decision {
        let mut spec = Spec::default();
        for question in set {
            question.set(&mut spec, true);
        }
        decide(&spec)
    }

    #[test]
    fn one_yes_leads_to_its_type_and_says_why() {
        for question in Question::ALL {
            let Some(plan_type) = question.leads_to() else { continue };
            let Decision::Take(choice) = taken(&[*question]) else {
                panic!("{question:?} leads to nothing");
            };
            assert_eq!(choice.plan_type, plan_type);
            assert_eq!(choice.why, because(plan_type));
        }
    }

    #[test]
    fn where_two_fit_dag_is_taken_and_both_are_named() {
        let Decision::Take(choice) = taken(&[Question::Independent, Question::Reviewed]) else {
            panic!("nothing was taken");
        };
        assert_eq!(choice.plan_type, PlanType::Dag);
        assert_eq!(choice.fitting, [PlanType::Worktree, PlanType::Iterative]);
        assert_eq!(
            choice.why,
            "worktree fits, because the work splits into parts that have no file in common; iterative fits, because the work is \
             done when a reviewer says so; where two fit, dag is taken"
        );
    }

    #[test]
    fn one_session_stops_whatever_else_is_said() {
        assert_eq!(
            taken(&[Question::OneSession, Question::Ordered]),
            Decision::Stop(Stop::OneSession)
        );
        let spec = Spec {
            one_session: Some(true),
            plan_type: Some(PlanType::Dag),
            ..Spec::default()
        };
        assert_eq!(decide(&spec), Decision::Stop(Stop::OneSession));
    }

    #[test]
    fn four_times_no_fits_nothing_and_silence_is_no_answer() {
        let mut spec = Spec::default();
        assert_eq!(decide(&spec), Decision::Unanswered(Question::ALL[1..].to_vec()));
        for question in &Question::ALL[1..4] {
            question.set(&mut spec, false);
        }
        assert_eq!(decide(&spec), Decision::Unanswered(vec![Question::Measured]));
        spec.measured = Some(false);
        assert_eq!(decide(&spec), Decision::Stop(Stop::NoType));
    }
}
