//! Reading queries and answers, as far as a forwarder must.
use std::ops::Range;
use std::time::Duration;

use super::name::Name;
use super::spec::{EDNS_UDP, HEADER, PLAIN_UDP, flag, kind, rcode};
use crate::services::cursor::{Put, Reader};

/// Records that one message may have; more than a guest has use for, less than a parser must be afraid of.
const MAX_RECORDS: usize = 1024;

/// The twelve octets before everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: u16,
    pub(crate) flags: u16,
    /// questions, answers, authorities, additionals
    pub(crate) counts: [u16; 4],
}

impl Header {
    pub(crate) fn parse(message: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(message);
        Some(Self {
            id: reader.u16()?,
            flags: reader.u16()?,
            counts: [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?],
        })
    }

    pub(crate) fn is_response(self) -> bool {
        self.flags & flag::QR != 0
    }

    pub(crate) fn rcode(self) -> u16 {
        self.flags & flag::RCODE
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) kind: u16,
    pub(crate) class: u16,
}

impl Question {
    /// The one question of a message and where it is.
    pub(crate) fn parse(message: &[u8]) -> Option<(Self, Range<usize>)> {
        let header = Header::parse(message)?;
        let [1, ..] = header.counts else {
            return None;
        };
        let (name, end) = Name::parse(message, HEADER)?;
        let mut reader = Reader::new(message.get(end..)?);
        let question = Self {
            name,
            kind: reader.u16()?,
            class: reader.u16()?,
        };
        Some((question, HEADER..end + 4))
    }
}

/// A query of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) header: Header,
    pub(crate) question: Question,
    /// the question's octets, with the letters as the guest wrote them
    pub(crate) question_bytes: Vec<u8>,
    /// what it takes over UDP
    pub(crate) udp_size: usize,
    /// it speaks EDNS
    pub(crate) edns: bool,
    /// it wants DNSSEC records (RFC 3225)
    pub(crate) dnssec_ok: bool,
}

/// Why a message is not a query to be answered as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// no answer at all: it has no header, or is itself an answer
    Ignore,
    /// an answer with this code
    Answer(u16),
}

impl Query {
    /// Whether one answer will do for both, with each one's own id and spelling.
    pub(crate) fn asks_the_same_as(&self, other: &Self) -> bool {
        let wants = |query: &Self| (query.dnssec_ok, query.header.flags & flag::CD);
        self.question == other.question && wants(self) == wants(other)
    }

    pub(crate) fn parse(message: &[u8]) -> Result<Self, Refusal> {
        let header = Header::parse(message).ok_or(Refusal::Ignore)?;
        if header.is_response() {
            return Err(Refusal::Ignore);
        }
        if header.flags & flag::OPCODE != 0 {
            return Err(Refusal::Answer(rcode::NOT_IMPLEMENTED));
        }
        let malformed = Refusal::Answer(rcode::FORMAT_ERROR);
        let (question, range) = Question::parse(message).ok_or(malformed)?;
        if matches!(question.kind, kind::AXFR | kind::IXFR) {
            return Err(Refusal::Answer(rcode::REFUSED));
        }
        let question_bytes = message.get(range).ok_or(malformed)?.to_vec();
        // Its labels are given in full: nothing stands before them that a pointer could mean.
        if question_bytes.len() != question.name.wire().len() + 4 {
            return Err(malformed);
        }
        let opt = records(message).ok_or(malformed)?;
        let opt = opt.iter().find(|record| record.kind == kind::OPT);
        Ok(Self {
            header,
            question,
            question_bytes,
            udp_size: opt.map_or(PLAIN_UDP, |opt| {
                usize::from(opt.class).clamp(PLAIN_UDP, EDNS_UDP.into())
            }),
            edns: opt.is_some(),
            dnssec_ok: opt.is_some_and(|opt| opt.ttl & 0x8000 != 0),
        })
    }

