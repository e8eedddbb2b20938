use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const POLICY: Policy = Policy {
    authority: Duration::from_secs(9000),
    leaf: Duration::from_secs(1200),
};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + 1000 * HOUR + Duration::from_secs(seconds)
}

fn known(id: u8, made: u64) -> Known {
    Known {
        id: Arc::from([id]),
        validity: Validity {
            from: at(made) - HOUR,
            until: at(made) + POLICY.authority,
        },
        can_sign: true,
    }
}

fn leaf(issuer: u8, made: u64) -> Event {
    Event::Presented {
        issuer: Arc::from([issuer]),
        validity: Validity {
            from: at(made) - HOUR,
            until: at(made) + POLICY.leaf,
        },
    }
}

fn stored(authorities: &[Known]) -> Event {
    Event::Stored(Stored::Authorities(authorities.to_vec()))
}

fn registered(bundles: &[&[u8]]) -> Event {
    let bundle = |ids: &&[u8]| (ids.iter().map(|id| Arc::from([*id])).collect(), true);
    Event::Registered(Registration::Bundles(bundles.iter().map(bundle).collect()))
}

/// What a plan says, in one line.
fn line(plan: &Plan) -> String {
    let ids = |ids: &[Der]| {
        let ids: Vec<_> = ids.iter().map(|id| id[0].to_string()).collect();
        ids.join("+")
    };
    let actions: Vec<_> = plan
        .actions
        .iter()
        .map(|action| match action {
            Action::Renew { keep } => format!("renew keeping [{}]", ids(keep)),
            Action::Register(bundle) => format!("register {}", ids(bundle)),
            Action::Issue(id) => format!("issue by {}", id[0]),
        })
        .collect();
    let accepted = match plan.accepted {
        Ok(()) => "accepted".to_owned(),
        Err(why) => format!("{why:?}"),
    };
    format!("{} ({accepted})", actions.join(", "))
}

fn check(rotation: &mut Rotation, now: u64, event: Event, want: &str) {
    let plan = rotation.next(event, at(now));
    assert_eq!(line(&plan), want, "at {now} s");
}

#[test]
fn first_installation() {
    let mut holder = Rotation::new(POLICY);
    let mut check = |now, event, want| check(&mut holder, now, event, want);
    check(0, Event::Tick, " (SecretUnseen)");
    check(0, Event::Holding(true), " (SecretUnseen)");
    check(
        1,
        Event::Stored(Stored::Absent),
        "renew keeping [] (SecretAbsent)",
    );
    // It comes empty.
    check(
        1,
        Event::Stored(Stored::Unusable),
        "renew keeping [] (NoAuthority)",
    );
    // Until it is done, it is asked for again.
    check(2, Event::Tick, "renew keeping [] (NoAuthority)");
    check(2, stored(&[known(1, 2)]), "issue by 1 (NoAuthority)");
    check(2, leaf(1, 2), " (RegistrationUnseen)");
    check(
        3,
        Event::Registered(Registration::Absent),
        " (Unregistered)",
    );
    check(4, registered(&[&[]]), "register 1 (Untrusted)");
    check(4, registered(&[&[1]]), " (accepted)");
}

#[test]
fn a_replica_that_does_not_hold_the_lease_writes_nothing() {
    let mut other = Rotation::new(POLICY);
    let mut check = |now, event, want| check(&mut other, now, event, want);
    check(0, Event::Stored(Stored::Absent), " (SecretAbsent)");
    check(0, Event::Stored(Stored::Foreign), " (SecretForeign)");
    check(0, Event::Stored(Stored::Unusable), " (NoAuthority)");
    check(0, registered(&[&[]]), " (NoAuthority)");
    check(1, stored(&[known(1, 1)]), "issue by 1 (NoAuthority)");
    check(1, leaf(1, 1), " (Untrusted)");
    check(2, registered(&[&[1]]), " (accepted)");
    check(900, Event::Tick, "issue by 1 (accepted)");
}

