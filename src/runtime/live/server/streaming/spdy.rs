//! SPDY/3.1 as far as Kubernetes' clients use it: frames, and the compression of their headers.
//!
//! Kubernetes: staging/src/k8s.io/apimachinery/pkg/util/httpstream/spdy, on github.com/moby/spdystream; the draft is
//! "SPDY Protocol - Draft 3.1". There is no flow control, as in those. Headers come compressed with the draft's
//! dictionary; what is sent is stored in the same format without being made smaller.

use std::io;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A frame from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A new stream with its headers, whose names are in lower case.
    SynStream {
        stream: u32,
        headers: Vec<(String, String)>,
        fin: bool,
    },
    Data {
        stream: u32,
        bytes: Vec<u8>,
        fin: bool,
    },
    Reset {
        stream: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// Nothing that is needed here.
    Other,
}

const VERSION: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FIN: u8 = 1;
/// A frame may be no longer than this here; clients send 32 KiB.
const LONGEST: usize = 1 << 22;

/// Reads frames; keeps the state of the headers' compression.
pub(super) struct Reader<R> {
    source: R,
    headers: Headers,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub fn new(source: R) -> Reader<R> {
        Reader { source, headers: Headers::default() }
    }

    /// The next frame; none at the end of the connection.
    pub async fn frame(&mut self) -> io::Result<Option<Frame>> {
        let mut head = [0u8; 8];
        match self.source.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let [a, b, c, d, flags, x, y, z] = head;
        let length = u32::from_be_bytes([0, x, y, z]) as usize;
        if length > LONGEST {
            return Err(io::Error::other("a frame is too long"));
        }
        let mut body = vec![0; length];
        self.source.read_exact(&mut body).await?;
        let fin = flags & FIN != 0;
        if a & 0x80 == 0 {
            return Ok(Some(Frame::Data { stream: u32::from_be_bytes([a, b, c, d]), bytes: body, fin }));
        }
        if u16::from_be_bytes([a, b]) != VERSION {
            return Err(io::Error::other("another version of SPDY"));
        }
        let number = |at: usize| {
            let four = body.get(at..at + 4).and_then(|four| <[u8; 4]>::try_from(four).ok());
            four.map(|four| u32::from_be_bytes(four) & 0x7fff_ffff)
                .ok_or_else(|| io::Error::other("a frame is too short"))
        };
        Ok(Some(match u16::from_be_bytes([c, d]) {
            SYN_STREAM => {
                let stream = number(0)?;
                let headers = self.headers.read(body.get(10..).unwrap_or_default())?;
                Frame::SynStream { stream, headers, fin }
            }
            RST_STREAM => Frame::Reset { stream: number(0)? },
            PING => {
                let four = body.get(..4).and_then(|four| <[u8; 4]>::try_from(four).ok());
                Frame::Ping { id: u32::from_be_bytes(four.ok_or_else(|| io::Error::other("a ping without a number"))?) }
            }
            GOAWAY => Frame::GoAway,
            // HEADERS are compressed with the others: they must be read, too.
            8 => {
                self.headers.read(body.get(4..).unwrap_or_default())?;
                Frame::Other
            }
            _ => Frame::Other,
        }))
    }
}

/// The frames that a server sends.
#[derive(Default)]
pub(super) struct Writer {
    has_written_headers: bool,
}

impl Writer {
    /// Accepts a stream.
    pub fn syn_reply(&mut self, stream: u32) -> Vec<u8> {
        let mut body = stream.to_be_bytes().to_vec();
        if !self.has_written_headers {
            // The head of a zlib stream, which goes on for the whole connection.
            body.extend([0x78, 0x01]);
            self.has_written_headers = true;
        }
        // No header at all: their number, stored, and an empty block after it, as a flush makes it.
        let no_headers = 0u32.to_be_bytes();
        body.extend(stored(&no_headers));
        body.extend(stored(&[]));
        control(SYN_REPLY, 0, &body)
    }

    pub fn ping(id: u32) -> Vec<u8> {
        control(PING, 0, &id.to_be_bytes())
    }

    pub fn reset(stream: u32) -> Vec<u8> {
        // 3: refused.
        control(RST_STREAM, 0, &[stream.to_be_bytes(), 3u32.to_be_bytes()].concat())
    }

