//! The figures of `docs/anonymity.md`: what is played for each, and how it is drawn.

use super::collusion::{Collusion, Way};
use super::draw::{Micros, SECOND};
use super::observer::{Linked, Single, Told, disclosure, single};
use super::{Estimate, Mode, Traffic};

const MILLISECOND: Micros = SECOND / 1_000;

/// Messages of a day in each direction between two people whom nodes would like to link.
const MESSAGES_A_DAY: f64 = 20.0;

/// Mean time between two messages of a chat: short, so that little time has to be played.
const CHAT_EVERY: Micros = 5 * SECOND;

/// One value of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The figure that it belongs to.
    pub figure: &'static str,
    /// The line of the figure.
    pub series: String,
    /// Whether it was calculated, and not played.
    pub calculated: bool,
    /// Its place on the horizontal axis.
    pub x: f64,
    /// The value.
    pub y: Estimate,
}

/// How a figure is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// The name of its file.
    pub name: &'static str,
    /// What stands above it.
    pub title: &'static str,
    /// What is on the horizontal axis; it is logarithmic.
    pub x: &'static str,
    /// What is on the vertical axis.
    pub y: &'static str,
    /// The ends of a logarithmic vertical axis; others go from 0 to 1.
    pub log: Option<(f64, f64)>,
}

/// All figures that are drawn.
pub const FIGURES: [Figure; 7] = [
    Figure {
        name: "message",
        title: "One message, all links observed: is its recipient named?",
        x: "mean delay at each hop, ms (mix, a packet a second)",
        y: "probability of the right recipient",
        log: None,
    },
    Figure {
        name: "set",
        title: "One message: how many recipients are as likely?",
        x: "mean delay at each hop, ms (mix, a packet a second)",
        y: "2 to the entropy, clients",
        log: Some((1.0, 20_000.0)),
    },
    Figure {
        name: "pace",
        title: "One message: the same with less cover",
        x: "mean time between two packets of a client, s (mix, 200 ms)",
        y: "probability of the right recipient",
        log: None,
    },
    Figure {
        name: "chat",
        title: "A chat, all links observed: is the partner found among 10,000?",
        x: "messages of the chat",
        y: "share of chats whose partner ranks first",
        log: None,
    },
    Figure {
        name: "day",
        title: "Colluding nodes: are two people linked within a day?",
        x: "colluding nodes, % of all",
        y: "share of conversations",
        log: Some((0.000_05, 1.0)),
    },
    Figure {
        name: "month",
        title: "Colluding nodes: are two people linked within 30 days?",
        x: "colluding nodes, % of all",
        y: "share of conversations",
        log: Some((0.000_05, 1.0)),
    },
    Figure {
        name: "time",
        title: "5 % of nodes collude: are two people linked by then?",
        x: "days",
        y: "share of conversations",
        log: None,
    },
];

/// How much is played.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Returns the network for a mode.
    pub traffic: fn(Mode) -> Traffic,
    /// Simulated seconds in which messages are looked at.
    pub seconds: u64,
    /// How many of them, about.
    pub messages: u32,
    /// Mean delays of a mix, in milliseconds.
    pub delays: &'static [u64],
    /// Mean times between packets of a mix, in milliseconds.
    pub paces: &'static [u64],
    /// How many chats are looked at.
    pub chats: u32,
    /// After how many messages.
    pub after: &'static [u32],
    /// How many pairs of people bad nodes look at.
    pub pairs: u32,
}

impl Scale {
    /// Returns what the documentation shows: minutes of work.
    #[must_use]
    pub fn large() -> Self {
        Self {
            traffic: Traffic::large,
            seconds: 20,
            messages: 150,
            delays: &[1, 5, 20, 50, 100, 200, 400],
            paces: &[1_000, 1_500, 2_000, 3_000, 4_000],
            chats: 20,
            after: &[1, 2, 5, 10, 20, 50],
            pairs: 20_000,
        }
    }

    /// Returns a tenth of the network, and less of everything: seconds of work.
    #[must_use]
    pub fn small() -> Self {
        Self {
            traffic: Traffic::small,
            seconds: 90,
            messages: 150,
            delays: &[1, 50, 200],
            paces: &[1_000, 3_000],
            chats: 10,
            after: &[1, 5, 10],
            pairs: 2_000,
        }
    }
}

/// A part of the study that needs none of the others.
pub type Job = Box<dyn FnOnce() -> Vec<Row> + Send>;

