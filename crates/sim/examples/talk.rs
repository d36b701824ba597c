//! People who talk, small: `cargo run -p session-sim --example talk [SEED [PEOPLE [MINUTES [STORY [back]]]]]`

use session_sim::{Scenario, Story, play};

fn main() {
    let mut words = std::env::args().skip(1);
    let seed: u64 = words.next().map_or(1, |word| word.parse().expect("a seed"));
    let persons = words.next().map_or(3, |word| word.parse().expect("people"));
    let minutes = words.next().map_or(2, |word| word.parse().expect("minutes"));
    let story = words.next().map_or(Story::Messaging, |word| word.parse().expect("a story"));
    let mut scenario = Scenario { persons, minutes, ..Scenario::new(story) };
    scenario.habits.rolls_back |= words.next().is_some_and(|word| word == "back");
    #[expect(clippy::print_stdout, reason = "the answer of this program")]
    match play(&scenario, seed) {
        Ok(report) => println!("{report}"),
        Err(violation) => {
            println!("{violation}");
            std::process::exit(1);
        }
    }
}
