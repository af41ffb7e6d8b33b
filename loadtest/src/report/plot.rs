//! Plots as SVG: lines, points, heat maps.
//!
//! Everything that is neither a series nor a cell is drawn in the colour of the text around it, so that one picture
//! serves a light and a dark page. Drawn small (480 units wide), so that its text can be read on a phone.

mod axis;

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub use axis::{Axis, Scale, short};

const WIDTH: u32 = 480;
const HEIGHT: u32 = 320;
const FONT: u32 = 16;
/// Middle tones: they stand out from white and from black.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x3b, 0x82, 0xf6),
    RGBColor(0xe8, 0x71, 0x0a),
    RGBColor(0x2e, 0xa0, 0x5a),
    RGBColor(0x9b, 0x59, 0xd0),
    RGBColor(0xd6, 0x45, 0x45),
    RGBColor(0x15, 0x98, 0xa8),
];

/// A picture.
#[derive(Debug, Clone)]
pub struct Svg {
    width: u32,
    height: u32,
    body: String,
}

/// Points of one name.
#[derive(Debug, Clone)]
pub struct Series {
    name: String,
    points: Vec<(f64, f64)>,
    /// Index of a point, and what is written beside it.
    marks: Vec<(usize, String)>,
}

impl Series {
    /// Points in the order they are joined.
    pub fn new(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points, marks: Vec::new() }
    }

    /// Rings a point and writes beside it.
    pub fn mark(mut self, index: usize, text: &str) -> Self {
        self.marks.push((index, text.to_owned()));
        self
    }
}

/// Cells in rows and columns; darker is more.
#[derive(Debug, Clone, Default)]
pub struct Heat {
    /// From top to bottom.
    pub rows: Vec<String>,
    /// From left to right.
    pub columns: Vec<String>,
    /// By row, then column; `None` where nothing was measured.
    pub cells: Vec<Vec<Option<f64>>>,
    /// The values of the palest and the darkest cell; without it those that there are. Maps beside each other share it.
    pub range: Option<(f64, f64)>,
    /// Shades by magnitude instead of size.
    pub log: bool,
}

/// Points joined by lines.
///
/// # Errors
/// If it cannot be drawn.
pub fn lines(title: &str, x: &Axis, y: &Axis, series: &[Series]) -> Result<Svg> {
    chart(title, x, y, series, true)
}

/// Points by themselves.
///
/// # Errors
/// If it cannot be drawn.
pub fn points(title: &str, x: &Axis, y: &Axis, series: &[Series]) -> Result<Svg> {
    chart(title, x, y, series, false)
}

type Plane = Cartesian2d<axis::Stretch, axis::Stretch>;

fn chart(title: &str, x: &Axis, y: &Axis, series: &[Series], joined: bool) -> Result<Svg> {
    let all = || series.iter().flat_map(|series| &series.points);
    let (across, up) = (x.span(all().map(|point| point.0)), y.span(all().map(|point| point.1)));
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, HEIGHT)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", FONT + 2).into_font().color(&BLACK))
            .margin(8)
            .margin_right(24)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.15))
            .axis_style(BLACK.mix(0.5))
            .label_style(("sans-serif", FONT - 2).into_font().color(&BLACK))
            .axis_desc_style(("sans-serif", FONT - 2).into_font().color(&BLACK))
            .x_desc(x.name.as_str())
            .y_desc(y.name.as_str())
            .x_label_formatter(&|at| x.label(*at))
            .y_label_formatter(&|at| y.label(*at))
            .draw()?;
        for (series, colour) in series.iter().zip(COLOURS.iter().cycle()) {
            one(&mut chart, x, y, series, *colour, joined)?;
        }
        if series.len() > 1 {
            chart
                .configure_series_labels()
                .position(if joined { SeriesLabelPosition::LowerRight } else { SeriesLabelPosition::UpperLeft })
                .background_style(TRANSPARENT)
                .border_style(TRANSPARENT)
                .legend_area_size(18)
                .label_font(("sans-serif", FONT - 2).into_font().color(&BLACK))
                .draw()?;
        }
        root.present()?;
    }
    Ok(Svg::from_plotters(&text, WIDTH, HEIGHT))
}