#[test]
fn a_new_authority_is_registered_first_then_settles_then_signs() {
    let mut holder = Rotation::new(POLICY);
    let mut check = |now, event, want| check(&mut holder, now, event, want);
    check(0, Event::Holding(true), " (SecretUnseen)");
    check(0, stored(&[known(1, 0)]), "issue by 1 (NoAuthority)");
    check(5900, leaf(1, 5900), " (RegistrationUnseen)");
    check(5900, registered(&[&[1]]), " (accepted)");
    check(5999, Event::Tick, " (accepted)");
    check(6000, Event::Tick, "renew keeping [1] (accepted)");
    let both = [known(2, 6000), known(1, 0)];
    check(6000, stored(&both), "register 2+1 (accepted)");
    check(6001, registered(&[&[2, 1]]), " (accepted)");
    check(6010, Event::Tick, " (accepted)");
    check(6011, Event::Tick, "issue by 2 (accepted)");
    check(6011, leaf(2, 6011), " (accepted)");
    // The old one stays until it has expired.
    check(6800, leaf(2, 6800), " (accepted)");
    check(8999, leaf(2, 8999), " (accepted)");
    check(9000, Event::Tick, "register 2 (accepted)");
}

/// What was made while a clock was ahead isn't good yet once it is right again, and may not be for
/// years.
#[test]
fn a_clock_that_was_ahead_leaves_nothing_behind() {
    let mut holder = Rotation::new(POLICY);
    let mut check = |now, event, want| check(&mut holder, now, event, want);
    check(0, Event::Holding(true), " (SecretUnseen)");
    check(0, stored(&[known(1, 0)]), "issue by 1 (NoAuthority)");
    check(0, leaf(1, 0), " (RegistrationUnseen)");
    check(0, registered(&[&[1]]), " (accepted)");
    // Ahead by more than the authority's time.
    let ahead = 1_000_000;
    check(ahead, Event::Tick, "renew keeping [] (Untrusted)");
    let new = known(2, ahead);
    let stored_new = stored(std::slice::from_ref(&new));
    check(ahead, stored_new, "register 2, issue by 2 (Untrusted)");
    check(ahead, leaf(2, ahead), "register 2 (Untrusted)");
    check(ahead, registered(&[&[2]]), " (accepted)");
    // And right again.
    check(100, Event::Tick, "renew keeping [2] (Untrusted)");
    let both = stored(&[known(3, 100), new]);
    check(100, both, "register 3+2, issue by 3 (Untrusted)");
    check(100, leaf(3, 100), "register 3+2 (Untrusted)");
    check(101, registered(&[&[3, 2]]), " (Settling)");
    check(111, Event::Tick, " (accepted)");
}

/// A replica whose clock was ahead presents a certificate that isn't good yet; the authority is as
/// it was.
#[test]
fn a_replica_whose_clock_was_ahead_presents_another_certificate() {
    let mut replica = Rotation::new(POLICY);
    let mut check = |now, event, want| check(&mut replica, now, event, want);
    check(0, stored(&[known(1, 0)]), "issue by 1 (NoAuthority)");
    check(5000, leaf(1, 5000), " (RegistrationUnseen)");
    // It saw the registration change at that time, too.
    check(5000, registered(&[&[]]), " (Untrusted)");
    check(5000, registered(&[&[2, 1]]), " (Settling)");
    check(1000, Event::Tick, "issue by 1 (Untrusted)");
    check(1000, leaf(1, 1000), " (Settling)");
    check(1010, Event::Tick, " (accepted)");
}

#[test]
fn the_certificate_is_renewed_after_two_thirds() {
    let mut replica = Rotation::new(POLICY);
    let mut check = |now, event, want| check(&mut replica, now, event, want);
    check(0, stored(&[known(1, 0)]), "issue by 1 (NoAuthority)");
    check(0, registered(&[&[1]]), "issue by 1 (NoAuthority)");
    check(0, leaf(1, 0), " (accepted)");
    check(799, Event::Tick, " (accepted)");
    check(800, Event::Tick, "issue by 1 (accepted)");
    // Not for one that would be no better: the authority is at its end, and only the holder can
    // change that.
    check(8900, leaf(1, 7800), " (accepted)");
}

