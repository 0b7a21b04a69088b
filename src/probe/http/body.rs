//! What becomes of a response body: counted, decompressed, kept for a match, bounded in all.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use crate::failure::{Fault, Reason};

/// Takes the body of one response, chunk by chunk.
pub(in crate::probe) struct Sink<'a> {
    received: u64,
    limit: u64,
    decoder: Decoder<'a>,
}

/// Somebody who takes a body as it comes; the fault is what is wrong with it.
pub(in crate::probe) type Taker<'a> = &'a mut (dyn FnMut(&[u8]) -> Result<(), Fault> + Send);

/// A body that was taken in wholly.
pub(in crate::probe) struct Taken {
    /// Bytes after decompression, when there was any.
    pub(in crate::probe) decompressed: Option<u64>,
    /// The (decompressed) body, when it was to be kept.
    pub(in crate::probe) kept: Vec<u8>,
}

enum Decoder<'a> {
    /// Nothing is undone, nothing kept.
    Passed(Taker<'a>),
    Identity(Plain),
    Gzip(Box<MultiGzDecoder<Plain>>),
    /// `deflate` whose first byte has not come yet.
    Undecided(Plain),
    Deflate(Box<Inflate>),
}

/// Decompressed bytes: counted, bounded, kept when asked for.
struct Plain {
    length: u64,
    limit: u64,
    keep: bool,
    kept: Vec<u8>,
}

struct Inflate {
    state: Decompress,
    ended: bool,
    plain: Plain,
}

impl<'a> Sink<'a> {
    /// For a body of at most `limit` bytes, before and after decompression. It is kept if `keep`,
    /// and undone of the `Content-Encoding` of `headers` if `decompress`.
    ///
    /// An encoding that was not offered is taken as it is.
    pub(in crate::probe) fn new(
        headers: &HeaderMap,
        decompress: bool,
        limit: u64,
        keep: bool,
    ) -> Self {
        let plain = Plain { length: 0, limit, keep, kept: Vec::new() };
        let coding = headers
            .get(CONTENT_ENCODING)
            .filter(|_| decompress)
            .map(|value| value.as_bytes().trim_ascii());
        let is = |name: &[u8]| coding.is_some_and(|coding| coding.eq_ignore_ascii_case(name));
        let decoder = if is(b"gzip") || is(b"x-gzip") {
            Decoder::Gzip(Box::new(MultiGzDecoder::new(plain)))
        } else if is(b"deflate") {
            Decoder::Undecided(plain)
        } else {
            Decoder::Identity(plain)
        };
        Self { received: 0, limit, decoder }
    }

    /// For a body of at most `limit` bytes, which `taker` gets as it was sent.
    pub(in crate::probe) fn passing(limit: u64, taker: Taker<'a>) -> Self {
        Self { received: 0, limit, decoder: Decoder::Passed(taker) }
    }

    /// Takes a chunk.
    pub(in crate::probe) fn push(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        self.received += chunk.len() as u64;
        if self.received > self.limit {
            return Err(too_large(self.limit, "as sent"));
        }
        if let Decoder::Undecided(plain) = &mut self.decoder
            && let Some(first) = chunk.first()
        {
            // Some servers send `deflate` without the zlib frame that RFC 9110 asks for.
            let zlib = first & 0x0f == 8;
            let plain = std::mem::replace(plain, Plain::nothing());
            self.decoder = Decoder::Deflate(Box::new(Inflate {
                state: Decompress::new(zlib),
                ended: false,
                plain,
            }));
        }
        let (result, plain) = match &mut self.decoder {
            Decoder::Passed(taker) => return taker(chunk),
            Decoder::Identity(plain) => (plain.write_all(chunk), &*plain),
            Decoder::Undecided(plain) => (Ok(()), &*plain),
            Decoder::Gzip(decoder) => (decoder.write_all(chunk), decoder.get_ref()),
            Decoder::Deflate(inflate) => (inflate.push(chunk), &inflate.plain),
        };
        result.map_err(|error| told(&error, plain))
    }

    /// Bytes taken so far, as they came, without the framing of transfers.
    pub(in crate::probe) fn received(&self) -> u64 {
        self.received
    }

    /// Ends the body.
    pub(in crate::probe) fn finish(self) -> Result<Taken, Fault> {
        // HEAD, 204 and 304 may name an encoding without a body.
        let empty = self.received == 0;
        let (plain, decompressed) = match self.decoder {
            Decoder::Passed(_) => (Plain::nothing(), false),
            Decoder::Identity(plain) => (plain, false),
            Decoder::Undecided(plain) => (plain, true),
            Decoder::Gzip(_) if empty => (Plain::nothing(), true),
            Decoder::Gzip(mut decoder) => {
                // The last bytes come out only now.
                let result = decoder.try_finish();
                result.map_err(|error| told(&error, decoder.get_ref()))?;
                (std::mem::replace(decoder.get_mut(), Plain::nothing()), true)
            }
            Decoder::Deflate(inflate) => (inflate.finish()?, true),
        };
        Ok(Taken {
            decompressed: (decompressed && !empty).then_some(plain.length),
            kept: plain.kept,
        })
    }
}

impl Plain {
    fn nothing() -> Self {
        Self { length: 0, limit: 0, keep: false, kept: Vec::new() }
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length += bytes.len() as u64;
        if self.length > self.limit {
            return Err(io::Error::other("over the limit"));
        }
        if self.keep {
            self.kept.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Inflate {
    fn push(&mut self, mut chunk: &[u8]) -> io::Result<()> {
        let mut buffer = [0; 8 * 1024];
        loop {
            if self.ended {
                return if chunk.is_empty() {
                    Ok(())
                } else {
                    Err(io::Error::other("bytes after the end of the stream"))
                };
            }
            let before = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(chunk, &mut buffer, FlushDecompress::None)
                .map_err(io::Error::other)?;
            let consumed = (self.state.total_in() - before.0) as usize;
            let produced = (self.state.total_out() - before.1) as usize;
            chunk = &chunk[consumed..];
            self.plain.write_all(&buffer[..produced])?;
            self.ended = status == Status::StreamEnd;
            if !self.ended && consumed == 0 && produced == 0 {
                return Ok(());
            }
        }
    }

    fn finish(self) -> Result<Plain, Fault> {
        if self.ended {
            Ok(self.plain)
        } else {
            Err(malformed(&io::Error::other("the stream is cut short")))
        }
    }
}

fn too_large(limit: u64, how: &str) -> Fault {
    Fault::new(Reason::BodyTooLarge, format!("more than {limit} bytes {how}"))
}

fn malformed(error: &io::Error) -> Fault {
    Fault::new(Reason::HttpMalformed, format!("content-encoding: {error}"))
}

/// Tells an error of decompressing into `plain`, which may be that `plain` is full.
fn told(error: &io::Error, plain: &Plain) -> Fault {
    if plain.length > plain.limit {
        too_large(plain.limit, "decompressed")
    } else {
        malformed(error)
    }
}
