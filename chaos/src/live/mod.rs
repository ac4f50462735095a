//! Real clusters: processes, sockets and disks that are broken on purpose, under load.

pub mod machine;
