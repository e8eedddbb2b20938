//! Names of inputs as small numbers, and the lists of inputs that agents offer.
//!
//! Agents of one DaemonSet offer the same list, so a list is kept once for all of them, together
//! with its agents in the order in which they would be given work. An input exists as long as a
//! list names it, a list as long as an agent offers it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::callers::{CallerId, Callers};
use super::poll::Poll;
use super::{AgentId, InputId, Limits, ListId, Refusal, Resource};

/// One input that somebody offers.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: Arc<str>,
    /// What it weighs: the score in the newest list that names it.
    pub(super) score: u32,
    pub(super) place: Place,
    /// Whether it was with an agent that died, and has not been running since.
    pub(super) recovering: bool,
    /// Who brought it up, and so has a smaller share of names left.
    owner: CallerId,
    lists: BTreeSet<ListId>,
}

/// Where an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// With nobody.
    Free,
    /// In the answers of one agent.
    Held {
        by: AgentId,
        /// Whether the agent may have begun to run it. Then it stays until the agent is dead or no
        /// longer offers it.
        active: bool,
    },
    /// No longer in the answers of `from`, which may not know it yet, and so with nobody.
    TakenBack {
        from: AgentId,
        /// Whom it is meant for.
        to: Option<AgentId>,
        /// Whether an answer without it was sent to `from`.
        told: bool,
    },
}

/// Which input with which score, in the order of names.
type Entries = Arc<[(InputId, u32)]>;

/// What some agents offer.
#[derive(Debug)]
pub(super) struct List {
    pub(super) entries: Entries,
    /// The inputs, ascending.
    ids: Box<[InputId]>,
    /// Load, number of inputs and id: the first is given work first.
    pub(super) agents: BTreeSet<(u64, usize, Arc<str>, AgentId)>,
    /// Who brought it up.
    owner: CallerId,
}

/// All inputs and all lists.
#[derive(Debug, Default)]
pub(super) struct Offers {
    names: HashMap<Arc<str>, InputId>,
    inputs: Vec<Option<Input>>,
    unused_inputs: Vec<InputId>,
    by_entries: HashMap<Entries, ListId>,
    lists: Vec<Option<List>>,
    unused_lists: Vec<ListId>,
    entries: usize,
    /// Inputs that nobody holds.
    pub(super) free: BTreeSet<InputId>,
    /// Inputs that were taken back, and so are with nobody either.
    pub(super) taken_back: BTreeSet<InputId>,
    pub(super) callers: Callers,
}

impl List {
    pub(super) fn contains(&self, input: InputId) -> bool {
        self.ids.binary_search(&input).is_ok()
    }

    /// Whether every one of this list's inputs is among `sorted`.
    pub(super) fn within(&self, sorted: &[InputId]) -> bool {
        self.ids.len() <= sorted.len() && self.ids.iter().all(|id| sorted.binary_search(id).is_ok())
    }
}

impl Offers {
    /// Looks up the number of a name that some agent offers.
    pub(super) fn id(&self, name: &str) -> Option<InputId> {
        self.names.get(name).copied()
    }

