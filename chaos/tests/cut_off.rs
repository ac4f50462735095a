//! A node is cut off from its peers, not from its listeners: they follow another one, and hear of every edit.

use std::path::Path;
use std::process::Command;

#[test]
fn listeners_leave_a_node_that_is_cut_off() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/cut-off.json");
    let ran = Command::new(env!("CARGO_BIN_EXE_jam-chaos"))
        .args(["sim", "--keep"])
        .arg(folder.path())
        .arg("--plan")
        .arg(plan)
        .output()
        .expect("jam-chaos starts");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("listener left an outdated node"), "{said}");
}