#[test]
fn a_damaged_secret_is_replaced_and_what_it_signed_stays_trusted() {
    for damage in [Stored::Absent, Stored::Foreign, Stored::Unusable] {
        let mut holder = Rotation::new(POLICY);
        let mut check = |now, event, want| check(&mut holder, now, event, want);
        check(0, Event::Holding(true), " (SecretUnseen)");
        check(0, stored(&[known(1, 0)]), "issue by 1 (NoAuthority)");
        check(0, leaf(1, 0), " (RegistrationUnseen)");
        check(0, registered(&[&[1]]), " (accepted)");
        check(50, Event::Stored(damage), "renew keeping [1] (accepted)");
        let mut old = known(1, 0);
        old.can_sign = false;
        check(51, stored(&[known(2, 51), old]), "register 2+1 (accepted)");
        check(52, registered(&[&[2, 1]]), " (accepted)");
        check(62, Event::Tick, "issue by 2 (accepted)");
    }
}

#[test]
fn a_certificate_that_is_due_waits_for_a_new_authority_to_settle() {
    let mut replica = Rotation::new(POLICY);
    let mut check = |now, event, want| check(&mut replica, now, event, want);
    check(0, stored(&[known(1, 0)]), "issue by 1 (NoAuthority)");
    check(0, leaf(1, 0), " (RegistrationUnseen)");
    check(0, registered(&[&[1]]), " (accepted)");
    check(850, Event::Stored(Stored::Unusable), " (accepted)");
    check(860, stored(&[known(2, 860)]), " (accepted)");
    check(861, registered(&[&[2, 1]]), " (accepted)");
    check(870, Event::Tick, " (accepted)");
    check(871, Event::Tick, "issue by 2 (accepted)");
}

#[test]
fn without_a_secret_what_was_good_stays_registered() {
    let mut holder = Rotation::new(POLICY);
    let mut check = |now, event, want| check(&mut holder, now, event, want);
    check(0, Event::Holding(true), " (SecretUnseen)");
    check(0, stored(&[known(1, 0)]), "issue by 1 (NoAuthority)");
    check(0, leaf(1, 0), " (RegistrationUnseen)");
    check(0, registered(&[&[1]]), " (accepted)");
    let renew = "renew keeping [1] (accepted)";
    check(1, Event::Stored(Stored::Absent), renew);
    let both = "register 1, renew keeping [1] (Untrusted)";
    check(2, registered(&[&[9]]), both);
    check(3, registered(&[&[1]]), renew);
    // Until it has expired; then there is nothing that could be registered.
    check(9001, registered(&[&[1]]), "renew keeping [] (Untrusted)");
}

#[test]
fn a_bundle_that_somebody_changed_is_put_back() {
    let mut holder = Rotation::new(POLICY);
    let mut check = |now, event, want| check(&mut holder, now, event, want);
    check(0, Event::Holding(true), " (SecretUnseen)");
    check(0, stored(&[known(1, 0)]), "issue by 1 (NoAuthority)");
    check(0, leaf(1, 0), " (RegistrationUnseen)");
    check(0, registered(&[&[1], &[1]]), " (accepted)");
    check(1, registered(&[&[1], &[]]), "register 1 (Untrusted)");
    check(1, registered(&[&[9], &[9]]), "register 1 (Untrusted)");
    // Another's certificate is not kept.
    check(1, registered(&[&[1, 9], &[1]]), "register 1 (accepted)");
    let garbled = Registration::Bundles(vec![(vec![Arc::from([1])], false)]);
    check(1, Event::Registered(garbled), "register 1 (accepted)");
    check(2, registered(&[&[1], &[1]]), " (accepted)");
}

#[test]
fn a_replica_that_starts_in_a_change_presents_what_is_registered() {
    let both = [known(2, 6000), known(1, 0)];
    let mut replica = Rotation::new(POLICY);
    check(&mut replica, 6001, registered(&[&[1]]), " (SecretUnseen)");
    check(
        &mut replica,
        6001,
        stored(&both),
        "issue by 1 (NoAuthority)",
    );
    // Or the newer one, if that has been there for a while.
    let mut replica = Rotation::new(POLICY);
    check(
        &mut replica,
        6100,
        stored(&both),
        "issue by 1 (NoAuthority)",
    );
    check(
        &mut replica,
        6100,
        registered(&[&[2, 1]]),
        "issue by 2 (NoAuthority)",
    );
}

