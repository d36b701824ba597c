//! One story: `cargo run -p session-sim --example story [STORY [SEED [MINUTES]]]`

use session_sim::{Options, Story, run};

fn main() {
    let mut words = std::env::args().skip(1);
    let story: Story =
        words.next().map_or(Story::Everything, |word| word.parse().expect("a story"));
    let seed = words.next().map_or(1, |word| word.parse().expect("a seed"));
    let minutes = words.next().map_or(5, |word| word.parse().expect("minutes"));
    let report = run(&Options { seed, story, minutes, ..Options::default() });
    #[expect(clippy::print_stdout, reason = "the answer of this program")]
    match report {
        Ok(report) => println!("{report}"),
        Err(violation) => {
            println!("{violation}");
            std::process::exit(1);
        }
    }
}
