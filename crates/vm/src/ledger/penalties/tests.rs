use super::*;

#[test]
fn shares_are_exact_and_add_up() {
    let stake = Amount(100_000_007);
    let mut taken = 0;
    for miss in 1..=100_u16 {
        let (before, after) = (share(stake, (miss - 1) * 50), share(stake, miss * 50));
        taken += after.0 - before.0;
        assert_eq!(taken, share(stake, miss * 50).0);
    }
    assert_eq!(taken, stake.0 / 2);
    assert_eq!(share(Amount(u64::MAX), FULL_BPS), Amount(u64::MAX));
    assert_eq!(share(stake, u16::MAX), stake);
}

#[test]
fn scores_reach_their_ends_and_stay_there() {
    let mut it = FULL_BPS;
    let mut down = Vec::new();
    for _ in 0..300 {
        it = score(it, false);
        down.push(it);
    }
    assert_eq!(&down[..3], [9_583, 9_183, 8_800]);
    assert!(down.is_sorted_by(|a, b| a >= b) && it == 0);
    for _ in 0..300 {
        it = score(it, true);
    }
    assert_eq!((it, score(it, true), score(0, false)), (FULL_BPS, FULL_BPS, 0));
}

fn choose(of: u128, chosen: u128) -> u128 {
    (0..chosen).fold(1, |product, step| product * (of - step) / (step + 1))
}

/// How often at least `needed` of `drawn` nodes are bad, in parts per million million, rounded up,
/// when they are drawn from the 999 others of 1,000 nodes and `bad` of those are.
fn outvoted(bad: u128, drawn: u128, needed: u128) -> u128 {
    let ways = |bad_drawn| choose(bad, bad_drawn) * choose(999 - bad, drawn - bad_drawn);
    let convicting: u128 = (needed..=drawn).map(ways).sum();
    // Sums are below 10^27: a million million times that is within 128 bits.
    (convicting * 1_000_000_000_000 / choose(999, drawn)) + 1
}

#[test]
fn the_published_risks_of_an_honest_node_are_exact() {
    let published = include_str!("../../../../../docs/adr/026-uptime-and-penalties.md");
    for (share, bad) in [("10 %", 100), ("20 %", 200), ("33 %", 333)] {
        let epoch = outvoted(bad, 10, 6);
        // Examiners are drawn anew in each epoch.
        let row = epoch * epoch / 1_000_000_000_000 + 1;
        let (mates, strict) = (outvoted(bad, 9, 5), outvoted(bad, 9, 6));
        let percent = |parts: u128| format!("{:.6} %", parts as f64 / 1e10);
        let cells = [epoch, row, mates, strict].map(percent).join(" | ");
        let line = format!("| {share} | {cells} |");
        assert!(published.contains(&line), "the document lacks {line}");
    }
}
