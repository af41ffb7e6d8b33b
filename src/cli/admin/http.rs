//! An answer of HTTP/1.1: its head, and its body as it comes.
//!
//! Reads what servers and proxies send to `Connection: close`: a body in chunks, of a known length, or to the end.
//! Bounded in its head; the body is whoever reads it to bound.

use std::io::{self, BufRead, BufReader, Read};

/// The longest head, in bytes.
const HEAD: u64 = 32 * 1024;

/// See the module.
#[derive(Debug)]
pub(in crate::cli) struct Answer<S> {
    /// Its status.
    pub(in crate::cli) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: BufReader<S>,
    length: Length,
}

/// How much of the body is left.
#[derive(Debug)]
enum Length {
    /// So many bytes.
    Known(u64),
    /// Until the connection ends.
    ToTheEnd,
    /// So many bytes of this chunk; `first` is true before the first.
    Chunk { left: u64, first: bool },
    /// The last chunk was read.
    Over,
}

fn broken() -> io::Error {
    io::Error::other("what answers is no HTTP")
}

impl<S: Read> Answer<S> {
    /// Reads the head.
    pub(super) fn read(socket: S) -> io::Result<Self> {
        let mut body = BufReader::new(socket);
        let mut head = (&mut body).take(HEAD);
        let first = line(&mut head)?;
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok()).ok_or_else(broken)?;
        let mut headers = Vec::new();
        loop {
            let line = line(&mut head)?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let mut answer = Self { status, headers, body, length: Length::ToTheEnd };
        if answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            answer.length = Length::Chunk { left: 0, first: true };
        } else if let Some(length) = answer.header("content-length") {
            answer.length = Length::Known(length.parse().map_err(|_| broken())?);
        }
        Ok(answer)
    }

    /// A header's value, by its name in lower case.
    pub(in crate::cli) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The connection.
    pub(in crate::cli) fn socket(&self) -> &S {
        self.body.get_ref()
    }

    /// The body as text, as far as it goes within `most` bytes.
    pub(in crate::cli) fn text(&mut self, most: u64) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.take(most).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The length of the next chunk.
    fn chunk(&mut self, first: bool) -> io::Result<u64> {
        let mut head = (&mut self.body).take(HEAD);
        if !first && !line(&mut head)?.is_empty() {
            return Err(broken());
        }
        let line = line(&mut head)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        u64::from_str_radix(size, 16).map_err(|_| broken())
    }
}

/// The next line without its end.
fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut text = Vec::new();
    from.read_until(b'\n', &mut text)?;
    let text = text.strip_suffix(b"\n").ok_or_else(broken)?;
    Ok(String::from_utf8_lossy(text.strip_suffix(b"\r").unwrap_or(text)).into_owned())
}

impl<S: Read> Read for Answer<S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if let Length::Chunk { left: 0, first } = self.length {
            let left = self.chunk(first)?;
            self.length = if left == 0 { Length::Over } else { Length::Chunk { left, first: false } };
        }
        let left = match self.length {
            Length::Over => 0,
            Length::ToTheEnd => u64::MAX,
            Length::Known(left) | Length::Chunk { left, .. } => left,
        };
        let most = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.body.read(bytes.get_mut(..most).unwrap_or_default())?;
        if let Length::Known(left) | Length::Chunk { left, .. } = &mut self.length {
            *left -= read as u64;
            if read == 0 && *left > 0 && most > 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte at a time, so that everything is cut everywhere.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let most = bytes.len().min(1);
            self.0.read(&mut bytes[..most])
        }
    }

    fn read(text: &str) -> io::Result<(u16, String)> {
        let mut answer = Answer::read(Drip(text.as_bytes()))?;
        Ok((answer.status, answer.text(1000)?))
    }

    #[test]
    fn a_body_comes_in_chunks_by_its_length_or_to_the_end() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab\r\nc\r\nB;x=y\r\n0123456789\n\r\n0\r\n\r\nmore";
        assert_eq!(read(chunked).unwrap(), (200, "ab\r\nc0123456789\n".to_owned()));
        assert_eq!(read("HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nabc").unwrap(), (503, "ab".to_owned()));
        assert_eq!(read("HTTP/1.0 404 \n\nabc").unwrap(), (404, "abc".to_owned()));
        let answer = Answer::read("HTTP/1.1 429 x\r\nRetry-After:  7 \r\n\r\n".as_bytes()).unwrap();
        assert_eq!((answer.header("retry-after"), answer.header("x")), (Some("7"), None));
    }

    #[test]
    fn what_is_cut_or_no_http_is_an_error() {
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for text in [
            "",
            "SSH-2.0-x\r\n",
            "HTTP/1.1 200 OK\r\nhalf",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
            &format!("{chunks}5\r\nabc"),
            &format!("{chunks}3\r\nabcd\r\n0\r\n\r\n"),
            &format!("{chunks}zz\r\n"),
            &format!("{chunks}3\r\nabc\r\n"),
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
        let endless = "HTTP/1.1 200 OK\r\n".repeat(10_000);
        assert!(read(&endless).is_err());
    }
}
