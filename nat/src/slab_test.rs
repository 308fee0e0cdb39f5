use super::*;

#[test]
fn an_index_is_used_again_under_another_key() {
    let mut slab = Slab::new();
    let (a, b) = (slab.insert('a'), slab.insert('b'));
    assert_eq!(slab.remove(a.index), Some('a'));
    assert_eq!((slab.live(a), slab.len()), (None, 1));
    let next = slab.next_key();
    let c = slab.insert('c');
    assert_eq!((c, c.index), (next, a.index));
    assert_ne!(c, a);
    assert_eq!((slab.live(a), slab.live(c)), (None, Some(c.index)));
    assert_eq!(slab.iter().map(|(_, v)| *v).collect::<String>(), "cb");
    assert_eq!(slab.at(b.index), Some(&'b'));
    assert_eq!(slab.remove(9), None);
}