    /// The query as we ask it ourselves: with our own id, and nothing of the guest's but the question and what it wants to know.
    pub(crate) fn forwarded(&self, id: u16) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER + self.question_bytes.len() + 11);
        message.put_u16(id);
        message.put_u16(flag::RD | self.header.flags & flag::CD);
        for count in [1, 0, 0, 1] {
            message.put_u16(count);
        }
        message.put(&self.question_bytes);
        put_opt(&mut message, self.dnssec_ok);
        message
    }

    /// The start of an answer to it: header and question.
    pub(crate) fn response(&self, code: u16, authoritative: bool, answers: u16) -> Vec<u8> {
        let mut message = Vec::with_capacity(512);
        message.put_u16(self.header.id);
        let authority = if authoritative { flag::AA } else { 0 };
        let echoed = self.header.flags & (flag::RD | flag::CD);
        message.put_u16(flag::QR | flag::RA | authority | echoed | code);
        for count in [1, answers, 0, u16::from(self.edns)] {
            message.put_u16(count);
        }
        message.put(&self.question_bytes);
        message
    }

    /// An answer that says no more than its code.
    pub(crate) fn failure(&self, code: u16) -> Vec<u8> {
        let mut message = self.response(code, false, 0);
        self.finish(&mut message);
        message
    }

    /// Ends an answer: who speaks EDNS is answered in kind (RFC 6891, 6.1.1).
    pub(crate) fn finish(&self, message: &mut Vec<u8>) {
        if self.edns {
            put_opt(message, self.dnssec_ok);
        }
    }

    /// Cut to what the client takes over UDP: then it asks again over TCP.
    pub(crate) fn truncated(&self, answer: Vec<u8>) -> Vec<u8> {
        if answer.len() <= self.udp_size {
            return answer;
        }
        let code = Header::parse(&answer).map_or(0, Header::rcode);
        let mut message = self.response(code, false, 0);
        set_flags(&mut message, |flags| flags | flag::TC);
        self.finish(&mut message);
        message
    }
}

/// An answer to a message that is no well-formed query: its header, and nothing else.
pub(crate) fn refuse(message: &[u8], code: u16) -> Option<Vec<u8>> {
    let header = Header::parse(message)?;
    let mut answer = Vec::with_capacity(HEADER);
    answer.put_u16(header.id);
    answer.put_u16(flag::QR | flag::RA | header.flags & (flag::OPCODE | flag::RD) | code);
    answer.resize(HEADER, 0);
    Some(answer)
}

fn put_opt(message: &mut Vec<u8>, dnssec_ok: bool) {
    message.put_u8(0);
    message.put_u16(kind::OPT);
    message.put_u16(EDNS_UDP);
    message.put_u32(if dnssec_ok { 0x8000 } else { 0 });
    message.put_u16(0);
}

fn set_flags(message: &mut [u8], change: impl FnOnce(u16) -> u16) {
    if let Some(field) = message.get_mut(2..4)
        && let Ok(flags) = <[u8; 2]>::try_from(&*field)
    {
        field.copy_from_slice(&change(u16::from_be_bytes(flags)).to_be_bytes());
    }
}

/// One resource record, as far as its fixed part says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    /// where its time to live is
    pub(crate) ttl_at: usize,
    pub(crate) data: Range<usize>,
    /// 0: answers, 1: authorities, 2: additionals
    pub(crate) section: usize,
}

/// The records of a message, in order. None: one of them does not end within the message, or there are too many.
pub(crate) fn records(message: &[u8]) -> Option<Vec<Record>> {
    let header = Header::parse(message)?;
    let [questions, sections @ ..] = header.counts;
    let mut at = HEADER;
    for _ in 0..questions {
        let (_, end) = Name::parse(message, at)?;
        at = end + 4;
    }
    if sections
        .iter()
        .map(|count| usize::from(*count))
        .sum::<usize>()
        > MAX_RECORDS
    {
        return None;
    }
    let mut records = Vec::new();
    for (section, count) in sections.into_iter().enumerate() {
        for _ in 0..count {
            let (_, end) = Name::parse(message, at)?;
            let mut reader = Reader::new(message.get(end..)?);
            let (kind, class, ttl) = (reader.u16()?, reader.u16()?, reader.u32()?);
            let len = usize::from(reader.u16()?);
            reader.take(len)?;
            let data = end + 10..end + 10 + len;
            at = data.end;
            records.push(Record {
                kind,
                class,
                ttl,
                ttl_at: end + 4,
                data,
                section,
            });
        }
    }
    Some(records)
}

