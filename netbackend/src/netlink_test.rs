//! Answers of the kernel, read.
use super::*;

fn datagram(attributes: Vec<LinkAttribute>, flags: u16) -> Vec<u8> {
    let mut link = LinkMessage::default();
    link.header.index = 7;
    link.attributes = attributes;
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewLink(link));
    message.header.sequence_number = 1;
    message.header.flags = flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn read(datagram: &[u8]) -> io::Result<Vec<Link>> {
    let mut answer = Answer::default();
    assert!(!answer.take(datagram, 1).unwrap(), "the end of the dump");
    answer.links()
}

#[test]
fn an_interface_below_in_another_namespace_is_none_of_ours() {
    let here = read(&datagram(vec![LinkAttribute::Link(5)], 0)).unwrap();
    assert_eq!(here[0].lower, Some(5));
    for attributes in [
        vec![LinkAttribute::Link(5), LinkAttribute::LinkNetNsId(0)],
        vec![LinkAttribute::LinkNetNsId(0), LinkAttribute::Link(5)],
    ] {
        let elsewhere = read(&datagram(attributes, 0)).unwrap();
        assert_eq!((elsewhere[0].index, elsewhere[0].lower), (7, None));
    }
}

#[test]
fn a_list_that_was_changed_while_it_was_made_is_no_answer() {
    let error = read(&datagram(Vec::new(), NLM_F_DUMP_INTR)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
}

#[test]
fn messages_of_another_request_are_passed_over() {
    let mut answer = Answer::default();
    let late = datagram(vec![LinkAttribute::Link(5)], NLM_F_DUMP_INTR);
    assert!(!answer.take(&late, 2).unwrap());
    assert_eq!(answer.links().unwrap(), []);
}
