use super::Timers;
use crate::time::Time;

const fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

#[test]
fn a_timer_has_one_time_and_goes_off_once() {
    let mut timers = Timers::default();
    assert_eq!((timers.next(), timers.pop(at(9))), (None, None));
    timers.set('a', at(5));
    timers.set('b', at(3));
    timers.set('a', at(2));
    assert_eq!((timers.next(), timers.time(&'a')), (Some(at(2)), Some(at(2))));
    assert_eq!(timers.pop(at(1)), None, "nothing goes off early");
    assert_eq!(
        [timers.pop(at(9)), timers.pop(at(9)), timers.pop(at(9))],
        [Some('a'), Some('b'), None]
    );
    assert_eq!((timers.next(), timers.time(&'a')), (None, None));
}

#[test]
fn what_is_cancelled_never_goes_off() {
    let mut timers = Timers::default();
    timers.set('a', at(1));
    timers.set('b', at(1));
    timers.cancel('a');
    timers.cancel('a');
    assert_eq!([timers.pop(at(1)), timers.pop(at(1))], [Some('b'), None]);
}
