//! What operators get beside the program: Prometheus rules, dashboards, runbooks. Held to the list of metrics in the
//! code, and run against Debian's Prometheus.

mod dashboards;
mod live;
mod package;
mod promql;
mod rules;
mod runbooks;
