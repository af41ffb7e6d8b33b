//! What the keys do.

use super::*;

const SIZE: (u16, u16) = (80, 24);

/// The names in the first column of the table with this title.
fn names(view: &View, model: &Model, title: &str) -> Vec<String> {
    let all = text(view, model, SIZE);
    let rows = all.lines().skip_while(|line| !line.starts_with(&format!("── {title} "))).skip(2);
    let rows = rows.take_while(|line| !line.is_empty() && !line.starts_with('─'));
    rows.filter_map(|line| {
        line[if line.starts_with('›') { 3 } else { 1 }..].split_whitespace().next().map(str::to_owned)
    })
    .collect()
}

#[test]
fn s_sorts_by_the_next_column_and_r_turns_the_order_round() {
    let model = told(&[("hello", hello())]);
    let mut view = View::default();
    let audit = "audit-of-the…";
    assert_eq!(names(&view, &model, "clients"), ["shop", "till", audit]);
    press(&mut view, &model, KeyCode::Char('r'));
    assert_eq!(names(&view, &model, "clients"), [audit, "till", "shop"]);
    assert!(text(&view, &model, SIZE).contains("EVENTS/S▲"));
    keys(&mut view, &model, &[KeyCode::Char('s'), KeyCode::Right]);
    assert!(text(&view, &model, SIZE).contains("REFUSED/S▼"));
    assert_eq!(names(&view, &model, "clients"), ["till", audit, "shop"]);
    keys(&mut view, &model, &[KeyCode::Char('S'), KeyCode::Left, KeyCode::Left]);
    assert!(text(&view, &model, SIZE).contains("CLIENT▲"), "names rise at first");
    assert_eq!(names(&view, &model, "clients"), [audit, "shop", "till"]);
    assert_eq!(names(&view, &model, "topics"), ["orders", "clicks"], "each table has an order of its own");
    keys(&mut view, &model, &[KeyCode::Left, KeyCode::Left]);
    assert!(text(&view, &model, SIZE).contains("── clients 3 by REFUSED▼ ─"), "a column that there is no room for");
}

#[test]
fn a_filter_is_typed_kept_and_dropped() {
    let model = told(&[("hello", hello())]);
    let mut view = View::default();
    let typed = ['/', 'I', 'x'].map(KeyCode::Char);
    keys(&mut view, &model, &typed);
    assert!(text(&view, &model, SIZE).contains("── clients 0 of 3 /Ix▏"));
    keys(&mut view, &model, &[KeyCode::Backspace, KeyCode::Char('l'), KeyCode::Enter]);
    assert_eq!(names(&view, &model, "clients"), ["till"]);
    assert!(text(&view, &model, SIZE).contains("── clients 1 of 3 /Il ─"));
    assert_eq!(press(&mut view, &model, KeyCode::Enter), Wish::Follow(Subject::Client("till".into())));
    assert_eq!(press(&mut view, &model, KeyCode::Esc), Wish::Follow(Subject::All));
    assert_eq!(press(&mut view, &model, KeyCode::Esc), Wish::Nothing);
    assert_eq!(names(&view, &model, "clients").len(), 3);
    keys(&mut view, &model, &[KeyCode::Char('/'), KeyCode::Char('q'), KeyCode::Esc]);
    assert_eq!(names(&view, &model, "clients").len(), 3, "q is a letter while a filter is typed");
}

#[test]
fn the_chosen_row_stays_chosen_wherever_it_moves() {
    let mut model = told(&[("hello", hello())]);
    let mut view = View::default();
    keys(&mut view, &model, &[KeyCode::Down, KeyCode::Down, KeyCode::Down, KeyCode::Char('k')]);
    assert!(text(&view, &model, SIZE).contains("›till"));
    let mut tick = hello();
    tick["clients"] = json!([row("till", 99_000, 0.0, json!({}))]);
    model.apply(&event("tick", &tick), Instant::now()).unwrap();
    assert_eq!(names(&view, &model, "clients").first().map(String::as_str), Some("till"));
    assert!(text(&view, &model, SIZE).contains("›till"));
    keys(&mut view, &model, &[KeyCode::End]);
    assert!(text(&view, &model, SIZE).contains("›audit"));
    keys(&mut view, &model, &[KeyCode::Home]);
    tick["gone_clients"] = json!(["till"]);
    tick["clients"] = json!([]);
    model.apply(&event("tick", &tick), Instant::now()).unwrap();
    assert!(text(&view, &model, SIZE).contains("›shop"), "the first takes the place of one that is gone");
}

#[test]
fn a_long_table_scrolls_with_the_chosen_row() {
    let mut many = hello();
    many["clients"] = (0..50).map(|n| row(&format!("c{n:02}"), 1_000 - n, 0.0, json!({}))).collect();
    let model = told(&[("hello", many)]);
    let mut view = View::default();
    keys(&mut view, &model, &[KeyCode::PageDown, KeyCode::PageDown]);
    let shown = names(&view, &model, "clients");
    assert_eq!((shown.len(), shown.last().map(String::as_str)), (7, Some("c20")));
}

#[test]
fn from_a_client_to_its_topic_and_to_the_topic_s_client_is_two_steps_and_not_three() {
    let client = told(&[("hello", hello()), ("page", till())]);
    let topic = told(&[("hello", hello()), ("page", orders())]);
    let mut view = View::default();
    keys(&mut view, &client, &[KeyCode::Down, KeyCode::Enter]);
    assert_eq!(press(&mut view, &client, KeyCode::Enter), Wish::Follow(Subject::Topic("orders".into())));
    assert!(text(&view, &topic, SIZE).contains("overview › client till › topic orders"));
    keys(&mut view, &topic, &[KeyCode::Down]);
    assert_eq!(press(&mut view, &topic, KeyCode::Enter), Wish::Follow(Subject::Client("till".into())));
    assert_eq!(view.path(), [&Subject::Client("till".into())]);
    assert_eq!(press(&mut view, &client, KeyCode::Backspace), Wish::Follow(Subject::All));
}

#[test]
fn a_code_leads_to_whoever_gets_it_most() {
    let model = told(&[("hello", hello())]);
    let mut view = View::default();
    let wish = keys(&mut view, &model, &[KeyCode::BackTab, KeyCode::Char('s'), KeyCode::Enter]);
    assert_eq!(wish, Wish::Follow(Subject::Client("till".into())));
}

#[test]
fn q_and_control_c_end_it() {
    let model = told(&[("hello", hello())]);
    let mut view = View::default();
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(press(&mut view.clone(), &model, KeyCode::Char('q')), Wish::Quit);
    press(&mut view, &model, KeyCode::Char('/'));
    assert_eq!(press(&mut view, &model, KeyCode::Char('q')), Wish::Nothing);
    assert_eq!(view.press(interrupt, &model), Wish::Quit);
    keys(&mut view, &model, &[KeyCode::Esc, KeyCode::Char('?')]);
    assert!(text(&view, &model, SIZE).contains("any key closes this"));
    assert_eq!(press(&mut view, &model, KeyCode::Char('x')), Wish::Nothing);
    assert!(!text(&view, &model, SIZE).contains("any key closes this"));
}
