use super::*;
use proptest::prelude::*;

fn mac(last: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0, 0, last])
}

fn v4(last: u8) -> IpAddr {
    [10, 0, 2, last].into()
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn table(first: u8, last: u8) -> LeaseTable {
    LeaseTable::new(v4(first)..=v4(last), &[v4(2), v4(3)], &[])
}

fn client(last: u8) -> Client<'static> {
    Client {
        id: b"id",
        mac: mac(last),
    }
}

fn lease(table: &mut LeaseTable, now: u64, client: Client<'_>) -> Option<IpAddr> {
    let address = table.offer(at(now), client, None, at(now + 60))?;
    table
        .bind(at(now), client, address, None, at(now + 1000))
        .then_some(address)
}

#[test]
fn addresses_are_given_out_in_order_and_kept() {
    let mut table = table(15, 20);
    assert_eq!(lease(&mut table, 0, client(1)), Some(v4(15)));
    assert_eq!(lease(&mut table, 0, client(2)), Some(v4(16)));
    assert_eq!(lease(&mut table, 10, client(1)), Some(v4(15)));
    assert_eq!(
        lease(&mut table, 5000, client(2)),
        Some(v4(16)),
        "ran out, but not given away"
    );
}

#[test]
fn the_gateways_own_addresses_are_not_given_out() {
    let mut table = table(1, 5);
    let given: Vec<_> = (1..=4)
        .map(|guest| lease(&mut table, 0, client(guest)))
        .collect();
    assert_eq!(given, [Some(v4(1)), Some(v4(4)), Some(v4(5)), None]);
    assert!(!table.bind(at(0), client(9), v4(2), None, at(100)));
}

#[test]
fn a_free_address_that_is_asked_for_is_given() {
    let mut table = table(15, 20);
    assert_eq!(
        table.offer(at(0), client(1), Some(v4(18)), at(60)),
        Some(v4(18))
    );
    assert_eq!(
        table.offer(at(0), client(2), Some(v4(18)), at(60)),
        Some(v4(15)),
        "held"
    );
    assert_eq!(
        table.offer(at(0), client(3), Some(v4(99)), at(60)),
        Some(v4(16)),
        "not of the pool"
    );
}

#[test]
fn a_running_lease_is_never_given_to_another() {
    let mut table = table(15, 15);
    assert_eq!(lease(&mut table, 0, client(1)), Some(v4(15)));
    assert_eq!(
        table.offer(at(999), client(2), Some(v4(15)), at(1060)),
        None
    );
    assert!(!table.bind(at(999), client(2), v4(15), None, at(2000)));
    assert_eq!(
        lease(&mut table, 1000, client(2)),
        Some(v4(15)),
        "it ran out"
    );
    assert!(
        !table.bind(at(1001), client(1), v4(15), None, at(3000)),
        "and is gone for the first"
    );
}

#[test]
fn another_station_with_the_same_identifier_is_another_client() {
    let mut table = table(15, 20);
    assert_eq!(lease(&mut table, 0, client(1)), Some(v4(15)));
    assert_eq!(
        lease(&mut table, 0, client(2)),
        Some(v4(16)),
        "a clone, or a thief"
    );
    assert!(!table.bind(at(0), client(2), v4(15), None, at(100)));
    assert!(!table.release(client(2), v4(15)));
}

#[test]
fn starvation_when_the_pool_is_used_up_the_oldest_offer_is_recycled() {
    let mut table = table(15, 17);
    assert_eq!(lease(&mut table, 0, client(1)), Some(v4(15)));
    assert_eq!(table.offer(at(1), client(2), None, at(61)), Some(v4(16)));
    assert_eq!(table.offer(at(2), client(3), None, at(62)), Some(v4(17)));
    assert_eq!(table.offer(at(3), client(4), None, at(63)), Some(v4(16)));
    assert!(!table.bind(at(3), client(2), v4(16), None, at(1000)));
    assert!(table.bind(at(3), client(3), v4(17), None, at(1000)));
}

