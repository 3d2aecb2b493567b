//! Draws figures as SVG with plotters.

use std::fmt::Display;

use plotters::{
    chart::ChartBuilder,
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea as _},
    element::{Circle, PathElement, Rectangle},
    prelude::{IntoLogRange as _, SVGBackend},
    series::LineSeries,
    style::{Color as _, IntoFont as _, RGBColor, TextStyle, WHITE},
};

use crate::figures::{Figures, Measure, Subject};

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// All plots for which there are figures, each with its file name.
pub(super) fn all(figures: &Figures) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut all = Vec::new();
    if let Some(drawing) = drawn((960, 340), |canvas| throughput(figures, canvas))? {
        all.push(("throughput.svg", drawing));
    }
    if let Some(drawing) = drawn((960, 300), |canvas| hand_over(figures, canvas))? {
        all.push(("hand-over.svg", drawing));
    }
    if let Some(drawing) = drawn((960, 560), |canvas| pauses(figures, canvas))? {
        all.push(("pauses.svg", drawing));
    }
    Ok(all)
}

/// A plot as SVG. `None` if `draw` had nothing to draw.
fn drawn(
    size: (u32, u32),
    draw: impl Fn(&Canvas<'_>) -> anyhow::Result<bool>,
) -> anyhow::Result<Option<String>> {
    let mut text = String::new();
    let canvas = SVGBackend::with_string(&mut text, size).into_drawing_area();
    canvas.fill(&WHITE).map_err(failed)?;
    let is_drawn = draw(&canvas)?;
    canvas.present().map_err(failed)?;
    drop(canvas);
    Ok(is_drawn.then_some(text))
}

/// Requests a second over the number of idle peers, with a panel for each scenario.
fn throughput(figures: &Figures, canvas: &Canvas<'_>) -> anyhow::Result<bool> {
    let scenarios = ["lock", "heartbeat", "cycle"];
    let mut is_drawn = false;
    for (panel, scenario) in canvas.split_evenly((1, scenarios.len())).iter().zip(scenarios) {
        let lines = SUBJECTS.map(|subject| (subject, line(figures, scenario, subject)));
        if lines.iter().all(|(_, line)| line.len() < 2) {
            continue;
        }
        is_drawn = true;
        let mut chart = ChartBuilder::on(panel)
            .caption(format!("{scenario}: requests/s among idle peers"), ("sans-serif", 15))
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(48)
            .build_cartesian_2d(
                (100.0..1_500_000.0_f64).log_scale(),
                (100.0..200_000.0_f64).log_scale(),
            )
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_label_formatter(&|x| if *x <= 100.0 { "0".to_owned() } else { short(*x) })
            .y_label_formatter(&|y| short(*y))
            .light_line_style(WHITE)
            .draw()
            .map_err(failed)?;
        for (subject, line) in lines {
            let color = color(subject);
            chart
                .draw_series(LineSeries::new(line.clone(), color.stroke_width(2)))
                .map_err(failed)?
                .label(subject.name())
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 14, y)], color.stroke_width(2))
                });
            let dots = line.into_iter().map(|point| Circle::new(point, 3, color.filled()));
            chart.draw_series(dots).map_err(failed)?;
        }
        let legend = &mut chart.configure_series_labels();
        legend.position(plotters::chart::SeriesLabelPosition::LowerLeft).border_style(GREY);
        legend.background_style(WHITE).draw().map_err(failed)?;
    }
    Ok(is_drawn)
}

/// The points of one line. No population at all is drawn at 100, because a logarithmic axis has no zero.
fn line(figures: &Figures, scenario: &str, subject: Subject) -> Vec<(f64, f64)> {
    let among = [
        ("nobody", 100.0),
        ("1k idle", 1e3),
        ("10k idle", 1e4),
        ("100k idle", 1e5),
        ("1M idle", 1e6),
    ];
    let points = among.map(|(among, x)| {
        Some((x, figures.median((scenario, among), subject, Measure::RequestsPerSecond)?))
    });
    points.into_iter().flatten().collect()
}