    /// No more streams after this one.
    pub fn go_away(last: u32) -> Vec<u8> {
        control(GOAWAY, 0, &[last.to_be_bytes(), 0u32.to_be_bytes()].concat())
    }

    /// Data, in as many frames as it takes.
    pub fn data(stream: u32, bytes: &[u8], fin: bool) -> Vec<u8> {
        let mut frames = Vec::with_capacity(bytes.len() + 16);
        let mut chunks = bytes.chunks(32 << 10).peekable();
        if chunks.peek().is_none() {
            frame(&mut frames, stream, &[], fin);
        }
        while let Some(chunk) = chunks.next() {
            frame(&mut frames, stream, chunk, fin && chunks.peek().is_none());
        }
        frames
    }
}

fn frame(frames: &mut Vec<u8>, stream: u32, bytes: &[u8], fin: bool) {
    frames.extend(stream.to_be_bytes());
    frames.extend(length(if fin { FIN } else { 0 }, bytes.len()));
    frames.extend_from_slice(bytes);
}

fn control(kind: u16, flags: u8, body: &[u8]) -> Vec<u8> {
    let head = [VERSION.to_be_bytes(), kind.to_be_bytes()].concat();
    [head.as_slice(), &length(flags, body.len()), body].concat()
}

/// Flags and a length of 24 bits.
fn length(flags: u8, length: usize) -> [u8; 4] {
    let [_, x, y, z] = u32::try_from(length).unwrap_or(0).to_be_bytes();
    [flags, x, y, z]
}

/// A block of deflate that is stored as it is.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(0);
    [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), bytes].concat()
}

/// What zlib may refer back to.
const WINDOW: usize = 32 << 10;

/// The decompression of a connection's headers.
struct Headers {
    state: Box<DecompressorOxide>,
    /// A ring of what came last, with the dictionary before it.
    window: Vec<u8>,
    at: usize,
    begun: bool,
}

impl Default for Headers {
    fn default() -> Headers {
        Headers { state: Box::default(), window: vec![0; WINDOW], at: 0, begun: false }
    }
}

impl Headers {
    /// The headers of one frame.
    fn read(&mut self, mut block: &[u8]) -> io::Result<Vec<(String, String)>> {
        let broken = |what: &str| io::Error::other(format!("the headers can't be read: {what}"));
        if !self.begun {
            // CMF and FLG; with a dictionary its checksum follows.
            let flags = *block.get(1).ok_or_else(|| broken("they are empty"))?;
            let has_dictionary = flags & 0x20 != 0;
            block = block.get(if has_dictionary { 6 } else { 2 }..).unwrap_or_default();
            if has_dictionary {
                let dictionary = dictionary();
                self.window
                    .get_mut(..dictionary.len())
                    .ok_or_else(|| broken("dictionary"))?
                    .copy_from_slice(&dictionary);
                self.at = dictionary.len();
            }
            self.begun = true;
        }
        let mut plain = Vec::new();
        loop {
            let more = miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
            let (status, read, written) = decompress(&mut self.state, block, &mut self.window, self.at, more);
            block = block.get(read..).unwrap_or_default();
            plain.extend_from_slice(self.window.get(self.at..self.at + written).unwrap_or_default());
            self.at = (self.at + written) % WINDOW;
            match status {
                TINFLStatus::HasMoreOutput if plain.len() < LONGEST => {}
                TINFLStatus::NeedsMoreInput | TINFLStatus::Done => break,
                _ => return Err(broken("their compression is broken")),
            }
        }
        parse(&plain).ok_or_else(|| broken("they are cut off"))
    }
}

/// Name and value, each after its length of four bytes.
fn parse(mut plain: &[u8]) -> Option<Vec<(String, String)>> {
    let number = |plain: &mut &[u8]| {
        let (four, rest) = plain.split_first_chunk::<4>()?;
        *plain = rest;
        usize::try_from(u32::from_be_bytes(*four)).ok()
    };
    let count = number(&mut plain)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let text = |plain: &mut &[u8]| {
            let length = number(plain)?;
            let (text, rest) = plain.split_at_checked(length)?;
            *plain = rest;
            Some(String::from_utf8_lossy(text).into_owned())
        };
        let (name, value) = (text(&mut plain)?, text(&mut plain)?);
        headers.push((name.to_ascii_lowercase(), value));
    }
    Some(headers)
}