/// What a replica knows, what it presents, and whether it was ever ready.
type Replica = (Rotation, Option<(u8, Validity)>, bool);

/// Replicas, the objects they share, and an API server that learns of a changed registration only
/// after a while.
struct World {
    now: u64,
    replicas: Vec<Replica>,
    holder: usize,
    secret: Option<Vec<Known>>,
    /// When there is a Secret again, which can be written; nobody but a person brings it back.
    missing_until: u64,
    bundle: Vec<u8>,
    /// What the API server believes to be registered.
    believed: Vec<u8>,
    believes_from: Vec<(u64, Vec<u8>)>,
    next_id: u8,
    made: usize,
}

#[derive(Clone, Copy, Debug)]
enum Mishap {
    DeleteSecret,
    DeleteSecretForLong,
    DeleteSecretWhileHolderChanges,
    EmptyBundle,
    ForeignBundle,
    HolderChanges,
    Restart(usize),
}

impl World {
    fn new() -> Self {
        Self {
            now: 0,
            replicas: (0..3)
                .map(|_| (Rotation::new(POLICY), None, false))
                .collect(),
            holder: 0,
            secret: None,
            missing_until: 0,
            bundle: Vec::new(),
            believed: Vec::new(),
            believes_from: Vec::new(),
            next_id: 1,
            made: 0,
        }
    }

    fn is_missing(&self) -> bool {
        self.now < self.missing_until
    }

    fn secret_event(&self) -> Event {
        Event::Stored(match &self.secret {
            None if self.is_missing() => Stored::Absent,
            None => Stored::Unusable,
            Some(authorities) => Stored::Authorities(authorities.clone()),
        })
    }

    fn step(&mut self, replica: usize, event: Event) {
        let mut event = event;
        for _ in 0..10 {
            let now = at(self.now);
            let plan = self.replicas[replica].0.next(event, now);
            self.replicas[replica].2 |= plan.accepted.is_ok();
            let Some(action) = plan.actions.first() else {
                return;
            };
            event = match action {
                Action::Renew { keep } => {
                    assert_eq!(replica, self.holder, "only the holder writes");
                    if self.is_missing() {
                        return;
                    }
                    let keys = self.secret.take().unwrap_or_default();
                    let made = known(self.next_id, self.now);
                    let kept = keep.iter().map(|id| Known {
                        id: id.clone(),
                        validity: known(id[0], self.made_at(id[0])).validity,
                        can_sign: keys.iter().any(|key| key.id == *id),
                    });
                    self.secret = Some(std::iter::once(made).chain(kept).collect());
                    MADE.with_borrow_mut(|made| made.push((self.next_id, self.now)));
                    self.next_id = self.next_id.wrapping_add(1).max(1);
                    self.made += 1;
                    self.secret_event()
                }
                Action::Register(bundle) => {
                    assert_eq!(replica, self.holder, "only the holder writes");
                    self.bundle = bundle.iter().map(|id| id[0]).collect();
                    self.announce();
                    registered(&[&self.bundle])
                }
                Action::Issue(id) => {
                    let authorities = self.secret.iter().flatten();
                    let signer = { authorities }.find(|known| known.id == *id && known.can_sign);
                    let signer = signer.expect("the key is in the Secret");
                    let until = (now + POLICY.leaf).min(signer.validity.until);
                    let validity = Validity {
                        from: now - HOUR,
                        until,
                    };
                    self.replicas[replica].1 = Some((id[0], validity));
                    Event::Presented {
                        issuer: id.clone(),
                        validity,
                    }
                }
            };
        }
        panic!("no end of actions");
    }

    fn made_at(&self, id: u8) -> u64 {
        MADE.with_borrow(|made| {
            made.iter()
                .rev()
                .find(|(made, _)| *made == id)
                .expect("made")
                .1
        })
    }

    fn announce(&mut self) {
        let delay = POLICY.settling().as_secs() / 2;
        self.believes_from
            .push((self.now + delay, self.bundle.clone()));
    }

    fn everybody_looks(&mut self) {
        for replica in 0..self.replicas.len() {
            self.step(replica, Event::Holding(replica == self.holder));
            self.step(replica, self.secret_event());
            self.step(replica, registered(&[&self.bundle]));
        }
    }

