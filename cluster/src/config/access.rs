//! Flags that say who may come in, checked against each other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http::uri::{Scheme, Uri};

use super::ConfigError;
use crate::api::browsers::HostNames;
use crate::credential::PeerTokens;
use crate::server::STRANGERS_MAX;

/// Who may come in, as flags.
#[derive(Clone, Debug, clap::Args)]
pub struct AccessFlags {
    /// A file with the token that clients must present
    #[arg(long, env = "JAM_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A file with the tokens by which nodes know each other, one a line: the first is sent, all are accepted
    #[arg(long, env = "JAM_PEER_TOKEN_FILE", value_name = "FILE")]
    pub peer_token_file: Option<PathBuf>,
    /// Take nodes without a peer token too, until all nodes of the cluster have one
    #[arg(long, env = "JAM_PEER_TOKEN_OPTIONAL")]
    pub peer_token_optional: bool,
    /// A URL under which people reach this node, besides its addresses; may be given more than once
    #[arg(long, env = "JAM_PUBLIC_URL", value_name = "URL", value_delimiter = ',', value_parser = public_url)]
    pub public_url: Vec<Uri>,
    /// Connections at one time of one address, or one IPv6 /64, that have not shown a token yet [default: 64; no limit for this machine's own]
    #[arg(long, env = "JAM_STRANGERS_PER_ADDRESS", value_name = "N", value_parser = strangers)]
    pub strangers_per_address: Option<usize>,
}

/// Who may come in.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// What clients must present.
    pub token: Option<String>,
    /// What nodes must present. `None`: they come from this machine.
    pub peer_tokens: Option<PeerTokens>,
    /// Whether nodes without a peer token are taken too.
    pub peer_token_optional: bool,
    /// The names that browsers and the like may ask for.
    pub host_names: HostNames,
    /// Connections of one address that have shown nothing yet. `None`: the default.
    pub strangers_per_address: Option<usize>,
}

impl AccessFlags {
    /// Reads the files. `listen` is the flag; `doors` are the flags and what they mean.
    pub(super) fn check(
        &self,
        listen: &str,
        doors: impl IntoIterator<Item = (&'static str, SocketAddr)>,
        advertise: &str,
    ) -> Result<Access, ConfigError> {
        let usage = |message: String| Err(ConfigError::Usage(message));
        for (flag, at) in doors {
            self.check_door(flag, at)?;
        }
        if self.peer_token_optional && self.peer_token_file.is_none() {
            return usage("--peer-token-optional is of use only with --peer-token-file".to_owned());
        }
        let token = self.token_file.as_deref().map(token).transpose()?;
        let peer_tokens = self.peer_token_file.as_deref().map(peer_tokens).transpose()?;
        if let (Some(token), Some(peers)) = (&token, &peer_tokens)
            && peers.all().contains(token)
        {
            return usage(
                "a token in --peer-token-file is the one in --token-file: whoever may listen would pass for a node; give \
                 the nodes another one"
                    .to_owned(),
            );
        }
        let public = self.public_url.iter().filter_map(|url| url.authority());
        let public = public.map(|authority| authority.as_str());
        Ok(Access {
            token,
            peer_tokens,
            peer_token_optional: self.peer_token_optional,
            host_names: HostNames::of([listen, advertise].into_iter().chain(public)),
            strangers_per_address: self.strangers_per_address,
        })
    }

    fn check_door(&self, flag: &str, at: SocketAddr) -> Result<(), ConfigError> {
        let usage = |message: String| Err(ConfigError::Usage(message));
        if !at.ip().is_loopback() && self.token_file.is_none() {
            return usage(format!(
                "{flag} {at} is reachable from other machines; give a --token-file, or listen on 127.0.0.1"
            ));
        }
        if !at.ip().is_loopback() && self.peer_token_file.is_none() {
            return usage(format!(
                "{flag} {at} is reachable from other machines, and without a --peer-token-file each of them would pass for \
                 a node: make one with `openssl rand -hex 32`, give it to all nodes, or listen on 127.0.0.1"
            ));
        }
        Ok(())
    }
}

fn strangers(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=STRANGERS_MAX).contains(count));
    count.ok_or_else(|| format!("'{text}' must be a number from 1 to {STRANGERS_MAX}"))
}

