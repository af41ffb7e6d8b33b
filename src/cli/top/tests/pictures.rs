//! Pictures of 80 by 24, and what they must have in other sizes.

use super::*;

const SIZE: (u16, u16) = (80, 24);

#[test]
fn the_overview() {
    let model = told(&[("hello", hello())]);
    insta::assert_snapshot!(text(&View::default(), &model, SIZE), @r"
    klamm 0.1.0 · klamm-1 · up 2 h 3 min · Kafka default (k1:9092, k2:9092)
    ! 20 % of the requests are refused
    events 1,335/s 156 KiB/s   refused 2.0/s 20 %   p50 3.1 ms   p99 12.4 ms
    budget █····· 10.0 %   queue ······ 1 %   spool off   brokers 3 of 3
    events/s, 30 s                     ▁▂▂▂▂▃▃▃▃▄▄▄▄▅▅▅▅▆▆▆▆▇▇▇▇█████ peak 290
    refused/s, 30 s                    ▁▅█▁▅█▁▅█▁▅█▁▅█▁▅█▁▅█▁▅█▁▅█▁▅█ peak 2.0
    ── clients 3 ───────────────────────────────────────────────────────────────────
     CLIENT        EVENTS/S▼  BYTES/S    REFUSED/S      P99 QUOTA LEFT        EVENTS
    ›shop              1,200  141 KiB            0  12.4 ms ████·  82% re     12,000
     till                130   15 KiB   2.0 (20 %)   > 30 s ·····   4% re      1,300
     audit-of-the…         0      0 B            0        – no limit              45


    ── topics 2 ────────────────────────────────────────────────────────────────────
     TOPIC         EVENTS/S▼  BYTES/S    REFUSED/S      P99 BUSIEST PART.     EVENTS
     orders            1,235  145 KiB   2.0 (20 %)  12.4 ms 1.2 x mean        12,345
     clicks              100   12 KiB            0  12.4 ms 3.0 x mean         1,000

    ── refusals 2 ──────────────────────────────────────────────────────────────────
     CODE                     REFUSED/S▼  SINCE START WHO
     malformed_body                    0            5 shop 5
     rate_limited                      0           72 till 72

    ↑↓ row  Tab table  Enter open  s sort  r reverse  / filter  ? help  q quit
    ");
}

#[test]
fn a_client() {
    let model = told(&[("hello", hello()), ("page", till())]);
    let mut view = View::default();
    assert_eq!(keys(&mut view, &model, &[KeyCode::Down, KeyCode::Enter]), Wish::Follow(Subject::Client("till".into())));
    insta::assert_snapshot!(text(&view, &model, SIZE), @r"
    klamm 0.1.0 · klamm-1 · up 2 h 3 min · Kafka default (k1:9092, k2:9092)
    ! 20 % of the requests are refused
    overview › client till
    last seen now · 1,300 events · 152 KiB · 72 requests refused · 0 B in flight · …
    quota left  requests ····· 4 %
    events/s, 10 s                                                 ▃█ peak 4.0
    refused/s, 10 s                                                ▁█ peak 2.0
    ── topics 1 ────────────────────────────────────────────────────────────────────
     NAME                EVENTS/S▼  BYTES/S    REFUSED/S      P99    EVENTS  REFUSED
    ›orders                    130   15 KiB   2.0 (20 %)  12.4 ms     1,300       72



    ── refusals 1 ──────────────────────────────────────────────────────────────────
     CODE                           SINCE START▼       LATEST
     rate_limited                             72 22:13:19.000 Enter: latest answer


    ── last requests 2 ─────────────────────────────────────────────────────────────
     TIME (UTC)▼  ANSWER                   TOPIC            EVENTS    BYTES     TOOK
     22:13:19.000 429 rate_limited         orders                0      0 B  0.02 ms
     22:13:18.000 200                      orders                3    360 B   7.1 ms

    Esc back  Tab table  Enter open  s sort  r reverse  / filter  ? help  q quit
    ");
}

#[test]
fn a_topic() {
    let model = told(&[("hello", hello()), ("page", orders())]);
    let mut view = View::default();
    assert_eq!(keys(&mut view, &model, &[KeyCode::Tab, KeyCode::Enter]), Wish::Follow(Subject::Topic("orders".into())));
    insta::assert_snapshot!(text(&view, &model, SIZE), @r"
    klamm 0.1.0 · klamm-1 · up 2 h 3 min · Kafka default (k1:9092, k2:9092)
    ! 20 % of the requests are refused
    overview › topic orders
    12,345 events · 1.4 MiB · 0 B wait for Kafka
    batches: mean 1000 B in 10 records, p99 2.0 KiB in 20
    events/s, 0 s                                                     peak 0
    refused/s, 0 s                                                    peak 0
    ── clients 2 ───────────────────────────────────────────────────────────────────
     NAME                EVENTS/S▼  BYTES/S    REFUSED/S      P99    EVENTS  REFUSED
    ›shop                    1,105  129 KiB            0  12.4 ms    11,045        0
     till                      130   15 KiB   2.0 (20 %)  12.4 ms     1,300       72


    ── partitions 2 ────────────────────────────────────────────────────────────────
      PARTITION RECORDS/S▼ OF ALL                     LEADER
              0       30.0 ██████████████····  75%    broker 1
              1       10.0 █████·············  25%    ✕ no leader

    ── broker errors 1 ─────────────────────────────────────────────────────────────
     BROKER ERROR                                               EVENTS▼         LAST
     not enough in-sync replicas                                      7     20 s ago


    Esc back  Tab table  Enter open  s sort  r reverse  / filter  ? help  q quit
    ");
}

#[test]
fn the_latest_answer_with_a_code_without_what_steers_terminals() {
    let model = told(&[("hello", hello()), ("page", till())]);
    let mut view = View::default();
    keys(&mut view, &model, &[KeyCode::Down, KeyCode::Enter, KeyCode::Tab, KeyCode::Enter]);
    let all = text(&view, &model, SIZE);
    let lines: Vec<_> = all.lines().skip(8).take(7).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
     NAM┌ rate_limited, the latest answer, at 22:13:19.000 ────────────────────┐USED
     ord│ {                                                                    │  72
        │   "code": "rate_limited",                                            │
        │   "detail": "the quota of \u001b[31mrequests is used up",            │
        │   "status": 429                                                      │
    ── r│ }                                                                    │────
     COD└───────────────────────────────────────────────── any key closes this ┘
    "#);
    assert_eq!(press(&mut view, &model, KeyCode::Esc), Wish::Nothing, "it is closed, and the view stays");
    assert!(text(&view, &model, SIZE).contains("overview › client till"));
}

#[test]
fn what_is_wrong_stands_in_words_the_worst_first() {
    let mut wrong = hello();
    wrong["head"]["kafka_up"] = json!(false);
    wrong["head"]["outage"] = json!(70);
    wrong["head"]["spool"] = json!({ "active": true, "events": 1200, "parked": 0, "bytes": 1, "disk": { "used": 1, "of": 4 }, "room": true });
    let mut model = told(&[("hello", wrong)]);
    let lines = |model: &Model, from: usize, to: usize| {
        let all = text(&View::default(), model, SIZE);
        all.lines().skip(from).take(to).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(lines(&model, 1, 3), @r"
    ✕ Kafka does not answer since 1 min 10 s  ! the spool takes events, 1,200 wait …
    events 1,335/s 156 KiB/s   refused 2.0/s 20 %   p50 3.1 ms   p99 12.4 ms
    budget █····· 10.0 %   queue ······ 1 %   spool 1,200 events 25 %   brokers none
    ");
    model.lose("nobody listens there".to_owned(), Instant::now());
    let lost = picture(&View::default(), &model, SIZE, Duration::from_secs(7));
    let line: String = (0..80).map(|x| lost.backend().buffer()[(x, 1)].symbol().to_owned()).collect();
    assert_eq!(line.trim_end(), "✕ no word from klamm for 7 s: nobody listens there; trying again");
    let healthy = told(&[("hello", hello())]);
    let mut fine = hello();
    fine["head"]["total"]["rf"] = json!(0.0);
    assert_eq!(lines(&told(&[("hello", fine)]), 1, 1), "✓ All is well.");
    assert_eq!(lines(&healthy, 1, 1), "! 20 % of the requests are refused");
}

#[test]
fn a_large_screen_shows_more_and_one_too_small_says_so() {
    let model = told(&[("hello", hello())]);
    let wide = text(&View::default(), &model, (170, 50));
    for words in [
        "IN FLIGHT",
        "UNWRITTEN",
        "all replicas in Grafana",
        "malformed_body 5",
        "audit-of-the-whole-company",
        "10 min ago",
    ] {
        assert!(wide.contains(words), "{words} in\n{wide}");
    }
    assert_eq!(text(&View::default(), &model, (60, 16)).lines().count(), 16);
    let small = text(&View::default(), &model, (50, 10));
    assert!(small.starts_with("klamm top needs 60x16: this is 50x10\n"), "{small}");
    for (width, height) in [(1, 1), (60, 15), (61, 17), (80, 21), (300, 100)] {
        let mut view = View::default();
        text(&view, &model, (width, height));
        press(&mut view, &model, KeyCode::Char('?'));
        text(&view, &model, (width, height));
    }
}

#[test]
fn without_colours_there_are_none() {
    let model = told(&[("hello", hello())]);
    let view = View::default();
    let without = Ink::new(Some(&"1".into()));
    assert!(colours(without, &view, &model).iter().all(|colour| *colour == Color::Reset));
    for ink in [Ink::new(None), Ink::new(Some(&"".into()))] {
        let colours = colours(ink, &view, &model);
        assert!(colours.contains(&Color::Yellow) && colours.contains(&Color::Cyan));
    }
}
