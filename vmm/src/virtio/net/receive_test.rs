use super::*;
use crate::{
    net::ReceiveFilter,
    virtio::{
        net::tests::{Guest, Lab, MAC},
        spec,
        testing::{Driver, readable, writable},
    },
};
use proptest::prelude::*;

const NEGOTIATED: u64 = features::CTRL_VQ | features::CTRL_RX | features::CTRL_MAC_ADDR;
/// The control queue of a NIC with one queue pair.
const CONTROL: u16 = 2;
const OTHER: [u8; 6] = [0x52, 0x54, 0, 9, 9, 9];

/// What a macvtap would do.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Fake {
    takes_all: bool,
    address: Option<[u8; 6]>,
    /// Some: not all.
    groups: Option<BTreeSet<[u8; 6]>>,
    promiscuous: bool,
    fails: bool,
}

impl Fake {
    fn answer(&self) -> io::Result<()> {
        if self.fails {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(())
    }
}

impl ReceiveFilter for Fake {
    fn takes_all_addresses(&self) -> bool {
        self.takes_all
    }

    fn set_address(&mut self, address: [u8; 6]) -> io::Result<()> {
        self.answer()?;
        self.address = Some(address);
        Ok(())
    }

    fn set_groups(&mut self, groups: Option<&BTreeSet<[u8; 6]>>) -> io::Result<()> {
        self.answer()?;
        assert!(groups.is_none_or(|groups| groups.len() <= 64), "bounded");
        self.groups = groups.cloned();
        Ok(())
    }

    fn set_promiscuous(&mut self, promiscuous: bool) -> io::Result<()> {
        self.answer()?;
        self.promiscuous = promiscuous;
        Ok(())
    }

