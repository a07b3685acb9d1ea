//! Pull requests on forges: found, opened and commented, by each forge's own calls.
//!
//! The three differ in addresses and names of fields only, so they are data: one table of where things are.

use fleet_core::remote::Remote;
use fleet_core::{Error, Kind, Result};
use serde_json::{Value, json};

use crate::http::{Answer, Client, Secret};

/// Which forge it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brand {
    /// GitHub, and GitHub Enterprise.
    GitHub,
    /// Gitea and Forgejo.
    Gitea,
    /// GitLab.
    GitLab,
}

/// A repository on a forge.
#[derive(Clone, Debug)]
pub struct Forge {
    brand: Brand,
    /// Where its calls begin.
    api: String,
    /// The repository, such as `owner/name`.
    path: String,
    token: Secret,
    client: Client,
}

/// A pull request, on GitLab a merge request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Its number.
    pub number: u64,
    /// Its page.
    pub url: String,
}

/// A pull request to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewPull<'a> {
    /// The branch with the change.
    pub branch: &'a str,
    /// The branch that it is for.
    pub base: &'a str,
    /// Its title.
    pub title: &'a str,
    /// Its text.
    pub body: &'a str,
    /// Whether it is not to be merged yet.
    pub draft: bool,
}

impl Brand {
    /// Their names, as a user gives them.
    pub const NAMES: [(&'static str, Brand); 3] = [
        ("github", Brand::GitHub),
        ("gitea", Brand::Gitea),
        ("gitlab", Brand::GitLab),
    ];

    /// The forge of a well-known server. A token must not go to a server for its name's sake, so others are not guessed.
    pub fn of_host(host: &str) -> Option<Brand> {
        match host {
            "github.com" => Some(Brand::GitHub),
            "gitlab.com" => Some(Brand::GitLab),
            "codeberg.org" | "gitea.com" => Some(Brand::Gitea),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(_, brand)| *brand == self)
            .map_or("", |(name, _)| name)
    }
}

impl Forge {
    /// The repository `remote` on a forge of this brand.
    ///
    /// # Errors
    /// `Refused` when the token would travel in the clear.
    pub fn new(brand: Brand, remote: &Remote, token: Secret, client: Client) -> Result<Forge> {
        let is_own = remote.host == "localhost" || remote.host.starts_with("127.");
        if remote.scheme == "http" && !is_own {
            return Err(Error::refused(format!(
                "{} is spoken to without encryption, and a token is not sent so",
                remote.host
            ))
            .hint("use the https address of the remote: `git remote set-url origin https://…`"));
        }
        let port = remote.port.map_or(String::new(), |port| format!(":{port}"));
        let server = format!("{}://{}{port}", remote.scheme, remote.host);
        let api = match brand {
            Brand::GitHub if remote.host == "github.com" => "https://api.github.com".to_owned(),
            Brand::GitHub => format!("{server}/api/v3"),
            Brand::Gitea => format!("{server}/api/v1"),
            Brand::GitLab => format!("{server}/api/v4"),
        };
        Ok(Forge {
            brand,
            api,
            path: remote.path.clone(),
            token,
            client,
        })
    }

    /// The open pull request of `branch`, if there is one.
    pub fn find(&self, branch: &str) -> Result<Option<Pull>> {
        let name = encode(branch);
        let owner = self.path.split('/').next().unwrap_or_default();
        let query = match self.brand {
            Brand::GitHub => format!("state=open&head={}:{name}", encode(owner)),
            Brand::Gitea => "state=open".to_owned(),
            Brand::GitLab => format!("state=opened&source_branch={name}"),
        };
        let found = self.pages("pr.find", &self.pulls(), &query)?;
        let own = found.iter().find(|pull| match self.brand {
            Brand::GitHub | Brand::Gitea => {
                pull["head"]["ref"] == branch && is_name(&pull["head"]["repo"]["full_name"], &self.path)
            }
            Brand::GitLab => pull["source_branch"] == branch && pull["source_project_id"] == pull["target_project_id"],
        });
        own.map(|pull| self.read(pull)).transpose()
    }

