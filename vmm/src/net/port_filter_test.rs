use super::*;
use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::mpsc::{self, Receiver},
    thread,
};

const DONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const REFUSED: &str = concat!(
    "HTTP/1.1 409 Conflict\r\ncontent-length: 52\r\n\r\n",
    r#"{"code":"conflict","message":"address is in use   "}"#
);

/// A daemon that gives these answers, one per connection; path and body of the requests.
struct Fake {
    dir: tempfile::TempDir,
    requests: Receiver<(String, PortFilter)>,
}

impl Fake {
    fn start(answers: &'static [&'static str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("c.sock")).unwrap();
        let (told, requests) = mpsc::channel();
        thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    assert_ne!(reader.read_line(&mut head).unwrap(), 0);
                }
                let mut lines = head.lines();
                let path = lines.next().unwrap().to_owned();
                let length = lines.find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.unwrap().parse().unwrap()];
                reader.read_exact(&mut body).unwrap();
                told.send((path, serde_json::from_slice(&body).unwrap()))
                    .unwrap();
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { dir, requests }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("c.sock")
    }

    fn filter(&self) -> RemoteFilter {
        let filter = RemoteFilter::new(&Client::new(self.socket()), "lan", "p0", false);
        let filter = filter.unwrap();
        assert_eq!(self.asked(), PortFilter::default());
        filter
    }

    /// What was asked for next.
    fn asked(&self) -> PortFilter {
        let (path, filter) = self.requests.recv().unwrap();
        assert_eq!(path, "PUT /v1/networks/lan/ports/p0/filter HTTP/1.1");
        filter
    }
}

#[test]
fn each_request_is_for_the_whole_filter() {
    let fake = Fake::start(&[DONE; 6]);
    let mut filter = fake.filter();
    let mut expected = PortFilter::default();
    filter.set_promiscuous(true).unwrap();
    expected.promiscuous = true;
    assert_eq!(fake.asked(), expected);
    filter
        .set_groups(Some(&[[1, 0, 0x5e, 0, 0, 0xfb]].into()))
        .unwrap();
    expected.groups = Some(["01:00:5e:00:00:fb".to_owned()].into());
    assert_eq!(fake.asked(), expected);
    filter.set_address([0x52, 0x54, 0, 9, 9, 9]).unwrap();
    expected.address = Some("52:54:00:09:09:09".to_owned());
    assert_eq!(fake.asked(), expected);
    filter.set_groups(None).unwrap();
    expected.groups = None;
    assert_eq!(fake.asked(), expected);
    filter.restore();
    assert_eq!(fake.asked(), PortFilter::default());
    // It is so: nobody is asked.
    filter.restore();
    assert!(fake.requests.recv().is_err());
}

#[test]
fn what_is_refused_is_told_and_not_asked_for_again() {
    let fake = Fake::start(&[DONE, REFUSED, DONE]);
    let mut filter = fake.filter();
    let refused = filter.set_address([0x52, 0x54, 0, 9, 9, 9]).unwrap_err();
    assert!(refused.to_string().contains("in use"), "{refused}");
    assert!(fake.asked().address.is_some());
    filter.set_promiscuous(true).unwrap();
    assert_eq!(fake.asked().address, None);
}

#[test]
fn a_daemon_that_went_away_may_have_done_it() {
    // It closes the connection without an answer.
    let fake = Fake::start(&[DONE, "", DONE]);
    let mut filter = fake.filter();
    assert!(filter.set_promiscuous(true).is_err());
    assert!(fake.asked().promiscuous);
    filter.restore();
    assert_eq!(fake.asked(), PortFilter::default());
}

#[test]
fn a_port_that_is_not_trusted_has_no_filter() {
    let fake = Fake::start(&[REFUSED]);
    let refused = RemoteFilter::new(&Client::new(fake.socket()), "lan", "p0", false);
    assert!(matches!(refused, Err(ClientError::Api(_))), "{refused:?}");
}
