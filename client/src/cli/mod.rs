//! The command line as people type it. Meaning is given to it in [`crate::commands`].

pub mod position;
mod verbs;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::builder::{FalseyValueParser, Resettable};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser};
use jam_proto::ids::check_user_name;
pub use verbs::{AddArgs, CalibrateArgs, ClusterVerb, JoinArgs, MoveArgs, Verb};

use jam_world::{Detours, World};
use tokio::time::timeout;

use crate::audio::Trims;
use crate::connection::{Address, Addresses, Bearer, Cluster, Dialer};
use crate::error::Failure;
use crate::output::Output;

/// Listen to the same music at the same instant, on servers you own.
#[derive(Parser, Debug)]
#[command(
    name = "jam",
    version,
    max_term_width = 100,
    propagate_version = true,
    after_help = "Examples:\n  export JAM_SERVERS=127.0.0.1:7701,127.0.0.1:7702,127.0.0.1:7703\n  jam create \"Friday night\"\n  jam add ABCD-EFGH-JKMN song.flac album/\n  jam play ABCD-EFGH-JKMN\n  jam join ABCD-EFGH-JKMN\n\nExit codes: 0 done; 1 refused or failed, it will never be applied; 2 wrong usage;\n3 outcome unknown at the deadline: run the same command again, it is applied at most once;\n  if it says that its session was closed, look at `jam queue` first;\n4 done, but the result could not be written to standard output."
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub options: Options,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every command takes.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// The nodes, as HOST:PORT,…; any of them will do, more are safer
    #[arg(long, global = true, env = "JAM_SERVERS", value_name = "HOST:PORT,…")]
    pub servers: Vec<Addresses>,
    /// Your name, as others see it [default: your login name]
    #[arg(long, global = true, env = "JAM_USER", value_name = "NAME")]
    pub user: Option<String>,
    /// The cluster's token, if its operator set one; others on this machine see it in the list of processes
    #[arg(long, global = true, env = "JAM_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// A file that holds the cluster's token, in place of --token
    #[arg(long, global = true, env = "JAM_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Addresses and where to connect instead, for nodes behind tunnels or forwarded ports
    #[arg(
        long,
        global = true,
        env = "JAM_CONNECT_TO",
        default_value = "",
        hide_default_value = true,
        value_name = "HOST:PORT=HOST:PORT,…"
    )]
    pub connect_to: Detours,
    /// One JSON object per line on standard output instead of text
    #[arg(long, global = true, env = "JAM_JSON", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// How long a command retries by itself, in seconds
    #[arg(long, global = true, env = "JAM_DEADLINE", default_value = "10", value_parser = seconds, value_name = "SECONDS")]
    pub deadline: Duration,
    /// Where sessions are kept [default: $XDG_STATE_HOME/jam or ~/.local/state/jam]
    #[arg(long, global = true, env = "JAM_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where songs are cached [default: $XDG_CACHE_HOME/jam or ~/.cache/jam]
    #[arg(long, global = true, env = "JAM_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
}

/// So long nobody wonders what a command is waiting for.
const SILENT_FOR: Duration = Duration::from_millis(800);

impl Cli {
    /// Reads this process's command line and environment. A variable that is empty counts as one that is not set.
    ///
    /// # Errors
    /// Wrong usage, and also that help or the version was asked for.
    pub fn read() -> Result<Self, clap::Error> {
        let mut command = without_empty_variables(Self::command());
        let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }
}

/// Whether the environment asks for JSON, where the command line can't be read.
pub fn is_json_set() -> bool {
    let value = std::env::var("JAM_JSON").unwrap_or_default().to_lowercase();
    // As FalseyValueParser has it.
    !matches!(&*value, "" | "0" | "f" | "false" | "n" | "no" | "off")
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| {
            if arg.get_env().is_some_and(is_empty) { arg.env(Resettable::Reset) } else { arg }
        })
        .mut_subcommands(without_empty_variables)
}

impl Options {
    /// The name that edits are made under.
    pub fn user(&self) -> Result<String, Failure> {
        let login = || {
            ["USER", "LOGNAME"]
                .iter()
                .find_map(|name| std::env::var(name).ok())
                .filter(|name| !name.is_empty())
        };
        let user = self.user.clone().or_else(login).unwrap_or_else(|| "someone".to_owned());
        check_user_name(&user)?;
        Ok(user)
    }

    /// The servers, of which there must be one.
    pub fn servers(&self) -> Result<Vec<Address>, Failure> {
        let servers: Vec<Address> =
            self.servers.iter().flat_map(|list| list.0.iter().cloned()).collect();
        if servers.is_empty() {
            return Err(Failure::Usage(
                "say where the nodes are: --servers HOST:PORT,… or JAM_SERVERS".into(),
            ));
        }
        Ok(servers)
    }

