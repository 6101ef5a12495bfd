//! What a complete reply says about the question: records, an alias to follow, or why nothing.
//!
//! Pure. Only records that the question leads to are used, from the owner asked for through CNAMEs to
//! the type asked for; all others are ignored, so that a server cannot add addresses of other names.
//! RFC 1034 section 3.6.2, RFC 2308, RFC 6604.

use std::collections::HashSet;
use std::time::Duration;

use super::error::{Class, Error};
use super::message::{self, Message, Question};
use super::name::Name;
use super::record::{Data, Record};

/// The most aliases that are followed for one question, within replies and across them. Common
/// resolvers follow 8 to 16.
pub(crate) const MAX_ALIASES: u8 = 16;

/// The longest validity of an answer: a day, as in the cache of Unbound.
pub(super) const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// What was asked for, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved<T> {
    /// The name that has it: the one asked for, completed from the search list; `None` if it is not
    /// from DNS.
    pub(crate) owner: Option<Name>,
    /// SRV records, or addresses, IPv4 before IPv6; in the order of the server.
    pub(crate) data: Vec<T>,
    /// For how long it is valid.
    pub(crate) ttl: Duration,
    /// Why an earlier name of the search list could not be looked up, if so: it may have records, too.
    pub(crate) earlier_failure: Option<Error>,
    /// Why there may be more of this name: one of the two address families could not be looked up, or
    /// this is a part of an answer ([`Resolved::is_part`]).
    pub(crate) missing: Option<Error>,
}

impl<T> Resolved<T> {
    /// An answer that is complete.
    pub(super) fn new(owner: Option<Name>, data: Vec<T>, ttl: Duration) -> Self {
        Self {
            owner,
            data,
            ttl: ttl.min(MAX_TTL),
            earlier_failure: None,
            missing: None,
        }
    }

    /// Whether this is only a part of an answer, because the server truncated it over TCP too.
    pub(crate) fn is_part(&self) -> bool {
        let missing = self.missing.as_ref();
        missing.is_some_and(|error| error.class == Class::Truncated)
    }

    /// Why records of another name than `known` must not be used, if so: an earlier name of the search
    /// list was not answered, and may still be the right one.
    pub(crate) fn conflict_with(&self, known: Option<&Name>) -> Option<&Error> {
        let is_other = known.is_some() && self.owner.is_some() && self.owner.as_ref() != known;
        self.earlier_failure.as_ref().filter(|_| is_other)
    }
}

/// The result of one reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Data of the type asked for, at least one, and the shortest TTL of all records that lead to it.
    Data(Vec<Data>, u32),
    /// The chain of aliases leaves the message; its target, which is not `localhost`, must be asked for.
    Alias(Name, u32),
    /// There is nothing (NXDOMAIN or NODATA), and for how long, if the server said.
    Nothing(Class, Option<u32>),
}

/// Follows `question` through `message`; each alias is taken from `aliases_left`.
pub(crate) fn interpret(
    question: &Question,
    message: &Message,
    aliases_left: &mut u8,
) -> Result<Step, Class> {
    if !matches!(message.rcode, message::NOERROR | message::NXDOMAIN) {
        return Err(Class::Rcode(message.rcode));
    }
    let mut owner = &question.name;
    let mut ttl = u32::MAX;
    while let Some((target, alias_ttl)) = alias(message, owner, question) {
        *aliases_left = aliases_left.checked_sub(1).ok_or(Class::AliasChain)?;
        // RFC 6761 section 6.3: servers do not decide what localhost is.
        if target.is_localhost() {
            return Ok(Step::Nothing(Class::NxDomain, None));
        }
        owner = target;
        ttl = ttl.min(alias_ttl);
    }
    // RFC 6604 section 3: behind aliases the RCODE is that of the last name.
    if message.rcode == message::NXDOMAIN {
        let negative_ttl = negative_ttl(message, owner, ttl);
        return Ok(Step::Nothing(Class::NxDomain, negative_ttl));
    }
    let found: Vec<&Record> = message
        .answers
        .iter()
        .filter(|record| record.owner == *owner && record.data.is(question.qtype))
        .collect();
    if let Some(shortest) = found.iter().map(|record| record.ttl).min() {
        // RFC 2181 section 5: the records of a set are all different.
        let mut seen = HashSet::new();
        let data: Vec<Data> = found
            .into_iter()
            .filter(|record| seen.insert(&record.data))
            .map(|record| record.data.clone())
            .collect();
        return Ok(Step::Data(data, ttl.min(shortest)));
    }
    let negative_ttl = negative_ttl(message, owner, ttl);
    if negative_ttl.is_none() {
        // Without the SOA of the name's zone this is not a proper negative answer (RFC 2308
        // section 2.2).
        if *owner != question.name {
            return Ok(Step::Alias(owner.clone(), ttl));
        }
        if !message.authoritative && !message.recursion_available {
            return Err(Class::Lame);
        }
    }
    Ok(Step::Nothing(Class::NoData, negative_ttl))
}

