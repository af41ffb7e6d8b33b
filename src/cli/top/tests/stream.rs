//! What events do.

use super::*;

/// A `tick` a second after the `hello`, with nothing new but for `more`.
fn tick(seconds: u64, more: Value) -> Value {
    let hello = hello();
    let mut tick = json!({ "tick": 30 + seconds, "at": 1_700_000_000_500u64 + seconds * 1000, "head": hello["head"], "kafka": [] });
    if let (Value::Object(tick), Value::Object(more)) = (&mut tick, more) {
        tick.extend(more);
    }
    tick
}

#[test]
fn rows_come_change_and_go() {
    let more =
        json!({ "clients": [row("till", 7, 0.0, json!({})), row("new", 1, 0.0, json!({}))], "gone_clients": ["shop"] });
    let model = told(&[("hello", hello()), ("tick", tick(1, more)), ("unknown", json!(1))]);
    let names: Vec<_> = model.clients.keys().map(String::as_str).collect();
    assert_eq!((names, model.clients["till"].events), (vec!["audit-of-the-whole-company", "new", "till"], 7));
    assert_eq!(model.topics.len(), 2);
}

#[test]
fn what_comes_again_after_a_gap_is_added_and_after_a_restart_everything_begins_anew() {
    let mut again = hello();
    again["full"] = json!(false);
    again["clients"] = json!([row("new", 1, 0.0, json!({}))]);
    again["points"] = json!([[31, 5, 0, 0, 0, null, null, 0, 0, null]]);
    let mut model = told(&[("hello", hello())]);
    let now = Instant::now();
    model.lose("x".to_owned(), now);
    model.lose("y".to_owned(), now + Duration::from_secs(5));
    assert_eq!(model.lost, Some(("y".to_owned(), now)), "since the first");
    model.apply(&event("hello", &again), now).unwrap();
    assert_eq!((model.clients.len(), model.points.len()), (4, 31));
    assert_eq!((&model.lost, model.note), (&None, Some(("connected again", now))));

    let mut young = hello();
    young["head"]["uptime"] = json!(2);
    young["clients"] = json!([]);
    model.lose("x".to_owned(), now);
    model.apply(&event("hello", &young), now).unwrap();
    assert_eq!((model.clients.len(), model.points.len()), (0, 30));
    assert_eq!(model.note.map(|(words, _)| words), Some("klamm was restarted, all counts begin anew"));
}

#[test]
fn requests_and_problems_stay_until_there_are_new_ones() {
    let subject = Subject::Client("till".to_owned());
    let mut later = till();
    for name in ["requests", "problems"] {
        later.as_object_mut().unwrap().remove(name);
    }
    let model = told(&[("hello", hello()), ("page", till()), ("page", later)]);
    let page = model.page(&subject).unwrap();
    assert_eq!((page.requests.as_ref().map(Vec::len), page.problems.as_ref().map(Vec::len)), (Some(2), Some(1)));
    assert!(model.page(&Subject::Client("shop".to_owned())).is_none() && model.page(&Subject::All).is_none());
}

#[test]
fn refusals_of_a_code_in_a_second_are_those_of_the_last_five() {
    let codes = |n: u64| json!({ "rate_limited": n });
    let mut events = vec![("hello", hello())];
    for second in 1..=8 {
        let mut tick = tick(second, json!({}));
        tick["head"]["total"]["codes"] = codes(72 + 10 * second);
        events.push(("tick", tick));
    }
    let model = told(&events);
    assert_eq!((model.code_rate("rate_limited"), model.code_rate("nosuch")), (10.0, 0.0));
    assert_eq!(told(&[("hello", hello())]).code_rate("rate_limited"), 0.0);
}

#[test]
fn what_another_version_leaves_out_is_empty_and_what_is_no_json_an_error() {
    let model = told(&[("hello", json!({ "at": 1, "news": [1], "head": { "total": {} } }))]);
    assert!(model.is_told() && model.clients.is_empty());
    text(&View::default(), &model, (80, 24));
    let broken = Event { name: "tick".to_owned(), data: "{".to_owned() };
    assert!(Model::default().apply(&broken, Instant::now()).is_err());
}