fn one<'a>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Plane>,
    x: &Axis,
    y: &Axis,
    series: &Series,
    colour: RGBColor,
    joined: bool,
) -> Result<()> {
    let place = |point: &(f64, f64)| (x.scale.place(point.0), y.scale.place(point.1));
    let is_drawn = |place: &(f64, f64)| place.0.is_finite() && place.1.is_finite();
    let places: Vec<(f64, f64)> = series.points.iter().map(place).filter(is_drawn).collect();
    let legend = move |(x, y)| Circle::new((x + 8, y), 4, colour.filled());
    if joined {
        chart.draw_series(LineSeries::new(places.iter().copied(), colour.stroke_width(2)))?;
    }
    let radius = if joined && places.len() > 30 { 0 } else { 4 };
    let dots = places.iter().map(|place| Circle::new(*place, radius, colour.mix(0.85).filled()));
    chart.draw_series(dots)?.label(&series.name).legend(legend);
    for (index, text) in &series.marks {
        let Some(place) = series.points.get(*index).map(place).filter(is_drawn) else { continue };
        let right = x.scale.place(x.middle(series.points.iter().map(|point| point.0))) < place.0;
        let anchor = Pos::new(if right { HPos::Right } else { HPos::Left }, VPos::Center);
        let style = ("sans-serif", FONT - 2).into_font().color(&BLACK).pos(anchor);
        let ring = EmptyElement::at(place)
            + Circle::new((0, 0), 7, BLACK.stroke_width(2))
            + Text::new(text.clone(), (if right { -12 } else { 12 }, 0), style);
        chart.draw_series(std::iter::once(ring))?;
    }
    Ok(())
}

/// A heat map with its figures in the cells.
///
/// # Errors
/// If it cannot be drawn.
pub fn heat(title: &str, map: &Heat) -> Result<Svg> {
    const LEFT: i32 = 84;
    const TOP: i32 = 36;
    const ROW: i32 = 44;
    let columns = i32::try_from(map.columns.len().max(1))?;
    let width = (i32::try_from(WIDTH)? - LEFT - 8) / columns;
    let height = u32::try_from(TOP + ROW * i32::try_from(map.rows.len())? + 30)?;
    let all = || map.cells.iter().flatten().flatten().copied();
    let ends = || all().fold((f64::MAX, f64::MIN), |(least, most), cell| (least.min(cell), most.max(cell)));
    let scale = if map.log { Scale::Log } else { Scale::Linear };
    let (least, most) = map.range.unwrap_or_else(ends);
    let (least, most) = (scale.place(least), scale.place(most));
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        let write = |colour: RGBColor, h: HPos, size: u32| {
            ("sans-serif", size).into_font().color(&colour).pos(Pos::new(h, VPos::Center))
        };
        root.draw(&Text::new(title.to_owned(), (8, 16), write(BLACK, HPos::Left, FONT + 2)))?;
        for ((row, name), top) in map.cells.iter().zip(&map.rows).zip((TOP..).step_by(ROW as usize)) {
            root.draw(&Text::new(name.clone(), (LEFT - 8, top + ROW / 2), write(BLACK, HPos::Right, FONT - 1)))?;
            for (cell, left) in row.iter().zip((0..).map(|column| LEFT + column * width)) {
                let corners = [(left + 1, top + 1), (left + width - 1, top + ROW - 1)];
                let Some(cell) = cell else {
                    root.draw(&Rectangle::new(corners, BLACK.mix(0.2)))?;
                    continue;
                };
                let share =
                    if most > least { ((scale.place(*cell) - least) / (most - least)).clamp(0.0, 1.0) } else { 0.5 };
                let (fill, ink) = shade(share);
                root.draw(&Rectangle::new(corners, fill.filled()))?;
                let middle = (left + width / 2, top + ROW / 2);
                root.draw(&Text::new(short(*cell), middle, write(ink, HPos::Center, FONT - 1)))?;
            }
        }
        let foot = TOP + ROW * i32::try_from(map.rows.len())? + 12;
        for (name, left) in map.columns.iter().zip((0..).map(|column| LEFT + column * width)) {
            root.draw(&Text::new(name.clone(), (left + width / 2, foot), write(BLACK, HPos::Center, FONT - 1)))?;
        }
        root.present()?;
    }
    Ok(Svg::from_plotters(&text, WIDTH, height))
}

