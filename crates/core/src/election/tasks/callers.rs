//! What callers of task election have taken up, and whether one of them may have more.

use std::collections::HashMap;

use super::{Refusal, Resource};
use crate::election::{Caller, fair_share};

/// A caller's number.
pub(super) type CallerId = u32;

/// What is kept for each caller.
#[derive(Debug, Default)]
pub(super) struct Callers {
    known: HashMap<Caller, CallerId>,
    accounts: Vec<Option<Account>>,
    unused: Vec<CallerId>,
}

#[derive(Debug)]
struct Account {
    caller: Caller,
    has: [usize; 3],
}

impl Callers {
    /// The number of whoever uses this share; made if it is new. One that has nothing is dropped by
    /// [`settle`](Self::settle).
    pub(super) fn number(&mut self, caller: &Caller) -> CallerId {
        let share = caller.share();
        if let Some(known) = self.known.get(&share) {
            return *known;
        }
        let number = self.unused.pop().unwrap_or(self.accounts.len() as CallerId);
        let account = Some(Account {
            caller: share.clone(),
            has: [0; 3],
        });
        match self.accounts.get_mut(number as usize) {
            Some(slot) => *slot = account,
            None => self.accounts.push(account),
        }
        self.known.insert(share, number);
        number
    }

    /// Whether a caller may have `more` of something of which `used` are in use and `limit` is all
    /// there is.
    pub(super) fn admit(
        &self,
        caller: CallerId,
        of: Resource,
        more: usize,
        used: usize,
        limit: usize,
    ) -> Result<(), Refusal> {
        if used + more > limit {
            return Err(Refusal::Full { of, limit });
        }
        let Some(Some(account)) = self.accounts.get(caller as usize) else {
            return Ok(());
        };
        let may = fair_share(limit, used);
        let has = account.has[of as usize];
        if more == 0 || account.caller == Caller::Anybody || has + more <= may {
            return Ok(());
        }
        Err(Refusal::Share { of, has, more, may })
    }

    pub(super) fn charge(&mut self, caller: CallerId, of: Resource, count: usize) {
        if let Some(Some(account)) = self.accounts.get_mut(caller as usize) {
            account.has[of as usize] += count;
        }
    }

    pub(super) fn discharge(&mut self, caller: CallerId, of: Resource, count: usize) {
        if let Some(Some(account)) = self.accounts.get_mut(caller as usize) {
            account.has[of as usize] -= count;
        }
        self.settle(caller);
    }

    /// Drops a caller that has nothing.
    pub(super) fn settle(&mut self, caller: CallerId) {
        let Some(slot) = self.accounts.get_mut(caller as usize) else {
            return;
        };
        if slot.as_ref().is_some_and(|account| account.has == [0; 3])
            && let Some(account) = slot.take()
        {
            self.known.remove(&account.caller);
            self.unused.push(caller);
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Caller {
        Caller::at(address.parse().unwrap())
    }

    /// However many take as much as they can, there is something for one more.
    #[test]
    fn nobody_can_take_everything() {
        for callers in [1u32, 10, 100] {
            let mut table = Callers::default();
            let limit = 20_000;
            let mut used = 0;
            for caller in 0..callers {
                let number = table.number(&at(&format!("10.1.{}.{}", caller >> 8, caller & 255)));
                while table
                    .admit(number, Resource::Inputs, 1, used, limit)
                    .is_ok()
                {
                    table.charge(number, Resource::Inputs, 1);
                    used += 1;
                }
            }
            let newcomer = table.number(&at("10.2.0.1"));
            let room = (1..limit)
                .take_while(|more| {
                    table
                        .admit(newcomer, Resource::Inputs, *more, used, limit)
                        .is_ok()
                })
                .count();
            let expected = match callers {
                1 => 2_223,
                10 => 147,
                _ => 36,
            };
            assert_eq!(room, expected, "{callers} callers");
        }
    }

    #[test]
    fn callers_are_forgotten() {
        let mut table = Callers::default();
        let one = table.number(&at("10.0.0.1"));
        table.charge(one, Resource::Agents, 2);
        table.discharge(one, Resource::Agents, 1);
        assert_eq!(table.count(), 1);
        table.discharge(one, Resource::Agents, 1);
        assert_eq!(table.count(), 0);
        assert_eq!(table.number(&at("10.0.0.2")), one);
    }
}
