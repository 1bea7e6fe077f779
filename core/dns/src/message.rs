//! DNS messages to questions for the zone, and its answers back to messages.

use std::{net::IpAddr, str::FromStr};

use hickory_proto::{
    op::{Message, MessageType, Metadata, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, PTR, SOA, SRV, TXT},
    },
};

use crate::zone::{Answer, Data, Wanted, Zone};

/// Seconds that clients may keep an answer.
const TTL: u32 = 5;

/// What becomes of a query.
#[derive(Debug)]
pub enum Reply {
    /// This is the answer.
    Answer(Vec<u8>),
    /// Somebody upstream must be asked.
    Forward,
    /// It was no query; nobody waits for an answer.
    Drop,
}

/// Answers one query from the zone. `limit` is what the transport carries, before the client's own (EDNS) word.
#[must_use]
pub fn reply(zone: &Zone, query: &[u8], limit: usize) -> Reply {
    let Ok(query) = Message::from_vec(query) else { return Reply::Drop };
    if query.metadata.message_type != MessageType::Query {
        return Reply::Drop;
    }
    let mut answer = response(&query);
    let [question] = &query.queries[..] else {
        return refuse(answer, ResponseCode::FormErr);
    };
    if query.metadata.op_code != OpCode::Query {
        return refuse(answer, ResponseCode::NotImp);
    }
    let name = question.name().to_lowercase().to_ascii();
    answer.metadata.authoritative = true;
    match zone.answer(name.trim_end_matches('.'), wanted(question.query_type())) {
        Answer::Elsewhere => return Reply::Forward,
        Answer::NoData => authority(&mut answer, &zone.domain()),
        Answer::NoName => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            authority(&mut answer, &zone.domain());
        }
        Answer::Records(data) => {
            let records = data.into_iter().filter_map(record);
            answer.add_answers(records.map(|data| Record::from_rdata(question.name().clone(), TTL, data)));
        }
    }
    let limit = query.edns.as_ref().map_or(limit, |edns| limit.max(edns.max_payload().into()));
    match answer.to_vec() {
        Ok(bytes) if bytes.len() <= limit => Reply::Answer(bytes),
        Ok(_) => answer.truncate().to_vec().map_or(Reply::Drop, Reply::Answer),
        Err(_) => refuse(response(&query), ResponseCode::ServFail),
    }
}

/// The answer that nobody upstream could be asked.
#[must_use]
pub fn failure(query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let mut answer = response(&query);
    answer.metadata.response_code = ResponseCode::ServFail;
    answer.to_vec().ok()
}

