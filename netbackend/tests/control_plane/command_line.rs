//! The command line: exit codes, and errors that say what to do.
use crate::common::netbackend;
use std::{fs, os::unix::net::UnixListener, path::Path, process::Output};

#[track_caller]
fn run(args: &[&str]) -> Output {
    netbackend().args(args).output().unwrap()
}

/// Runs it and expects this exit code and all of `words` on standard error.
#[track_caller]
fn expect_error(args: &[&str], code: i32, words: &[&str]) {
    let output = run(args);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    for word in words {
        assert!(error.contains(word), "{args:?}: no {word:?} in: {error}");
    }
    assert!(!error.contains("panicked"), "{error}");
}

#[test]
fn help_names_commands_options_and_exit_codes_but_not_the_worker() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for word in [
        "status",
        "check-config",
        "port",
        "--config",
        "--runtime-dir",
        "--control-socket",
        "--log",
        "NETBACKEND_CONFIG",
        "Exit codes",
    ] {
        assert!(help.contains(word), "no {word} in {help}");
    }
    assert!(!help.contains("worker"), "{help}");
}

#[test]
fn wrong_usage_exits_with_2() {
    expect_error(&["--bogus"], 2, &["--bogus", "--help"]);
    expect_error(&["statsu"], 2, &["statsu", "status"]);
    expect_error(&["check-config"], 2, &["<FILE>"]);
    expect_error(&["--log", "a=b=c"], 2, &["--log", "write a level"]);
    let long = format!("/tmp/{}", "x".repeat(120));
    expect_error(
        &["--runtime-dir", &long],
        2,
        &["control_socket", "107 at most"],
    );
}

#[test]
fn wrong_configuration_exits_with_2_and_tells_every_problem() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nb.toml");
    fs::write(&file, "[networks.lan]\nmtuu = 1\nmode = \"hub\"\n").unwrap();
    let file = file.to_str().unwrap();
    let first = format!("{file}:2: networks.lan.mtuu: unknown key; did you mean `mtu`?");
    let second = format!("{file}:3: networks.lan.mode: \"hub\" is not known");
    let words = [first.as_str(), &second, "\"bridge\""];
    expect_error(&["check-config", file], 2, &words);
    // The daemon says the same, and does not start.
    let runtime_dir = dir.path().join("rt");
    let args = [
        "--config",
        file,
        "--runtime-dir",
        runtime_dir.to_str().unwrap(),
    ];
    expect_error(&args, 2, &words);
    assert!(!runtime_dir.exists());
    expect_error(
        &["check-config", "/nonexistent.toml"],
        2,
        &["/nonexistent.toml", "check the path"],
    );
}

#[test]
fn valid_configuration_is_explained_with_its_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nb.toml");
    fs::write(
        &file,
        "runtime_dir = \"/run/nb\"\n[networks.lan]\n[networks.lan.ports.web]\n[networks.iso]\nmode = \"private\"\n",
    )
    .unwrap();
    let output = run(&["check-config", file.to_str().unwrap()]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for words in [
        "nb.toml: valid",
        "control socket: /run/nb/control.sock",
        "network lan: bridge, mtu 1500",
        "/run/nb/lan/web.sock",
        "nb.toml:5: networks.iso.mode: a private network without an uplink",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
}

#[test]
fn commands_without_a_daemon_exit_with_1_and_name_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let socket = socket.to_str().unwrap();
    for command in [
        vec!["status"],
        vec!["status", "--json"],
        vec!["port", "add", "default"],
        vec!["port", "remove", "default", "p0"],
    ] {
        let args = [&["--control-socket", socket], &command[..]].concat();
        expect_error(&args, 1, &[socket, "start it with `netbackend`"]);
    }
    // Global options may also follow the command, and --runtime-dir implies the socket.
    let dir = dir.path().to_str().unwrap();
    expect_error(&["status", "--runtime-dir", dir], 1, &[socket]);
}

#[test]
fn configuration_gives_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nb.toml");
    fs::write(&file, "control_socket = \"/nonexistent/from-file.sock\"").unwrap();
    let file = file.to_str().unwrap();
    expect_error(
        &["--config", file, "status"],
        1,
        &["/nonexistent/from-file.sock"],
    );
    expect_error(
        &["status", "--config", file],
        1,
        &["/nonexistent/from-file.sock"],
    );
}

#[test]
fn environment_gives_the_socket() {
    let output = netbackend()
        .arg("status")
        .env("NETBACKEND_CONTROL_SOCKET", "/nonexistent/from-env.sock")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("/nonexistent/from-env.sock"), "{error}");
}

#[test]
fn unusable_places_are_told_with_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("file"), "precious").unwrap();
    expect_error(
        &["--runtime-dir", &path("file")],
        1,
        &[&path("file"), "not a directory"],
    );
    let (rt, file) = (path("rt"), path("file"));
    let args = ["--runtime-dir", &rt, "--control-socket", &file];
    expect_error(&args, 1, &[&file, "is not a socket", "remove it"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let socket = path("busy.sock");
    let _busy = UnixListener::bind(&socket).unwrap();
    let owner = format!("in use by process {}", std::process::id());
    expect_error(
        &["--runtime-dir", &rt, "--control-socket", &socket],
        1,
        &[&socket, &owner],
    );
    let socket = path("missing/nb.sock");
    let args = ["--runtime-dir", &rt, "--control-socket", &socket];
    expect_error(&args, 1, &[&path("missing"), "does not exist"]);
    // Whatever failed, nothing but the lock is left.
    assert_eq!(
        crate::common::files(Path::new(&rt)),
        [Path::new(&path("rt/lock"))]
    );
}

#[test]
fn failing_port_is_named_and_earlier_ones_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (rt, config) = (path("rt"), path("nb.toml"));
    fs::write(
        &config,
        "[networks.a.ports.a]\n[networks.b.ports.t]\nkind = \"tap\"\ninterface = \"nbt\"\nnetns = \"nb-none\"\n",
    )
    .unwrap();
    let words = ["open port t of network b", "ip netns add nb-none"];
    expect_error(&["--runtime-dir", &rt, "--config", &config], 1, &words);
    assert_eq!(
        crate::common::files(Path::new(&rt)),
        [Path::new(&path("rt/lock"))]
    );
    assert!(!Path::new(&path("rt/a")).exists());
}

#[test]
fn worker_by_hand_explains_itself() {
    expect_error(
        &["worker", "lan"],
        1,
        &["a worker is started by netbackend"],
    );
}
