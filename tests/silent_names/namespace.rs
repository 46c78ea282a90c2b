//! A name server that never answers, for one daemon only: it runs in a mount namespace with files of its own in place of
//! /etc/hosts, /etc/resolv.conf and /etc/nsswitch.conf. Where it is mounted is shared with the rest of the machine.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::mount::UnmountFlags;
use tempfile::TempDir;

use crate::common::{MountBuilder, PATIENCE, is_mounted, skipped};

/// Any address of the loopback network is this machine's; nobody uses this one.
const SILENT: &str = "127.77.77.77:53";

/// Lookups last for minutes: whoever waits for one is found out.
const RESOLVER: &str = "nameserver 127.77.77.77\noptions timeout:30 attempts:5\n";

/// Some systems know what `localhost` is without either.
const SOURCES: &str = "hosts: files dns\n";

/// A place to mount in, where names can be made to lead nowhere.
pub(crate) struct Names {
    place: TempDir,
    socket: UdpSocket,
}

/// A daemon in its namespace. Dropping it unmounts and kills it.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    root: PathBuf,
}

impl Names {
    /// Says loudly why there is none, if there is none.
    pub(crate) fn new() -> Option<Self> {
        let place = TempDir::new().unwrap();
        let socket = match UdpSocket::bind(SILENT) {
            Ok(socket) => socket,
            Err(error) => {
                skipped(&format!("there is no silent name server here ({error})"));
                return None;
            }
        };
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        std::fs::write(place.path().join("resolv.conf"), RESOLVER).unwrap();
        std::fs::write(place.path().join("nsswitch.conf"), SOURCES).unwrap();
        let names = Self { place, socket };
        names.work();
        let shared = names.shared();
        std::fs::create_dir_all(shared.join("mnt")).unwrap();
        let is_shared = ["--bind", "--make-shared"].map(|how| {
            let mut command = Command::new("mount");
            command.arg(how).arg(&shared);
            if how == "--bind" {
                command.arg(&shared);
            }
            command.status().is_ok_and(|status| status.success())
        });
        let can_hide = names
            .inside(&Command::new("true"))
            .status()
            .is_ok_and(|status| status.success());
        if is_shared == [true; 2] && can_hide {
            return Some(names);
        }
        skipped("no mount namespaces here, so no daemon met a silent name server");
        None
    }

    fn shared(&self) -> PathBuf {
        self.place.path().join("shared")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.shared().join("mnt")
    }

    /// From now on `localhost` has an address.
    pub(crate) fn work(&self) {
        std::fs::write(self.place.path().join("hosts"), "127.0.0.1 localhost\n").unwrap();
    }

    /// From now on nobody can tell.
    pub(crate) fn die(&self) {
        std::fs::write(self.place.path().join("hosts"), "").unwrap();
        self.socket.set_nonblocking(true).unwrap();
        while self.socket.recv(&mut [0; 512]).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
    }

    /// Waits until somebody asks the name server.
    pub(crate) fn wait_for_a_question(&self) {
        self.socket.recv(&mut [0; 512]).unwrap();
    }

    /// The same command in a namespace of its own.
    fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("unshare");
        inside
            .args(["--mount", "--propagation", "unchanged", "sh", "-c"])
            // Only the root's mount stops telling others: what is mounted in the shared place is seen outside.
            .arg(
                "mount --make-slave / && mount --bind \"$1/hosts\" /etc/hosts && \
                 mount --bind \"$1/resolv.conf\" /etc/resolv.conf && \
                 if [ -e /etc/nsswitch.conf ]; then mount --bind \"$1/nsswitch.conf\" /etc/nsswitch.conf; fi && \
                 shift && exec \"$@\"",
            )
            .arg("sh")
            .arg(self.place.path())
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            inside.env(name, value.unwrap());
        }
        inside.stdin(Stdio::null());
        inside
    }

    /// Starts a daemon, and doesn't wait for anything.
    pub(crate) fn start(&self, builder: &MountBuilder<'_>, cache: &Path) -> Daemon {
        let root = self.root();
        let mut command = builder.command(&root, cache);
        command.arg("--foreground");
        let child = self
            .inside(&command)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Daemon { child, root }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.shared(), UnmountFlags::DETACH);
    }
}

impl Daemon {
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if is_mounted(&self.root) {
            let _ = rustix::mount::unmount(&self.root, UnmountFlags::DETACH);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