/// The alias that a message's answer ends in, where the address behind it is still missing.
#[must_use]
pub fn dangling(answer: &[u8]) -> Option<Name> {
    let answer = Message::from_vec(answer).ok()?;
    let wanted = answer.queries.first()?.query_type();
    match &answer.answers[..] {
        [one] if wanted != RecordType::CNAME => match &one.data {
            RData::CNAME(CNAME(name)) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// The query for what an alias points to.
#[must_use]
pub fn follow(query: &[u8], alias: &Name) -> Option<Vec<u8>> {
    let mut query = Message::from_vec(query).ok()?;
    query.queries.first_mut()?.set_name(alias.clone());
    query.to_vec().ok()
}

/// Joins what upstream said of an alias to the answer that named the alias.
#[must_use]
pub fn join(answer: &[u8], more: &[u8]) -> Option<Vec<u8>> {
    let (mut answer, more) = (Message::from_vec(answer).ok()?, Message::from_vec(more).ok()?);
    answer.add_answers(more.answers);
    answer.to_vec().ok()
}

fn response(query: &Message) -> Message {
    let mut answer = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    answer.metadata = Metadata::response_from_request(&query.metadata);
    answer.metadata.recursion_available = true;
    answer.add_queries(query.queries.iter().cloned());
    if let Some(edns) = &query.edns {
        let mut own = hickory_proto::op::Edns::new();
        own.set_max_payload(edns.max_payload().max(512)).set_version(0);
        answer.set_edns(own);
    }
    answer
}

fn refuse(mut answer: Message, code: ResponseCode) -> Reply {
    answer.metadata.response_code = code;
    answer.to_vec().map_or(Reply::Drop, Reply::Answer)
}

/// Tells clients how long to remember that there is nothing (RFC 2308).
fn authority(answer: &mut Message, domain: &str) {
    let name = |text: String| Name::from_str(&text);
    let names = (name(format!("{domain}.")), name(format!("ns.dns.{domain}.")), name(format!("hostmaster.{domain}.")));
    if let (Ok(zone), Ok(server), Ok(mailbox)) = names {
        let soa = SOA::new(server, mailbox, 1, 7200, 1800, 86_400, TTL);
        answer.add_authority(Record::from_rdata(zone, TTL, RData::SOA(soa)));
    }
}

fn wanted(ty: RecordType) -> Wanted {
    match ty {
        RecordType::A => Wanted::A,
        RecordType::AAAA => Wanted::Aaaa,
        RecordType::SRV => Wanted::Srv,
        RecordType::PTR => Wanted::Ptr,
        RecordType::TXT => Wanted::Txt,
        RecordType::ANY => Wanted::Any,
        _ => Wanted::Other,
    }
}

fn record(data: Data) -> Option<RData> {
    let name = |text: &str| Name::from_str(&format!("{}.", text.trim_end_matches('.'))).ok();
    Some(match data {
        Data::Ip(IpAddr::V4(ip)) => RData::A(A(ip)),
        Data::Ip(IpAddr::V6(ip)) => RData::AAAA(AAAA(ip)),
        Data::Srv(port, host) => RData::SRV(SRV::new(0, 100, port, name(&host)?)),
        Data::Ptr(host) => RData::PTR(PTR(name(&host)?)),
        Data::Alias(host) => RData::CNAME(CNAME(name(&host)?)),
        Data::Txt(text) => RData::TXT(TXT::new(vec![text])),
    })
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;
    use windlass_kernel::controller::ObjectKey;

    use super::*;
    use crate::zone::{Member, Service};

    fn ask(name: &str, ty: RecordType, members: u8) -> Reply {
        let mut zone = Zone::new("cluster.local");
        let member = |at: u8| Member { ip: [10, 1, 0, at].into(), hostname: String::new(), ports: vec![] };
        zone.set(&ObjectKey::new("a", "db"), Some(Service::Headless((1..=members).map(member).collect())));
        let mut query = Message::query();
        query.metadata.id = 7;
        query.add_query(Query::query(Name::from_str(name).unwrap(), ty));
        reply(&zone, &query.to_vec().unwrap(), 512)
    }

    fn answer(reply: Reply) -> Message {
        let Reply::Answer(bytes) = reply else { panic!("no answer: {reply:?}") };
        Message::from_vec(&bytes).unwrap()
    }

    #[test]
    fn an_answer_carries_the_id_the_question_and_the_records() {
        let message = answer(ask("DB.a.svc.Cluster.local.", RecordType::A, 2));
        assert_eq!(message.metadata.id, 7);
        assert_eq!(message.queries.len(), 1);
        assert_eq!(message.answers.len(), 2);
        assert!(message.metadata.authoritative);
    }

    #[test]
    fn what_does_not_fit_is_truncated() {
        let message = answer(ask("db.a.svc.cluster.local.", RecordType::A, 100));
        assert!(message.metadata.truncation);
        assert!(message.answers.is_empty());
    }

    #[test]
    fn an_unknown_name_is_denied_and_a_foreign_one_forwarded() {
        let message = answer(ask("no.a.svc.cluster.local.", RecordType::A, 1));
        assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(message.authorities.len(), 1);
        assert!(matches!(ask("example.org.", RecordType::A, 1), Reply::Forward));
    }

    #[test]
    fn garbage_is_dropped() {
        let zone = Zone::new("cluster.local");
        assert!(matches!(reply(&zone, b"not dns", 512), Reply::Drop));
    }
}