/// An upstream's answer, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) header: Header,
    records: Vec<Record>,
    bytes: Vec<u8>,
    question: Range<usize>,
}

impl Answer {
    /// None: it does not answer `query` as it was sent with `id`, or is malformed.
    pub(crate) fn parse(message: &[u8], id: u16, query: &Query) -> Option<Self> {
        let header = Header::parse(message)?;
        let (asked, question) = Question::parse(message)?;
        let answers = header.is_response() && header.id == id && asked == query.question;
        if !answers || question.len() != query.question_bytes.len() {
            return None;
        }
        // A truncated message may end within a record.
        let records = match records(message) {
            None if header.flags & flag::TC == 0 => return None,
            found => found.unwrap_or_default(),
        };
        Some(Self {
            header,
            records,
            bytes: message.to_vec(),
            question,
        })
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.header.flags & flag::TC != 0
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How long it may be kept: its shortest time to live, or what its SOA record says of names and types that are not there
    /// (RFC 2308, 5). None: not at all.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        let code = self.header.rcode();
        if self.is_truncated() || !matches!(code, rcode::NO_ERROR | rcode::NAME_ERROR) {
            return None;
        }
        let lasting = self
            .records
            .iter()
            .filter(|record| record.kind != kind::OPT);
        let shortest = lasting.clone().map(|record| record.ttl).min()?;
        let positive = code == rcode::NO_ERROR && lasting.clone().any(|record| record.section == 0);
        if positive {
            return Some(Duration::from_secs(shortest.into()));
        }
        let mut authorities = lasting.filter(|record| record.section == 1);
        let soa = authorities.find(|record| record.kind == kind::SOA)?;
        // MINIMUM is the last of the five numbers at the record's end (RFC 1035, 3.3.13).
        let data = self.bytes.get(soa.data.clone())?;
        let minimum = u32::from_be_bytes(*data.last_chunk()?);
        Some(Duration::from_secs(minimum.min(shortest).into()))
    }

    /// The answer as one to `query`, `age` after it came.
    pub(crate) fn to(&self, query: &Query, age: Duration) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let age = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        for record in self
            .records
            .iter()
            .filter(|record| record.kind != kind::OPT)
        {
            if let Some(field) = bytes.get_mut(record.ttl_at..record.ttl_at + 4) {
                field.copy_from_slice(&record.ttl.saturating_sub(age).to_be_bytes());
            }
        }
        if let Some(field) = bytes.get_mut(..2) {
            field.copy_from_slice(&query.header.id.to_be_bytes());
        }
        let echoed = flag::RD | flag::CD;
        set_flags(&mut bytes, |flags| {
            flags & !echoed & !flag::AA | query.header.flags & echoed | flag::RA
        });
        if let Some(field) = bytes.get_mut(self.question.clone()) {
            field.copy_from_slice(&query.question_bytes);
        }
        if !query.edns {
            self.strip_opt(&mut bytes);
        }
        bytes
    }

    /// Takes the OPT record out, which is for those only who sent one; it can, as it is always the last one in practice.
    fn strip_opt(&self, bytes: &mut Vec<u8>) {
        let Some(last) = self.records.last().filter(|last| last.kind == kind::OPT) else {
            return;
        };
        // Name (the root), type, class, TTL and length before its data.
        bytes.truncate(last.data.start.saturating_sub(11));
        if let Some(field) = bytes.get_mut(10..12)
            && let Ok(count) = <[u8; 2]>::try_from(&*field)
        {
            let left = u16::from_be_bytes(count).saturating_sub(1);
            field.copy_from_slice(&left.to_be_bytes());
        }
    }
}

#[cfg(test)]
#[path = "message_test.rs"]
pub(crate) mod tests;
