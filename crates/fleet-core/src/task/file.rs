//! A task as it is kept in the repository, for people and programs that read files: `.fleet/tasks/ID/task.yaml` and
//! `report.md` beside it. The store has the record; these are written from it and never read back.

use super::cost::{Node, describe, is_empty};
use super::{FollowUp, Task, TaskId, title_key};
use crate::Time;
use crate::block::tree::Tree;
use crate::spend::Total;

/// The folder of a task below the root of its repository.
pub fn folder(id: TaskId) -> String {
    format!(".fleet/tasks/{id}")
}

/// `task.yaml`: the record, and what the account says at this moment. `within` is the task in whose account it is where the
/// program of a sub-agent does not tell it apart.
pub fn yaml(task: &Task, cost: &Node, within: Option<TaskId>) -> String {
    let text = |text: &Option<String>| text.as_deref().map(Tree::text);
    let id = |id: Option<TaskId>| id.map(|id| Tree::text(&id.to_string()));
    let time = |time: Option<crate::Time>| time.map(|time| Tree::text(&time.to_string()));
    let follow_up = |each: &FollowUp| {
        Tree::map()
            .with("title", Some(Tree::text(&each.title)))
            .with("priority", Some(Tree::text(each.priority.as_str())))
            .with("promoted", id(each.promoted))
    };
    Tree::map()
        .with("version", Some(Tree::count(1)))
        .with("id", id(Some(task.id)))
        .with("title", Some(Tree::text(&task.title)))
        .with("kind", Some(Tree::text(&task.kind)))
        .with("crew", text(&task.crew))
        .with("priority", task.priority.map(|priority| Tree::text(priority.as_str())))
        .with("status", Some(Tree::text(task.status.as_str())))
        .with("parent", id(task.parent))
        .with("promoted_from", id(task.promoted_from))
        .with("external", text(&task.external))
        .with("dispatched_by", Some(Tree::text(&task.dispatched_by)))
        .with("agent", task.agent.as_ref().map(|agent| Tree::text(agent.as_str())))
        .with(
            "sub_agent_of",
            task.sub_agent_of.as_ref().map(|agent| Tree::text(agent.as_str())),
        )
        .with("batch", text(&task.batch))
        .with("run", text(&task.run))
        .with("harness", text(&task.harness))
        .with("model", text(&task.model))
        .with("intensity", text(&task.intensity))
        .with("ceiling_usd", task.ceiling.map(Tree::money))
        .with("cost", Some(total(&cost.whole)))
        .with("cost_within", id(within))
        .with("own_cost", (cost.own != cost.whole).then(|| total(&cost.own)))
        .with("reported_usd", task.reported.map(Tree::money))
        .with("commits", Some(Tree::texts(&task.commits)))
        .with(
            "follow_ups",
            Some(Tree::List(task.follow_ups.iter().map(follow_up).collect())),
        )
        .with("created_at", time(Some(task.created_at)))
        .with("started_at", time(task.started_at))
        .with("ended_at", time(task.ended_at))
        .document()
}

/// `report.md`: what the crew said, and the block as it stands in the message.
pub fn report(task: &Task, block: &str) -> String {
    format!(
        "# {id}: {title}\n\n{status}. What its crew says of itself; what it cost is in task.yaml.\n\n{block}\n",
        id = task.id,
        title = task.title,
        status = task.status.as_str(),
        block = block.trim(),
    )
}

/// The folder of requests to other projects, below the root of a repository.
pub const OUTBOX: &str = ".fleet/federation/outbox";

/// The name of the file that asks `to` for a follow-up: the same for the same title.
pub fn request_name(from: TaskId, follow_up: &FollowUp, to: &str) -> String {
    let words = title_key(&follow_up.title);
    let plain: String = words
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let short: String = plain.trim_matches('-').chars().take(60).collect();
    format!("{from}-{to}-{short}.md")
}

/// A request to another project: what is asked for, by whom, and after what.
pub fn request(project: &str, from: &Task, follow_up: &FollowUp, to: &str, at: Time) -> String {
    let text = |text: &str| Some(Tree::text(text));
    let head = Tree::map()
        .with("version", Some(Tree::count(1)))
        .with("from", text(project))
        .with("to", text(to))
        .with("task", text(&from.id.to_string()))
        .with("title", text(&follow_up.title))
        .with("priority", text(follow_up.priority.as_str()))
        .with("created_at", text(&at.to_string()))
        .document();
    format!(
        "---\n{head}---\n\n# {title}\n\n{project} asks {to} for this. It was left to do after {id}: {after}\n",
        title = follow_up.title,
        id = from.id,
        after = from.title,
    )
}

fn total(total: &Total) -> Tree {
    if is_empty(total) {
        return Tree::text("unknown");
    }
    let count = |count: u64| (count > 0).then(|| Tree::count(u32::try_from(count).unwrap_or(u32::MAX)));
    Tree::map()
        .with("usd", Some(Tree::money(total.cost)))
        .with("unknown_entries", count(total.unknown))
        .with("estimated_entries", count(total.estimated))
        .with("shown", Some(Tree::text(&describe(total))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Usd;
    use crate::report::Priority;
    use crate::task::Standing;

    #[test]
    fn a_record_is_written_as_yaml_that_reads_back_and_an_unknown_cost_is_not_0() {
        let task = Task {
            id: TaskId::new(Time(0), 1),
            title: "a: \"b\" --> c".to_owned(),
            kind: "crew".to_owned(),
            crew: Some("api".to_owned()),
            priority: None,
            status: Standing::Completed,
            parent: None,
            repo: "/r/.git".to_owned(),
            dispatched_by: "user".to_owned(),
            agent: None,
            sub_agent_of: None,
            batch: None,
            run: None,
            harness: None,
            model: None,
            intensity: None,
            ceiling: Usd::new(2.5),
            hard: false,
            reported: Usd::new(1.85),
            commits: vec!["1e10".to_owned()],
            follow_ups: vec![FollowUp {
                title: "no".to_owned(),
                priority: Priority::High,
                promoted: None,
            }],
            promoted_from: None,
            external: None,
            created_at: Time(0),
            started_at: None,
            ended_at: Some(Time(1000)),
        };
        let text = yaml(&task, &Node::default(), None);
        assert!(crate::yaml::read(&text).is_ok(), "{text}");
        for line in [
            "cost: unknown\n",
            "ceiling_usd: 2.50\n",
            "reported_usd: 1.85\n",
            "- \"1e10\"\n",
            "title: \"no\"\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let block = "<!-- FLEET_REPORT\nx\n-->";
        assert!(report(&task, block).contains(block));
    }
}
