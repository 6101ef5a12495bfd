//! The state of one question: along aliases, from server to server, until it is settled.
//!
//! Pure: `servers` sends the question and passes the replies.

use std::time::Duration;

use super::answer::{MAX_ALIASES, Resolved, Step, interpret};
use super::error::{Class, Error, Server, keep_higher_ranked};
use super::message::{Message, Question};
use super::name::Name;
use super::record::{Data, Type};

/// How a server responded, the most that it did for several questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Response {
    /// It could not be asked.
    NotAsked,
    /// Nothing in time.
    Silence,
    /// A reply that is broken.
    Malformed,
    /// A reply, whatever it says.
    Reply,
}

impl Response {
    /// By its reply, or why there is none; `first` if there was no other reply before.
    pub(super) fn of(reply: &Result<Message, Class>, first: bool) -> Self {
        match reply {
            Err(Class::Timeout) if first => Self::Silence,
            Err(Class::Malformed(_)) => Self::Malformed,
            Err(_) if first => Self::NotAsked,
            _ => Self::Reply,
        }
    }
}

/// The state of one question.
pub(super) struct Lookup {
    /// The current question.
    question: Question,
    /// The name of the first question.
    owner: Name,
    aliases_left: u8,
    /// The shortest TTL of the aliases so far.
    ttl: u32,
    outcome: Option<Result<Resolved<Data>, Error>>,
    /// The longest answer that was truncated over TCP too.
    part: Option<Resolved<Data>>,
    /// The failure of a server with the highest rank so far.
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

    /// The current question.
    pub(super) fn question(&self) -> &Question {
        &self.question
    }

    /// Takes a reply, or why there is none; true if it is an alias, whose target is now the question.
    pub(super) fn advance(&mut self, reply: Result<Message, Class>, server: Server) -> bool {
        let interpreted = reply.and_then(|message| {
            let step = interpret(&self.question, &message, &mut self.aliases_left)?;
            Ok((step, message.truncated))
        });
        match interpreted {
            Ok((Step::Alias(target, ttl), _)) => {
                self.ttl = ttl.min(self.ttl);
                self.question.name = target;
                return true;
            }
            Ok((Step::Data(data, ttl), truncated)) => {
                let ttl = Duration::from_secs(ttl.min(self.ttl).into());
                let mut found = Resolved::new(Some(self.owner.clone()), data, ttl);
                if !truncated {
                    self.outcome = Some(Ok(found));
                    return false;
                }
                let most = self.part.as_ref().map_or(0, |known| known.data.len());
                if found.data.len() > most {
                    found.missing = Some(self.error(Class::Truncated, Some(server)));
                    self.part = Some(found);
                }
                // Another server may give the whole.
                self.failed(Class::Truncated, server);
            }
            Ok((Step::Nothing(..), true)) => self.failed(Class::Truncated, server),
            Ok((Step::Nothing(class, ttl), false)) => {
                let mut error = self.error(class, Some(server));
                error.negative_ttl = ttl.map(|ttl| ttl.min(self.ttl));
                self.outcome = Some(Err(error));
            }
            // Another server has the same chain of aliases.
            Err(Class::AliasChain) => {
                self.outcome = Some(Err(self.error(Class::AliasChain, Some(server))));
            }
            Err(class) => self.failed(class, server),
        }
        false
    }

    /// Notes why a server did not settle it.
    fn failed(&mut self, class: Class, server: Server) {
        let error = self.error(class, Some(server));
        keep_higher_ranked(&mut self.failure, error);
    }

    /// Whether there is nothing left to ask.
    pub(super) fn is_settled(&self) -> bool {
        self.outcome.is_some()
    }

    /// Whether the other family is waited for only briefly: there are addresses, or there is no such
    /// name (RFC 8020). NXDOMAIN for AAAA proves nothing, since some servers give it for names that
    /// have only A (RFC 4074 section 4.2).
    pub(super) fn suffices(&self) -> bool {
        match &self.outcome {
            Some(Ok(_)) => true,
            Some(Err(error)) => error.class == Class::NxDomain && self.question.qtype != Type::AAAA,
            None => false,
        }
    }

    /// Whether it is settled, or no server replied: enough if the other family suffices.
    pub(super) fn is_over(&self) -> bool {
        let silence = |error: &Error| error.class == Class::Timeout;
        self.outcome.is_some() || self.failure.as_ref().is_some_and(silence)
    }

    /// The result; if no server answered, that there was no reply in time. A part of an answer is
    /// used only if no server gave a whole one, or said that there is nothing.
    pub(super) fn into_outcome(self) -> Result<Resolved<Data>, Error> {
        let timeout = self.error(Class::Timeout, None);
        match (self.outcome, self.part) {
            (Some(outcome), _) => outcome,
            (None, Some(part)) => Ok(part),
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
