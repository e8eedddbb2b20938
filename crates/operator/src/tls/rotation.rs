//! When to make, register and present which certificate: `(state, event, now) → actions`, with no
//! I/O and no clock.
//!
//! One replica, the holder of the Lease, writes: the authorities into the Secret, and their
//! certificates into the `caBundle` of the webhook's registration. Every replica signs a
//! certificate for itself with what the Secret holds.
//!
//! No admission is lost in a change, because each step waits for the one before to have arrived:
//!
//! ```text
//! new authority in the Secret ─▶ registered beside the old one ─▶ (settling) ─▶ replicas present new certificates
//!                                                                            ─▶ the old one goes when it has expired
//! ```
//!
//! A replica presents what the registration, as it has seen it, accepts. The settling time is for
//! API servers, which learn of a changed registration a little later than the writer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::authority::{Der, Validity};

/// Lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Of an authority.
    pub authority: Duration,
    /// Of a replica's certificate.
    pub leaf: Duration,
}

impl Policy {
    /// How long an authority must have been registered before certificates of it are presented.
    #[must_use]
    pub fn settling(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(10);
        (self.leaf / 20).min(LONGEST)
    }
}

/// What must be known of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its certificate.
    pub id: Der,
    /// When it is good.
    pub validity: Validity,
    /// Whether its key is there.
    pub can_sign: bool,
}

/// What is in the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// There is no Secret. It comes with the installation, and the operator can't make one.
    Absent,
    /// The Secret is of a type that means something to others.
    Foreign,
    /// Nothing that can sign: it is empty, as it was installed, or damaged.
    Unusable,
    /// These authorities, the newest first.
    Authorities(Vec<Known>),
}

/// How the webhook is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registration {
    /// It isn't.
    Absent,
    /// With one bundle for each entry: the certificates in it, and whether there was nothing else
    /// in it.
    Bundles(Vec<(Vec<Der>, bool)>),
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed.
    Tick,
    /// This replica became the one that writes, or is it no longer.
    Holding(bool),
    /// The Secret was seen.
    Stored(Stored),
    /// The registration was seen.
    Registered(Registration),
    /// A certificate was made and is presented from now on.
    Presented {
        /// The authority that signed it.
        issuer: Der,
        /// When it is good.
        validity: Validity,
    },
}

/// What to do now. An action that fails is asked for again with the next event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make an authority and store it, in front of these.
    Renew {
        /// Those whose certificates go on being trusted.
        keep: Vec<Der>,
    },
    /// Register these certificates, in this order.
    Register(Vec<Der>),
    /// Make a certificate signed by this authority, and present it.
    Issue(Der),
}

/// Why API servers would not accept what this replica presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unaccepted {
    /// The Secret hasn't been seen.
    SecretUnseen,
    /// There is no Secret.
    SecretAbsent,
    /// The Secret is of another type than it should be.
    SecretForeign,
    /// There is no authority yet.
    NoAuthority,
    /// The registration hasn't been seen.
    RegistrationUnseen,
    /// The webhook isn't registered.
    Unregistered,
    /// The registration trusts others.
    Untrusted,
    /// API servers may not have noticed yet that it is trusted, while they trust others for sure.
    Settling,
}

/// What follows from everything seen so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What to do, in this order.
    pub actions: Vec<Action>,
    /// When to look again if nothing happens until then.
    pub wake: Option<SystemTime>,
    /// Whether the registration accepts what is presented.
    pub accepted: Result<(), Unaccepted>,
}

/// Everything that one replica knows.
#[derive(Debug)]
pub struct Rotation {
    policy: Policy,
    holding: bool,
    stored: Option<Stored>,
    /// Every authority that was ever in the Secret and is still good.
    known: Vec<Known>,
    registration: Option<Registration>,
    /// Since when the registration has trusted an authority, of those in every entry of it.
    trusted: Vec<(Der, SystemTime)>,
    presented: Option<(Der, Validity)>,
}

