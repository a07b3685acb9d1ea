//! Where a remote repository lives, read from its address.

/// A repository on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `https` or `http` as the address says; `https` where it is of another kind.
    pub scheme: &'static str,
    /// The server's name, in lower case.
    pub host: String,
    /// The port, where the address is one of the web and names it.
    pub port: Option<u16>,
    /// The path of the repository without slashes at its ends and without `.git`, such as `owner/name`.
    pub path: String,
}

/// Reads an address as git takes it: `https://host/owner/name.git`, `ssh://git@host:22/owner/name` or
/// `git@host:owner/name`. None for a folder of this machine, and for what is no address. Names and passwords in it are
/// left out.
pub fn parse(address: &str) -> Option<Remote> {
    let (scheme, rest) = match address.split_once("://") {
        Some(("http", rest)) => ("http", rest),
        Some(("https", rest)) => ("https", rest),
        Some(("ssh" | "git" | "git+ssh" | "ssh+git", rest)) => ("ssh", rest),
        Some(_) => return None,
        // `host:path`, which git tells from a folder by a colon before the first slash.
        None => {
            let (host, path) = address.split_once(':')?;
            let is_host = !host.is_empty() && !host.contains('/');
            return if is_host {
                remote("https", host, None, path)
            } else {
                None
            };
        }
    };
    let (authority, path) = rest.split_once('/')?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (host, None),
    };
    match scheme {
        "http" => remote("http", host, port, path),
        "https" => remote("https", host, port, path),
        // The port of ssh says nothing of the web.
        _ => remote("https", host, None, path),
    }
}

fn remote(scheme: &'static str, host: &str, port: Option<u16>, path: &str) -> Option<Remote> {
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let good_host = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
    let good_part = |part: &str| {
        let plain = part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~+".contains(c));
        plain && !part.is_empty() && part != "." && part != ".."
    };
    let good_path = path.contains('/') && path.split('/').all(good_part);
    (good_host && good_path).then(|| Remote {
        scheme,
        host: host.to_ascii_lowercase(),
        port,
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str) -> Option<(&'static str, String, Option<u16>, String)> {
        parse(address).map(|remote| (remote.scheme, remote.host, remote.port, remote.path))
    }

    #[test]
    fn addresses_of_every_kind_are_read_without_their_secrets() {
        for (address, scheme, host, port, path) in [
            ("https://github.com/o/r.git", "https", "github.com", None, "o/r"),
            ("https://me:secret@GitHub.com/o/r/", "https", "github.com", None, "o/r"),
            ("http://127.0.0.1:3000/o/r", "http", "127.0.0.1", Some(3000), "o/r"),
            (
                "git@gitlab.com:group/sub/r.git",
                "https",
                "gitlab.com",
                None,
                "group/sub/r",
            ),
            (
                "ssh://git@host.example:2222/o/r.git",
                "https",
                "host.example",
                None,
                "o/r",
            ),
            ("host:o/r", "https", "host", None, "o/r"),
        ] {
            let wanted = (scheme, host.to_owned(), port, path.to_owned());
            assert_eq!(read(address), Some(wanted), "{address}");
        }
    }

    #[test]
    fn a_folder_and_what_is_no_address_are_no_remote() {
        for address in [
            "/srv/git/r.git",
            "../r",
            "file:///srv/r",
            "https://host",
            "https://host/r",
            "",
            ":o/r",
            "host:o/../r",
            "https://host:port/o/r",
            "host:o/r?x=1",
            "https://ho st/o/r",
            "./a:b/c",
        ] {
            assert_eq!(read(address), None, "{address}");
        }
    }
}
