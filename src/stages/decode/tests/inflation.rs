//! Inflation: it gives back what was deflated, and takes no byte it was not granted.

use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::reject::Extent;
use crate::units::ByteSize;

const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Zstd, Coding::Brotli];

fn deflate(coding: Coding, plain: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Identity => plain.to_vec(),
        Coding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Zstd => zstd::encode_all(plain, 1).unwrap(),
        Coding::Brotli => {
            let mut out = Vec::new();
            let params = brotli::enc::BrotliEncoderParams { quality: 3, ..Default::default() };
            brotli::BrotliCompress(&mut &*plain, &mut out, &params).unwrap();
            out
        }
    }
}

/// The result, and all that was granted on the way.
fn run(coding: Coding, body: Vec<u8>, caps: &Caps) -> (Result<Bytes, Reject>, u64) {
    let mut granted = 0;
    let result = inflate(coding, Bytes::from(body), caps, &mut |more| {
        granted += more;
        Ok(())
    });
    (result, granted)
}

fn caps(inflated: u64, ratio: u32) -> Caps {
    Caps { inflated: ByteSize::bytes(inflated), ratio, ..Caps::default() }
}

#[test]
fn the_content_encoding_names_one_coding() {
    assert_eq!(Coding::choose(None), Ok(Coding::Identity));
    for (name, coding) in [
        ("identity", Coding::Identity),
        ("gzip", Coding::Gzip),
        ("X-GZIP", Coding::Gzip),
        (" zstd ", Coding::Zstd),
        ("BR", Coding::Brotli),
    ] {
        assert_eq!(Coding::choose(Some(&header(name))), Ok(coding), "{name}");
    }
    for name in ["deflate", "gzip, br", "gzip,gzip", "", "compress", "\u{e4}"] {
        assert_eq!(Coding::choose(Some(&header(name))), Err(Reject::UnsupportedEncoding), "{name}");
    }
}

#[test]
fn a_body_without_coding_is_the_same_memory_and_asks_for_none() {
    let body = Bytes::from(vec![7; 1000]);
    let same = inflate(Coding::Identity, body.clone(), &caps(10, 1), &mut |_| Err(Reject::Overloaded)).unwrap();
    assert_eq!(same.as_ptr(), body.as_ptr());
}

#[test]
fn what_is_cut_off_or_followed_or_garbage_is_a_bad_encoding() {
    let plain: Vec<u8> = (0..50_000_u32).flat_map(|n| (n * n).to_le_bytes()).collect();
    for coding in CODINGS {
        let whole = deflate(coding, &plain);
        assert!(run(coding, whole.clone(), &Caps::default()).0.is_ok());
        let mut bad =
            vec![Vec::new(), b"garbage".to_vec(), [&whole[..], b"x"].concat(), [&whole[..], &[0; 9000]].concat()];
        bad.extend([1, 4, 9, 100, whole.len() / 2, whole.len() - 1].map(|len| whole[..len].to_vec()));
        if coding != Coding::Brotli {
            // Brotli alone has no magic number.
            let mut flipped = whole.clone();
            flipped[0] ^= 1;
            bad.push(flipped);
        }
        for (case, body) in bad.into_iter().enumerate() {
            let result = run(coding, body, &Caps::default()).0;
            assert_eq!(result.unwrap_err().code(), Code::BadEncoding, "{coding:?} {case}");
        }
    }
}

#[test]
fn gzip_and_zstd_may_come_in_several_pieces() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let body = [deflate(coding, b"one "), deflate(coding, b""), deflate(coding, b"two")].concat();
        assert_eq!(run(coding, body, &Caps::default()).0.unwrap(), "one two");
    }
}

#[test]
fn a_bomb_stops_at_the_cap() {
    let zeros = vec![0; 4 << 20];
    for coding in CODINGS {
        let bomb = deflate(coding, &zeros);
        let (result, granted) = run(coding, bomb.clone(), &caps(1 << 20, u32::MAX));
        assert_eq!(result.unwrap_err(), Reject::TooLarge { what: Extent::Inflated, limit: 1 << 20 }, "{coding:?}");
        assert!(granted <= 1 << 20, "{coding:?}");

        let (result, granted) = run(coding, bomb.clone(), &caps(64 << 20, 10));
        assert_eq!(result.unwrap_err(), Reject::TooLarge { what: Extent::Ratio, limit: 10 }, "{coding:?}");
        assert!(granted <= (10 * bomb.len() as u64).max(64 << 10), "{coding:?}");

        let exact = run(coding, bomb, &caps(4 << 20, u32::MAX)).0.unwrap();
        assert_eq!(exact, zeros, "{coding:?}");
        // Small bodies may have any ratio.
        assert!(run(coding, deflate(coding, &zeros[..60 << 10]), &caps(64 << 20, 1)).0.is_ok(), "{coding:?}");
    }
}

#[test]
fn a_refused_grant_ends_inflation_with_that_refusal() {
    let plain = vec![b'x'; 1 << 20];
    for coding in CODINGS {
        let mut grants = 0;
        let result = inflate(coding, deflate(coding, &plain).into(), &caps(64 << 20, u32::MAX), &mut |_| {
            grants += 1;
            if grants == 3 { Err(Reject::ShareExhausted) } else { Ok(()) }
        });
        assert_eq!((result.unwrap_err(), grants), (Reject::ShareExhausted, 3), "{coding:?}");
    }
}

#[test]
fn a_zstd_window_over_8_mib_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&[1; 100]).unwrap();
    let body = encoder.finish().unwrap();
    assert_eq!(run(Coding::Zstd, body, &Caps::default()).0.unwrap_err().code(), Code::BadEncoding);
}

proptest! {
    #[test]
    fn inflation_gives_back_what_was_deflated_within_cap_and_grant(
        pattern in proptest::collection::vec(any::<u8>(), 1..2000), times in 1_usize..200, cap in 1_u64..100_000,
    ) {
        let plain = pattern.repeat(times);
        for coding in CODINGS {
            let body = deflate(coding, &plain);
            let (result, granted) = run(coding, body.clone(), &caps(u64::MAX, u32::MAX));
            let inflated = result.unwrap();
            prop_assert_eq!(&inflated[..], &plain[..]);
            prop_assert!(granted >= inflated.len() as u64);

            let (result, granted) = run(coding, body, &caps(cap, u32::MAX));
            prop_assert!(granted <= cap);
            prop_assert_eq!(result.is_ok(), plain.len() as u64 <= cap);
        }
    }

    #[test]
    fn garbage_never_panics_and_never_takes_more_than_the_cap(
        mut body in proptest::collection::vec(any::<u8>(), 0..300), flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        start in 0..4_usize,
    ) {
        for coding in CODINGS {
            if start > 0 {
                body = deflate(coding, &b"{\"a\":1,\"bc\":[2,3]}\n".repeat(start * 7));
                for (at, bits) in &flips {
                    let at = at % body.len();
                    body[at] ^= bits;
                }
            }
            let (result, granted) = run(coding, body.clone(), &caps(10_000, 100));
            prop_assert!(granted <= 10_000);
            if let Ok(inflated) = result {
                prop_assert!(inflated.len() <= 10_000);
            }
        }
    }
}
