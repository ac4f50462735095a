//! Where nodes listen, as people write it.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Where a node listens: `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);

impl Address {
    /// Parses `HOST:PORT`; an IPv6 address is in brackets, `http://` before and `/` behind it are left out.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let shown: String = text.chars().take(80).collect();
        let shown = shown.escape_debug();
        let wrong = |why: &str| Err(format!("'{shown}' is not a server: {why}"));
        let bare = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
                rest.strip_suffix('/').unwrap_or(rest)
            }
            Some(_) => return wrong("nodes speak plain HTTP; write HOST:PORT"),
            None => text,
        };
        if !bare.is_ascii() {
            return wrong("write the name in its ASCII form, which begins with xn--");
        }
        if bare.parse::<Ipv6Addr>().is_ok() {
            return wrong("write an IPv6 address as [ADDRESS]:PORT");
        }
        let Some((host, port)) = bare.rsplit_once(':') else {
            return wrong("the port is missing; write HOST:PORT");
        };
        if !is_host(host) {
            return wrong("write HOST:PORT, and an IPv6 address as [ADDRESS]:PORT");
        }
        if !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return wrong("the port is a number from 1 to 65535");
        }
        Ok(Self(bare.to_owned()))
    }
}

/// Whether it is a name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok()),
        None => {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            !host.is_empty() && host.chars().all(fits)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Several addresses, as `--servers` takes them: separated by commas or blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(pub Vec<Address>);

impl FromStr for Addresses {
    type Err = String;

    /// # Errors
    /// What is wrong with the first that is no address.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(|c: char| c == ',' || c.is_whitespace());
        parts
            .filter(|part| !part.is_empty())
            .map(Address::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        for (written, meant) in [
            ("127.0.0.1:7000", "127.0.0.1:7000"),
            ("jam.example.org:80", "jam.example.org:80"),
            ("[::1]:7000", "[::1]:7000"),
            (" a-b.c:1 ", "a-b.c:1"),
            ("http://host:7701", "host:7701"),
            ("HTTP://host:7701/", "host:7701"),
        ] {
            assert_eq!(
                Address::parse(written).map(|address| address.to_string()),
                Ok(meant.into())
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (written, why) in [
            ("", "the port is missing"),
            ("host", "the port is missing"),
            ("host:", "the port is a number"),
            ("host:0", "the port is a number"),
            ("host:70000", "the port is a number"),
            (":80", "write HOST:PORT"),
            ("a b:1", "write HOST:PORT"),
            ("[host]:1", "[ADDRESS]:PORT"),
            ("host:1/path", "the port is a number"),
            ("::1", "[ADDRESS]:PORT"),
            ("::1:7701", "[ADDRESS]:PORT"),
            ("2001:db8:0:0:0:0:0:1:7701", "[ADDRESS]:PORT"),
            ("https://host:1", "plain HTTP"),
            ("bücher.example:1", "xn--"),
        ] {
            let said = Address::parse(written).expect_err(written);
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn lists_take_blanks_and_a_comma_at_the_end() {
        let list = |text: &str| text.parse::<Addresses>().map(|list| list.0.len());
        assert_eq!(list("a:1,b:2,"), Ok(2));
        assert_eq!(list(" a:1 , b:2\n[::1]:3 "), Ok(3));
        assert_eq!(list(","), Ok(0));
        assert!(list("a:1,b").is_err());
    }
}
