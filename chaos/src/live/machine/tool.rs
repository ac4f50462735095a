//! Programs of the machine that faults are done with.

use std::io;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// What a machine lacks for a fault. Says what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Needs {
    /// A program or a library.
    #[error("{what} is not installed; install it: apt-get install {package}")]
    Package {
        /// What is looked for.
        what: &'static str,
        /// Debian's package of it.
        package: &'static str,
    },
    /// The right to mount.
    #[error("only root may mount file systems; run this as root")]
    Root,
    /// The right to attach to a process.
    #[error(
        "this user may not trace processes; run this as root, or: sysctl kernel.yama.ptrace_scope=0"
    )]
    Ptrace,
    /// A limit on what is written to a device.
    #[error("this kernel has no blkio controller of cgroup v1 mounted; delay system calls instead")]
    Blkio,
}

impl Needs {
    /// What makes up for it, in a few words; none if nothing does.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Package { package, .. } => Some(format!("apt-get install {package}")),
            Self::Root => Some("as root".to_owned()),
            Self::Ptrace => Some("as root, or: sysctl kernel.yama.ptrace_scope=0".to_owned()),
            Self::Blkio => None,
        }
    }
}

/// A program and Debian's package of it.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    name: &'static str,
    package: &'static str,
}

/// Makes file systems.
pub const MKFS: Tool = Tool { name: "mkfs.ext4", package: "e2fsprogs" };
/// Attaches files to loop devices.
pub const LOSETUP: Tool = Tool { name: "losetup", package: "mount" };
/// Mounts.
pub const MOUNT: Tool = Tool { name: "mount", package: "mount" };
/// Unmounts.
pub const UMOUNT: Tool = Tool { name: "umount", package: "mount" };
/// Changes what system calls do.
pub const STRACE: Tool = Tool { name: "strace", package: "strace" };

impl Tool {
    /// A call of it, in a language that can be searched.
    pub fn command(self) -> Command {
        let mut command = Command::new(self.name);
        command.env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    /// Why it could not be started.
    pub fn unstarted(self, error: io::Error) -> anyhow::Error {
        // The latter if a folder of PATH is closed to this user.
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) {
            return Needs::Package { what: self.name, package: self.package }.into();
        }
        anyhow::Error::new(error).context(format!("can't start {}", self.name))
    }

    /// Runs a call of it to its end; answers what it printed, trimmed. Any other exit code than 0 is an error
    /// with what it complained of.
    pub fn run(self, command: &mut Command) -> anyhow::Result<String> {
        let output = command.output().map_err(|error| self.unstarted(error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{command:?} ended with {}: {}", output.status, said.trim());
        }
        let text = String::from_utf8(output.stdout).context("it printed no UTF-8")?;
        Ok(text.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_quoted() {
        let error = MOUNT.run(MOUNT.command().args(["--no-such-flag"])).expect_err("no such flag");
        assert!(error.to_string().contains("no-such-flag"), "{error}");
    }

    #[test]
    fn a_program_that_is_missing_names_its_package() {
        let absent = Tool { name: "jam-absent", package: "absent" };
        let error = absent.run(&mut absent.command()).expect_err("it is not there");
        assert!(error.to_string().contains("apt-get install absent"), "{error}");
        assert!(error.downcast_ref::<Needs>().is_some());
    }
}
