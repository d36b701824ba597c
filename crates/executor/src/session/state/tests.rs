use super::*;

const STATES: [State; 5] = [
    State::Pending,
    State::Running { step: 4 },
    State::WaitingIo { step: 5 },
    State::Finalized { steps: 7 },
    State::Failed { steps: 6 },
];
const EVENTS: [Event; 6] = [
    Event::Started,
    Event::Asked,
    Event::Decided,
    Event::Checkpointed,
    Event::Finalized,
    Event::Failed,
];

#[test]
fn the_whole_table() {
    let cell = |state: State, event| match state.after(event) {
        Ok(next) => format!("{} {}", next.name().name(), next.step()),
        Err(_) => "-".to_owned(),
    };
    let mut table =
        String::from("state | Started | Asked | Decided | Checkpointed | Finalized | Failed\n");
    for state in STATES {
        let cells: Vec<String> = EVENTS.into_iter().map(|event| cell(state, event)).collect();
        table += &format!("{} {} | {}\n", state.name().name(), state.step(), cells.join(" | "));
    }
    let expected = "\
state | Started | Asked | Decided | Checkpointed | Finalized | Failed
pending 0 | running 0 | - | - | - | - | failed 0
running 4 | - | waiting_io 5 | - | running 5 | finalized 4 | failed 4
waiting_io 5 | - | - | running 6 | - | - | failed 5
finalized 6 | - | - | - | - | - | -
failed 5 | - | - | - | - | - | -
";
    assert_eq!(table, expected);
}

#[test]
fn what_ended_stays_ended() {
    for state in STATES.into_iter().filter(|state| state.is_ended()) {
        for event in EVENTS {
            let refused = state.after(event).unwrap_err();
            assert_eq!(refused, NotAllowed { state: state.name(), event });
        }
    }
}
