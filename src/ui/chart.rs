//! A chart over time as SVG: bars, and up to two lines above them. Made on the server, so it needs no script.
//!
//! The plot is stretched over the width that it gets, and its texts are not: they have the same size on a phone and on a wide screen.

use super::Context;

/// The most bars. More points are added up in groups, so that a bar stays wide enough to be seen and to be pointed at.
const BARS_MAX: usize = 180;

/// About how many lines the scale has.
const STEPS: u64 = 4;

/// Width and height of the plot in its own units.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 200.0;

/// How far the plot is below the upper edge of the picture, in pixels: the topmost number of the scale stands there.
const ABOVE: f64 = 18.0;

/// About how many texts stand below the plot: as many as fit on a phone.
const LABELS: usize = 4;

/// The part of its place that a bar takes.
const BAR_SHARE: f64 = 0.78;

/// The visits of an hour, a day or a month.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChartPoint {
    /// The time, as it stands in the table.
    pub label: String,
    /// The time, as it stands below the plot.
    pub short: String,
    /// Visits.
    pub clicks: u64,
    /// Different visitors, if that is known.
    pub visitors: Option<u64>,
    /// Visits in the period before.
    pub before: Option<u64>,
}

/// A bar, with what it stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Its place, in units of the plot.
    pub x: f64,
    /// Its width.
    pub width: f64,
    /// Its upper edge.
    pub y: f64,
    /// Its height.
    pub height: f64,
    /// What it stands for.
    pub point: ChartPoint,
}

/// A number of the scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Where its line is, in pixels.
    pub y: f64,
    /// Where its text is, in pixels.
    pub text_y: f64,
    /// The number.
    pub text: String,
}

/// A text below the plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// Its place, in percent of the width.
    pub x: f64,
    /// `start`, `middle` or `end`.
    pub anchor: &'static str,
    /// The text.
    pub text: String,
}

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What can be seen in it, for those who do not see it.
    pub description: String,
    /// The bars, of which there are none if there is nothing to show.
    pub bars: Vec<Bar>,
    /// The line of the visitors, as points of a `polyline`.
    pub visitors: Option<String>,
    /// The line of the period before.
    pub before: Option<String>,
    /// The scale.
    pub ticks: Vec<Tick>,
    /// The texts below the plot.
    pub labels: Vec<Label>,
    /// How many points each bar stands for.
    pub grouped: usize,
}

impl Chart {
    /// The chart of some points, in the order of time.
    pub fn new(title: String, points: &[ChartPoint], cx: &Context) -> Self {
        let grouped = points.len().div_ceil(BARS_MAX).max(1);
        let points: Vec<ChartPoint> = points.chunks(grouped).map(together).collect();
        let highest = |of: fn(&ChartPoint) -> u64| points.iter().map(of).max().unwrap_or(0);
        let max = highest(|point| point.clicks.max(point.visitors.unwrap_or(0)).max(point.before.unwrap_or(0)));
        let (step, top) = scale(max);
        let y = |value: u64| HEIGHT - value as f64 / top as f64 * HEIGHT;
        let place = WIDTH / points.len().max(1) as f64;
        let width = place * BAR_SHARE;
        let line = |of: fn(&ChartPoint) -> Option<u64>| {
            let values: Option<Vec<u64>> = points.iter().map(of).collect();
            values.filter(|values| !values.is_empty()).map(|values| match values[..] {
                // A line of one point would not be seen.
                [one] => format!("0,{0:.1} {WIDTH},{0:.1}", y(one)),
                _ => {
                    let at = |(at, value): (usize, &u64)| format!("{:.1},{:.1}", (at as f64 + 0.5) * place, y(*value));
                    values.iter().enumerate().map(at).collect::<Vec<_>>().join(" ")
                }
            })
        };
        let (visitors, before) = (line(|point| point.visitors), line(|point| point.before));
        let ticks = (0..=top / step).map(|at| {
            let value = at * step;
            let y = ABOVE + y(value);
            Tick { y, text_y: y - 4.0, text: cx.number(&value) }
        });
        let (ticks, labels) = (ticks.collect(), labels(&points));
        let sum = points.iter().fold(0u64, |sum, point| sum.saturating_add(point.clicks));
        let most = points.iter().max_by_key(|point| point.clicks).filter(|point| point.clicks > 0);
        let mut description = cx.count("chart.sum", &sum);
        if let Some(most) = most {
            let highest = cx.with("chart.most", &most.label).replacen("{}", &cx.number(&most.clicks), 1);
            description = format!("{description} {highest}");
        }
        let bars = points.into_iter().enumerate().map(|(at, point)| {
            // What is not nothing is seen.
            let height = (HEIGHT - y(point.clicks)).max(if point.clicks > 0 { 1.5 } else { 0.0 });
            Bar { x: at as f64 * place + (place - width) / 2.0, width, y: HEIGHT - height, height, point }
        });
        let bars = if max == 0 { Vec::new() } else { bars.collect() };
        Self { title, description, bars, visitors, before, ticks, labels, grouped }
    }

