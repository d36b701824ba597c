use super::{Context, Machine};
use crate::{Entropy, SeededEntropy, Span, Time};

/// Echoes a number after a second: the smallest machine with a store, effects and a deadline.
#[derive(Default)]
struct Echo {
    waiting: Option<(Time, u32)>,
}

impl Machine for Echo {
    type Store = Vec<u32>;
    type Input = u32;
    type Effect = u32;

    fn handle(&mut self, cx: &mut Context<'_, Vec<u32>, u32>, input: u32) {
        cx.store.push(input);
        self.waiting = Some((cx.now + Span::from_secs(1), input));
    }

    fn deadline(&self) -> Option<Time> {
        self.waiting.map(|(due, _)| due)
    }

    fn tick(&mut self, cx: &mut Context<'_, Vec<u32>, u32>) {
        if let Some((_, number)) = self.waiting.take_if(|(due, _)| *due <= cx.now) {
            cx.effects.push(number);
        }
    }
}

#[test]
fn an_owner_lends_its_doors_and_keeps_its_effects() {
    let mut echo = Echo::default();
    let (mut store, mut rng) = (Vec::new(), SeededEntropy::new(1));
    let expected = rng.clone().next_u64();
    let mut outer: Vec<String> = Vec::new();
    let mut cx = Context {
        now: Time::from_millis(5),
        store: &mut store,
        rng: &mut rng,
        effects: &mut outer,
    };

    let mut inner = Vec::new();
    echo.handle(&mut cx.lend(&mut inner), 7);
    assert_eq!(echo.deadline(), Some(Time::from_millis(1005)));
    echo.tick(&mut cx.lend(&mut inner));
    assert!(inner.is_empty(), "not due yet");

    cx.now = Time::from_millis(1005);
    echo.tick(&mut cx.lend(&mut inner));
    cx.effects.extend(inner.iter().map(u32::to_string));
    assert_eq!(echo.deadline(), None);

    let mut nothing: Vec<()> = Vec::new();
    assert_eq!(cx.lend(&mut nothing).rng.next_u64(), expected);
    assert_eq!(store, [7]);
    assert_eq!(outer, ["7"]);
}
