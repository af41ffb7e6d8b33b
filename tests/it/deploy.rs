//! What operators get beside the program: Prometheus rules, dashboards, runbooks, image, compose, chart. Held to the list of
//! metrics in the code and to each other, and run against Debian's Prometheus.

mod chart;
mod compose;
mod dashboards;
mod files;
mod image;
mod live;
mod package;
mod promql;
mod rules;
mod runbooks;