    /// The token, from where it was given. What was typed goes before a file.
    fn bearer(&self) -> Result<Bearer, Failure> {
        let (Some(path), None) = (&self.token_file, &self.token) else {
            return Bearer::new(self.token.as_deref());
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::local(format!("can't read the token file {}", path.display()), error)
        })?;
        if text.trim().is_empty() {
            return Err(Failure::Usage(format!("the token file {} is empty", path.display())));
        }
        Bearer::new(Some(&text))
    }

    /// How to open connections.
    pub fn dialer(&self) -> Result<Dialer, Failure> {
        Ok(Dialer::new(World::real().by(self.connect_to.clone()), self.bearer()?))
    }

    /// Finds a node to talk to. Whoever waits for that is told what is tried.
    pub async fn find(&self) -> Result<Cluster, Failure> {
        let servers = self.servers()?;
        let tried: Vec<String> = servers.iter().map(Address::to_string).collect();
        let mut finding = pin!(Cluster::find(self.dialer()?, servers, self.deadline));
        if let Ok(found) = timeout(SILENT_FOR, &mut finding).await {
            return found;
        }
        let remark = format!(
            "no answer yet from {}; trying for {} s",
            tried.join(", "),
            self.deadline.as_secs_f64()
        );
        Output::new(self.json).remark(&remark);
        finding.await
    }

    /// The folder of this user's sessions.
    pub fn state_dir(&self) -> Result<PathBuf, Failure> {
        self.state_dir
            .clone()
            .map_or_else(|| home_folder("XDG_STATE_HOME", ".local/state", "--state-dir"), Ok)
    }

    /// What somebody found out about this machine's outputs. Where there is no folder for that, nothing was kept.
    pub fn trims(&self) -> Result<Trims, Failure> {
        let Ok(folder) = self.state_dir() else { return Ok(Trims::default()) };
        let path = Trims::path(&folder);
        Trims::load(&path).map_err(|error| {
            let what =
                format!("can't use {}; mend it or remove it, and calibrate anew", path.display());
            Failure::local(what, error)
        })
    }

    /// The folder of the song cache.
    pub fn cache_dir(&self) -> Result<PathBuf, Failure> {
        self.cache_dir
            .clone()
            .map_or_else(|| home_folder("XDG_CACHE_HOME", ".cache", "--cache-dir"), Ok)
    }
}

/// The XDG base directory specification: an absolute variable, or a place below the home folder.
fn home_folder(variable: &str, below_home: &str, flag: &str) -> Result<PathBuf, Failure> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable)
        .or_else(|| absolute("HOME").map(|home| home.join(below_home)))
        .map(|base| base.join("jam"))
        .ok_or_else(|| {
            Failure::Usage(format!("neither HOME nor {variable} is set; pass {flag} DIR"))
        })
}

/// Seconds, fractions allowed.
fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|secs| (0.0..=1e9).contains(secs))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "must be seconds, such as 10 or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_token_may_come_from_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let bearer = |token: Option<&str>| {
            let line = ["jam", "--servers", "127.0.0.1:1", "--token-file"].map(str::to_owned);
            let line = line.into_iter().chain([file.display().to_string()]);
            let mut options = Cli::parse_from(line.chain(["rooms".to_owned()])).options;
            options.token = token.map(str::to_owned);
            options.bearer().map(|bearer| bearer.header())
        };
        let said = |refused: Result<Option<String>, Failure>| match refused {
            Ok(_) => panic!("there is no token"),
            Err(failure) => failure.to_string(),
        };
        assert!(said(bearer(None)).contains("can't read the token file"));
        std::fs::write(&file, "\n").expect("a file");
        assert!(said(bearer(None)).contains("is empty"));
        std::fs::write(&file, "secret\n").expect("a file");
        assert_eq!(bearer(None).ok().flatten().as_deref(), Some("Bearer secret"));
        assert_eq!(bearer(Some("typed")).ok().flatten().as_deref(), Some("Bearer typed"));
    }

    #[test]
    fn every_command_has_an_example_and_every_flag_a_variable() {
        fn check(command: &clap::Command) {
            if command.get_name() == "help" {
                return;
            }
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "`{}` has no example", command.get_name());
            for flag in command.get_arguments().filter(|arg| arg.get_long().is_some()) {
                let name = flag.get_long().expect("filtered");
                if matches!(name, "help" | "version") {
                    continue;
                }
                let want = format!("JAM_{}", name.replace('-', "_").to_uppercase());
                let env = flag.get_env().and_then(|env| env.to_str());
                assert_eq!(env, Some(want.as_str()), "--{name} of `{}`", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn servers_are_lists() {
        let read = |lists: &[&str]| {
            let flags = lists.iter().flat_map(|list| ["--servers", list]);
            let cli = Cli::try_parse_from(["jam", "rooms"].into_iter().chain(flags))?;
            Ok::<_, clap::Error>(cli.options.servers().map_or(0, |servers| servers.len()))
        };
        assert_eq!(read(&["a:1,b:2"]).expect("valid"), 2);
        assert_eq!(read(&["a:1, b:2,", "c:3"]).expect("valid"), 3);
        assert_eq!(read(&[","]).expect("valid, but none"), 0);
        assert!(read(&["nonsense"]).is_err());
    }
}