#[test]
fn starvation_a_station_has_a_share_under_whatever_identifiers() {
    let mut table = table(15, 254);
    for number in 0..1000u32 {
        let id = number.to_be_bytes();
        let greedy = Client {
            id: &id,
            mac: mac(1),
        };
        assert!(lease(&mut table, u64::from(number), greedy).is_some());
        assert!(table.leases.len() <= PER_STATION);
        assert!(table.by_client.len() <= PER_STATION);
    }
    assert!(lease(&mut table, 0, client(2)).is_some());
}

#[test]
fn starvation_a_share_is_kept_also_when_addresses_are_named() {
    let mut table = table(15, 254);
    for last in 15..200 {
        let id = [last];
        let greedy = Client {
            id: &id,
            mac: mac(1),
        };
        assert!(table.bind(at(0), greedy, v4(last), None, at(1000)));
        assert!(table.leases.len() <= PER_STATION);
    }
}

#[test]
fn a_declined_address_rests_and_counts_for_its_station() {
    let mut table = table(15, 40);
    for _ in 0..100 {
        let address = lease(&mut table, 0, client(1)).unwrap();
        assert!(table.decline(client(1), address, at(600)));
        assert!(table.leases.len() <= PER_STATION);
    }
    assert!(!table.decline(client(2), v4(15), at(600)), "not its own");
    let fresh = lease(&mut table, 0, client(2)).unwrap();
    assert!(
        table
            .of(client(2))
            .is_some_and(|held| held.address == fresh)
    );
}

#[test]
fn what_is_released_is_given_out_again() {
    let mut table = table(15, 16);
    lease(&mut table, 0, client(1));
    lease(&mut table, 0, client(2));
    assert!(table.release(client(1), v4(15)));
    assert!(!table.release(client(1), v4(15)));
    assert_eq!(lease(&mut table, 1, client(3)), Some(v4(15)));
}

#[test]
fn a_reservation_is_for_its_station_alone_under_any_identifier() {
    let reservation = Reservation {
        mac: mac(7),
        addresses: vec![v4(16)],
        hostname: None,
    };
    let mut table = LeaseTable::new(v4(15)..=v4(17), &[], &[reservation]);
    assert_eq!(
        table.offer(at(0), client(1), Some(v4(16)), at(60)),
        Some(v4(15))
    );
    assert!(!table.bind(at(0), client(1), v4(16), None, at(60)));
    assert_eq!(lease(&mut table, 0, client(7)), Some(v4(16)));
    let firmware = Client {
        id: b"pxe",
        mac: mac(7),
    };
    assert_eq!(lease(&mut table, 1, firmware), Some(v4(16)));
    assert!(!table.bind(at(0), client(7), v4(17), None, at(60)));
}

#[test]
fn leases_are_kept_across_a_restart_for_the_time_they_have_left() {
    let mut before = table(15, 20);
    lease(&mut before, 0, client(1));
    lease(&mut before, 500, client(2));
    before.offer(at(500), client(3), None, at(560));
    let kept = before.export(at(600));
    assert_eq!(kept.len(), 2, "offers are not kept");

    let mut after = table(15, 20);
    after.import(at(0), &kept, at(500));
    assert!(
        after.of(client(1)).is_none(),
        "400 s were left, 500 s have passed"
    );
    let held = after.of(client(2)).unwrap();
    assert_eq!((held.address, held.expires), (v4(16), at(400)));
    assert_eq!(lease(&mut after, 1, client(3)), Some(v4(15)));
}

#[test]
fn kept_leases_that_do_not_belong_here_any_more_are_dropped() {
    let mut before = table(15, 20);
    lease(&mut before, 0, client(1));
    let kept = before.export(at(0));
    let mut after = table(100, 120);
    after.import(at(0), &kept, at(0));
    assert_eq!(after.iter().count(), 0);
    let mut foreign = kept;
    foreign[0].address = "fd00::1".parse().unwrap();
    after.import(at(0), &foreign, at(0));
    assert_eq!(after.iter().count(), 0);
}