    #[expect(
        clippy::expect_used,
        reason = "a number is dropped together with what it stands for"
    )]
    pub(super) fn input(&self, id: InputId) -> &Input {
        self.inputs[id as usize].as_ref().expect("a live input")
    }

    #[expect(clippy::expect_used, reason = "see `input`")]
    pub(super) fn input_mut(&mut self, id: InputId) -> &mut Input {
        self.inputs[id as usize].as_mut().expect("a live input")
    }

    #[expect(clippy::expect_used, reason = "see `input`")]
    pub(super) fn list(&self, id: ListId) -> &List {
        self.lists[id as usize].as_ref().expect("a live list")
    }

    #[expect(clippy::expect_used, reason = "see `input`")]
    pub(super) fn list_mut(&mut self, id: ListId) -> &mut List {
        self.lists[id as usize].as_mut().expect("a live list")
    }

    pub(super) fn all_lists(&self) -> impl Iterator<Item = (ListId, &List)> {
        (0..)
            .zip(&self.lists)
            .filter_map(|(id, list)| Some((id, list.as_ref()?)))
    }

    /// The length of a list that only one agent offers, which goes when that one changes to
    /// another.
    pub(super) fn sole(&self, list: ListId) -> usize {
        let list = self.list(list);
        match list.agents.len() {
            1 => list.entries.len(),
            _ => 0,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    /// The lists that name `input`.
    pub(super) fn lists_of(&self, input: InputId) -> impl Iterator<Item = &List> {
        self.input(input).lists.iter().map(|list| self.list(*list))
    }

    /// The numbers of the lists that name `input`.
    pub(super) fn list_ids_of(&self, input: InputId) -> impl Iterator<Item = ListId> {
        self.input(input).lists.iter().copied()
    }

    /// Whether `poll` offers exactly what `list` says. The common case of a poll, hence without any
    /// look-up.
    pub(super) fn is(&self, list: ListId, poll: &Poll<'_>) -> bool {
        let entries = &self.list(list).entries;
        entries.len() == poll.offers().len()
            && poll
                .offers()
                .zip(entries.iter())
                .all(|((name, score), (id, known))| {
                    score == *known && *name == *self.input(*id).name
                })
    }

    /// The list that `offers` stand for, made if it is new, for the caller to put an agent in.
    /// Inputs that are new are free; those whose score changed are returned with what it was.
    /// `replaced` is the length of a list that will be forgotten in return.
    pub(super) fn find<'p>(
        &mut self,
        offers: impl ExactSizeIterator<Item = (&'p str, u32)> + Clone,
        limits: &Limits,
        caller: CallerId,
        replaced: usize,
    ) -> Result<(ListId, Vec<(InputId, u32)>), Refusal> {
        let known: Option<Vec<_>> = offers
            .clone()
            .map(|(name, score)| Some((self.id(name)?, score)))
            .collect();
        if let Some(list) = known.and_then(|entries| self.by_entries.get(&entries[..])) {
            return Ok((*list, Vec::new()));
        }
        // Checked before anything is kept.
        let new = offers
            .clone()
            .filter(|(name, _)| self.id(name).is_none())
            .count();
        let (names, more) = (self.names.len(), offers.len());
        self.callers
            .admit(caller, Resource::Inputs, new, names, limits.inputs)?;
        // Whoever offers less than before is never refused.
        let added = more.saturating_sub(replaced);
        if added > 0 {
            self.callers.admit(
                caller,
                Resource::Entries,
                added,
                self.entries,
                limits.entries,
            )?;
        }
        self.callers.charge(caller, Resource::Inputs, new);
        self.callers.charge(caller, Resource::Entries, more);
        let list = self
            .unused_lists
            .pop()
            .unwrap_or(self.lists.len() as ListId);
        let mut rescored = Vec::new();
        let mut entries = Vec::with_capacity(offers.len());
        for (name, score) in offers {
            let id = self.intern(name, caller);
            let input = self.input_mut(id);
            input.lists.insert(list);
            if score != input.score {
                rescored.push((id, input.score));
                input.score = score;
            }
            entries.push((id, score));
        }
        self.entries += entries.len();
        let mut ids: Box<[InputId]> = entries.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let entries: Entries = entries.into();
        self.by_entries.insert(Arc::clone(&entries), list);
        let made = Some(List {
            entries,
            ids,
            agents: BTreeSet::new(),
            owner: caller,
        });
        match self.lists.get_mut(list as usize) {
            Some(slot) => *slot = made,
            None => self.lists.push(made),
        }
        Ok((list, rescored))
    }

    /// Drops a list that no agent offers any more, and returns the names of the inputs that went
    /// with it. They must be free.
    pub(super) fn forget(&mut self, list: ListId) -> Vec<Arc<str>> {
        let mut forgotten = Vec::new();
        if !self.list(list).agents.is_empty() {
            return forgotten;
        }
        let Some(dropped) = self.lists[list as usize].take() else {
            return forgotten;
        };
        self.unused_lists.push(list);
        self.by_entries.remove(&dropped.entries);
        self.entries -= dropped.entries.len();
        self.callers
            .discharge(dropped.owner, Resource::Entries, dropped.entries.len());
        for (id, _) in dropped.entries.iter() {
            let input = self.input_mut(*id);
            input.lists.remove(&list);
            if input.lists.is_empty() {
                let (name, owner) = (Arc::clone(&input.name), input.owner);
                self.callers.discharge(owner, Resource::Inputs, 1);
                self.names.remove(&name);
                self.inputs[*id as usize] = None;
                self.free.remove(id);
                self.unused_inputs.push(*id);
                forgotten.push(name);
            }
        }
        forgotten
    }

    fn intern(&mut self, name: &str, owner: CallerId) -> InputId {
        if let Some(id) = self.id(name) {
            return id;
        }
        let id = self
            .unused_inputs
            .pop()
            .unwrap_or(self.inputs.len() as InputId);
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name), id);
        let made = Some(Input {
            name,
            score: 0,
            place: Place::Free,
            recovering: false,
            owner,
            lists: BTreeSet::new(),
        });
        match self.inputs.get_mut(id as usize) {
            Some(slot) => *slot = made,
            None => self.inputs.push(made),
        }
        self.free.insert(id);
        id
    }
}