/// Returns all parts, the longest ones first.
#[must_use]
pub fn jobs(scale: &Scale, seed: u64) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for (name, mode, told) in [
        ("mix, told nothing", Mode::Mix, Told::Nothing),
        ("mix, told which packets are messages", Mode::Mix, Told::Sent),
        ("mix, told so at both ends", Mode::Mix, Told::Both),
        ("onion", Mode::Onion, Told::Sent),
    ] {
        let scale = scale.clone();
        jobs.push(Box::new(move || chat(&scale, name, mode, told, seed)));
    }
    for delay in scale.delays.iter().rev() {
        let (scale, delay) = (scale.clone(), *delay);
        jobs.push(Box::new(move || delayed(&scale, delay, seed)));
    }
    for pace in scale.paces {
        let (scale, pace) = (scale.clone(), *pace);
        jobs.push(Box::new(move || paced(&scale, pace, seed)));
    }
    for mode in [Mode::Direct, Mode::Onion, Mode::Mix] {
        let scale = scale.clone();
        jobs.push(Box::new(move || as_it_is(&scale, mode, seed)));
    }
    let more = scale.clone();
    jobs.push(Box::new(move || decoys(&more, seed)));
    for way in Way::ALL {
        let scale = scale.clone();
        jobs.push(Box::new(move || colluding(&scale, way, seed)));
    }
    jobs
}

/// The lines of what is known of a single message.
fn lines(single: &Single) -> [(&'static str, &Linked); 3] {
    [
        ("all links", &single.links),
        ("all links, told which packets bring messages", &single.told),
        ("links of clients, told the same", &single.ends),
    ]
}

fn row(figure: &'static str, series: impl Into<String>, x: f64, y: Estimate) -> Row {
    Row { figure, series: series.into(), calculated: false, x, y }
}

fn delayed(scale: &Scale, delay: u64, seed: u64) -> Vec<Row> {
    let traffic = Traffic { delay: delay * MILLISECOND, ..(scale.traffic)(Mode::Mix) };
    let single = single(&traffic, scale.seconds, scale.messages, seed);
    let rows = lines(&single).into_iter().flat_map(|(name, linked)| {
        let (x, set) = (delay as f64, linked.set());
        [row("message", name, x, linked.right), row("set", name, x, set)]
    });
    rows.collect()
}

fn paced(scale: &Scale, pace: u64, seed: u64) -> Vec<Row> {
    let traffic = Traffic { pace: Some(pace * MILLISECOND), ..(scale.traffic)(Mode::Mix) };
    let single = single(&traffic, scale.seconds, scale.messages, seed);
    let row = |(name, linked): (_, &Linked)| row("pace", name, pace as f64 / 1_000.0, linked.right);
    lines(&single).map(row).into()
}

fn as_it_is(scale: &Scale, mode: Mode, seed: u64) -> Vec<Row> {
    table(mode.name(), &single(&(scale.traffic)(mode), scale.seconds, scale.messages, seed))
}

/// A mix with cover that is stored: nothing of the sort is in the program.
fn decoys(scale: &Scale, seed: u64) -> Vec<Row> {
    let traffic = Traffic { decoys: 0.02, ..(scale.traffic)(Mode::Mix) };
    table("mix, 2 % of cover stored", &single(&traffic, scale.seconds, scale.messages, seed))
}

fn table(name: &str, single: &Single) -> Vec<Row> {
    let row = |what: String, y| row("modes", what, 0.0, y);
    let mut rows = vec![
        row(format!("{name}: seconds until read"), single.seconds),
        row(format!("{name}: packets in a node"), Estimate::exact(single.inside)),
        row(format!("{name}: messages"), Estimate::exact(single.messages as f64)),
    ];
    for (line, linked) in lines(single) {
        rows.push(row(format!("{name}: {line}: right"), linked.right));
        rows.push(row(format!("{name}: {line}: best guess, its own belief"), linked.best));
        rows.push(row(format!("{name}: {line}: best guess right"), linked.hit));
        rows.push(row(format!("{name}: {line}: bits"), linked.entropy));
    }
    rows
}

fn chat(scale: &Scale, name: &str, mode: Mode, told: Told, seed: u64) -> Vec<Row> {
    let traffic = Traffic { chat_every: CHAT_EVERY, ..(scale.traffic)(mode) };
    let shares = disclosure(&traffic, scale.chats, scale.after, told, seed);
    let rows = scale.after.iter().zip(shares);
    rows.map(|(after, share)| row("chat", name, f64::from(*after), share)).collect()
}

fn colluding(scale: &Scale, way: Way, seed: u64) -> Vec<Row> {
    let traffic = (scale.traffic)(Mode::Onion);
    let (nodes, swarm) = (traffic.nodes, traffic.swarm);
    let of = |bad| Collusion { nodes, swarm, bad, messages: MESSAGES_A_DAY, rotated: true, way };
    let mut rows = Vec::new();
    for percent in [1, 2, 5, 10, 20] {
        let (of, x) = (of(nodes * percent / 100), f64::from(percent));
        let played = of.measure(scale.pairs, &[1, 30], seed + u64::from(percent));
        for (figure, days, y) in [("day", 1, played[0]), ("month", 30, played[1])] {
            rows.push(row(figure, way.name(), x, y));
            let y = Estimate::exact(of.expected(days));
            rows.push(Row { calculated: true, ..row(figure, way.name(), x, y) });
        }
    }
    let after = [1, 3, 7, 14, 30, 60, 90, 180, 365];
    let played = of(nodes / 20).measure(scale.pairs, &after, seed);
    let by = after.iter().zip(played);
    rows.extend(by.map(|(days, y)| row("time", way.name(), f64::from(*days), y)));
    rows
}
