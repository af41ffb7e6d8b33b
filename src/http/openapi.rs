//! `GET /openapi.json`: the contract of this listener for machines (OpenAPI 3.1).
//!
//! Written by hand beside this file; `tests/it/docs` holds it to the routes and to the table of refusals. Needs no key
//! and says nothing of any config.

use axum::response::IntoResponse;
use http::header;

/// The description, as served.
pub const DESCRIPTION: &str = include_str!("openapi.json");

pub(super) async fn show() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION)
}
