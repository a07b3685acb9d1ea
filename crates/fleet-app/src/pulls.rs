//! Pull requests: through `gh` where it is installed, else by the calls of the forge.

mod gh;

use fleet_core::remote::{self, Remote};
use fleet_core::{Error, Result};
use fleet_host::exec;
use fleet_net::forge::{Brand, Forge, NewPull, Pull};
use fleet_net::http::{Client, Secret};

use self::gh::Gh;
use crate::caller::Caller;

/// Who opens and comments pull requests.
pub(crate) trait Pulls {
    /// The open one of `branch`.
    fn find(&self, branch: &str) -> Result<Option<Pull>>;
    /// Opens one.
    fn open(&self, new: &NewPull<'_>) -> Result<Pull>;
    /// The texts of its comments.
    fn comments(&self, number: u64) -> Result<Vec<String>>;
    /// Adds a comment.
    fn comment(&self, number: u64, text: &str) -> Result<()>;
    /// Its name for people.
    fn name(&self) -> &'static str;
}

impl Pulls for (Brand, Forge) {
    fn find(&self, branch: &str) -> Result<Option<Pull>> {
        self.1.find(branch)
    }

    fn open(&self, new: &NewPull<'_>) -> Result<Pull> {
        self.1.open(new)
    }

    fn comments(&self, number: u64) -> Result<Vec<String>> {
        self.1.comments(number)
    }

    fn comment(&self, number: u64, text: &str) -> Result<()> {
        self.1.comment(number, text)
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }
}

/// Whoever can open pull requests in the repository at `address`.
///
/// # Errors
/// `Usage` when the address leads to no forge, or nobody knows to which; `Refused` when there is no token.
pub(crate) fn of(caller: &Caller, address: &str, forge: Option<&str>) -> Result<Box<dyn Pulls>> {
    let remote = remote::parse(address).ok_or_else(|| {
        Error::usage("the remote is on no forge, so there is nowhere to open a pull request")
            .hint("see where it leads: `git remote --verbose`; `fleet merge` lands without a forge")
    })?;
    let brand = brand(caller, &remote, forge)?;
    let path = caller.var("PATH").unwrap_or_default();
    if brand == Brand::GitHub
        && let Some(program) = exec::find_program("gh", path)
    {
        return Ok(Box::new(Gh::new(caller, &program, &remote)));
    }
    let token = token(caller, brand, &remote)?;
    let client = Client::new(proxy(caller, &remote).as_deref())?;
    Ok(Box::new((brand, Forge::new(brand, &remote, token, client)?)))
}

/// The forge that the user names, that runs the well-known server, or that the user's own settings of its program name.
fn brand(caller: &Caller, remote: &Remote, named: Option<&str>) -> Result<Brand> {
    if let Some(named) = named {
        let found = Brand::NAMES.iter().find(|(name, _)| *name == named);
        return found.map(|(_, brand)| *brand).ok_or_else(|| {
            Error::usage(format!("there is no forge `{named}`")).hint("known are `github`, `gitea` and `gitlab`")
        });
    }
    let is_host = |name: &str| {
        caller
            .var(name)
            .is_some_and(|host| host.eq_ignore_ascii_case(&remote.host))
    };
    let by_settings = match () {
        () if is_host("GH_HOST") => Some(Brand::GitHub),
        () if is_host("GITLAB_HOST") => Some(Brand::GitLab),
        () => None,
    };
    Brand::of_host(&remote.host).or(by_settings).ok_or_else(|| {
        Error::usage(format!("nobody knows which forge {} is", remote.host))
            .hint("say it: `--forge github`, `gitea` or `gitlab`")
    })
}

fn token(caller: &Caller, brand: Brand, remote: &Remote) -> Result<Secret> {
    let names: &[&str] = match brand {
        Brand::GitHub if remote.host == "github.com" => &["GH_TOKEN", "GITHUB_TOKEN"],
        Brand::GitHub => &[
            "GH_ENTERPRISE_TOKEN",
            "GITHUB_ENTERPRISE_TOKEN",
            "GH_TOKEN",
            "GITHUB_TOKEN",
        ],
        Brand::Gitea => &["GITEA_TOKEN"],
        Brand::GitLab => &["GITLAB_TOKEN"],
    };
    let found = names
        .iter()
        .filter_map(|name| caller.var(name))
        .find(|value| !value.trim().is_empty());
    match found {
        Some(token) => Ok(Secret::new(token.trim())),
        None => {
            let gh = if brand == Brand::GitHub {
                "install `gh`, or "
            } else {
                ""
            };
            Err(Error::refused(format!("there is no token for {}", remote.host))
                .hint(format!("{gh}make one there and pass it on: `export {}=…`", names[0])))
        }
    }
}

/// The proxy that the caller's environment names for this server.
fn proxy(caller: &Caller, remote: &Remote) -> Option<String> {
    let var = |names: &[&str]| {
        let found = names.iter().find_map(|name| caller.var(name));
        found.filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let is_own = remote.host == "localhost" || remote.host.starts_with("127.");
    let without = var(&["NO_PROXY", "no_proxy"]).unwrap_or_default();
    let is_named = |name: &str| {
        let name = name.trim().trim_start_matches('.');
        name == "*" || (!name.is_empty() && (remote.host == name || remote.host.ends_with(&format!(".{name}"))))
    };
    if is_own || without.split(',').any(is_named) {
        return None;
    }
    var(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
}
