//! Plans in `chaos/plans` that once broke a promise, or that no judge asked about: each holds.

use std::path::PathBuf;
use std::process::Command;

fn holds(name: &str) {
    let plan = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plans").join(name);
    let keep = tempfile::tempdir().expect("a temporary folder");
    let ran = Command::new(env!("CARGO_BIN_EXE_jam-chaos"))
        .args(["sim", "--plan"])
        .arg(plan)
        .arg("--keep")
        .arg(keep.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
}

/// A node loses its disk, and its successor loses its own before it votes.
#[test]
fn lost_replacement() {
    holds("lost-replacement.json");
}
