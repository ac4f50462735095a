//! At the start: is this depot ours, and can it be used?

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use jam_world::{World, write_and_sync};

use super::{DepotError, Outside, Rhythm, StoreUrl, told};

/// In a node's data folder: the store that it has used.
const KNOWN: &str = "songs-store";

impl StoreUrl {
    /// The store for a node's songs, checked.
    ///
    /// One that this node never used must work, or a slip in its address would show when the songs are needed. One
    /// that it used before is not waited for: it may be down, and that must not keep a node from serving. `None`: its folder is
    /// gone, and the node does without it.
    ///
    /// # Errors
    /// If it was never used and can't be, or belongs to another cluster; or if the data folder can't be written to.
    pub async fn claim(
        &self,
        world: &World,
        data: &Path,
        cluster: &str,
    ) -> anyhow::Result<Option<Outside>> {
        let wrong = |error: DepotError| anyhow::anyhow!("--songs-store {self}: {}", told(&error));
        let (disk, path) = (world.disk.as_ref(), data.join(KNOWN));
        let text = self.to_string();
        let is_known = disk.read(&path).is_ok_and(|known| known == text.as_bytes());
        let depot = match self.open() {
            Err(error) if is_known => {
                let error = told(&error);
                tracing::error!(
                    store = text,
                    error,
                    "no songs' store until this node starts again"
                );
                return Ok(None);
            }
            opened => opened.map_err(wrong)?,
        };
        let outside = Outside::new(depot, cluster, Rhythm::default());
        if is_known {
            return Ok(Some(outside));
        }
        outside.claim().await.map_err(wrong)?;
        write_and_sync(disk, &path, text.as_bytes())?;
        disk.sync_folder(data)?;
        Ok(Some(outside))
    }
}

impl Outside {
    /// Makes sure that the depot is this cluster's, which it asks until it has been once.
    pub(super) async fn claim(&self) -> Result<(), DepotError> {
        if !self.is_claimed.load(Relaxed) {
            let claim = self.depot.claim(&self.cluster);
            self.within(self.rhythm.stalled_after, claim).await?;
            self.is_claimed.store(true, Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_store_must_work_before_a_node_counts_on_it() {
        let (data, store) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
        let folder = store.path().join("songs of jam");
        let url: StoreUrl = format!("file://{}", folder.display()).parse().expect("a URL");
        let claim = async |cluster| url.claim(&World::real(), data.path(), cluster).await;

        let refused = claim("one").await.expect_err("no folder").to_string();
        assert!(refused.contains("--songs-store file://"), "{refused}");
        assert!(refused.contains("check that it exists"), "{refused}");
        fs::create_dir(&folder).expect("a folder");
        assert!(claim("one").await.expect("a folder").is_some());
        assert_eq!(fs::read(folder.join("cluster")).expect("its mark"), b"one\n");

        // From now on it may be gone.
        fs::rename(&folder, store.path().join("elsewhere")).expect("moves");
        assert!(claim("one").await.expect("a node that does without").is_none());
        fs::rename(store.path().join("elsewhere"), &folder).expect("moves");
        assert!(claim("one").await.expect("back").is_some());

        fs::remove_file(data.path().join(KNOWN)).expect("another node's folder");
        let refused = claim("two").await.expect_err("another cluster's").to_string();
        assert!(refused.contains("belongs to cluster one"), "{refused}");
    }
}
