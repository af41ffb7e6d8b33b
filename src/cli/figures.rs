//! Numbers and times as people read them; the same words as on the live page (`ui/format.js`).

/// A number of things: `12,345`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Things in a second: one digit behind the point below 100.
pub(super) fn rate(n: f64) -> String {
    if n == 0.0 {
        "0".to_owned()
    } else if n < 100.0 {
        format!("{n:.1}")
    } else {
        count(n.round() as u64)
    }
}

/// Bytes, in powers of 1024.
pub(super) fn bytes(n: f64) -> String {
    let (mut n, mut unit) = (n, 0);
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    while n >= 1023.5 && unit + 1 < units.len() {
        n /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && n < 10.0);
    format!("{n:.digits$} {}", units.get(unit).copied().unwrap_or_default())
}

/// A duration in seconds.
pub(super) fn took(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.2} ms", s * 1e3),
        s if s < 0.1 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 10.0 => format!("{s:.2} s"),
        s => format!("{s:.1} s"),
    }
}

/// A part of 1.
pub(super) fn percent(part: f64) -> String {
    let value = part * 100.0;
    if value > 0.0 && value < 0.1 {
        return "< 0.1 %".to_owned();
    }
    let digits = usize::from(value < 10.0 && value.fract() != 0.0);
    format!("{value:.digits$} %")
}

/// A span in seconds, in its two largest units.
pub(super) fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut parts = units.iter().skip_while(|(size, _)| seconds < *size && *size > 1);
    let Some((size, unit)) = parts.next() else { return "0 s".to_owned() };
    let first = format!("{} {unit}", seconds / size);
    match parts.next().map(|(small, unit)| (seconds % size / small, unit)) {
        Some((more, unit)) if more > 0 => format!("{first} {more} {unit}"),
        _ => first,
    }
}

/// How long ago; both in seconds since the epoch.
pub(super) fn ago(then: Option<u64>, now: u64) -> String {
    let Some(then) = then.filter(|then| *then > 0) else { return "never".to_owned() };
    match now.saturating_sub(then) {
        0..5 => "now".to_owned(),
        s @ 5..60 => format!("{} s ago", s - s % 5),
        s => format!("{} ago", span(s - s % 60)),
    }
}

/// The time of day of milliseconds since the epoch, in UTC, with milliseconds.
pub(super) fn clock(at: u64) -> String {
    let (seconds, ms) = (at / 1000 % 86_400, at % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `text` without what would steer a terminal: it may come from whoever sends.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_live_page() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 0.2, 99.94, 100.4, 12_345.6].map(rate), ["0", "0.2", "99.9", "100", "12,346"]);
        let sizes = [0.0, 1_023.0, 1_024.0, 10_240.0, 1_048_500.0, 5.5e9].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "10 KiB", "1.0 MiB", "5.1 GiB"]);
        let times = [0.000_21, 0.003_14, 0.25, 2.5, 31.0].map(took);
        assert_eq!(times, ["0.21 ms", "3.1 ms", "250 ms", "2.50 s", "31.0 s"]);
        assert_eq!([0.0, 0.000_4, 0.034, 0.5, 1.0].map(percent), ["0 %", "< 0.1 %", "3.4 %", "50 %", "100 %"]);
        let spans = [0, 59, 60, 61, 3_600, 7_380, 200_000].map(span);
        assert_eq!(spans, ["0 s", "59 s", "1 min", "1 min 1 s", "1 h", "2 h 3 min", "2 d 7 h"]);
        let times = [None, Some(98), Some(88), Some(30), Some(40)].map(|then| ago(then, 100));
        assert_eq!(times, ["never", "now", "10 s ago", "1 min ago", "1 min ago"]);
        assert_eq!((clock(45_296_007), clock(86_400_000)), ("12:34:56.007".into(), "00:00:00.000".into()));
    }

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        assert_eq!(plain("a\u{1b}[2Jb\u{9b}\nä"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}ä");
    }
}
