use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use session_core::Span;
use tokio::time::Instant;

use super::{ADDRESSES_MAX, Limiter};

const BURST: u64 = 2000;

fn v4(last: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(last))
}

#[test]
fn a_burst_and_then_a_rate() {
    let (limiter, start) = (Limiter::new(Some(500)), Instant::now());
    assert_eq!(limiter.take_at(v4(1), BURST, start), Ok(()));
    assert_eq!(limiter.take_at(v4(1), 1, start), Err(Span::from_millis(2)));
    assert_eq!(limiter.take_at(v4(2), 1, start), Ok(()), "others are not concerned");
    let later = start + Duration::from_millis(20);
    assert_eq!(limiter.take_at(v4(1), 10, later), Ok(()));
    assert_eq!(limiter.take_at(v4(1), 1, later), Err(Span::from_millis(2)));
}

#[test]
fn one_ipv6_network_is_one_address() {
    let (limiter, now) = (Limiter::new(Some(500)), Instant::now());
    let six = |low: u128| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | low));
    assert_eq!(limiter.take_at(six(1), BURST, now), Ok(()));
    assert!(limiter.take_at(six(2), 1, now).is_err());
    assert!(limiter.take_at(six(1 << 64), 1, now).is_ok());
}

#[test]
fn a_full_table_forgets_the_rested() {
    let (limiter, start) = (Limiter::new(Some(500)), Instant::now());
    for address in 0..ADDRESSES_MAX as u32 {
        assert_eq!(limiter.take_at(v4(address), 1, start), Ok(()));
    }
    assert!(limiter.take_at(v4(u32::MAX), 1, start).is_err());
    let later = start + Duration::from_secs(1);
    assert_eq!(limiter.take_at(v4(u32::MAX), 1, later), Ok(()));
}
