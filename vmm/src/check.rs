//! `vmm check`: can this host run KVM guests, and if not, why and what to do.

use std::{fmt, fs, io, path::Path};

use kvm_ioctls::{Cap, Kvm};
use nix::{sys::memfd::MFdFlags, unistd::geteuid};

/// The stable KVM API.
const API_VERSION: i32 = 12;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Good.
    Ok,
    /// Works, with limits.
    Warn,
    /// No guest will run.
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(text: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Ok,
            text: text.into(),
            remedy: None,
        }
    }
    fn bad(verdict: Verdict, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict,
            text: text.into(),
            remedy: Some(remedy.into()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        write!(f, "{word}  {}", self.text)?;
        if let Some(remedy) = &self.remedy {
            write!(f, "\n      → {remedy}")?;
        }
        Ok(())
    }
}

/// Looks at everything.
pub fn check() -> Vec<Finding> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut findings = vec![virtualization(&cpuinfo)];
    findings.extend(kvm(Path::new("/dev/kvm")));
    findings.push(memfd());
    findings.push(hugepages(
        &fs::read_to_string("/proc/meminfo").unwrap_or_default(),
    ));
    findings
}

/// Prints the report; true: guests can run.
pub fn report(findings: &[Finding], out: &mut impl io::Write) -> io::Result<bool> {
    for finding in findings {
        writeln!(out, "{finding}")?;
    }
    let good = findings
        .iter()
        .all(|finding| finding.verdict != Verdict::Fail);
    let sum = if good {
        "KVM guests can run on this host."
    } else {
        "KVM guests cannot run on this host."
    };
    writeln!(out, "{sum}")?;
    Ok(good)
}

fn virtualization(cpuinfo: &str) -> Finding {
    let has = |flag: &str| {
        cpuinfo.lines().any(|line| {
            line.split_once(':').is_some_and(|(key, flags)| {
                key.trim() == "flags" && flags.split_whitespace().any(|word| word == flag)
            })
        })
    };
    if has("svm") {
        return Finding::ok("processor has AMD-V (svm)");
    }
    if has("vmx") {
        return Finding::ok("processor has Intel VT-x (vmx)");
    }
    let nested = has("hypervisor");
    let remedy = if nested {
        "this host is itself a virtual machine: have nested virtualization enabled for it (QEMU: -cpu host; libvirt: \
         host-passthrough), or try guests in an emulated host with `cargo xtask lab`"
    } else {
        "enable SVM or VT-x in the firmware set-up"
    };
    Finding::bad(
        Verdict::Fail,
        "neither svm nor vmx in /proc/cpuinfo: stock kernels will not run as guests, even if /dev/kvm opens",
        remedy,
    )
}

fn kvm(path: &Path) -> Vec<Finding> {
    let name = path.display();
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open(path) {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => {
                "load the module: modprobe kvm-amd or modprobe kvm-intel".to_owned()
            }
            io::ErrorKind::PermissionDenied => format!(
                "you are uid {}: join the group that owns it (usermod -aG kvm USER, then log in again)",
                geteuid()
            ),
            _ => "look at dmesg for messages of kvm".to_owned(),
        };
        return vec![Finding::bad(
            Verdict::Fail,
            format!("{name} cannot be opened: {error}"),
            remedy,
        )];
    }
    let kvm = match Kvm::new() {
        Ok(kvm) => kvm,
        Err(error) => {
            let text = format!("{name} does not answer as KVM: {error}");
            return vec![Finding::bad(Verdict::Fail, text, "update the kernel")];
        }
    };
    let version = kvm.get_api_version();
    let mut findings = if version == API_VERSION {
        vec![Finding::ok(format!("{name} opens, API version {version}"))]
    } else {
        let text = format!("{name} has API version {version}, not {API_VERSION}");
        vec![Finding::bad(Verdict::Fail, text, "update the kernel")]
    };
    findings.push(capabilities(|cap| kvm.check_extension(cap)));
    findings.push(Finding::ok(format!(
        "up to {} vCPUs per guest",
        kvm.get_max_vcpus().min(64)
    )));
    findings
}

fn capabilities(has: impl Fn(Cap) -> bool) -> Finding {
    let needed = [
        (Cap::Irqchip, "IRQCHIP"),
        (Cap::Irqfd, "IRQFD"),
        (Cap::Ioeventfd, "IOEVENTFD"),
        (Cap::UserMemory, "USER_MEMORY"),
        (Cap::SetTssAddr, "SET_TSS_ADDR"),
        (Cap::Pit2, "PIT2"),
        (Cap::IrqRouting, "IRQ_ROUTING"),
        (Cap::ExtCpuid, "EXT_CPUID"),
    ];
    let missing: Vec<_> = needed
        .iter()
        .filter(|(cap, _)| !has(*cap))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return Finding::ok(format!(
            "all {} KVM capabilities that vmm needs",
            needed.len()
        ));
    }
    Finding::bad(
        Verdict::Fail,
        format!("KVM lacks {}", missing.join(", ")),
        "update the kernel (5.10 has all of them)",
    )
}

fn memfd() -> Finding {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    match nix::sys::memfd::memfd_create(c"vmm-check", flags) {
        Ok(_) => Finding::ok("guest memory can be shared with back-ends (memfd with seals)"),
        Err(error) => Finding::bad(
            Verdict::Fail,
            format!("memfd_create failed: {error}"),
            "a seccomp filter of a container may forbid it: allow memfd_create",
        ),
    }
}

fn hugepages(meminfo: &str) -> Finding {
    let field = |name: &str| {
        let line = meminfo.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    match field("HugePages_Free:") {
        Some(free) if free > 0 => Finding::ok(format!("{free} free hugepages for --hugepages")),
        Some(_) => Finding::bad(
            Verdict::Warn,
            "no free hugepages: --hugepages will not work",
            "reserve 2 MiB pages: echo 512 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
        ),
        None => Finding::bad(
            Verdict::Warn,
            "the kernel has no hugepages: --hugepages will not work",
            "use a kernel with CONFIG_HUGETLBFS",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_judged_by_its_flags() {
        let flags =
            |words: &str| virtualization(&format!("processor : 0\nflags\t\t: fpu {words} sse\n"));
        assert_eq!(flags("svm").verdict, Verdict::Ok);
        assert_eq!(flags("vmx").verdict, Verdict::Ok);
        assert_eq!(flags("svmx").verdict, Verdict::Fail);
        let nested = flags("hypervisor");
        assert_eq!(nested.verdict, Verdict::Fail);
        assert!(nested.remedy.unwrap().contains("nested"));
    }

    #[test]
    fn a_missing_kvm_says_what_to_load() {
        let findings = kvm(Path::new("/nonexistent/kvm"));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].remedy.as_ref().unwrap().contains("modprobe"));
        let findings = kvm(Path::new("/dev/null"));
        assert!(!findings.is_empty());
    }

    #[test]
    fn missing_capabilities_are_named() {
        let finding = capabilities(|cap| !matches!(cap, Cap::Irqfd | Cap::Pit2));
        assert_eq!(
            (finding.verdict, finding.text.as_str()),
            (Verdict::Fail, "KVM lacks IRQFD, PIT2")
        );
        assert_eq!(capabilities(|_| true).verdict, Verdict::Ok);
    }

    #[test]
    fn hugepages_are_a_warning_only() {
        assert_eq!(hugepages("HugePages_Free:     0\n").verdict, Verdict::Warn);
        assert_eq!(hugepages("HugePages_Free:    12\n").verdict, Verdict::Ok);
        assert_eq!(hugepages("").verdict, Verdict::Warn);
    }
}