    fn restore(&mut self) {
        *self = Self {
            takes_all: self.takes_all,
            fails: self.fails,
            ..Self::default()
        };
    }
}

fn group(last: u8) -> [u8; 6] {
    [1, 0, 0x5e, 0, 0, last]
}

/// VIRTIO_NET_CTRL_MAC_TABLE_SET with these lists.
fn table(addresses: &[[u8; 6]], groups: &[[u8; 6]]) -> Vec<u8> {
    let mut command = vec![CLASS_MAC, MAC_TABLE_SET];
    for list in [addresses, groups] {
        command.extend(u32::try_from(list.len()).unwrap().to_le_bytes());
        command.extend(list.concat());
    }
    command
}

fn shown(lab: &Lab, driver: &Driver<'_>) -> [u8; 6] {
    lab.machine.read::<6>(driver.structures[&spec::CAP_DEVICE])
}

#[test]
fn the_filter_follows_the_driver_until_it_resets_the_nic() {
    let fake = Arc::new(Mutex::new(Fake::default()));
    let (lab, _backend) = Lab::with_filter(fake.clone());
    let mut guest = Guest::start(&lab, NEGOTIATED, 1);
    let now = || fake.lock().unwrap().clone();

    assert_eq!(guest.control(CONTROL, &[CLASS_RX, RX_PROMISC, 1]), OK);
    assert!(now().promiscuous);
    assert_eq!(guest.control(CONTROL, &[CLASS_RX, RX_PROMISC, 0]), OK);
    assert!(!now().promiscuous);

    let two = [group(1), group(2)];
    assert_eq!(guest.control(CONTROL, &table(&[], &two)), OK);
    assert_eq!(now().groups, None, "all, until the driver says otherwise");
    assert_eq!(guest.control(CONTROL, &[CLASS_RX, RX_ALLMULTI, 0]), OK);
    assert_eq!(now().groups, Some(BTreeSet::from(two)));
    let many: Vec<_> = (0..64).map(group).collect();
    assert_eq!(guest.control(CONTROL, &table(&[], &many)), OK);
    assert_eq!(now().groups.map(|groups| groups.len()), Some(64));
    let too_many: Vec<_> = (0..65).map(group).collect();
    assert_eq!(guest.control(CONTROL, &table(&[], &too_many)), OK);
    assert_eq!(now().groups, None, "too many are all");
    assert_eq!(guest.control(CONTROL, &table(&[], &[])), OK);
    assert_eq!(now().groups, Some(BTreeSet::new()));

    let change = [&[CLASS_MAC, MAC_ADDR_SET][..], &OTHER].concat();
    assert_eq!(guest.control(CONTROL, &change), OK);
    assert_eq!(now().address, Some(OTHER));
    assert_eq!(shown(&lab, &guest.driver), OTHER);

    guest.driver.set_status(0);
    assert_eq!(now(), Fake::default());
    assert_eq!(shown(&lab, &guest.driver), MAC.0);
}

#[test]
fn addresses_beside_its_own_are_refused_where_they_would_not_come() {
    for (takes_all, answer) in [(false, ERR), (true, OK)] {
        let fake = Arc::new(Mutex::new(Fake {
            takes_all,
            ..Fake::default()
        }));
        let (lab, _backend) = Lab::with_filter(fake.clone());
        let mut guest = Guest::start(&lab, NEGOTIATED, 1);
        assert_eq!(guest.control(CONTROL, &[CLASS_RX, RX_ALLMULTI, 0]), OK);
        assert_eq!(
            guest.control(CONTROL, &table(&[OTHER], &[group(3)])),
            answer
        );
        let groups = fake.lock().unwrap().groups.clone();
        assert_eq!(
            groups,
            Some(BTreeSet::from([group(3)])),
            "of the groups is heard"
        );
    }
}

#[test]
fn what_the_host_refuses_is_told_and_the_address_stays() {
    let fake = Arc::new(Mutex::new(Fake {
        fails: true,
        ..Fake::default()
    }));
    let (lab, _backend) = Lab::with_filter(fake);
    let mut guest = Guest::start(&lab, NEGOTIATED, 1);
    let change = [&[CLASS_MAC, MAC_ADDR_SET][..], &OTHER].concat();
    for command in [
        &change[..],
        &table(&[], &[group(1)]),
        &[CLASS_RX, RX_PROMISC, 1],
    ] {
        assert_eq!(guest.control(CONTROL, command), ERR);
    }
    assert_eq!(shown(&lab, &guest.driver), MAC.0);
}

#[test]
fn commands_that_were_not_negotiated_or_make_no_sense_change_nothing() {
    let fake = Arc::new(Mutex::new(Fake::default()));
    let (lab, _backend) = Lab::with_filter(fake.clone());
    let mut guest = Guest::start(&lab, NEGOTIATED, 1);
    let mut not_a_group = table(&[], &[group(1), OTHER]);
    let mut short = table(&[], &[group(1), group(2)]);
    short.pop();
    let list = |entries: u32| [&[CLASS_MAC, MAC_TABLE_SET][..], &entries.to_le_bytes()].concat();
    let second = |entries: u32| [list(0), entries.to_le_bytes().to_vec()].concat();
    let bad = [
        not_a_group.clone(),
        short,
        list(0),
        list(1),
        list(u32::MAX),
        list(u32::MAX / 6),
        second(1),
        second(65),
        second(u32::MAX),
        second(715_827_882),
        vec![CLASS_MAC, MAC_TABLE_SET],
        vec![CLASS_MAC, MAC_ADDR_SET],
        vec![CLASS_MAC, MAC_ADDR_SET, 0, 0, 0, 0, 0, 0],
        vec![CLASS_MAC, MAC_ADDR_SET, 1, 0, 0x5e, 0, 0, 1],
        vec![CLASS_MAC, MAC_ADDR_SET, 0x52, 0x54, 0, 1, 2],
        vec![CLASS_MAC, 2, 0, 0, 0, 0],
        vec![CLASS_RX, RX_PROMISC],
        vec![CLASS_RX, RX_ALLMULTI],
        // Of CTRL_RX_EXTRA.
        vec![CLASS_RX, 2, 1],
        vec![CLASS_RX, 5, 1],
    ];
    for command in &bad {
        assert_eq!(guest.control(CONTROL, command), ERR, "{command:?}");
    }
    // A command in pieces, and one with nothing to read.
    not_a_group = table(&[], &[group(1)]);
    let at = guest.driver.allocate(4096);
    assert!(guest.driver.machine.ram.map.write(at, &not_a_group));
    let queue = guest.queues.last_mut().unwrap();
    let pieces = [readable(at, 1), readable(at + 1, 4), writable(at + 2048, 1)];
    guest.driver.exchange(CONTROL, queue, &pieces);
    guest
        .driver
        .exchange(CONTROL, queue, &[writable(at + 2048, 1)]);
    assert_eq!(*fake.lock().unwrap(), Fake::default());

    let (lab, _backend) = Lab::with_filter(fake.clone());
    let mut guest = Guest::start(&lab, features::CTRL_VQ, 1);
    for command in [&[CLASS_RX, RX_PROMISC, 1][..], &table(&[], &[])] {
        assert_eq!(guest.control(CONTROL, command), ERR);
    }
    assert_eq!(*fake.lock().unwrap(), Fake::default());
}

#[test]
fn no_command_is_worse_than_refused() {
    let fake = Arc::new(Mutex::new(Fake::default()));
    let (lab, _backend) = Lab::with_filter(fake);
    let guest = Mutex::new(Guest::start(&lab, NEGOTIATED, 1));
    let command = (
        0..3_u8,
        0..3_u8,
        proptest::collection::vec(any::<u8>(), 0..64),
    );
    proptest!(ProptestConfig::with_cases(200), |((class, kind, data) in command)| {
        let mut guest = guest.lock().unwrap();
        let start = guest.driver.next_page;
        let command = [vec![class, kind], data].concat();
        prop_assert!(guest.control(CONTROL, &command) <= ERR);
        guest.driver.next_page = start;
    });
}
