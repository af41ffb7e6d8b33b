//! What a dashboard is made of, and the JSON that Grafana takes.

use klamm::telemetry::names::{self, Def};
use serde_json::{Value, json};

/// The width of Grafana's grid.
const COLUMNS: u64 = 24;

/// How a panel shows its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The last value of one series.
    Stat,
    /// Lines.
    Series,
    /// Buckets of a histogram over time.
    Heat,
    /// A row for each value of a label, a column for each query.
    Table {
        /// The label.
        by: &'static str,
        /// The dashboard on which one of them is shown.
        to: &'static str,
    },
}

/// One query; in a table, one column with a unit of its own.
#[derive(Debug, Clone)]
pub(super) struct Query {
    expression: String,
    legend: &'static str,
    unit: &'static str,
}

/// One panel.
#[derive(Debug, Clone)]
pub(super) struct Panel {
    kind: Kind,
    title: &'static str,
    description: &'static str,
    unit: &'static str,
    queries: Vec<Query>,
    width: u64,
}

impl Panel {
    fn new(kind: Kind, width: u64, title: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { kind, title, description, unit, queries: Vec::new(), width }
    }

    /// One number, an eighth of the width.
    pub(super) fn stat(title: &'static str, unit: &'static str, description: &'static str, expression: String) -> Self {
        Self::new(Kind::Stat, 3, title, unit, description).query("", expression)
    }

    /// Lines, a third of the width.
    pub(super) fn series(title: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self::new(Kind::Series, 8, title, unit, description)
    }

    /// A histogram's buckets, a third of the width.
    pub(super) fn heat(title: &'static str, unit: &'static str, description: &'static str, expression: String) -> Self {
        Self::new(Kind::Heat, 8, title, unit, description).query("{{le}}", expression)
    }

    /// A table, the whole width.
    pub(super) fn table(by: &'static str, to: &'static str, title: &'static str, description: &'static str) -> Self {
        Self::new(Kind::Table { by, to }, COLUMNS, title, "short", description)
    }

    /// One more query.
    pub(super) fn query(self, legend: &'static str, expression: String) -> Self {
        self.column(legend, "", expression)
    }

    /// One more query, in a unit of its own.
    pub(super) fn column(mut self, legend: &'static str, unit: &'static str, expression: String) -> Self {
        self.queries.push(Query { expression, legend, unit });
        self
    }

    fn height(&self) -> u64 {
        match self.kind {
            Kind::Stat => 4,
            Kind::Series | Kind::Heat => 8,
            Kind::Table { .. } => 9,
        }
    }

    fn json(&self, id: u64, (x, y): (u64, u64)) -> Value {
        let mut panel = json!({
            "id": id,
            "title": self.title,
            "description": self.description,
            "datasource": source(),
            "gridPos": { "x": x, "y": y, "w": self.width, "h": self.height() },
            "targets": self.queries.iter().zip('A'..).map(|(query, id)| self.target(query, id)).collect::<Vec<_>>(),
        });
        let (kind, defaults, options) = match self.kind {
            Kind::Stat => (
                "stat",
                json!({}),
                json!({
                    "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
                    "colorMode": "none", "graphMode": "area",
                }),
            ),
            Kind::Series => (
                "timeseries",
                json!({
                    "custom": { "lineWidth": 1, "fillOpacity": 8, "showPoints": "never" }, "min": 0,
                }),
                json!({
                    "legend": { "displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"] },
                    "tooltip": { "mode": "multi", "sort": "desc" },
                }),
            ),
            Kind::Heat => (
                "heatmap",
                json!({}),
                json!({
                    "calculate": false, "cellGap": 1, "yAxis": { "unit": self.unit },
                    "color": { "mode": "scheme", "scheme": "Oranges", "steps": 64 },
                }),
            ),
            Kind::Table { .. } => ("table", json!({}), json!({ "showHeader": true })),
        };
        panel["type"] = kind.into();
        panel["options"] = options;
        panel["fieldConfig"] = json!({ "defaults": defaults, "overrides": [] });
        panel["fieldConfig"]["defaults"]["unit"] = self.unit.into();
        if let Kind::Table { by, to } = self.kind {
            panel["transformations"] = self.transformations();
            panel["fieldConfig"]["overrides"] = self.overrides(by, to);
        }
        panel
    }

    fn target(&self, query: &Query, id: char) -> Value {
        let mut target = json!({
            "refId": id.to_string(),
            "datasource": source(),
            "expr": query.expression,
            "legendFormat": query.legend,
            "editorMode": "code",
        });
        let (format, instant) = match self.kind {
            Kind::Stat | Kind::Series => ("time_series", false),
            Kind::Heat => ("heatmap", false),
            Kind::Table { .. } => ("table", true),
        };
        target["format"] = format.into();
        target["instant"] = instant.into();
        target["range"] = (!instant).into();
        target
    }

    /// The queries side by side, named by their legends.
    fn transformations(&self) -> Value {
        let names = self.queries.iter().zip('A'..).map(|(query, id)| (format!("Value #{id}"), query.legend.into()));
        let names: serde_json::Map<String, Value> = names.collect();
        let first = self.queries.first().map_or("", |query| query.legend);
        json!([
            { "id": "merge", "options": {} },
            { "id": "organize", "options": { "excludeByName": { "Time": true }, "renameByName": names } },
            { "id": "sortBy", "options": { "sort": [{ "field": first, "desc": true }] } },
        ])
    }

    fn overrides(&self, by: &str, to: &str) -> Value {
        let named = |name: &str, properties: Value| json!({ "matcher": { "id": "byName", "options": name }, "properties": properties });
        let units = self.queries.iter().map(|q| named(q.legend, json!([{ "id": "unit", "value": q.unit }])));
        let variables: String =
            ["datasource", "job", "instance"].iter().map(|name| format!("&${{{name}:queryparam}}")).collect();
        let url = format!("/d/{to}?var-{by}=${{__value.raw}}{variables}&${{__url_time_range}}");
        let link = json!([{ "id": "links", "value": [{ "title": format!("this {by}"), "url": url }] }]);
        units.chain([named(by, link)]).collect()
    }
}

