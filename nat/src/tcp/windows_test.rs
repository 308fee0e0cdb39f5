use super::*;

const ROOM: usize = 1 << 20;

fn at(epoch: u64) -> Duration {
    EPOCH * u32::try_from(epoch).unwrap()
}

#[test]
fn busy_flows_share_the_room_and_idle_ones_leave_it() {
    let mut windows = Windows::new(ROOM);
    assert_eq!(windows.share(), ROOM);
    let mut flows = [0; 4];
    for flow in &mut flows {
        windows.note(at(7), flow);
        // Once in an epoch, however much it sends.
        windows.note(at(7), flow);
    }
    assert_eq!(windows.share(), ROOM / 4);
    // One goes on: the others are still busy in the next epoch, and no more in that after it.
    windows.note(at(8), &mut flows[0]);
    assert_eq!(windows.share(), ROOM / 4);
    windows.note(at(9), &mut flows[0]);
    assert_eq!(windows.share(), ROOM);
    // After a pause nobody is.
    for flow in &mut flows {
        windows.note(at(10), flow);
    }
    windows.note(at(20), &mut flows[3]);
    assert_eq!(windows.share(), ROOM);
}

#[test]
fn a_share_is_never_too_small_to_be_of_use() {
    let mut windows = Windows::new(ROOM);
    for _ in 0..1000 {
        windows.note(at(1), &mut 0);
    }
    assert_eq!(windows.share(), LEAST);
}