fn read(what: &str, path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| {
        ConfigError::File(format!("can't read the {what} file {}: {error}", path.display()))
    })
}

fn token(path: &Path) -> Result<String, ConfigError> {
    let text = read("token", path)?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConfigError::File(format!(
            "the token file {} must hold one line of visible ASCII characters",
            path.display()
        )));
    }
    Ok(token.to_owned())
}

fn peer_tokens(path: &Path) -> Result<PeerTokens, ConfigError> {
    read("peer token", path)?.parse().map_err(|why| {
        ConfigError::File(format!("the peer token file {} can't be used: {why}", path.display()))
    })
}

fn public_url(text: &str) -> Result<Uri, String> {
    let url = text.parse::<Uri>().ok();
    let url = url.filter(|url| {
        let web = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)];
        web.contains(&url.scheme()) && url.host().is_some_and(|host| !host.is_empty())
    });
    url.ok_or_else(|| format!("'{text}' must look like http://jam.example.net:7701"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        access: AccessFlags,
    }

    const PEER_TOKEN: &str = "a-token-that-only-nodes-know";

    /// What comes of flags, which may name these files, on this address.
    fn checked(listen: &str, flags: &str) -> Result<Access, ConfigError> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            ("token", "open-sesame-open-sesame\n".to_owned()),
            ("peers", format!("# nodes\n{PEER_TOKEN}\n")),
            ("same", "open-sesame-open-sesame\n".to_owned()),
            ("short", "secret\n".to_owned()),
        ] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let flags = flags.replace('@', &format!("{}/", folder.path().display()));
        let flags = std::iter::once("jamd").chain(flags.split_whitespace());
        let flags = Flags::try_parse_from(flags).expect("flags");
        flags.access.check(
            listen,
            [("--listen", listen.parse().expect("an address"))],
            "host1:7701",
        )
    }

    #[test]
    fn an_open_door_wants_both_tokens() {
        let far = "10.0.0.1:7701";
        for (flags, said) in [
            ("", "give a --token-file"),
            ("--peer-token-file @peers", "give a --token-file"),
            ("--token-file @token", "without a --peer-token-file"),
            ("--token-file @token --peer-token-file @same", "give the nodes another one"),
        ] {
            let refusal = checked(far, flags).expect_err(flags);
            assert!(matches!(refusal, ConfigError::Usage(_)), "{refusal}");
            assert!(refusal.to_string().contains(said), "{refusal}");
        }
        let access = checked(far, "--token-file @token --peer-token-file @peers").expect("both");
        assert_eq!(access.peer_tokens.expect("tokens").first(), PEER_TOKEN);
        assert!(!access.peer_token_optional);
        let access = checked("127.0.0.1:7701", "").expect("loopback needs none");
        assert!(access.token.is_none() && access.peer_tokens.is_none());
    }

    #[test]
    fn files_that_hold_no_tokens_are_named() {
        let near = "127.0.0.1:7701";
        for (flags, said) in [
            ("--peer-token-file @none", "can't read the peer token file"),
            ("--peer-token-file @short", "openssl rand"),
            ("--peer-token-optional", "only with --peer-token-file"),
        ] {
            let refusal = checked(near, flags).expect_err(flags).to_string();
            assert!(refusal.contains(said), "{refusal}");
        }
    }

    #[test]
    fn a_public_url_has_a_host() {
        for wrong in ["jam.example.net", "ftp://jam", "http://", "/j"] {
            assert!(public_url(wrong).expect_err(wrong).contains("must look like"));
        }
        let flags = "--public-url http://jam.local:7701 --public-url https://jam.example.net";
        let access = checked("127.0.0.1:7701", flags).expect("flags");
        let names = ["127.0.0.1:7701", "host1:7701", "jam.local:1", "jam.example.net"];
        assert_eq!(access.host_names, HostNames::of(names));
    }
}
