use super::*;
use std::os::{
    fd::OwnedFd,
    unix::net::{UnixDatagram, UnixStream},
};

fn path(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("s.sock")
}

fn bind(path: &Path) -> Result<BoundSocket, ListenError> {
    BoundSocket::bind(path, SocketAccess::DEFAULT)
}

#[test]
fn mode_and_owner_are_set_whatever_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(&dir);
    let access = SocketAccess {
        mode: 0o606,
        owner: Some(nix::unistd::getuid().as_raw()),
        group: Some(nix::unistd::getgid().as_raw()),
    };
    let bound = BoundSocket::bind(&path, access).unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!(found.mode() & 0o777, 0o606);
    assert_eq!(Some(found.uid()), access.owner);
    assert_eq!(Some(found.gid()), access.group);
    drop(bound);
}

#[test]
fn a_socket_of_a_killed_daemon_is_waited_for_while_its_worker_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(&dir);
    let bound = bind(&path).unwrap();
    let worker = bound.listener.try_clone().unwrap();
    // The listener is of a process that is gone: its owner is who called listen() last.
    // Perl, as every Debian has it.
    let mut killed = std::process::Command::new("perl");
    let relisten = "listen(STDIN, 128) or die $!";
    killed.args(["-e", relisten]).stdin(OwnedFd::from(worker));
    assert!(killed.status().unwrap().success());
    let ends = thread::spawn(move || {
        // As long as a worker may take to end; whoever binds does not wait for this thread in any other way.
        thread::sleep(Duration::from_millis(200));
        // Its path stays behind, as if it was killed.
        let BoundSocket { listener, .. } = &bound;
        nix::sys::socket::shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Both).unwrap();
        bound
    });
    let next = bind(&path).unwrap();
    drop(ends.join().unwrap());
    drop(next);
}

#[test]
fn adopted_socket_is_left_to_its_maker() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(&dir);
    let listener = UnixListener::bind(&path).unwrap();
    drop(BoundSocket::adopt(listener.try_clone().unwrap(), &path));
    UnixStream::connect(&path).unwrap();
}

#[test]
fn stale_socket_is_replaced_and_ours_removed_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(&dir);
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let bound = bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().mode();
    assert_eq!(mode & 0o777, 0o660);
    drop(bound);
    assert!(!path.exists());
}

#[test]
fn live_socket_is_left_alone_and_its_owner_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(&dir);
    let _listener = UnixListener::bind(&path).unwrap();
    let error = bind(&path).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&format!("in use by process {}", std::process::id())),
        "{text}"
    );
    UnixStream::connect(&path).unwrap();
}

#[test]
fn listener_with_a_full_backlog_is_alive() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(&dir);
    let listener = UnixListener::bind(&path).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let error = bind(&path).unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
}

#[test]
fn socket_of_another_type_is_alive() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(&dir);
    let _socket = UnixDatagram::bind(&path).unwrap();
    let error = bind(&path).unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
}

#[test]
fn other_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(&dir);
    fs::write(&path, "precious").unwrap();
    let error = bind(&path).unwrap_err();
    assert!(matches!(error, ListenError::NotASocket { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let error = bind(&link).unwrap_err();
    assert!(matches!(error, ListenError::NotASocket { .. }), "{error}");
}

#[test]
fn missing_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let error = bind(&missing.join("s.sock")).unwrap_err();
    assert!(
        error.to_string().contains(&missing.display().to_string()),
        "{error}"
    );
}

#[test]
fn file_of_a_successor_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(&dir);
    let first = bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    // An inode number may be used again, so the successor is made before ours is gone.
    let _second = UnixListener::bind(&path).unwrap();
    drop(first);
    assert!(path.exists());
}
