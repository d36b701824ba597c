//! Puzzles that nodes ask for before they keep what a stranger says: the shell solves them.

use std::collections::BTreeMap;

use session_core::MessageId;
use session_protocol::puzzle::{BITS_MAX, Puzzle, Solution};

/// Items whose puzzles are remembered; of more, some are solved again.
const PUZZLES_MAX: usize = 64;

/// What is asked for one item.
#[derive(Clone, Copy, Debug)]
struct Asked {
    puzzle: Puzzle,
    /// None while it is being solved.
    solution: Option<Solution>,
}

/// The puzzles of the items that are on their way.
#[derive(Debug, Default)]
pub(crate) struct Puzzles {
    asked: BTreeMap<MessageId, Asked>,
    /// Those that nobody works on yet.
    wanted: Vec<Puzzle>,
}

impl Puzzles {
    /// A node asks for a puzzle. False if that is more than any honest node asks for.
    pub(crate) fn ask(&mut self, puzzle: Puzzle) -> bool {
        if puzzle.bits == 0 || puzzle.bits > BITS_MAX {
            return false;
        }
        let same = |asked: &Asked| {
            asked.puzzle.window == puzzle.window && asked.puzzle.bits >= puzzle.bits
        };
        if !self.asked.get(&puzzle.message).is_some_and(same) {
            if self.asked.len() >= PUZZLES_MAX {
                self.asked.pop_first();
            }
            self.asked.insert(puzzle.message, Asked { puzzle, solution: None });
            self.wanted.push(puzzle);
        }
        true
    }

    /// Returns what is to be solved, once.
    pub(crate) fn take_wanted(&mut self) -> Vec<Puzzle> {
        core::mem::take(&mut self.wanted)
    }

    /// It is solved, or cannot be: then the next answer of a node asks for it again.
    pub(crate) fn solved(&mut self, puzzle: &Puzzle, solution: Option<Solution>) {
        let Some(asked) = self.asked.get_mut(&puzzle.message).filter(|it| it.puzzle == *puzzle)
        else {
            return;
        };
        match solution {
            Some(_) => asked.solution = solution,
            None => drop(self.asked.remove(&puzzle.message)),
        }
    }

    /// Returns the solution for an item, if there is one.
    pub(crate) fn solution(&self, message: &MessageId) -> Option<Solution> {
        self.asked.get(message)?.solution
    }
}
