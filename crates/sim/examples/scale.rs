//! A thousand nodes for a simulated hour: how fast is the simulator?
//!
//! `cargo run --release -p session-sim --example scale [STORY [NODES [PERSONS [MINUTES [SEED]]]]]`

use session_core::Span;
use session_sim::person::Habits;
use session_sim::{Scenario, Story, play};

fn main() {
    let mut words = std::env::args().skip(1);
    let story = words.next().map_or(Story::Lossy, |word| word.parse().expect("a story"));
    let mut numbers = words.map(|text| text.parse::<u64>());
    let mut number = |default| numbers.next().map_or(default, |text| text.expect("a number"));
    let (nodes, persons, minutes, seed) =
        (number(1_000) as usize, number(300) as usize, number(60), number(1));
    let habits = Habits {
        send_every: Span::from_secs(180),
        read_every: Span::from_secs(300),
        ..Habits::default()
    };
    let scenario = Scenario {
        nodes,
        persons,
        minutes,
        habits,
        checkpoint_every: Span::from_secs(60),
        ..Scenario::new(story)
    };
    #[expect(clippy::disallowed_methods, reason = "measures the simulator from outside")]
    let begin = std::time::Instant::now();
    let report = play(&scenario, seed).unwrap_or_else(|violation| panic!("{violation}"));
    let wall = begin.elapsed();
    let per_second = report.events as f64 / wall.as_secs_f64();
    #[expect(clippy::print_stdout, reason = "the answer of this program")]
    {
        println!("{report}\n{:.1} s, {per_second:.0} events a second", wall.as_secs_f64());
    }
}