/// The time from a release to the next holder: median and 99th percentile.
fn hand_over(figures: &Figures, canvas: &Canvas<'_>) -> anyhow::Result<bool> {
    let shown = figures.iter().filter(|figure| {
        figure.question == "contend"
            && [Measure::P50Micros, Measure::P99Micros].contains(&figure.measure)
    });
    let all = shown.map(|figure| {
        let (measure, among) = (figure.measure.name(), &figure.among);
        let label = format!("{among}, {measure}: {}", figure.subject.name());
        Bar { label, subject: figure.subject, length: figure.median, text: decimals(figure.median) }
    });
    bars(canvas, "From a release to the next holder's answer, in µs", &all.collect::<Vec<_>>())
}

/// The longest pause of others in any round, for each event.
fn pauses(figures: &Figures, canvas: &Canvas<'_>) -> anyhow::Result<bool> {
    let shown = figures.iter().filter(|figure| figure.measure == Measure::LongestPauseMillis);
    let all = shown.map(|figure| {
        let length = figure.rounds.iter().copied().fold(0.0, f64::max);
        let label = format!("{}, {}", figure.question, figure.among);
        Bar { label, subject: figure.subject, length, text: decimals(length) }
    });
    let title =
        "The longest pause of others in any round, in ms (wanted for 100k, 10k: at most 20)";
    bars(canvas, title, &all.collect::<Vec<_>>())
}

struct Bar {
    label: String,
    subject: Subject,
    length: f64,
    text: String,
}

/// Draws bars below each other, with labels on their left. Returns false if there are none.
fn bars(canvas: &Canvas<'_>, title: &str, bars: &[Bar]) -> anyhow::Result<bool> {
    let longest = bars.iter().map(|bar| bar.length).fold(0.0, f64::max);
    let (width, height) = canvas.dim_in_pixel();
    let step = i32::try_from(height)? / i32::try_from(bars.len().max(1) + 1)?;
    let font = |size: i32| TextStyle::from(("sans-serif", size).into_font());
    canvas.draw_text(title, &font(15), (8, 4)).map_err(failed)?;
    for (number, bar) in (1..).zip(bars) {
        let (top, middle) = (number * step, number * step + step / 2 - 8);
        let length = (bar.length / longest * f64::from(width - 360)).round();
        #[expect(clippy::cast_possible_truncation, reason = "it is less than the width")]
        let end = LABELS + length as i32;
        canvas.draw_text(&bar.label, &font(12), (8, middle)).map_err(failed)?;
        let corners = [(LABELS, top), (end, top + step - 4)];
        let rectangle = Rectangle::new(corners, color(bar.subject).filled());
        canvas.draw(&rectangle).map_err(failed)?;
        canvas.draw_text(&bar.text, &font(12), (end + 6, middle)).map_err(failed)?;
    }
    Ok(!bars.is_empty())
}

fn decimals(number: f64) -> String {
    if number < 10.0 { format!("{number:.1}") } else { format!("{number:.0}") }
}

fn color(subject: Subject) -> RGBColor {
    match subject {
        Subject::Ours | Subject::OursStored | Subject::OursEmpty => RGBColor(0, 114, 178),
        Subject::Old | Subject::Etcd | Subject::Postgres => RGBColor(213, 94, 0),
        Subject::Floor | Subject::Disk | Subject::StoreEngine => GREY,
    }
}

fn short(number: f64) -> String {
    match number {
        1e6.. => format!("{}M", number / 1e6),
        1e3.. => format!("{}k", number / 1e3),
        _ => number.to_string(),
    }
}

/// An error of plotters, whose errors borrow the canvas.
fn failed(error: impl Display) -> anyhow::Error {
    anyhow::anyhow!("cannot draw: {error}")
}

/// Where the bars begin, in pixels from the left.
const LABELS: i32 = 290;
const GREY: RGBColor = RGBColor(128, 128, 128);
const SUBJECTS: [Subject; 3] = [Subject::Floor, Subject::Ours, Subject::Old];
