//! Where the daemon keeps its sockets.
use nix::unistd::Uid;
use std::{
    env,
    path::{Path, PathBuf},
};

/// Where the daemon keeps its sockets unless told otherwise: `/run/netbackend` for root, else
/// `$XDG_RUNTIME_DIR/netbackend`, else (no login session) `/tmp/netbackend-UID`.
pub fn default_runtime_dir() -> PathBuf {
    let uid = Uid::effective();
    let session = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime_dir_of(uid, session.as_deref())
}

/// The default control socket in `runtime_dir`.
pub fn default_socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("control.sock")
}

fn runtime_dir_of(uid: Uid, session: Option<&Path>) -> PathBuf {
    match session {
        _ if uid.is_root() => PathBuf::from("/run/netbackend"),
        // The XDG specification has relative paths ignored.
        Some(session) if session.is_absolute() => session.join("netbackend"),
        _ => env::temp_dir().join(format!("netbackend-{uid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_dir_depends_on_the_user() {
        let session = Some(Path::new("/run/user/7"));
        let user = Uid::from_raw(7);
        assert_eq!(
            runtime_dir_of(Uid::from_raw(0), session),
            Path::new("/run/netbackend")
        );
        assert_eq!(
            runtime_dir_of(user, session),
            Path::new("/run/user/7/netbackend")
        );
        for none in [None, Some(Path::new("relative"))] {
            assert!(runtime_dir_of(user, none).ends_with("netbackend-7"));
        }
    }
}
