//! The rules as a table: mode, way in, source, destination -> where the frame goes.
//!
//! Ports: `F` and `G` are guests with fixed addresses f and g; `L` and `M` are guests that learn,
//! and l and m are the addresses they have sent from; `U` is the uplink, and w is a host of the
//! outside world that has sent. Further addresses: `?` nobody has, `s` is static on L, `*`
//! broadcast, `+` multicast, `b` BPDU, `a` LLDP, `p` PAUSE.
use super::*;
use DropReason::{
    Isolated, NoReceiver, NoUplink, Pause, Reflected, ReservedGroup, SamePort, UnknownDestination,
};
use Mode::{Bridge, Passthrough, Private, Vepa};
use Outcome::{Drop, To};

#[derive(Debug, PartialEq)]
enum Outcome {
    To(&'static str),
    Drop(DropReason),
}

const PORTS: &str = "FGLMU";

fn port(name: char) -> PortId {
    PortId(PORTS.find(name).unwrap().try_into().unwrap())
}

fn address(name: char) -> MacAddr {
    let text = match name {
        '*' => "ff:ff:ff:ff:ff:ff",
        '+' => "01:00:5e:00:00:fb",
        'b' => "01:80:c2:00:00:00",
        'p' => "01:80:c2:00:00:01",
        'a' => "01:80:c2:00:00:0e",
        name => return MacAddr([0x52, 0x54, 0, 0, 0, u8::try_from(name).unwrap()]),
    };
    text.parse().unwrap()
}

fn send(switch: &mut Switch, way_in: char, src: char, dst: char) -> Egress {
    let mut frame = [0; 14];
    frame[..6].copy_from_slice(&address(dst).0);
    frame[6..12].copy_from_slice(&address(src).0);
    switch.forward(Duration::from_secs(1), port(way_in), &frame)
}

/// A network in which everybody who learns or is learned has sent once.
fn network(mode: Mode, ports: &str) -> Switch {
    let mut switch = Switch::new(SwitchConfig::new(mode));
    for name in ports.chars() {
        let mac = name.to_ascii_lowercase();
        let role = if name == 'U' {
            Role::Uplink
        } else {
            Role::Guest
        };
        let mac = matches!(name, 'F' | 'G').then(|| address(mac));
        switch
            .add_port(port(name), PortConfig { role, mac })
            .unwrap();
    }
    if ports.contains('L') {
        switch.add_static(address('s'), port('L')).unwrap();
    }
    for (way_in, src) in [('U', 'w'), ('L', 'l'), ('M', 'm')] {
        if ports.contains(way_in) {
            let _ = send(&mut switch, way_in, src, '*');
        }
    }
    switch
}

fn outcome(
    mode: Mode,
    ports: &str,
    way_in: char,
    src: char,
    dst: char,
) -> Result<String, DropReason> {
    let mut switch = network(mode, ports);
    let name = |id: PortId| PORTS.chars().nth(id.0.into()).unwrap();
    match send(&mut switch, way_in, src, dst) {
        Egress::Drop(reason) => Err(reason),
        Egress::Port(id) => Ok(name(id).to_string()),
        Egress::Flood(flood) => Ok(switch.targets(flood).map(name).collect()),
    }
}

fn check(table: &[(Mode, &str, char, char, &str, Outcome)]) {
    for (mode, ports, way_in, src, destinations, expected) in table {
        for dst in destinations.chars() {
            let got = outcome(*mode, ports, *way_in, *src, dst);
            let expected = match expected {
                To(names) => Ok((*names).to_owned()),
                Drop(reason) => Err(*reason),
            };
            assert_eq!(
                got, expected,
                "{mode:?} network {ports}, in by {way_in}: {src} -> {dst}"
            );
        }
    }
}

#[test]
fn bridge() {
    check(&[
        // mode  ports    in   src  dst    out
        // Unicast goes to the owner, whoever asks.
        (Bridge, "FGLMU", 'F', 'f', "g", To("G")),
        (Bridge, "FGLMU", 'F', 'f', "ls", To("L")),
        (Bridge, "FGLMU", 'L', 'l', "m", To("M")),
        (Bridge, "FGLMU", 'L', 'l', "w", To("U")),
        (Bridge, "FGLMU", 'U', 'w', "f", To("F")),
        (Bridge, "FGLMU", 'U', 'w', "ls", To("L")),
        (Bridge, "FGLMU", 'F', 'f', "f", Drop(SamePort)),
        (Bridge, "FGLMU", 'L', 'l', "ls", Drop(SamePort)),
        (Bridge, "FGLMU", 'U', 'w', "w", Drop(SamePort)),
        // Unknown unicast: the wire, and guests whose addresses are not known.
        (Bridge, "FGLMU", 'F', 'f', "?", To("LMU")),
        (Bridge, "FGLMU", 'L', 'l', "?", To("MU")),
        (Bridge, "FGLMU", 'U', 'w', "?", To("LM")),
        (Bridge, "FGLM", 'F', 'f', "?", To("LM")),
        (Bridge, "FGL", 'L', 'l', "?", Drop(UnknownDestination)),
        // Fixed addresses only, like macvlan: to the wire, or nowhere.
        (Bridge, "FGU", 'F', 'f', "?w", To("U")),
        (Bridge, "FGU", 'F', 'f', "g", To("G")),
        (Bridge, "FGU", 'U', 'w', "?", Drop(UnknownDestination)),
        (Bridge, "FG", 'F', 'f', "?", Drop(UnknownDestination)),
        // Broadcast and multicast: all others. BPDUs pass, LLDP and its like do not, PAUSE never.
        (Bridge, "FGLMU", 'F', 'f', "*+b", To("GLMU")),
        (Bridge, "FGLMU", 'L', 'l', "*+b", To("FGMU")),
        (Bridge, "FGLMU", 'U', 'w', "*+b", To("FGLM")),
        (Bridge, "FGLM", 'F', 'f', "*+b", To("GLM")),
        (Bridge, "F", 'F', 'f', "*+b", Drop(NoReceiver)),
        (Bridge, "FGLMU", 'L', 'l', "a", Drop(ReservedGroup)),
        (Bridge, "FGLMU", 'U', 'w', "a", Drop(ReservedGroup)),
        (Bridge, "FGLMU", 'U', 'w', "p", Drop(Pause)),
        (Bridge, "FGLMU", 'L', 'l', "p", Drop(Pause)),
        // Reflected by the uplink: floods are over, unicast finds its owner (macvlan_handle_frame).
        (Bridge, "FGLMU", 'U', 'f', "*+?", Drop(Reflected)),
        (Bridge, "FGLMU", 'U', 's', "*+?", Drop(Reflected)),
        (Bridge, "FGLMU", 'U', 'f', "g", To("G")),
        (Bridge, "FGLMU", 'U', 'f', "f", To("F")),
        // A learned source at the uplink has moved there, and is no reflection.
        (Bridge, "FGLMU", 'U', 'l', "*", To("FGLM")),
        (Bridge, "FGLMU", 'U', 'l', "l", Drop(SamePort)),
        // A fixed port's other addresses are forwarded and not learned; a stolen one is not
        // believed.
        (Bridge, "FGLMU", 'F', '?', "g", To("G")),
        (Bridge, "FGLMU", 'F', '?', "?", To("LMU")),
        (Bridge, "FGLMU", 'L', 'f', "f", To("F")),
    ]);
}

#[test]
fn private() {
    check(&[
        // Whatever a guest sends goes out, even to itself or to a guest beside it.
        (Private, "FGLMU", 'F', 'f', "fglsw?*+ba", To("U")),
        (Private, "FGLMU", 'L', 'l', "fglsw?*+ba", To("U")),
        (Private, "FGLMU", 'F', 'f', "p", Drop(Pause)),
        (Private, "FGLM", 'F', 'f', "g?*", Drop(NoUplink)),
        (Private, "FGLM", 'L', 'l', "g?*", Drop(NoUplink)),
        // From outside.
        (Private, "FGLMU", 'U', 'w', "f", To("F")),
        (Private, "FGLMU", 'U', 'w', "ls", To("L")),
        (Private, "FGLMU", 'U', 'w', "w?", Drop(UnknownDestination)),
        (Private, "FGLMU", 'U', 'w', "*+ba", To("FGLM")),
        (Private, "FU", 'U', 'w', "*+ba", To("F")),
        (Private, "U", 'U', 'w', "*+ba", Drop(NoReceiver)),
        (Private, "FGLMU", 'U', 'w', "p", Drop(Pause)),
        // Reflected: back to the sender at most.
        (Private, "FGLMU", 'U', 'f', "*+ba", To("F")),
        (Private, "FGLMU", 'U', 'l', "*+ba", To("L")),
        (Private, "FGLMU", 'U', 's', "*+ba", To("L")),
        (Private, "FGLMU", 'U', 'f', "f", To("F")),
        (Private, "FGLMU", 'U', 'f', "gls", Drop(Isolated)),
        (Private, "FGLMU", 'U', 'l', "fgm", Drop(Isolated)),
        (Private, "FGLMU", 'U', 'f', "?w", Drop(UnknownDestination)),
    ]);
}

#[test]
fn vepa() {
    check(&[
        (Vepa, "FGLMU", 'F', 'f', "fglsw?*+ba", To("U")),
        (Vepa, "FGLMU", 'L', 'l', "fglsw?*+ba", To("U")),
        (Vepa, "FGLMU", 'F', 'f', "p", Drop(Pause)),
        (Vepa, "FGLM", 'F', 'f', "g?*", Drop(NoUplink)),
        // From outside.
        (Vepa, "FGLMU", 'U', 'w', "f", To("F")),
        (Vepa, "FGLMU", 'U', 'w', "ls", To("L")),
        (Vepa, "FGLMU", 'U', 'w', "w?", Drop(UnknownDestination)),
        (Vepa, "FGLMU", 'U', 'w', "*+ba", To("FGLM")),
        (Vepa, "U", 'U', 'w', "*", Drop(NoReceiver)),
        // Reflected: that is how guests meet; the sender does not hear itself.
        (Vepa, "FGLMU", 'U', 'f', "g", To("G")),
        (Vepa, "FGLMU", 'U', 'l', "m", To("M")),
        (Vepa, "FGLMU", 'U', 'f', "f", To("F")),
        (Vepa, "FGLMU", 'U', 'f', "*+ba", To("GLM")),
        (Vepa, "FGLMU", 'U', 'l', "*+ba", To("FGM")),
        (Vepa, "FGLMU", 'U', 's', "*+ba", To("FGM")),
        (Vepa, "FU", 'U', 'f', "*", Drop(NoReceiver)),
    ]);
}

#[test]
fn passthrough() {
    check(&[
        (Passthrough, "FU", 'F', 'f', "fgw?*+ba", To("U")),
        (Passthrough, "FU", 'F', '?', "fgw?*+ba", To("U")),
        (Passthrough, "FU", 'U', 'w', "fgw?*+ba", To("F")),
        (Passthrough, "FU", 'U', 'f', "fgw?*+ba", To("F")),
        (Passthrough, "LU", 'L', 'l', "lw?*+ba", To("U")),
        (Passthrough, "LU", 'U', 'w', "lw?*+ba", To("L")),
        (Passthrough, "FU", 'F', 'f', "p", Drop(Pause)),
        (Passthrough, "FU", 'U', 'w', "p", Drop(Pause)),
        (Passthrough, "F", 'F', 'f', "w*", Drop(NoUplink)),
        (Passthrough, "U", 'U', 'w', "f*", Drop(NoReceiver)),
    ]);
}
