//! A scenario on the machine itself: same script, fresh network, mount and process namespaces.
use super::{Files, Options, RunDirectory, Scenario};
use crate::exec;
use crate::repo;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(super) fn run(
    scenario: &Scenario,
    options: &Options,
    files: &Files,
    directory: &RunDirectory,
    sink: &mut dyn FnMut(&str),
) -> Result<i32> {
    if !crate::machine::is_root() {
        bail!("scenarios make network namespaces: run this as root");
    }
    let lab = directory.root.join("lab");
    let path = lay_out(&lab, options, files)?;
    // A process namespace: whatever the scenario leaves behind ends with it. /run is its own, so
    // that default sockets of a daemon on this machine are not touched.
    let script = format!(
        "mount -t tmpfs run /run && mkdir /run/netns && ip link set lo up && exec timeout -k 10 {} sh ./{}.sh",
        scenario.timeout.as_secs(),
        scenario.name
    );
    let mut child = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["sh", "-c", &script])
        .current_dir(&lab)
        .env("LAB", &lab)
        .env("LAB_LOGS", &directory.logs)
        .env("PATH", path)
        .env("patience", options.patience.to_string())
        .envs(options.settings.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(directory.logs.join("stderr.log"))?)
        .spawn()
        .context("cannot start unshare (package util-linux)")?;
    let mut console = File::create(&directory.console)?;
    let stdout = child
        .stdout
        .take()
        .context("unshare has no standard output")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        writeln!(console, "{line}")?;
        sink(&line);
    }
    let status = child.wait()?;
    match status.code() {
        Some(124) => bail!("no verdict within {} s", scenario.timeout.as_secs()),
        Some(code) => Ok(code),
        None => bail!("the scenario was ended by a signal ({status})"),
    }
}

/// Makes `lab` look like `/lab` of the nested host; returns the `PATH` for scripts in it.
fn lay_out(lab: &Path, options: &Options, files: &Files) -> Result<std::ffi::OsString> {
    let bin = lab.join("bin");
    fs::create_dir_all(&bin)?;
    fs::create_dir_all(lab.join("guest"))?;
    link(&files.guest_kernel, &lab.join("guest/vmlinuz"))?;
    link(&files.guest_initrd, &lab.join("guest/initrd.img"))?;
    link(&repo::lab_sources().join("guest/jobs"), &lab.join("jobs"))?;
    for entry in fs::read_dir(repo::lab_sources())?.flatten() {
        if entry.path().is_file() {
            link(&entry.path(), &lab.join(entry.file_name()))?;
        }
    }
    for program in &options.programs {
        let name = program.file_name().context("a program has a name")?;
        link(program, &bin.join(name))?;
    }
    // Those that Debian may have in another shape, or not at all.
    let busybox = exec::find_program("busybox").context("busybox is missing")?;
    for applet in ["httpd", "wget", "ping", "awk", "nc", "netstat"] {
        link(&busybox, &bin.join(applet))?;
    }
    let mut path = vec![bin];
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    path.extend(std::env::split_paths(&inherited));
    path.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    Ok(std::env::join_paths(path)?)
}

fn link(target: &Path, name: &Path) -> Result<()> {
    let target = target
        .canonicalize()
        .with_context(|| format!("{} is missing", target.display()))?;
    std::os::unix::fs::symlink(&target, name)
        .with_context(|| format!("cannot link {}", name.display()))
}