    /// Whether all bars have a number of visitors.
    pub fn has_visitors(&self) -> bool {
        self.visitors.is_some()
    }

    /// Whether all bars have a number of the period before.
    pub fn has_before(&self) -> bool {
        self.before.is_some()
    }

    /// A length or a place, as it is written in SVG.
    pub fn at(&self, place: &f64) -> String {
        format!("{place:.2}")
    }
}

/// Some points as one. Different visitors cannot be added up.
fn together(points: &[ChartPoint]) -> ChartPoint {
    match points {
        [one] => one.clone(),
        [first, .., last] => ChartPoint {
            label: format!("{} – {}", first.label, last.label),
            short: first.short.clone(),
            clicks: points.iter().fold(0, |sum, point| sum.saturating_add(point.clicks)),
            visitors: None,
            before: points.iter().map(|point| point.before).sum(),
        },
        [] => ChartPoint::default(),
    }
}

/// The distance between the lines of a scale, and its end: round numbers (1, 2 or 5 and zeros), the last one not below `max`.
fn scale(max: u64) -> (u64, u64) {
    let wanted = max.div_ceil(STEPS).max(1);
    let mut power = 1u64;
    let step = loop {
        let round = [1, 2, 5].into_iter().filter_map(|digit| power.checked_mul(digit)).find(|step| *step >= wanted);
        match (round, power.checked_mul(10)) {
            (Some(step), _) => break step,
            (None, Some(next)) => power = next,
            (None, None) => break wanted,
        }
    };
    let top = max.div_ceil(step).max(1).checked_mul(step);
    // The numbers of visits never come near the largest one; if one did, the scale would end with it.
    top.map_or((max, max), |top| (step, top))
}