/// The alias that `owner` is, unless it has data of the type asked for.
fn alias<'m>(message: &'m Message, owner: &Name, question: &Question) -> Option<(&'m Name, u32)> {
    let mut alias = None;
    for record in message
        .answers
        .iter()
        .filter(|record| record.owner == *owner)
    {
        match &record.data {
            Data::Cname(target) if alias.is_none() => alias = Some((target, record.ttl)),
            data if data.is(question.qtype) => return None,
            _ => {}
        }
    }
    alias
}

/// For how long a negative answer about `owner` is valid: the TTL of the SOA of its zone, the SOA's
/// last field (RFC 2308 section 5) or the TTL of the aliases to it, whichever is shortest.
fn negative_ttl(message: &Message, owner: &Name, alias_ttl: u32) -> Option<u32> {
    let mut authorities = message.authorities.iter();
    authorities.find_map(|record| match record.data {
        Data::Soa { minimum } if owner.is_within(&record.owner) => {
            Some(record.ttl.min(minimum).min(alias_ttl))
        }
        _ => None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::record::Type;
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_text(text).unwrap().0
    }

    fn record(owner: &str, ttl: u32, data: Data) -> Record {
        Record {
            owner: name(owner),
            ttl,
            data,
        }
    }

    fn a(owner: &str, ttl: u32, last: u8) -> Record {
        record(owner, ttl, Data::A(Ipv4Addr::new(192, 0, 2, last)))
    }

    fn cname(owner: &str, ttl: u32, target: &str) -> Record {
        record(owner, ttl, Data::Cname(name(target)))
    }

    fn soa(owner: &str, ttl: u32, minimum: u32) -> Record {
        record(owner, ttl, Data::Soa { minimum })
    }

    fn message(rcode: u16, answers: Vec<Record>, authorities: Vec<Record>) -> Message {
        Message {
            truncated: false,
            rcode,
            authoritative: false,
            recursion_available: true,
            answers,
            authorities,
        }
    }

    fn ask(message: &Message) -> Result<Step, Class> {
        let question = Question {
            name: name("www.example"),
            qtype: Type::A,
        };
        interpret(&question, message, &mut MAX_ALIASES.clone())
    }

    fn found(ttl: u32, last: &[u8]) -> Result<Step, Class> {
        let data = last
            .iter()
            .map(|last| Data::A(Ipv4Addr::new(192, 0, 2, *last)));
        Ok(Step::Data(data.collect(), ttl))
    }

    fn nothing(class: Class, negative_ttl: Option<u32>) -> Result<Step, Class> {
        match class {
            Class::NxDomain | Class::NoData => Ok(Step::Nothing(class, negative_ttl)),
            _ => Err(class),
        }
    }

    #[test]
    fn positive_answers() {
        let aaaa = record("www.example", 5, Data::Aaaa(std::net::Ipv6Addr::LOCALHOST));
        let cases = [
            (
                "all records of the owner, whatever its case, and the shortest TTL",
                vec![a("www.example", 60, 1), a("WWW.Example", 30, 2)],
                found(30, &[1, 2]),
            ),
            (
                "what the question does not lead to is not used, nor is its TTL",
                vec![
                    a("evil.example", 1, 66),
                    a("www.example", 60, 1),
                    cname("evil.example", 1, "www.example"),
                    aaaa.clone(),
                ],
                found(60, &[1]),
            ),
            (
                "two equal records are one",
                vec![
                    a("www.example", 60, 1),
                    a("www.example", 60, 2),
                    a("WWW.example", 30, 1),
                ],
                found(30, &[1, 2]),
            ),
            (
                "aliases in any order, their TTLs counted",
                vec![
                    a("c.example", 60, 3),
                    cname("b.example", 50, "c.example"),
                    cname("www.example", 70, "B.example"),
                ],
                found(50, &[3]),
            ),
            (
                "of two aliases of one name the first",
                vec![
                    cname("www.example", 9, "b.example"),
                    cname("www.example", 9, "c.example"),
                    a("c.example", 9, 3),
                    a("b.example", 9, 2),
                ],
                found(9, &[2]),
            ),
            (
                "data beside an alias is the data asked for",
                vec![cname("www.example", 9, "b.example"), a("www.example", 9, 1)],
                found(9, &[1]),
            ),
            (
                "a chain that is cut has to be asked on",
                vec![cname("www.example", 9, "b.example"), a("x.example", 9, 2)],
                Ok(Step::Alias(name("b.example"), 9)),
            ),
        ];
        for (what, answers, expected) in cases {
            assert_eq!(
                ask(&message(message::NOERROR, answers, vec![])),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn negative_answers() {
        let alias = || vec![cname("www.example", 9, "b.test")];
        let cases = [
            (
                "SOA TTL",
                0,
                vec![],
                vec![soa("example", 40, 90)],
                nothing(Class::NoData, Some(40)),
            ),
            (
                "SOA minimum",
                3,
                vec![],
                vec![soa(".", 90, 40)],
                nothing(Class::NxDomain, Some(40)),
            ),
            ("no SOA", 3, vec![], vec![], nothing(Class::NxDomain, None)),
            (
                "SOA of another zone",
                0,
                vec![],
                vec![soa("test", 9, 9)],
                nothing(Class::NoData, None),
            ),
            (
                "alias to nothing",
                3,
                alias(),
                vec![soa("test", 40, 40)],
                nothing(Class::NxDomain, Some(9)),
            ),
            (
                "alias to no data",
                0,
                alias(),
                vec![soa("test", 9, 9)],
                nothing(Class::NoData, Some(9)),
            ),
            (
                "alias cut, SOA of the first zone",
                0,
                alias(),
                vec![soa("example", 9, 9)],
                Ok(Step::Alias(name("b.test"), 9)),
            ),
            (
                "NXDOMAIN with an address contradicts itself and gives no address",
                3,
                vec![a("www.example", 9, 1)],
                vec![],
                nothing(Class::NxDomain, None),
            ),
            (
                "FORMERR",
                1,
                vec![],
                vec![],
                nothing(Class::Rcode(message::FORMERR), None),
            ),
            (
                "SERVFAIL",
                2,
                vec![a("www.example", 9, 1)],
                vec![],
                nothing(Class::Rcode(message::SERVFAIL), None),
            ),
            (
                "NOTIMP",
                4,
                vec![],
                vec![],
                nothing(Class::Rcode(message::NOTIMP), None),
            ),
            (
                "REFUSED",
                5,
                vec![],
                vec![],
                nothing(Class::Rcode(message::REFUSED), None),
            ),
            ("NOTAUTH", 9, vec![], vec![], nothing(Class::Rcode(9), None)),
            (
                "BADVERS",
                16,
                vec![],
                vec![],
                nothing(Class::Rcode(16), None),
            ),
        ];
        for (what, rcode, answers, authorities, expected) in cases {
            assert_eq!(
                ask(&message(rcode, answers, authorities)),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn lame_servers() {
        let mut referral = message(message::NOERROR, vec![], vec![]);
        referral.recursion_available = false;
        assert_eq!(ask(&referral), nothing(Class::Lame, None));
        referral.authorities.push(soa("example", 9, 9));
        assert_eq!(ask(&referral), nothing(Class::NoData, Some(9)));
        referral.authorities.clear();
        referral.authoritative = true;
        assert_eq!(ask(&referral), nothing(Class::NoData, None));
    }

    #[test]
    fn alias_chains_end() {
        let chain = |links: u8| {
            let mut answers = vec![cname("www.example", 9, "0.example")];
            answers.extend((1..links).map(|link| {
                cname(
                    &format!("{}.example", link - 1),
                    9,
                    &format!("{link}.example"),
                )
            }));
            answers.push(a(&format!("{}.example", links - 1), 9, 1));
            ask(&message(message::NOERROR, answers, vec![]))
        };
        assert_eq!(chain(MAX_ALIASES), found(9, &[1]));
        assert_eq!(chain(MAX_ALIASES + 1), nothing(Class::AliasChain, None));
        let itself = vec![cname("www.example", 9, "www.example")];
        let looped = message(message::NOERROR, itself, vec![]);
        assert_eq!(ask(&looped), nothing(Class::AliasChain, None));
    }
}