/// What both sides know of headers before they speak: common names and values, as the draft lists them.
fn dictionary() -> Vec<u8> {
    let names = [
        "options",
        "head",
        "post",
        "put",
        "delete",
        "trace",
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "accept-ranges",
        "age",
        "allow",
        "authorization",
        "cache-control",
        "connection",
        "content-base",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-md5",
        "content-range",
        "content-type",
        "date",
        "etag",
        "expect",
        "expires",
        "from",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "last-modified",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authorization",
        "range",
        "referer",
        "retry-after",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "vary",
        "via",
        "warning",
        "www-authenticate",
        "method",
        "get",
        "status",
        "200 OK",
        "version",
        "HTTP/1.1",
        "url",
        "public",
        "set-cookie",
        "keep-alive",
        "origin",
    ];
    let mut bytes = Vec::with_capacity(1423);
    for name in names {
        bytes.extend(u32::try_from(name.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(name.as_bytes());
    }
    bytes.extend(
        b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
          203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized\
          403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
          Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 \
          Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
          chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,\
          text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.",
    );
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adler-32, by which zlib names a dictionary.
    fn checksum(bytes: &[u8]) -> u32 {
        let (low, high) = bytes.iter().fold((1u32, 0u32), |(low, high), byte| {
            let low = (low + u32::from(*byte)) % 65521;
            (low, (high + low) % 65521)
        });
        high << 16 | low
    }

    #[test]
    fn the_dictionary_is_the_drafts() {
        assert_eq!(dictionary().len(), 1423);
        assert_eq!(checksum(&dictionary()), 0xe3c6_a7c2);
    }

    #[tokio::test]
    async fn what_a_server_writes_is_read_as_it_was_meant() {
        let mut writer = Writer::default();
        let bytes = [
            Writer::data(3, b"hello", false),
            Writer::data(5, &[7; 40_000], true),
            writer.syn_reply(1),
            Writer::ping(9),
            Writer::reset(3),
            Writer::go_away(5),
        ]
        .concat();
        let mut reader = Reader::new(bytes.as_slice());
        let mut frames = Vec::new();
        while let Some(frame) = reader.frame().await.expect("a frame") {
            frames.push(match frame {
                Frame::Data { stream, bytes, fin } => format!("data {stream} {} {fin}", bytes.len()),
                other => format!("{other:?}"),
            });
        }
        let expected = [
            "data 3 5 false",
            "data 5 32768 false",
            "data 5 7232 true",
            "Other",
            "Ping { id: 9 }",
            "Reset { stream: 3 }",
            "GoAway",
        ];
        assert_eq!(frames, expected);
    }

    #[tokio::test]
    async fn headers_are_read_over_several_frames_and_broken_ones_are_an_error() {
        let header = |name: &str, value: &str| {
            let text =
                |text: &str| [&u32::try_from(text.len()).expect("short").to_be_bytes(), text.as_bytes()].concat();
            [1u32.to_be_bytes().to_vec(), text(name), text(value)].concat()
        };
        let mut bytes = Vec::new();
        for (stream, value) in [(1u32, "error"), (3, "stdin")] {
            let mut body = [stream.to_be_bytes().as_slice(), &[0; 6]].concat();
            if stream == 1 {
                body.extend([0x78, 0x01]);
            }
            body.extend(stored(&header("Streamtype", value)));
            body.extend(stored(&[]));
            bytes.extend(control(SYN_STREAM, 0, &body));
        }
        let mut reader = Reader::new(bytes.as_slice());
        for value in ["error", "stdin"] {
            let Ok(Some(Frame::SynStream { headers, .. })) = reader.frame().await else { panic!("a stream") };
            assert_eq!(headers, [("streamtype".to_owned(), value.to_owned())]);
        }
        for broken in [&control(SYN_STREAM, 0, &[0; 12])[..], &control(SYN_STREAM, 0, b"0123456789\x78\x01\xff")[..]] {
            assert!(Reader::new(broken).frame().await.is_err());
        }
        assert!(Reader::new(&[0x80, 2, 0, 1, 0, 0, 0, 0][..]).frame().await.is_err(), "another version");
    }
}