    /// Opens one.
    ///
    /// # Errors
    /// `Conflict` when there is one already; `Failed` when the forge refuses it, with its words.
    pub fn open(&self, new: &NewPull<'_>) -> Result<Pull> {
        let NewPull {
            branch,
            base,
            title,
            body,
            draft,
        } = *new;
        let body = match self.brand {
            Brand::GitHub => json!({ "title": title, "head": branch, "base": base, "body": body, "draft": draft }),
            Brand::Gitea => {
                let mark = if draft { "WIP: " } else { "" };
                json!({ "title": format!("{mark}{title}"), "head": branch, "base": base, "body": body })
            }
            Brand::GitLab => {
                let mark = if draft { "Draft: " } else { "" };
                json!({
                    "title": format!("{mark}{title}"),
                    "source_branch": branch,
                    "target_branch": base,
                    "description": body,
                })
            }
        };
        let answer = self.post("pr.open", &self.pulls(), &body)?;
        self.read(&answer)
    }

    /// The texts of its comments.
    pub fn comments(&self, number: u64) -> Result<Vec<String>> {
        let found = self.pages("pr.comments", &self.notes(number), "")?;
        let texts = found.iter().filter_map(|comment| comment["body"].as_str());
        Ok(texts.map(str::to_owned).collect())
    }

    /// Adds a comment.
    pub fn comment(&self, number: u64, text: &str) -> Result<()> {
        self.post("pr.comment", &self.notes(number), &json!({ "body": text }))?;
        Ok(())
    }

    fn pulls(&self) -> String {
        match self.brand {
            Brand::GitHub | Brand::Gitea => format!("{}/repos/{}/pulls", self.api, self.path),
            Brand::GitLab => format!("{}/projects/{}/merge_requests", self.api, encode(&self.path)),
        }
    }

    fn notes(&self, number: u64) -> String {
        match self.brand {
            Brand::GitHub | Brand::Gitea => format!("{}/repos/{}/issues/{number}/comments", self.api, self.path),
            Brand::GitLab => format!("{}/{number}/notes", self.pulls()),
        }
    }

    fn read(&self, pull: &Value) -> Result<Pull> {
        let (number, url) = match self.brand {
            Brand::GitHub | Brand::Gitea => (&pull["number"], &pull["html_url"]),
            Brand::GitLab => (&pull["iid"], &pull["web_url"]),
        };
        match (number.as_u64(), url.as_str()) {
            (Some(number), Some(url)) => Ok(Pull {
                number,
                url: url.to_owned(),
            }),
            _ => Err(Error::failed("the forge answered with no pull request")
                .hint("say which forge it is: `--forge github`, `gitea` or `gitlab`")),
        }
    }

