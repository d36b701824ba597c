//! Plays the attacks of `docs/anonymity.md`, and draws its figures.
//!
//! `cargo run -p session-sim --example anonymity [FOLDER [SEED]]`
//!
//! Without a folder a small network is played, and nothing is written.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use session_sim::anonymity::study::{FIGURES, Figure, Job, Row, Scale, jobs};

/// The seed of the figures in `docs/`.
const SEED: u64 = 7;

/// Parts that are played at once; they do not know of each other.
const THREADS: usize = 2;

const SIZE: (u32, u32) = (860, 480);

/// The top of an axis of probabilities: above 1 is room for the names of lines.
const ROOM: f64 = 1.3;

/// Colours that those who do not see all colours tell apart (Okabe and Ito).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let folder = words.next();
    let seed = words.next().map_or(Ok(SEED), |text| text.parse())?;
    let scale = if folder.is_some() { Scale::large() } else { Scale::small() };
    let rows = play(jobs(&scale, seed));
    let table = table(&rows)?;
    let Some(folder) = folder else {
        #[expect(clippy::print_stdout, reason = "the answer of this program")]
        {
            println!("{table}");
        }
        return Ok(());
    };
    std::fs::create_dir_all(&folder)?;
    std::fs::write(Path::new(&folder).join("anonymity.csv"), table)?;
    for figure in FIGURES {
        draw(&figure, &rows, &Path::new(&folder).join(format!("anonymity-{}.svg", figure.name)))?;
    }
    Ok(())
}

/// Plays all parts; the rows are in the order of the parts.
fn play(jobs: Vec<Job>) -> Vec<Row> {
    let parts = jobs.len();
    let queue = Mutex::new(jobs.into_iter().enumerate());
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("nobody panics with it").next();
                    let Some((place, job)) = next else { return };
                    let rows = job();
                    let mut done = done.lock().expect("nobody panics with it");
                    done.insert(place, rows);
                    eprintln!("{} of {parts}", done.len());
                }
            });
        }
    });
    done.into_inner().expect("nobody panics with it").into_values().flatten().collect()
}

fn table(rows: &[Row]) -> Result<String, std::fmt::Error> {
    let mut text = String::from("figure,series,calculated,x,value,low,high\n");
    for Row { figure, series, calculated, x, y } in rows {
        let (value, low, high) = (y.value, y.low, y.high);
        writeln!(text, "{figure},\"{series}\",{calculated},{x},{value:.5},{low:.5},{high:.5}")?;
    }
    Ok(text)
}

type Outcome = Result<(), Box<dyn Error>>;

fn draw(figure: &Figure, rows: &[Row], file: &Path) -> Outcome {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.figure == figure.name).collect();
    let (first, last) = rows
        .iter()
        .fold((f64::MAX, f64::MIN), |(first, last), row| (first.min(row.x), last.max(row.x)));
    let across = (first * 0.85..last * 1.18).log_scale();
    match figure.log {
        Some((low, high)) => plot(figure, &rows, file, across, (low..high).log_scale(), low),
        None => plot(figure, &rows, file, across, 0.0..ROOM, 0.0),
    }
}

fn plot<X, Y>(figure: &Figure, rows: &[&Row], file: &Path, across: X, up: Y, least: f64) -> Outcome
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(figure.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(across, up)?;
    let number = |value: &f64| format!("{}", (value * 1e6).round() / 1e6);
    chart
        .configure_mesh()
        .x_desc(figure.x)
        .y_desc(figure.y)
        .x_label_formatter(&number)
        .y_label_formatter(&|value| {
            if figure.log.is_none() && *value > 1.0 { String::new() } else { number(value) }
        })
        .light_line_style(WHITE)
        .draw()?;
    let mut series: Vec<(&str, bool)> = Vec::new();
    for row in rows {
        if !series.contains(&(&row.series, row.calculated)) {
            series.push((&row.series, row.calculated));
        }
    }
    let mut names: Vec<&str> = Vec::new();
    for (name, calculated) in series {
        if !names.contains(&name) {
            names.push(name);
        }
        let place = names.iter().position(|other| *other == name).unwrap_or(0);
        let colour = COLOURS[place % COLOURS.len()];
        let of = |row: &&&Row| row.series == name && row.calculated == calculated;
        let mut points: Vec<&Row> = rows.iter().filter(of).copied().collect();
        points.sort_by(|one, other| one.x.total_cmp(&other.x));
        let shown = |value: f64| value.max(least);
        let line = points.iter().map(|row| (row.x, shown(row.y.value)));
        if calculated {
            chart.draw_series(DashedLineSeries::new(line, 4, 4, colour.stroke_width(1)))?;
            continue;
        }
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(points.iter().map(|row| {
            let Row { x, y, .. } = row;
            let (low, value, high) = (shown(y.low), shown(y.value), shown(y.high));
            ErrorBar::new_vertical(*x, low, value, high, colour.filled(), 6)
        }))?;
    }
    chart
        .configure_series_labels()
        .position(legend(figure))
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

/// Where lines leave room.
fn legend(figure: &Figure) -> SeriesLabelPosition {
    match figure.name {
        "day" | "month" => SeriesLabelPosition::LowerRight,
        "set" => SeriesLabelPosition::UpperLeft,
        _ => SeriesLabelPosition::UpperRight,
    }
}