/// The colour of a cell, and one that can be read on it.
fn shade(share: f64) -> (RGBColor, RGBColor) {
    let between = |from: u8, to: u8| (f64::from(from) + (f64::from(to) - f64::from(from)) * share).round() as u8;
    let fill = RGBColor(between(0xd6, 0x0b), between(0xe8, 0x3d), between(0xfb, 0x91));
    (fill, if share > 0.45 { RGBColor(0xff, 0xff, 0xff) } else { RGBColor(0x11, 0x11, 0x11) })
}

impl Svg {
    /// Takes the element apart; black becomes the colour of the text around it.
    fn from_plotters(text: &str, width: u32, height: u32) -> Self {
        let body = text.split_once('>').and_then(|(_, rest)| rest.rsplit_once("</svg>")).map_or("", |(body, _)| body);
        Self { width, height, body: body.replace("\"#000000\"", "\"currentColor\"") }
    }

    /// Pictures beside and below each other; each row is as high as its highest.
    pub fn grid(pictures: &[Svg], columns: usize) -> Self {
        let wide = pictures.iter().map(|picture| picture.width).max().unwrap_or(0);
        let (mut body, mut width, mut height) = (String::new(), 0, 0);
        for row in pictures.chunks(columns.max(1)) {
            let mut x = 0;
            for picture in row {
                body.push_str(&format!("<g transform=\"translate({x},{height})\">{}</g>\n", picture.body));
                x += wide;
            }
            width = width.max(x);
            height += row.iter().map(|picture| picture.height).max().unwrap_or(0);
        }
        Self { width, height, body }
    }

    /// For a page: as wide as there is room.
    pub fn inline(&self) -> String {
        let Self { width, height, body } = self;
        format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\">{body}</svg>\n")
    }

    /// A file of its own, which follows the reader's system by itself.
    pub fn standalone(&self) -> String {
        let Self { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\">\n<style>svg{{color:#1c2128;background:#fff}}\
             @media(prefers-color-scheme:dark){{svg{{color:#e6edf3;background:#0d1117}}}}</style>\n{body}</svg>\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_of_a_few_is_drawn_where_its_value_is() {
        let series = Series::new("a", vec![(1.0, 10.0), (2.0, 20.0), (3.0, 10.0)]).mark(1, "top");
        let axis = |name| Axis::new(name, Scale::Linear);
        let svg = lines("t", &axis("x"), &axis("y"), &[series]).unwrap().inline();
        let rings = svg.matches("stroke-width=\"2\"").count();
        assert_eq!((svg.matches("<circle").count(), rings), (4, 2), "three dots and a ring; a line and a ring: {svg}");
        assert!(svg.contains(">\ntop"));
    }

    #[test]
    fn a_plot_without_points_is_still_a_picture() {
        let axis = Axis::new("x", Scale::Log);
        assert!(points("t", &axis, &axis, &[]).unwrap().inline().starts_with("<svg"));
        assert!(heat("t", &Heat::default()).unwrap().inline().starts_with("<svg"));
    }

    #[test]
    fn a_heat_map_writes_each_figure_and_leaves_gaps_empty() {
        let map = Heat {
            rows: vec!["a".to_owned(), "b".to_owned()],
            columns: vec!["0 ms".to_owned(), "5 ms".to_owned()],
            cells: vec![vec![Some(1500.0), Some(250_000.0)], vec![None, Some(2e6)]],
            ..Heat::default()
        };
        let svg = heat("events/s", &map).unwrap().inline();
        for figure in ["1.5k", "250k", "2M", "0 ms"] {
            assert!(svg.contains(figure), "{figure} in {svg}");
        }
        assert_eq!(svg.matches("<rect").count(), 4);
    }

    #[test]
    fn maps_that_share_a_range_share_their_colours() {
        let map = |cell| Heat {
            rows: vec!["a".to_owned()],
            columns: vec!["b".to_owned()],
            cells: vec![vec![Some(cell)]],
            range: Some((1.0, 1000.0)),
            log: true,
        };
        let fill = |cell| heat("", &map(cell)).unwrap().body;
        assert!(fill(1.0).contains("#D6E8FB") && fill(1000.0).contains("#0B3D91"));
    }

    #[test]
    fn a_grid_is_as_large_as_its_pictures() {
        let one = Svg { width: 10, height: 5, body: String::new() };
        let low = Svg { height: 3, ..one.clone() };
        let grid = Svg::grid(&[low.clone(), one.clone(), low], 2);
        assert_eq!((grid.width, grid.height), (20, 8));
    }
}