/// What the station has that was given a lease first.
fn first(table: &LeaseTable, now: Duration) -> Option<IpAddr> {
    let (_, mac) = table.first(now)?;
    table.latest_of(now, mac)
}

#[test]
fn since_when_a_station_has_leases_outlives_the_table() {
    let mut table = table(15, 20);
    table.bind(at(10), client(1), v4(20), None, at(1000));
    table.bind(at(50), client(1), v4(20), None, at(1000));
    assert_eq!(table.first(at(60)), Some((10_000, client(1).mac)));
    let mut after = self::table(15, 20);
    after.import(at(5), &table.export(at(60)), at(30));
    assert_eq!(after.first(at(5)), Some((-75_000, client(1).mac)));
}

#[test]
fn the_first_lease_is_the_oldest_that_still_runs_however_often_it_is_renewed() {
    let mut table = table(15, 20);
    assert_eq!(first(&table, at(0)), None);
    table.bind(at(0), client(1), v4(20), None, at(100));
    table.bind(at(1), client(2), v4(15), None, at(1000));
    table.bind(at(50), client(1), v4(20), None, at(150));
    assert_eq!(first(&table, at(60)), Some(v4(20)));
    assert_eq!(first(&table, at(200)), Some(v4(15)));
    // Also after a restart.
    let mut after = self::table(15, 20);
    after.import(at(60), &table.export(at(60)), at(0));
    assert_eq!(first(&after, at(60)), Some(v4(20)));
}

#[test]
fn a_pool_at_the_end_of_the_address_space_ends_there() {
    let last = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));
    let first = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX - 1));
    let mut table = LeaseTable::new(first..=last, &[], &[]);
    assert_eq!(lease(&mut table, 0, client(1)), Some(first));
    lease(&mut table, 0, client(2));
    assert_eq!(lease(&mut table, 0, client(3)), None);
}