    fn advance(&mut self, seconds: u64) {
        self.now += seconds;
        while let Some((from, _)) = self.believes_from.first()
            && *from <= self.now
        {
            self.believed = self.believes_from.remove(0).1;
        }
    }
}

thread_local! {
    static MADE: std::cell::RefCell<Vec<(u8, u64)>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn mishaps() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        Just(Mishap::DeleteSecret),
        Just(Mishap::DeleteSecretForLong),
        Just(Mishap::DeleteSecretWhileHolderChanges),
        Just(Mishap::EmptyBundle),
        Just(Mishap::ForeignBundle),
        Just(Mishap::HolderChanges),
        (0..3_usize).prop_map(Mishap::Restart),
    ]
}

proptest! {
    /// Whatever happens to Secret and replicas, API servers accept every replica that was ready, as
    /// long as nobody else touches the registration; and some time after somebody did, all is well
    /// again.
    #[test]
    fn no_admission_is_lost(history in prop::collection::vec((prop::option::weighted(0.3, mishaps()), 5..200_u64), 1..60)) {
        MADE.with_borrow_mut(Vec::clear);
        let mut world = World::new();
        let mut excused_until = 0;
        for (mishap, pause) in history {
            match mishap {
                Some(Mishap::DeleteSecret) => world.secret = None,
                // Longer, or again too soon, and certificates would expire before anybody can make
                // new ones.
                Some(Mishap::DeleteSecretForLong) if world.now >= world.missing_until + 900 => {
                    world.secret = None;
                    world.missing_until = world.now + 200;
                }
                Some(Mishap::DeleteSecretForLong) => {}
                Some(Mishap::DeleteSecretWhileHolderChanges) => {
                    world.secret = None;
                    world.holder = (world.holder + 1) % 3;
                }
                Some(Mishap::EmptyBundle | Mishap::ForeignBundle) => {
                    world.bundle = if matches!(mishap, Some(Mishap::EmptyBundle)) { vec![] } else { vec![255] };
                    world.announce();
                    excused_until = excused_until.max(world.now + 2 * POLICY.settling().as_secs());
                }
                Some(Mishap::HolderChanges) => world.holder = (world.holder + 1) % 3,
                Some(Mishap::Restart(replica)) => {
                    world.replicas[replica] = (Rotation::new(POLICY), None, false);
                    // One that starts while there is no Secret can't know what others present.
                    if world.is_missing() {
                        excused_until = world.missing_until + 2 * POLICY.settling().as_secs();
                    }
                }
                None => {}
            }
            world.everybody_looks();
            world.everybody_looks();
            for _ in 0..pause / 5 {
                world.advance(5);
                world.everybody_looks();
                if world.now < excused_until {
                    continue;
                }
                for (_, presented, was_ready) in &world.replicas {
                    // The first registration takes a moment to arrive, too.
                    if !was_ready || world.believed.is_empty() {
                        continue;
                    }
                    let (issuer, validity) = presented.expect("ready replicas present something");
                    prop_assert!(validity.contains(at(world.now)), "expired at {}", world.now);
                    prop_assert!(
                        world.believed.contains(&issuer),
                        "at {} {issuer} is presented and {:?} believed", world.now, world.believed
                    );
                }
            }
        }
        // And it isn't bought by making authorities all the time.
        let deletions = 200;
        prop_assert!(world.made as u64 <= 2 + deletions + world.now / 6000);
    }
}

#[test]
fn plans_wake_up_in_time() {
    let mut holder = Rotation::new(POLICY);
    holder.next(Event::Holding(true), at(0));
    holder.next(stored(&[known(1, 0)]), at(0));
    holder.next(leaf(1, 0), at(0));
    let wake = |plan: Plan| plan.wake.unwrap().duration_since(at(0)).unwrap().as_secs();
    assert_eq!(wake(holder.next(registered(&[&[1]]), at(0))), 10);
    assert_eq!(wake(holder.next(Event::Tick, at(10))), 800);
    holder.next(leaf(1, 5900), at(5900));
    assert_eq!(wake(holder.next(Event::Tick, at(5900))), 6000);
    assert!(POLICY.settling() <= 10 * SECOND);
}