/// A dashboard: rows of panels, each under its title.
pub(super) struct Board {
    /// In its address, and the name of its file.
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) rows: Vec<(&'static str, Vec<Panel>)>,
}

impl Board {
    /// What Grafana imports.
    pub(super) fn json(&self) -> Value {
        json!({
            "uid": self.uid,
            "title": self.title,
            "tags": ["klamm"],
            "schemaVersion": 39,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "time": { "from": "now-1h", "to": "now" },
            "refresh": "30s",
            "timezone": "",
            "templating": { "list": variables() },
            "annotations": { "list": annotations() },
            "links": [{ "type": "dashboards", "tags": ["klamm"], "title": "klamm", "asDropdown": true,
                "includeVars": true, "keepTime": true }],
            "panels": self.panels(),
        })
    }

    /// From left to right, and below where no more fit.
    fn panels(&self) -> Vec<Value> {
        let mut panels = Vec::new();
        let mut y = 0;
        for (title, row) in &self.rows {
            let place = json!({ "x": 0, "y": y, "w": COLUMNS, "h": 1 });
            let id = panels.len() + 1;
            panels.push(
                json!({ "type": "row", "id": id, "title": title, "collapsed": false, "gridPos": place, "panels": [] }),
            );
            y += 1;
            let (mut x, mut height) = (0, 0);
            for panel in row {
                if x + panel.width > COLUMNS {
                    y += height;
                    (x, height) = (0, 0);
                }
                panels.push(panel.json(panels.len() as u64 + 1, (x, y)));
                x += panel.width;
                height = height.max(panel.height());
            }
            y += height;
        }
        panels
    }
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn variables() -> Vec<Value> {
    let of = |name: &str, def: &Def, label: &str, chosen: &str| {
        let query = format!("label_values({}{{{chosen}}}, {label})", def.name);
        json!({
            "name": name, "label": name, "type": "query", "datasource": source(),
            "definition": query, "query": { "query": query, "refId": name }, "refresh": 2, "sort": 1,
            "multi": true, "includeAll": true, "allValue": ".*", "current": { "text": ["All"], "value": ["$__all"] },
        })
    };
    let job = r#"job=~"$job""#;
    vec![
        json!({ "name": "datasource", "label": "datasource", "type": "datasource", "query": "prometheus" }),
        of("job", &names::BUILD_INFO, "job", ""),
        of("instance", &names::BUILD_INFO, "instance", job),
        of("client", &names::EVENTS_RECEIVED, "client", job),
        of("topic", &names::EVENTS_RECEIVED, "topic", job),
    ]
}

/// Lines across every chart: the value of the series is the time.
fn annotations() -> Vec<Value> {
    let at = |name: &str, def: &Def, colour: &str| {
        json!({
            "name": name, "enable": true, "iconColor": colour, "datasource": source(), "useValueForTime": true,
            "expr": format!("max by (job, instance) ({}) * 1000", series(def, "")), "titleFormat": name,
            "textFormat": "{{instance}}",
        })
    };
    vec![at("restart", &names::PROCESS_START_TIME, "red"), at("reload", &names::CONFIG_LAST_RELOAD_TIMESTAMP, "blue")]
}

/// The series of the chosen instances, clients and topics, as far as it has such labels; `more` are further matchers.
pub(super) fn series(def: &Def, more: &str) -> String {
    let mut matchers = vec![r#"job=~"$job""#.to_owned(), r#"instance=~"$instance""#.to_owned()];
    let variables = ["client", "topic"].iter().filter(|label| def.labels.contains(label));
    matchers.extend(variables.map(|label| format!("{label}=~\"${label}\"")));
    matchers.extend((!more.is_empty()).then(|| more.to_owned()));
    format!("{}{{{}}}", def.name, matchers.join(","))
}

fn by(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!(" by ({labels})") }
}

/// Per second, over all instances.
pub(super) fn rate(def: &Def, labels: &str, more: &str) -> String {
    format!("sum{} (rate({}[$__rate_interval]))", by(labels), series(def, more))
}

/// The sum over all instances.
pub(super) fn sum(def: &Def, labels: &str, more: &str) -> String {
    format!("sum{} ({})", by(labels), series(def, more))
}

/// The largest of all instances.
pub(super) fn most(def: &Def, labels: &str, more: &str) -> String {
    format!("max{} ({})", by(labels), series(def, more))
}

/// The smallest of all instances.
pub(super) fn least(def: &Def, labels: &str, more: &str) -> String {
    format!("min{} ({})", by(labels), series(def, more))
}

/// The ten largest.
pub(super) fn top(expression: &str) -> String {
    format!("topk(10, {expression})")
}

fn buckets(def: &Def, labels: &str) -> String {
    let labels = if labels.is_empty() { "le".to_owned() } else { format!("le, {labels}") };
    let bucket = series(def, "").replacen(def.name, &format!("{}_bucket", def.name), 1);
    format!("sum by ({labels}) (rate({bucket}[$__rate_interval]))")
}

/// A quantile of a histogram over all instances.
pub(super) fn quantile(of: &str, def: &Def, labels: &str) -> String {
    format!("histogram_quantile({of}, {})", buckets(def, labels))
}

/// A histogram's buckets for [`Panel::heat`].
pub(super) fn heat(def: &Def) -> String {
    buckets(def, "")
}
