//! Which settings are measured, and in which order.

use super::{Compression, Setting};

/// Milliseconds of `linger` in a whole sweep.
pub const LINGERS: [u64; 5] = [0, 1, 5, 20, 50];
/// `batch_bytes` in a whole sweep. The last is klamm's default.
pub const BATCHES: [u64; 4] = [16 << 10, 64 << 10, 256 << 10, 1_000_000];
/// `compression` in a whole sweep.
pub const COMPRESSIONS: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd];

/// Every combination, and the default, against which all are held.
pub fn grid(lingers: &[u64], batches: &[u64], compressions: &[Compression]) -> Vec<Setting> {
    let mut settings = vec![Setting::DEFAULT];
    for compression in compressions {
        for batch in batches {
            settings.extend(lingers.iter().map(|linger| Setting::new(*linger, *batch, *compression)));
        }
    }
    settings.sort_unstable();
    settings.dedup();
    settings
}

/// Twelve: the default and one step from it along each axis, the classic step's two ends, and low latency without
/// compression.
pub fn quick() -> Vec<Setting> {
    let Setting { compression, batch_bytes, linger_ms } = Setting::DEFAULT;
    let mut settings = vec![Setting::BEFORE, Setting::AFTER, Setting::new(1, batch_bytes, Compression::None)];
    settings.extend(LINGERS.map(|linger| Setting::new(linger, batch_bytes, compression)));
    settings.extend([16 << 10, 64 << 10].map(|batch| Setting::new(linger_ms, batch, compression)));
    settings.extend([Compression::None, Compression::Zstd].map(|other| Setting::new(linger_ms, batch_bytes, other)));
    settings.sort_unstable();
    settings.dedup();
    settings
}

/// All settings once a round, each round in an order of its own.
pub fn rounds(settings: &[Setting], rounds: usize, seed: u64) -> Vec<Vec<Setting>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let round = |_| {
        let mut order = settings.to_vec();
        random.shuffle(&mut order);
        order
    };
    (0..rounds).map(round).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_sweep_has_sixty_settings_and_the_named_ones_are_in_it() {
        let all = grid(&LINGERS, &BATCHES, &COMPRESSIONS);
        assert_eq!(all.len(), 60);
        for named in [Setting::DEFAULT, Setting::BEFORE, Setting::AFTER] {
            assert!(all.contains(&named), "{named}");
        }
    }

    #[test]
    fn a_quick_one_has_twelve() {
        let few = quick();
        assert_eq!(few.len(), 12, "{few:?}");
        for named in [Setting::DEFAULT, Setting::BEFORE, Setting::AFTER] {
            assert!(few.contains(&named), "{named}");
        }
    }

    #[test]
    fn the_default_is_measured_with_axes_that_lack_it() {
        let few = grid(&[1], &[65_536], &[Compression::Zstd]);
        assert_eq!(few.len(), 2);
        assert!(few.contains(&Setting::DEFAULT));
    }

    #[test]
    fn each_round_has_every_setting_once_in_another_order() {
        let settings = quick();
        let plan = rounds(&settings, 2, 1);
        assert_eq!(plan, rounds(&settings, 2, 1), "one seed, one plan");
        assert_ne!(plan[0], plan[1]);
        for mut round in plan {
            round.sort_unstable();
            assert_eq!(round, settings);
        }
    }
}
