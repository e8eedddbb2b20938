//! An agent, as real ones behave.

/// Sets of inputs, one bit each.
pub(super) type Inputs = u32;

/// One process of an agent. A restart makes a new one.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    /// What it is configured to collect.
    pub(super) offers: Inputs,
    /// What it was last told; at first, everything.
    pub(super) target: Inputs,
    /// What it collects. Nothing ever leaves this set.
    pub(super) running: Inputs,
    equal: u32,
}

impl Agent {
    pub(super) fn new(offers: Inputs) -> Self {
        Self {
            offers,
            target: offers,
            running: 0,
            equal: 0,
        }
    }

    /// Hears an answer.
    pub(super) fn told(&mut self, allowed: Inputs) {
        if allowed != self.target {
            self.equal = 0;
            self.target = allowed;
            return;
        }
        self.equal += 1;
        if self.equal == 3 {
            self.running |= self.target;
        }
    }
}
