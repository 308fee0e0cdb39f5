use super::*;

#[test]
fn a_lap_turns_the_wrap_counter_and_back() {
    for size in [1, 3, 8, 32768] {
        let start = Cursor::decode(1 << 15);
        assert_eq!(start, Cursor::new(0, true));
        let lap = start.after(size, size);
        assert_eq!(lap, Cursor::new(0, false));
        assert_eq!(lap.before(size, size), start);
        let last = start.after(size - 1, size);
        assert_eq!(last.index(), size - 1);
        assert_eq!(last.after(1, size), lap);
        assert_eq!(lap.before(1, size), last);
    }
}

#[test]
fn bits_are_those_of_the_wire() {
    for bits in [0, 7, 1 << 15, 1 << 15 | 32767] {
        assert_eq!(Cursor::decode(bits).encode(), bits);
    }
}