impl Rotation {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            holding: false,
            stored: None,
            known: Vec::new(),
            registration: None,
            trusted: Vec::new(),
            presented: None,
        }
    }

    /// Takes an event in and says what follows.
    pub fn next(&mut self, event: Event, now: SystemTime) -> Plan {
        match event {
            Event::Tick => {}
            Event::Holding(holding) => self.holding = holding,
            Event::Stored(stored) => self.see_secret(stored),
            Event::Registered(registration) => self.see_registration(registration, now),
            Event::Presented { issuer, validity } => self.presented = Some((issuer, validity)),
        }
        self.known.retain(|known| now < known.validity.until);
        // What was seen while the clock was ahead was seen before now.
        for (_, since) in &mut self.trusted {
            *since = now.min(*since);
        }
        let mut actions = Vec::new();
        if self.is_out_of_reach() {
            // Nothing new can come until a person does something, so what was good stays
            // registered.
            actions.extend(self.register(now));
            actions.extend(self.renew(now));
        } else {
            actions.extend(self.renew(now));
            // A new authority is registered when it has been seen in the Secret, so never before it
            // is safe there.
            if actions.is_empty() {
                actions.extend(self.register(now));
            }
        }
        actions.extend(self.issue(now));
        Plan {
            wake: self.wake(now),
            accepted: self.accepted(now),
            actions,
        }
    }

    fn see_secret(&mut self, stored: Stored) {
        if let Stored::Authorities(authorities) = &stored {
            for seen in authorities {
                self.known.retain(|known| known.id != seen.id);
            }
            self.known.splice(0..0, authorities.iter().cloned());
        }
        // An authority that is gone from the Secret is still trusted, but its key was taken away
        // from us.
        self.stored = Some(stored);
    }

    fn see_registration(&mut self, registration: Registration, now: SystemTime) {
        let first_sight = self.registration.is_none();
        let mut ids: Vec<Der> = Vec::new();
        if let Registration::Bundles(bundles) = &registration
            && let Some(((first, _), rest)) = bundles.split_first()
        {
            let everywhere = |id: &&Der| rest.iter().all(|(bundle, _)| bundle.contains(*id));
            ids.extend(first.iter().filter(everywhere).cloned());
        }
        self.trusted = ids
            .into_iter()
            .map(|id| {
                let before = self.trusted.iter().find(|(trusted, _)| *trusted == id);
                let since = match before {
                    Some((_, since)) => *since,
                    // It has been there since before this replica started. That it was registered
                    // soon after it was made is the best guess.
                    None if first_sight => self.made(&id).map_or(now, |made| made.min(now)),
                    None => now,
                };
                (id, since)
            })
            .collect();
        self.registration = Some(registration);
    }

    fn made(&self, id: &Der) -> Option<SystemTime> {
        let known = self.known.iter().find(|known| known.id == *id)?;
        Some(known.validity.made())
    }

    /// The authorities in the Secret that are good, the newest first.
    fn good(&self, now: SystemTime) -> impl DoubleEndedIterator<Item = &Known> {
        let stored = match &self.stored {
            Some(Stored::Authorities(authorities)) => authorities.as_slice(),
            _ => &[],
        };
        stored
            .iter()
            .filter(move |known| known.validity.contains(now))
    }

    /// Whether there is no Secret that could be written.
    fn is_out_of_reach(&self) -> bool {
        matches!(self.stored, Some(Stored::Absent | Stored::Foreign))
    }

    /// A new authority, where the Secret holds none or an old one, or one that a clock ahead of
    /// ours has made.
    fn renew(&self, now: SystemTime) -> Option<Action> {
        if !self.holding {
            return None;
        }
        let due = match self.stored.as_ref()? {
            Stored::Absent | Stored::Foreign | Stored::Unusable => true,
            Stored::Authorities(authorities) => {
                let current = authorities.first()?;
                let early = now < current.validity.from;
                early || now >= current.validity.renewal() || !current.can_sign
            }
        };
        let keep = self.known.iter().map(|known| Arc::clone(&known.id));
        due.then(|| Action::Renew {
            keep: keep.collect(),
        })
    }

    /// The right bundle, where another one is registered.
    fn register(&self, now: SystemTime) -> Option<Action> {
        let Some(Registration::Bundles(bundles)) = &self.registration else {
            return None;
        };
        if !self.holding {
            return None;
        }
        // Without a usable Secret nobody knows what is right.
        if !self.is_out_of_reach() {
            self.good(now).next()?;
        }
        let wanted: Vec<Der> = self
            .known
            .iter()
            .map(|known| Arc::clone(&known.id))
            .collect();
        if wanted.is_empty() {
            return None;
        }
        let right = |(bundle, whole): &(Vec<Der>, bool)| *whole && *bundle == wanted;
        (!bundles.iter().all(right)).then_some(Action::Register(wanted))
    }

    /// A certificate, where the one presented is old or of an authority that is no longer the one.
    fn issue(&self, now: SystemTime) -> Option<Action> {
        let can_sign = || self.good(now).filter(|known| known.can_sign);
        let settled = can_sign().find(|known| self.is_settled(&known.id, now));
        // Before anything is settled, the one that API servers have known longest.
        let signer = settled
            .or_else(|| can_sign().rev().find(|known| self.is_trusted(&known.id)))
            .or_else(|| can_sign().next_back())?;
        let Some((issuer, validity)) = &self.presented else {
            return Some(Action::Issue(Arc::clone(&signer.id)));
        };
        // Made while the clock was ahead; nobody accepts it.
        let early = now < validity.from;
        // Of another authority only if nothing is lost by it: a trusted one that is due waits until
        // that is settled, too.
        let due = now >= validity.renewal()
            && if *issuer == signer.id {
                validity.until < signer.validity.until
            } else {
                !self.is_trusted(issuer) || now >= validity.until
            };
        let better = *issuer != signer.id
            && if self.is_trusted(issuer) {
                settled.is_some()
            } else {
                self.is_trusted(&signer.id) || !can_sign().any(|known| known.id == *issuer)
            };
        (early || due || better).then(|| Action::Issue(Arc::clone(&signer.id)))
    }

    fn is_trusted(&self, id: &Der) -> bool {
        self.trusted.iter().any(|(trusted, _)| trusted == id)
    }

    fn is_settled(&self, id: &Der, now: SystemTime) -> bool {
        let settling = self.policy.settling();
        let mut trusted = self.trusted.iter();
        trusted.any(|(trusted, since)| trusted == id && now >= *since + settling)
    }

    fn accepted(&self, now: SystemTime) -> Result<(), Unaccepted> {
        let Some((issuer, validity)) = &self.presented else {
            return Err(match self.stored {
                None => Unaccepted::SecretUnseen,
                Some(Stored::Absent) => Unaccepted::SecretAbsent,
                Some(Stored::Foreign) => Unaccepted::SecretForeign,
                Some(_) => Unaccepted::NoAuthority,
            });
        };
        match &self.registration {
            None => Err(Unaccepted::RegistrationUnseen),
            Some(Registration::Absent) => Err(Unaccepted::Unregistered),
            Some(_) if !self.is_trusted(issuer) || !validity.contains(now) => {
                Err(Unaccepted::Untrusted)
            }
            // The very first one need not wait: there is nobody who could be asked instead.
            Some(_) if self.trusted.len() > 1 && !self.is_settled(issuer, now) => {
                Err(Unaccepted::Settling)
            }
            Some(_) => Ok(()),
        }
    }

    /// The next moment at which time alone changes the plan.
    fn wake(&self, now: SystemTime) -> Option<SystemTime> {
        let settling = self.policy.settling();
        let settled = self.trusted.iter().map(|(_, since)| *since + settling);
        let expired = self.known.iter().map(|known| known.validity.until);
        let renewed = self
            .good(now)
            .take(1)
            .map(|current| current.validity.renewal());
        let presented = self
            .presented
            .iter()
            .flat_map(|(_, validity)| [validity.renewal(), validity.until]);
        settled
            .chain(expired)
            .chain(renewed)
            .chain(presented)
            .filter(|moment| *moment > now)
            .min()
    }
}

impl std::fmt::Display for Unaccepted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::SecretUnseen => "the Secret with the CA has not been read yet",
            Self::SecretAbsent => {
                "the Secret with the CA does not exist; apply what was installed again, the operator may not create it"
            }
            Self::SecretForeign => {
                "the Secret with the CA is not of type Opaque, so nothing is written into it; delete it or name another"
            }
            Self::NoAuthority => "there is no CA yet; the replica that holds the Lease makes one",
            Self::RegistrationUnseen => "the webhook configuration has not been read yet",
            Self::Unregistered => "the webhook configuration does not exist",
            Self::Untrusted => {
                "the caBundle of the webhook configuration does not accept this replica's certificate yet"
            }
            Self::Settling => "API servers are about to learn of the CA of this replica's certificate",
        })
    }
}

#[cfg(test)]
mod tests;