/// Texts below some of the bars: the first, the last, and some between them.
fn labels(points: &[ChartPoint]) -> Vec<Label> {
    let last = points.len().saturating_sub(1);
    let shown = LABELS.min(points.len());
    let of = |at: usize| {
        let index = if shown < 2 { 0 } else { at * last / (shown - 1) };
        let x = (index as f64 + 0.5) / points.len() as f64 * 100.0;
        let (x, anchor) = match at {
            _ if shown == 1 => (x, "middle"),
            0 => (0.0, "start"),
            _ if index == last => (100.0, "end"),
            _ => (x, "middle"),
        };
        Label { x, anchor, text: points[index].short.clone() }
    };
    (0..shown).map(of).collect()
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::*;

    fn points(clicks: &[u64]) -> Vec<ChartPoint> {
        let point = |(at, clicks): (usize, &u64)| ChartPoint {
            label: format!("day {at}"),
            short: format!("d{at}"),
            clicks: *clicks,
            ..ChartPoint::default()
        };
        clicks.iter().enumerate().map(point).collect()
    }

    fn chart(points: &[ChartPoint]) -> Chart {
        Chart::new("Visits".to_owned(), points, &Context::example("en"))
    }

    #[test]
    fn a_scale_has_round_numbers_and_reaches_the_largest_value() {
        for (max, step, top) in [
            (0, 1, 1),
            (1, 1, 1),
            (4, 1, 4),
            (5, 2, 6),
            (9, 5, 10),
            (41, 20, 60),
            (100, 50, 100),
            (1_234_567, 500_000, 1_500_000),
        ] {
            assert_eq!(scale(max), (step, top), "{max}");
        }
        for max in (0..2000).chain([999_999_999, u64::MAX / 2, u64::MAX - 1, u64::MAX]) {
            let (step, top) = scale(max);
            assert!(top >= max && top % step == 0 && top / step <= STEPS + 1, "{max}: {step} {top}");
        }
    }

    #[test]
    fn the_highest_bar_is_as_high_as_its_value_and_lines_go_through_the_middle() {
        let mut points = points(&[0, 4, 1]);
        for (point, before) in points.iter_mut().zip([2, 0, 4]) {
            point.before = Some(before);
        }
        let chart = chart(&points);
        let heights: Vec<f64> = chart.bars.iter().map(|bar| bar.height).collect();
        assert_eq!(heights, [0.0, HEIGHT, HEIGHT / 4.0]);
        assert_eq!(chart.before.as_deref(), Some("166.7,100.0 500.0,200.0 833.3,0.0"));
        assert_eq!((chart.visitors.as_deref(), chart.grouped), (None, 1));
        let ticks: Vec<&str> = chart.ticks.iter().map(|tick| tick.text.as_str()).collect();
        assert_eq!(ticks, ["0", "1", "2", "3", "4"]);
        assert_eq!((chart.ticks[0].y, chart.ticks[4].y), (ABOVE + HEIGHT, ABOVE));
        assert_eq!(chart.description, "5 clicks. Most of them: day 1, 4.");
    }

    #[test]
    fn nothing_is_told_as_nothing_and_one_point_is_seen() {
        let none = chart(&points(&[0, 0]));
        assert!(none.bars.is_empty() && none.description.starts_with("0 clicks"));
        assert!(chart(&[]).bars.is_empty() && chart(&[]).labels.is_empty());
        let one = chart(&[ChartPoint { clicks: 7, visitors: Some(3), before: Some(10), ..ChartPoint::default() }]);
        assert_eq!((one.bars.len(), one.labels.len(), one.labels[0].anchor), (1, 1, "middle"));
        assert_eq!(one.before.as_deref(), Some("0,0.0 1000,0.0"));
        assert!(one.visitors.is_some_and(|line| line.starts_with("0,140.0 ")));
    }

    #[test]
    fn ten_years_of_days_are_added_up_in_groups_and_nothing_is_lost() {
        let days: Vec<u64> = (0..3_700).collect();
        let mut points = points(&days);
        points.iter_mut().for_each(|point| point.visitors = Some(1));
        let chart = chart(&points);
        assert!(chart.bars.len() <= BARS_MAX && chart.grouped == 21, "{}", chart.grouped);
        let sum: u64 = chart.bars.iter().map(|bar| bar.point.clicks).sum();
        assert_eq!(sum, days.iter().sum::<u64>());
        assert_eq!(chart.bars[0].point.label, "day 0 – day 20");
        // Visitors of several days are not the sum of those of each.
        assert!(!chart.has_visitors());
        assert!(chart.bars.iter().all(|bar| bar.x >= 0.0 && bar.x + bar.width <= WIDTH && bar.y >= 0.0));
    }

    #[test]
    fn large_numbers_do_not_leave_the_picture() {
        let chart = chart(&points(&[u64::MAX, u64::MAX, 1]));
        assert!(chart.bars.iter().all(|bar| bar.height <= HEIGHT && bar.height > 0.0 && bar.y >= 0.0));
        assert_eq!(chart.ticks.last().unwrap().text, "18,446,744,073,709,551,615");
    }

    #[derive(Template)]
    #[template(source = "{% include \"chart.html\" %}", ext = "html")]
    struct Page {
        cx: Context,
        chart: Chart,
    }

    #[test]
    fn the_picture_is_told_in_words_and_has_a_table() {
        let mut points = points(&[3, 12_000]);
        points[1].label = "<script>\u{202e}\"".to_owned();
        let html = Page { cx: Context::example("en"), chart: chart(&points) }.render().unwrap();
        for part in ["role=\"img\"", "<title", "<desc", "<table", "<caption", "scope=\"row\"", "12,000", "viewBox"] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("<script>") && !html.contains("style="), "{html}");
        assert_eq!(html.matches("<rect class=\"chart-bar\"").count(), 2);
    }
}
