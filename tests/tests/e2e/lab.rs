//! Scenarios in the lab: our VMM's guests on real KVM.
use tests::{programs, say, scenario};
use xtask::lab::{self, Options, Scenario};
use xtask::ui::Ui;

fn run(name: &str) {
    run_with(name, &[]);
}

fn run_with(name: &str, settings: &[(&str, &str)]) {
    let _turn = scenario();
    let scenario = Scenario::load(name).unwrap();
    let mut options = Options::new(programs::all().to_vec());
    // Two scenarios run at once; and with one CPU no fault of the emulator was seen so far.
    options.cpus = 1;
    let settings = settings.iter();
    options.settings = settings
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let verdict = lab::run(Ui::new(), &scenario, &options).unwrap();
    say(&format!(
        "{name}: {} ({:.0} s)",
        scenario.title,
        verdict.elapsed.as_secs_f64()
    ));
    for result in &verdict.results {
        say(&format!("{name}: {result}"));
    }
    let console = std::fs::read_to_string(&verdict.console).unwrap_or_default();
    assert!(
        verdict.passed(),
        "{name} failed, see {}; its console:\n{console}",
        verdict.logs.display()
    );
}

#[test]
fn lab_two_vmm_guests() {
    // A sixth of its 100 MB.
    run_with("two-guests", &[("file_mib", "16")]);
}

#[test]
fn lab_two_vmm_guests_with_two_cpus_and_queue_pairs() {
    run_with("two-guests-multiqueue", &[("file_mib", "8")]);
}

#[test]
fn lab_two_vmm_guests_over_a_backend_of_stock_crates() {
    // A fifth of its 20 MiB.
    run_with("two-guests-stock-backend", &[("file_mib", "4")]);
}

#[test]
fn lab_a_guest_with_e1000_and_one_with_virtio() {
    // Reloads and what goes with them take minutes where an exit takes a millisecond: `cargo xtask lab run e1000`.
    run_with("e1000", &[("cycles", "0"), ("file_mib", "4")]);
}

// Of each the long run has files of 100 MB and 50 reloads: `cargo xtask lab run NAME`, as its script says.
const LEGACY: [(&str, &str); 2] = [("cycles", "1"), ("file_mib", "1")];

#[test]
fn lab_a_guest_with_rtl8139s_by_both_drivers_and_one_with_virtio() {
    run_with("rtl8139", &LEGACY);
}

#[test]
fn lab_a_guest_with_pcnets_and_one_with_virtio() {
    run_with("pcnet", &LEGACY);
}

#[test]
fn lab_a_guest_with_ne2k_pci_and_one_with_virtio() {
    run_with("ne2k", &LEGACY);
}

#[test]
fn lab_a_guest_with_all_five_models_busy_at_once() {
    // Of 4 MiB by each, and 5 s.
    run_with("five", &[("file_mib", "1"), ("seconds", "2")]);
}

#[test]
fn lab_a_guest_on_nics_of_the_host() {
    // Eight networks: what travels by each is small.
    run_with("uplink", &[("file_mib", "2")]);
}

#[test]
fn lab_a_guest_on_macvtaps_of_the_kernels_vhost_net() {
    // Of about 100 MB over each NIC.
    run_with("vhost-net", &[("file_mib", "2")]);
}

#[test]
fn lab_a_guest_whose_cables_are_pulled() {
    run("cables");
}

#[test]
fn lab_vlans_of_the_wire() {
    run("vlans");
}

#[test]
fn lab_a_guest_behind_the_gateway_of_the_default_network() {
    // busybox's nc, which sends a KiB at a time, has a minute for an upload.
    run_with("nat", &[("file_mib", "2")]);
}

#[test]
fn lab_a_guest_of_qemu_behind_the_gateway_of_the_default_network() {
    run_with("nat-qemu", &[("file_mib", "2")]);
}