/// What may happen to a table.
#[derive(Debug, Clone)]
enum Step {
    Offer(u8, u8, Option<u8>),
    Bind(u8, u8, u8),
    Release(u8, u8, u8),
    Decline(u8, u8, u8),
    Withdraw(u8, u8),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let (station, id, address) = (0..4u8, 0..12u8, 10..30u8);
    prop_oneof![
        (
            station.clone(),
            id.clone(),
            proptest::option::of(address.clone())
        )
            .prop_map(|(s, i, a)| Step::Offer(s, i, a)),
        (station.clone(), id.clone(), address.clone()).prop_map(|(s, i, a)| Step::Bind(s, i, a)),
        (station.clone(), id.clone(), address.clone()).prop_map(|(s, i, a)| Step::Release(s, i, a)),
        (station.clone(), id.clone(), address).prop_map(|(s, i, a)| Step::Decline(s, i, a)),
        (station, id).prop_map(|(s, i)| Step::Withdraw(s, i)),
        (0..2000u16).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// However clients behave: the indices agree, nothing outside the pool is held, no station has more than its share, no
    /// running lease changes hands, and nothing is lost.
    #[test]
    fn the_table_stays_consistent(steps in proptest::collection::vec(step(), 1..120)) {
        let reservation = Reservation { mac: mac(3), addresses: vec![v4(16)], hostname: None };
        let mut table = LeaseTable::new(v4(15)..=v4(24), &[v4(17)], &[reservation]);
        let mut now = Duration::ZERO;
        for step in steps {
            let before: Vec<Lease> = table.iter().cloned().collect();
            let id_of = |id: u8| [id];
            let mut given_back = None;
            match step {
                Step::Offer(s, i, a) => {
                    let id = id_of(i);
                    table.offer(now, Client { id: &id, mac: mac(s) }, a.map(v4), now + at(60));
                }
                Step::Bind(s, i, a) => {
                    let id = id_of(i);
                    table.bind(now, Client { id: &id, mac: mac(s) }, v4(a), None, now + at(1000));
                }
                Step::Release(s, i, a) => {
                    let id = id_of(i);
                    given_back = table.release(Client { id: &id, mac: mac(s) }, v4(a)).then(|| v4(a));
                }
                Step::Decline(s, i, a) => {
                    let id = id_of(i);
                    let client = Client { id: &id, mac: mac(s) };
                    given_back = table.decline(client, v4(a), now + at(600)).then(|| v4(a));
                }
                Step::Withdraw(s, i) => {
                    let id = id_of(i);
                    table.withdraw(Client { id: &id, mac: mac(s) });
                }
                Step::Pass(seconds) => now += at(seconds.into()),
            }
            for old in before.iter().filter(|old| old.state == State::Bound && old.expires > now) {
                // It may only have gone away by its own station's doing.
                let holder = table.leases.get(&old.address);
                prop_assert!(holder.is_none_or(|new| new.mac == old.mac) || given_back.is_some());
            }
            prop_assert_eq!(table.by_expiry.len(), table.leases.len());
            for (address, lease) in &table.leases {
                prop_assert!(table.is_allowed(*address, lease.mac));
                prop_assert!(table.by_expiry.contains(&(lease.expires, *address)));
                let spare = table.spare.contains(&(lease.state, lease.expires, *address));
                prop_assert_eq!(spare, lease.state != State::Bound);
                prop_assert!(!table.returned.contains(address));
            }
            for held in table.by_station.values() {
                prop_assert!(held.len() <= PER_STATION && !held.is_empty());
            }
            let held: usize = table.by_station.values().map(Vec::len).sum();
            prop_assert_eq!(held, table.leases.len());
            prop_assert!(table.by_client.values().all(|address| table.leases.contains_key(address)));
            // Every address of the pool is held, was returned, or was never given out.
            for last in (15..=24u8).filter(|last| ![16, 17].contains(last)) {
                let fresh = bits(v4(last)) >= table.unused;
                let held = table.leases.contains_key(&v4(last));
                prop_assert!(fresh || held || table.returned.contains(&v4(last)), "{} is lost", last);
            }
        }
    }
}

#[test]
fn the_first_station_is_where_it_asked_for_an_address_last() {
    let mut table = table(15, 20);
    let ask = |id: &'static [u8]| Client { id, mac: mac(1) };
    assert_eq!(lease(&mut table, 0, ask(b"firmware")), Some(v4(15)));
    assert_eq!(lease(&mut table, 5, client(2)), Some(v4(16)));
    assert_eq!(lease(&mut table, 60, ask(b"system")), Some(v4(17)));
    assert_eq!(
        first(&table, at(61)),
        Some(v4(17)),
        "not where its firmware was"
    );
    assert_eq!(first(&table, at(1001)), Some(v4(17)), "nor later");
}

#[test]
fn who_holds_an_address_is_who_it_is_reserved_for_or_leased_to() {
    let reservation = Reservation {
        mac: mac(9),
        addresses: vec![v4(50)],
        hostname: None,
    };
    let mut table = LeaseTable::new(v4(15)..=v4(20), &[], &[reservation]);
    assert_eq!(table.holder(at(0), v4(50)), Some((mac(9), at(0))));
    assert_eq!(table.holder(at(0), v4(15)), None);
    let offered = table.offer(at(0), client(1), None, at(60));
    assert_eq!((offered, table.holder(at(0), v4(15))), (Some(v4(15)), None));
    assert!(table.bind(at(0), client(1), v4(15), None, at(100)));
    assert_eq!(table.holder(at(99), v4(15)), Some((mac(1), at(0))));
    assert_eq!(table.holder(at(100), v4(15)), None);
}
