//! One question on its way: along aliases, from server to server, until it is settled.
//!
//! Pure: `mod` sends the question and says what came back.

use super::answer::{MAX_ALIASES, Step, interpret};
use super::error::{Class, Error, Server};
use super::message::{Message, Question};
use super::name::Name;
use super::record::{Data, Type};

/// What was heard of a server that was asked, the most that was of several questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Heard {
    /// It could not be asked.
    Nothing,
    /// It did not say a word in time.
    Silence,
    /// A reply that is broken.
    Garbled,
    /// A reply, whatever it says.
    Reply,
}

impl Heard {
    /// What a reply, or why there is none, tells; `first` if there was no other before it.
    pub(super) fn of(reply: &Result<Message, Class>, first: bool) -> Self {
        match reply {
            Err(Class::Timeout) if first => Self::Silence,
            Err(Class::Malformed(_)) => Self::Garbled,
            Err(_) if first => Self::Nothing,
            _ => Self::Reply,
        }
    }
}

/// One question on its way along aliases and servers.
pub(super) struct Lookup {
    /// What is asked for at present.
    question: Question,
    /// What was asked for at first.
    owner: Name,
    aliases_left: u8,
    /// The shortest TTL of the aliases so far.
    ttl: u32,
    outcome: Option<Result<(Vec<Data>, u32), Error>>,
    /// A part of the data, of an answer that was truncated over TCP too, its TTL, and which answer.
    part: Option<(Vec<Data>, u32, Error)>,
    /// The most telling failure of a server so far.
    failure: Option<Error>,
}

impl Lookup {
    pub(super) fn new(name: &Name, qtype: Type) -> Self {
        Self {
            question: Question {
                name: name.clone(),
                qtype,
            },
            owner: name.clone(),
            aliases_left: MAX_ALIASES,
            ttl: u32::MAX,
            outcome: None,
            part: None,
            failure: None,
        }
    }

    /// What is asked for at present.
    pub(super) fn question(&self) -> &Question {
        &self.question
    }

    /// Takes in a reply, or why there is none; true if it is an alias, whose target is now the question.
    pub(super) fn advance(&mut self, reply: Result<Message, Class>, server: Server) -> bool {
        let message = match reply {
            Ok(message) => message,
            Err(class) => return self.failed(class, server),
        };
        match interpret(&self.question, &message, &mut self.aliases_left) {
            Ok(Step::Found(data, ttl)) if message.truncated => {
                let most = self.part.as_ref().map_or(0, |(known, ..)| known.len());
                if data.len() > most {
                    let error = self.error(Class::Truncated, Some(server));
                    self.part = Some((data, ttl.min(self.ttl), error));
                }
                // Another server may give the whole.
                self.failed(Class::Truncated, server)
            }
            Ok(Step::Found(data, ttl)) => {
                self.outcome = Some(Ok((data, ttl.min(self.ttl))));
                false
            }
            Ok(Step::Alias(target, ttl)) => {
                self.ttl = ttl.min(self.ttl);
                self.question.name = target;
                true
            }
            Err(failure) if message.truncated && failure.class.is_definite() => {
                self.failed(Class::Truncated, server)
            }
            // Another server will not know better, nor untie a chain of aliases.
            Err(failure) if failure.class.is_definite() || failure.class == Class::AliasChain => {
                let mut error = self.error(failure.class, Some(server));
                error.negative_ttl = failure.negative_ttl.map(|ttl| ttl.min(self.ttl));
                self.outcome = Some(Err(error));
                false
            }
            Err(failure) => self.failed(failure.class, server),
        }
    }

    /// Notes why a server did not settle it, and that there is no alias to follow.
    fn failed(&mut self, class: Class, server: Server) -> bool {
        let error = self.error(class, Some(server));
        keep_telling(&mut self.failure, error);
        false
    }

    /// Whether there is nothing left to ask.
    pub(super) fn is_settled(&self) -> bool {
        self.outcome.is_some()
    }

    /// Whether the other family is worth a short wait only: there are addresses, or there is no
    /// such name (RFC 8020). That AAAA has none proves nothing, since there are servers that say
    /// so of names with A alone (RFC 4074 section 4.2).
    pub(super) fn suffices(&self) -> bool {
        match &self.outcome {
            Some(Ok(_)) => true,
            Some(Err(error)) => error.class == Class::NxDomain && self.question.qtype != Type::Aaaa,
            None => false,
        }
    }

    /// Whether it is settled, or has met with nothing but silence: enough if the other family
    /// suffices.
    pub(super) fn is_over(&self) -> bool {
        let silence = |error: &Error| error.class == Class::Timeout;
        self.outcome.is_some() || self.failure.as_ref().is_some_and(silence)
    }

    /// What came of it; without a word from any server, that the time was up. A part of an answer
    /// comes with the error that says so, and only where no server knew that there is nothing.
    pub(super) fn into_outcome(self) -> Result<(Vec<Data>, u32, Option<Error>), Error> {
        let timeout = self.error(Class::Timeout, None);
        match (self.outcome, self.part) {
            (Some(outcome), _) => outcome.map(|(data, ttl)| (data, ttl, None)),
            (None, Some((data, ttl, error))) => Ok((data, ttl, Some(error))),
            (None, None) => Err(self.failure.unwrap_or(timeout)),
        }
    }

    fn error(&self, class: Class, server: Option<Server>) -> Error {
        Error {
            owner: self.owner.to_string(),
            qtype: self.question.qtype,
            server,
            class,
            negative_ttl: None,
        }
    }
}

/// Replaces `known` by `error` if that tells more.
pub(super) fn keep_telling(known: &mut Option<Error>, error: Error) {
    if known
        .as_ref()
        .is_none_or(|known| error.class.outranks(known.class))
    {
        *known = Some(error);
    }
}