    /// All of a list, page by page.
    fn pages(&self, site: &'static str, url: &str, query: &str) -> Result<Vec<Value>> {
        const PAGES: usize = 20;
        const EACH: usize = 50;
        let mut all = Vec::new();
        for page in 1..=PAGES {
            // Gitea calls the size of a page by another name; a forge ignores the one it does not know.
            let gap = if query.is_empty() { "" } else { "&" };
            let url = format!("{url}?{query}{gap}per_page={EACH}&limit={EACH}&page={page}");
            let answer = self.with_headers(|headers| self.client.get(site, &url, headers))?;
            let answer = self.accept(answer)?;
            let Value::Array(list) = answer else {
                return Err(Error::failed("the forge answered with no list")
                    .hint("say which forge it is: `--forge github`, `gitea` or `gitlab`"));
            };
            let is_last = list.len() < EACH;
            all.extend(list);
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    fn post(&self, site: &'static str, url: &str, body: &Value) -> Result<Value> {
        let answer = self.with_headers(|headers| self.client.post(site, url, headers, body))?;
        self.accept(answer)
    }

    fn with_headers<T>(&self, call: impl FnOnce(&[(&str, &str)]) -> Result<T>) -> Result<T> {
        let token = self.token.reveal();
        match self.brand {
            Brand::GitHub => call(&[
                ("authorization", &format!("Bearer {token}")),
                ("x-github-api-version", "2022-11-28"),
            ]),
            Brand::Gitea => call(&[("authorization", &format!("token {token}"))]),
            Brand::GitLab => call(&[("private-token", token)]),
        }
    }

    /// The body of a good answer; what a bad one means otherwise.
    fn accept(&self, answer: Answer) -> Result<Value> {
        if (200..300).contains(&answer.status) {
            return Ok(answer.body);
        }
        let words = self.words(&answer.body);
        let exists = words.contains("already exists");
        let (kind, message, hint) = match answer.status {
            401 => (
                Kind::Refused,
                "the forge does not accept the token",
                Some("make a new one, and set its variable"),
            ),
            403 => (
                Kind::Refused,
                "the token may not do this, or asked too often",
                Some("give it the right to write pull requests"),
            ),
            404 => (
                Kind::NotFound,
                "the forge knows no such repository, or the token may not see it",
                Some("look at the address: `git remote --verbose`"),
            ),
            409 | 422 if exists => (Kind::Conflict, "there is a pull request already", None),
            500.. => (
                Kind::Unavailable,
                "the forge has a failure of its own",
                Some("try again later"),
            ),
            _ => (Kind::Failed, "the forge refuses it", None),
        };
        let error = Error::new(kind, format!("{}: {message} (status {})", self.path, answer.status)).detail(words);
        Err(match hint {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }

    /// What the forge says about a failure, without the token if that is in it.
    fn words(&self, body: &Value) -> String {
        const LONGEST: usize = 500;
        let message = match &body["message"] {
            Value::String(text) => text.clone(),
            Value::Null => body["error"].as_str().unwrap_or_default().to_owned(),
            other => other.to_string(),
        };
        let more = body["errors"].as_array().map(|errors| {
            let texts = errors.iter().filter_map(|error| error["message"].as_str());
            texts.collect::<Vec<_>>().join("\n")
        });
        let text = format!("{message}\n{}", more.unwrap_or_default());
        let text = text.replace(self.token.reveal(), "…");
        text.trim().chars().take(LONGEST).collect()
    }
}

/// A name of a repository, whose letters may be large or small. A forge that does not tell it is believed.
fn is_name(value: &Value, name: &str) -> bool {
    value.as_str().is_none_or(|each| each.eq_ignore_ascii_case(name))
}

/// `text` as a part of an address.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forge(address: &str, brand: Brand) -> Result<Forge> {
        let remote = fleet_core::remote::parse(address).expect("an address");
        Forge::new(brand, &remote, Secret::new("s3cret"), Client::new(None)?)
    }

    #[test]
    fn the_calls_of_each_forge_begin_where_they_should() {
        for (address, brand, pulls) in [
            (
                "git@github.com:o/r.git",
                Brand::GitHub,
                "https://api.github.com/repos/o/r/pulls",
            ),
            (
                "https://git.corp/o/r",
                Brand::GitHub,
                "https://git.corp/api/v3/repos/o/r/pulls",
            ),
            (
                "http://127.0.0.1:3000/o/r",
                Brand::Gitea,
                "http://127.0.0.1:3000/api/v1/repos/o/r/pulls",
            ),
            (
                "https://gitlab.com/group/sub/r.git",
                Brand::GitLab,
                "https://gitlab.com/api/v4/projects/group%2Fsub%2Fr/merge_requests",
            ),
        ] {
            assert_eq!(forge(address, brand).expect("a forge").pulls(), pulls);
        }
    }

    #[test]
    fn a_token_does_not_travel_in_the_clear_and_shows_nowhere() {
        let refused = forge("http://git.corp/o/r", Brand::Gitea).expect_err("in the clear");
        assert_eq!(refused.kind, Kind::Refused);
        let forge = forge("https://git.corp/o/r", Brand::Gitea).expect("a forge");
        assert!(!format!("{forge:?}").contains("s3cret"));
        let echoed = Answer {
            status: 401,
            body: json!({ "message": "bad token s3cret" }),
        };
        let error = forge.accept(echoed).expect_err("refused");
        assert!(!format!("{error:?}").contains("s3cret"));
    }

    #[test]
    fn no_server_gets_a_token_for_its_name() {
        assert_eq!(Brand::of_host("github.com"), Some(Brand::GitHub));
        for host in ["github.com.evil.example", "mygithub.com", "gitlab.corp", "localhost"] {
            assert_eq!(Brand::of_host(host), None, "{host}");
        }
    }
}
