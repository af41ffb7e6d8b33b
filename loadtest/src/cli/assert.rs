//! What must hold of a run: `p99<20ms,errors<0.1%`.

use std::fmt;
use std::str::FromStr;

use crate::load::Run;

/// Terms, all of which must hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Assertions(Vec<Term>);

#[derive(Debug, Clone, PartialEq)]
struct Term {
    figure: Figure,
    order: Order,
    bound: f64,
    text: String,
}

/// What a term speaks of. Latencies are in milliseconds, shares in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Figure {
    /// The latency that this share of the accepted requests did not exceed.
    Latency(f64),
    Max,
    Mean,
    Rate,
    Errors,
    Lateness,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Less,
    AtMost,
    More,
    AtLeast,
}

/// A term that does not hold.
#[derive(Debug)]
pub(super) struct Broken {
    term: String,
    seen: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} does not hold: {}", self.term, self.seen)
    }
}

impl Assertions {
    /// The terms that do not hold of `run`. Of a run without accepted requests nothing about latency holds.
    pub(super) fn broken(&self, run: &Run) -> Vec<Broken> {
        let broken = |term: &Term| match term.figure.of(run) {
            None => Some("nothing was accepted".to_owned()),
            Some(seen) if !term.order.holds(seen, term.bound) => Some(term.figure.show(seen)),
            Some(_) => None,
        };
        self.0.iter().filter_map(|term| Some(Broken { term: term.text.clone(), seen: broken(term)? })).collect()
    }
}

impl FromStr for Assertions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(|term| Term::from_str(term.trim())).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Term {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sign = text.find(['<', '>']).ok_or_else(|| format!("`{text}` is not like p99<20ms"))?;
        let (name, rest) = text.split_at(sign);
        let (order, bound) = if let Some(bound) = rest.strip_prefix("<=") {
            (Order::AtMost, bound)
        } else if let Some(bound) = rest.strip_prefix(">=") {
            (Order::AtLeast, bound)
        } else if let Some(bound) = rest.strip_prefix('<') {
            (Order::Less, bound)
        } else {
            (Order::More, rest.trim_start_matches('>'))
        };
        let figure = match name.trim() {
            "p50" => Figure::Latency(0.5),
            "p90" => Figure::Latency(0.9),
            "p99" => Figure::Latency(0.99),
            "p999" => Figure::Latency(0.999),
            "max" => Figure::Max,
            "mean" => Figure::Mean,
            "rate" => Figure::Rate,
            "errors" => Figure::Errors,
            "lateness" => Figure::Lateness,
            name => return Err(format!("`{name}` is none of p50 p90 p99 p999 max mean rate errors lateness")),
        };
        let bound = figure.bound(bound.trim()).map_err(|why| format!("`{text}`: {why}"))?;
        Ok(Self { figure, order, bound, text: text.to_owned() })
    }
}

impl Figure {
    fn of(self, run: &Run) -> Option<f64> {
        let latency = &run.accepted.latency;
        let measured = (latency.count() > 0).then_some(latency);
        let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
        match self {
            Self::Latency(share) => measured.map(|latency| ms(latency.at(share))),
            Self::Max => measured.map(|latency| ms(latency.max())),
            Self::Mean => measured.map(|latency| ms(latency.mean())),
            Self::Rate => Some(run.events_per_second()),
            Self::Errors => Some(run.error_share() * 100.0),
            Self::Lateness => Some(ms(run.schedule.lateness.at(0.99))),
        }
    }

    fn bound(self, text: &str) -> Result<f64, &'static str> {
        let units: &[(&str, f64)] = match self {
            Self::Latency(_) | Self::Max | Self::Mean | Self::Lateness => &[("us", 1e-3), ("ms", 1.0), ("s", 1e3)],
            Self::Errors => &[("%", 1.0)],
            Self::Rate => &[("k/s", 1e3), ("/s", 1.0), ("k", 1e3), ("", 1.0)],
        };
        let wanted = match self {
            Self::Errors => "its bound is a share such as 0.1%",
            Self::Rate => "its bound is events per second such as 10000 or 10k/s",
            _ => "its bound is a time such as 500us, 20ms or 1s",
        };
        let (number, scale) =
            units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale))).ok_or(wanted)?;
        let number: f64 = number.trim().parse().map_err(|_| wanted)?;
        if number.is_finite() && number >= 0.0 { Ok(number * scale) } else { Err(wanted) }
    }

    fn show(self, seen: f64) -> String {
        match self {
            Self::Errors => format!("{seen:.3}%"),
            Self::Rate => format!("{seen:.0} events/s"),
            _ => format!("{seen:.3}ms"),
        }
    }
}

impl Order {
    fn holds(self, seen: f64, bound: f64) -> bool {
        match self {
            Self::Less => seen < bound,
            Self::AtMost => seen <= bound,
            Self::More => seen > bound,
            Self::AtLeast => seen >= bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::sample;

    #[test]
    fn terms_are_read_with_their_units() {
        let Assertions(terms) = "p99<20ms, errors<=0.1%,rate>10k/s,max>=1s,lateness<500us".parse().unwrap();
        let read: Vec<_> = terms.iter().map(|term| (term.figure, term.order, term.bound)).collect();
        assert_eq!(
            read,
            [
                (Figure::Latency(0.99), Order::Less, 20.0),
                (Figure::Errors, Order::AtMost, 0.1),
                (Figure::Rate, Order::More, 10_000.0),
                (Figure::Max, Order::AtLeast, 1000.0),
                (Figure::Lateness, Order::Less, 0.5),
            ]
        );
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        for bad in
            ["", "p99", "p98<1ms", "p99<20", "p99<ms", "p99<-1ms", "errors<1", "errors<1ms", "rate>x", "p99<1ms,"]
        {
            assert!(bad.parse::<Assertions>().is_err(), "{bad}");
        }
    }

    #[test]
    fn each_broken_term_is_named_with_what_was_seen() {
        let mut run = sample();
        run.accepted.requests = 3;
        for ms in [5, 6, 30] {
            run.accepted.latency.record(Duration::from_millis(ms));
        }
        run.errors.entry("cut".into()).or_default().requests = 1;
        run.served.events = 3;
        let terms: Assertions = "p50<10ms,p99<20ms,errors<0.1%,rate>0.1".parse().unwrap();
        let broken: Vec<String> = terms.broken(&run).iter().map(Broken::to_string).collect();
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken[0].starts_with("p99<20ms does not hold: 30."), "{broken:?}");
        assert_eq!(broken[1], "errors<0.1% does not hold: 25.000%");
        let nothing: Assertions = "p99<20ms".parse().unwrap();
        assert_eq!(nothing.broken(&sample())[0].to_string(), "p99<20ms does not hold: nothing was accepted");
    }
}
