//! `--songs-store URL`: which depot a node uses.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;

use super::{Depot, DepotError, ObjectDepot};

/// Where a depot is: `s3://BUCKET/PREFIX`, or `file:///FOLDER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUrl {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Folder(PathBuf),
    #[cfg(feature = "s3")]
    Bucket {
        name: String,
        prefix: Path,
    },
}

impl StoreUrl {
    /// The depot. Whether it can be used shows with the first call.
    ///
    /// # Errors
    /// If there is no such folder, or what `AWS_*` says can't be.
    pub fn open(&self) -> Result<Arc<dyn Depot>, DepotError> {
        match &self.kind {
            Kind::Folder(folder) => {
                let store =
                    LocalFileSystem::new_with_prefix(folder).map_err(DepotError::Refused)?;
                Ok(Arc::new(ObjectDepot::new(Arc::new(store.with_fsync(true)), Path::default())))
            }
            #[cfg(feature = "s3")]
            Kind::Bucket { name, prefix } => {
                let store = bucket(name).map_err(DepotError::Refused)?;
                Ok(Arc::new(ObjectDepot::new(Arc::new(store), prefix.clone())))
            }
        }
    }
}

/// With what `AWS_*` in the environment says of it: `AWS_ENDPOINT`, `AWS_REGION`, keys, …
#[cfg(feature = "s3")]
fn bucket(name: &str) -> Result<object_store::aws::AmazonS3, object_store::Error> {
    use std::time::Duration;

    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
    use object_store::{ClientConfigKey, RetryConfig};

    // Fails only if there is one already, and any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(name);
    let endpoints = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
    let endpoint = endpoints.iter().find_map(|key| builder.get_config_value(key));
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    let retry = RetryConfig {
        // Whoever calls tries again for ever, but not so soon.
        max_retries: 2,
        retry_timeout: Duration::from_secs(20),
        ..RetryConfig::default()
    };
    builder
        // Its default of 30 s is for a whole request, and a big song over a slow line may take longer.
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), "1day")
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::ReadTimeout), "30s")
        .with_retry(retry)
        .build()
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' must look like s3://bucket/prefix or file:///folder");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let kind = match scheme {
            "file" if rest.starts_with('/') => Kind::Folder(PathBuf::from(rest)),
            "s3" => of_bucket(rest).ok_or_else(wrong)??,
            _ => return Err(wrong()),
        };
        Ok(Self { text: text.to_owned(), kind })
    }
}

#[cfg(feature = "s3")]
fn of_bucket(rest: &str) -> Option<Result<Kind, String>> {
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    // Of a bucket's name; a user, a port or a query would otherwise become part of one.
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.is_empty() || !name.bytes().all(fits) {
        return None;
    }
    let prefix = Path::parse(prefix.trim_end_matches('/')).ok()?;
    Some(Ok(Kind::Bucket { name: name.to_owned(), prefix }))
}

#[cfg(not(feature = "s3"))]
fn of_bucket(_rest: &str) -> Option<Result<Kind, String>> {
    Some(Err("this jamd was built without S3; build it with: cargo build --features s3".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_name_a_place() {
        let folder: StoreUrl = "file:///srv/jam".parse().expect("a folder");
        assert_eq!(folder.kind, Kind::Folder(PathBuf::from("/srv/jam")));
        for wrong in [
            "",
            "songs",
            "/srv/jam",
            "file://srv",
            "gs://a/b",
            "s3://",
            "s3://a:b@c/d",
            "s3://a/b//c",
        ] {
            assert!(wrong.parse::<StoreUrl>().is_err(), "{wrong}");
        }
    }

    #[cfg(feature = "s3")]
    #[test]
    fn buckets() {
        for (text, prefix) in [("s3://songs", ""), ("s3://songs/", ""), ("s3://songs/a/b/", "a/b")]
        {
            let url: StoreUrl = text.parse().expect(text);
            let prefix = Path::parse(prefix).expect("a path");
            assert_eq!(url.kind, Kind::Bucket { name: "songs".to_owned(), prefix }, "{text}");
            assert_eq!(url.to_string(), text);
        }
    }
}
