//! Each program with settings as users have them.

use super::*;

const BASE: &str = "http://127.0.0.1:9/a/t";

/// What is around a program: its variables, files below `/home`, and arguments.
struct Around<'a> {
    env: &'a [(&'a str, &'a str)],
    files: &'a [(&'a str, &'a str)],
    command: &'a [&'a str],
}

const NOTHING: Around<'_> = Around {
    env: &[],
    files: &[],
    command: &[],
};

fn redirected(name: &str, around: &Around<'_>) -> Result<Redirect, Why> {
    within(around, |surroundings| redirect(name, surroundings, BASE))
}

fn within<T>(around: &Around<'_>, look: impl FnOnce(&Surroundings<'_>) -> T) -> T {
    let command: Vec<String> = around.command.iter().map(|arg| (*arg).to_owned()).collect();
    let text = |path: &Path| {
        around
            .files
            .iter()
            .find(|(each, _)| path == Path::new("/home").join(each))
    };
    let var = |name: &str| {
        around
            .env
            .iter()
            .find(|(each, _)| *each == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let surroundings = Surroundings {
        executable: Path::new("/bin/fleet"),
        cwd: Path::new("/home/project"),
        home: Path::new("/home"),
        folder: Path::new("/agent"),
        command: &command,
        var: &var,
        read: &|path| text(path).map(|(_, text)| (*text).to_owned()),
        exists: &|path| text(path).is_some() || path == Path::new("/home/project/.git"),
        only_root_writes: &|_| false,
    };
    look(&surroundings)
}

fn routes(redirect: &Redirect) -> Vec<(&str, &str)> {
    let routes = redirect.routes.iter();
    routes.map(|(name, url)| (name.as_str(), url.as_str())).collect()
}

#[test]
fn claude_is_told_by_its_variable_and_its_requests_go_where_they_went() {
    let redirect = redirected("claude", &NOTHING).expect("it can");
    assert_eq!(routes(&redirect), [("anthropic", "https://api.anthropic.com")]);
    let wanted = ("ANTHROPIC_BASE_URL".to_owned(), format!("{BASE}/anthropic"));
    assert_eq!(redirect.env, [wanted]);
    let own = Around {
        env: &[("ANTHROPIC_BASE_URL", "http://gateway:8/x")],
        ..NOTHING
    };
    let redirect = redirected("claude", &own).expect("it can");
    assert_eq!(routes(&redirect), [("anthropic", "http://gateway:8/x")]);
}

#[test]
fn codex_is_told_by_an_argument_for_the_provider_that_it_has() {
    let config =
        "model_provider = \"own\"\n[model_providers.own]\nbase_url = \"http://h:1/v1\"\nwire_api = \"responses\"\n";
    let own = Around {
        files: &[(".codex/config.toml", config)],
        ..NOTHING
    };
    let redirect = redirected("codex", &own).expect("it can");
    assert_eq!(routes(&redirect), [("own", "http://h:1/v1")]);
    let argument = format!("model_providers.own.base_url=\"{BASE}/own\"");
    assert_eq!(redirect.args, ["-c", argument.as_str()]);

    let key = Around {
        files: &[(".codex/auth.json", r#"{"OPENAI_API_KEY": "k"}"#)],
        ..NOTHING
    };
    let redirect = redirected("codex", &key).expect("it can");
    assert_eq!(routes(&redirect), [("openai", "https://api.openai.com/v1")]);
    assert_eq!(redirect.args[1], format!("openai_base_url=\"{BASE}/openai\""));
}

#[test]
fn gemini_is_told_by_its_variable_where_it_uses_a_key() {
    let own = Around {
        files: &[(
            ".gemini/settings.json",
            r#"{"security": {"auth": {"selectedType": "gemini-api-key"}}}"#,
        )],
        ..NOTHING
    };
    let redirect = redirected("gemini", &own).expect("it can");
    assert_eq!(
        routes(&redirect),
        [("google", "https://generativelanguage.googleapis.com")]
    );
    assert_eq!(redirect.env[0].1, format!("{BASE}/google"));
}

#[test]
fn opencode_keeps_its_layer_and_every_provider_is_pointed_at_the_meter() {
    let own = Around {
        env: &[("OPENCODE_CONFIG_CONTENT", r#"{"plugin": ["x.js"]}"#)],
        files: &[(
            ".config/opencode/opencode.json",
            r#"{"model": "own/m", "provider": {"own": {"options": {"baseURL": "http://h:1/v1", "apiKey": "k"}}}}"#,
        )],
        ..NOTHING
    };
    let redirect = redirected("opencode", &own).expect("it can");
    assert_eq!(redirect.routes["own"], "http://h:1/v1");
    assert_eq!(redirect.routes["anthropic"], "https://api.anthropic.com/v1");
    let layer: Value = serde_json::from_str(&redirect.env[0].1).expect("JSON");
    assert_eq!(layer["plugin"], json!(["x.js"]));
    assert_eq!(
        layer["provider"]["own"],
        json!({"options": {"baseURL": format!("{BASE}/own")}})
    );
}

#[test]
fn pi_is_told_of_every_provider_by_an_extension() {
    let own = Around {
        files: &[
            (
                ".pi/agent/models.json",
                r#"{"providers": {"own": {"baseUrl": "http://h:1/v1", "models": [{"id": "m"}]}}}"#,
            ),
            (".pi/agent/settings.json", r#"{"defaultProvider": "own"}"#),
        ],
        ..NOTHING
    };
    let redirect = redirected("pi", &own).expect("it can");
    assert_eq!(redirect.routes["own"], "http://h:1/v1");
    assert_eq!(redirect.args, ["--extension", "/agent/fleet-pi-meter.ts"]);
    let call = format!("pi.registerProvider(\"own\", {{\"baseUrl\":\"{BASE}/own\"}});");
    assert!(redirect.files[0].1.contains(&call), "{}", redirect.files[0].1);
}

#[test]
fn what_is_not_certain_is_not_pointed_elsewhere_and_says_why() {
    let table: &[(&str, Around<'_>, &str)] = &[
        (
            "claude",
            Around {
                env: &[("CLAUDE_CODE_USE_BEDROCK", "1")],
                ..NOTHING
            },
            "CLAUDE_CODE_USE_BEDROCK",
        ),
        (
            "claude",
            Around {
                files: &[(
                    ".claude/settings.json",
                    r#"{"env": {"ANTHROPIC_BASE_URL": "http://x"}}"#,
                )],
                ..NOTHING
            },
            "/home/.claude/settings.json sets",
        ),
        (
            "claude",
            Around {
                env: &[("https_proxy", "http://p:3128")],
                ..NOTHING
            },
            "HTTPS_PROXY",
        ),
        (
            "claude",
            Around {
                env: &[("ANTHROPIC_BASE_URL", "ftp://x")],
                ..NOTHING
            },
            "`ftp://x` is no address",
        ),
        ("codex", NOTHING, "no API key"),
        (
            "codex",
            Around {
                command: &["codex", "--profile", "x"],
                ..NOTHING
            },
            "`--profile` chooses",
        ),
        (
            "codex",
            Around {
                files: &[(".codex/config.toml", "model_provider = \"ollama\"")],
                ..NOTHING
            },
            "provider `ollama`",
        ),
        ("gemini", NOTHING, "API key"),
        (
            "opencode",
            Around {
                files: &[(".local/share/opencode/auth.json", r#"{"github-copilot": {}}"#)],
                ..NOTHING
            },
            "provider `github-copilot`",
        ),
        (
            "opencode",
            Around {
                files: &[(".config/opencode/opencode.jsonc", "{ // mine\n}")],
                ..NOTHING
            },
            "no plain JSON",
        ),
        (
            "pi",
            Around {
                files: &[(".pi/agent/settings.json", r#"{"defaultProvider": "groq"}"#)],
                ..NOTHING
            },
            "provider `groq`",
        ),
        ("scripted", NOTHING, "does not know"),
    ];
    for (name, around, wanted) in table {
        let why = redirected(name, around).expect_err("it cannot");
        assert!(why.contains(wanted), "{name}: {why}");
    }
}

#[test]
fn only_a_program_with_a_key_of_the_service_that_it_asks_goes_by_the_meter_unasked() {
    let opencode =
        r#"{"model": "own/m", "provider": {"own": {"options": {"baseURL": "http://h:1/v1", "apiKey": "k"}}}}"#;
    let codex =
        "model_provider = \"own\"\n[model_providers.own]\nbase_url = \"http://h:1/v1\"\nenv_key = \"OWN_KEY\"\n";
    let pi = (".pi/agent/settings.json", r#"{"defaultProvider": "anthropic"}"#);
    let key = ("ANTHROPIC_API_KEY", "k");
    type Row<'a> = (
        &'a str,
        &'a [(&'a str, &'a str)],
        &'a [(&'a str, &'a str)],
        &'a [&'a str],
        Option<&'a str>,
    );
    let table: &[Row<'_>] = &[
        ("claude", &[key], &[], &[], None),
        ("claude", &[("ANTHROPIC_AUTH_TOKEN", "t")], &[], &[], None),
        (
            "claude",
            &[],
            &[(".claude/settings.json", r#"{"apiKeyHelper": "pass show key"}"#)],
            &[],
            None,
        ),
        ("claude", &[], &[], &[], Some("no API key")),
        (
            "claude",
            &[("CLAUDE_CODE_OAUTH_TOKEN", "t")],
            &[],
            &[],
            Some("no API key"),
        ),
        (
            "claude",
            &[key, ("NODE_EXTRA_CA_CERTS", "/ca.pem")],
            &[],
            &[],
            Some("NODE_EXTRA_CA_CERTS"),
        ),
        (
            "codex",
            &[("OWN_KEY", "k")],
            &[(".codex/config.toml", codex)],
            &[],
            None,
        ),
        ("codex", &[], &[(".codex/config.toml", codex)], &[], Some("no API key")),
        (
            "codex",
            &[],
            &[(".codex/auth.json", r#"{"auth_mode": "apikey", "OPENAI_API_KEY": "k"}"#)],
            &[],
            None,
        ),
        (
            "codex",
            &[],
            &[(".codex/auth.json", r#"{"auth_mode": "chatgpt", "OPENAI_API_KEY": "k"}"#)],
            &[],
            Some("by an account"),
        ),
        ("gemini", &[], &[], &[], None),
        (
            "opencode",
            &[],
            &[(".config/opencode/opencode.json", opencode)],
            &[],
            None,
        ),
        ("opencode", &[key], &[], &["opencode", "--model", "anthropic/m"], None),
        (
            "opencode",
            &[key],
            &[],
            &["opencode", "--model", "openai/m"],
            Some("no API key"),
        ),
        ("opencode", &[key], &[], &[], Some("name a model")),
        (
            "opencode",
            &[key],
            &[(".local/share/opencode/auth.json", r#"{"anthropic": {"type": "oauth"}}"#)],
            &["opencode", "--model=anthropic/m"],
            Some("signs in to `anthropic` by an account"),
        ),
        (
            "opencode",
            &[],
            &[(
                ".local/share/opencode/auth.json",
                r#"{"openai": {"type": "api", "key": "k"}}"#,
            )],
            &["opencode", "-m", "openai/m"],
            None,
        ),
        ("pi", &[key], &[pi], &[], None),
        ("pi", &[], &[pi], &[], Some("no API key")),
        ("pi", &[key], &[], &[], Some("name a model")),
        ("pi", &[key], &[pi], &["pi", "--provider", "openai"], Some("no API key")),
    ];
    for (name, env, files, command, wanted) in table {
        let around = Around { env, files, command };
        let why = within(&around, |surroundings| why_not_by_itself(name, surroundings));
        match (&why, wanted) {
            (None, None) => {}
            (Some(why), Some(wanted)) => assert!(why.contains(wanted), "{name}: {why}"),
            _ => panic!("{name} {env:?} {files:?} {command:?}: {why:?}"),
        }
    }
}
