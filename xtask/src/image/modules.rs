//! Kernel modules with everything they depend on, in loading order.
use super::Tree;
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// `modules.dep` of one kernel: for each module its path and the paths it depends on.
#[derive(Debug)]
pub struct Dependencies {
    /// Module name (with underscores) to path relative to the modules directory.
    paths: HashMap<String, String>,
    /// Path to the paths it needs.
    needs: HashMap<String, Vec<String>>,
}

impl Dependencies {
    /// Reads `modules.dep` in `directory`.
    pub fn load(directory: &Path) -> Result<Self> {
        let file = directory.join("modules.dep");
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut paths = HashMap::new();
        let mut needs = HashMap::new();
        for line in text.lines() {
            let Some((path, rest)) = line.split_once(':') else {
                continue;
            };
            paths.insert(name_of(path), path.to_owned());
            let list = rest.split_whitespace().map(str::to_owned).collect();
            needs.insert(path.to_owned(), list);
        }
        Self { paths, needs }
    }

    /// Paths of `wanted` and all they depend on; each after what it needs, none twice. A name that
    /// this kernel does not have as a module is left out: it is built in, or not to be had.
    pub fn loading_order(&self, wanted: &[&str]) -> Vec<String> {
        let mut order = Vec::new();
        for name in wanted {
            if let Some(path) = self.paths.get(&name.replace('-', "_")) {
                self.visit(path, &mut order);
            }
        }
        order
    }

    fn visit(&self, path: &str, order: &mut Vec<String>) {
        if order.iter().any(|known| known == path) {
            return;
        }
        for dependency in self.needs.get(path).into_iter().flatten() {
            self.visit(dependency, order);
        }
        order.push(path.to_owned());
    }
}

/// Adds `wanted` of the kernel in `directory` as `lib/modules/*.ko` and their order as `lib/modules/order`.
pub fn add(tree: &mut Tree, directory: &Path, wanted: &[&str]) -> Result<()> {
    let order = Dependencies::load(directory)?.loading_order(wanted);
    let mut list = String::new();
    for path in &order {
        let file = path.rsplit('/').next().unwrap_or(path);
        tree.copy(&format!("lib/modules/{file}"), &directory.join(path), 0o644);
        list.push_str(file);
        list.push('\n');
    }
    tree.text("lib/modules/order", list, 0o644);
    Ok(())
}

fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.split(".ko").next().unwrap_or(file);
    stem.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::Dependencies;

    const DEP: &str = "\
kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/net/core/failover.ko:
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko:
kernel/arch/x86/kvm/kvm-amd.ko:
";

    fn names(wanted: &[&str]) -> Vec<String> {
        let order = Dependencies::parse(DEP).loading_order(wanted);
        order.iter().map(|path| super::name_of(path)).collect()
    }

    #[test]
    fn a_module_comes_after_all_it_needs() {
        assert_eq!(
            names(&["virtio_net"]),
            [
                "failover",
                "net_failover",
                "virtio_ring",
                "virtio",
                "virtio_net"
            ]
        );
    }

    #[test]
    fn dash_and_underscore_name_the_same_module_and_built_ins_are_left_out() {
        assert_eq!(names(&["kvm-amd", "ext4"]), ["kvm_amd"]);
        assert_eq!(names(&["kvm_amd"]), ["kvm_amd"]);
    }
}
