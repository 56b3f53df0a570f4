//! WebSocket's frames (RFC 6455), as far as Kubernetes' clients use them, and the key of its handshake.

use std::io;

use base64::Engine;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A message from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Binary or text.
    Data(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// A message may be no longer than this.
const LONGEST: usize = 1 << 22;

/// The answer to a client's `Sec-WebSocket-Key`.
pub(super) fn accept(key: &str) -> String {
    let mut digest = sha1_smol::Sha1::new();
    digest.update(key.as_bytes());
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64::engine::general_purpose::STANDARD.encode(digest.digest().bytes())
}

/// The next message, put together from its parts; none at the end of the connection.
pub(super) async fn read(source: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Message>> {
    let mut whole = Vec::new();
    loop {
        let mut head = [0u8; 2];
        match source.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let [first, second] = head;
        let length = match second & 0x7f {
            126 => u64::from(source.read_u16().await?),
            127 => source.read_u64().await?,
            short => u64::from(short),
        };
        let room = LONGEST.saturating_sub(whole.len());
        let length = usize::try_from(length).ok().filter(|length| *length <= room);
        let length = length.ok_or_else(|| io::Error::other("a message is too long"))?;
        let mut mask = [0u8; 4];
        if second & 0x80 != 0 {
            source.read_exact(&mut mask).await?;
        }
        let mut body = vec![0; length];
        source.read_exact(&mut body).await?;
        for (byte, key) in body.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        match first & 0x0f {
            CONTINUATION | TEXT | BINARY => whole.extend(body),
            CLOSE => return Ok(Some(Message::Close)),
            PING => return Ok(Some(Message::Ping(body))),
            PONG => return Ok(Some(Message::Pong)),
            _ => return Err(io::Error::other("an unknown kind of frame")),
        }
        if first & 0x80 != 0 {
            return Ok(Some(Message::Data(whole)));
        }
    }
}

/// A binary message.
pub(super) fn binary(bytes: &[u8]) -> Vec<u8> {
    frame(BINARY, bytes)
}

/// The answer to a ping.
pub(super) fn pong(bytes: &[u8]) -> Vec<u8> {
    frame(PONG, bytes)
}

/// The end, with the code of a usual one.
pub(super) fn close() -> Vec<u8> {
    frame(CLOSE, &1000u16.to_be_bytes())
}

fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | kind];
    match u16::try_from(bytes.len()) {
        Ok(length) if length < 126 => frame.push(u8::try_from(length).unwrap_or(0)),
        Ok(length) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(127);
            frame.extend((bytes.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(bytes);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_handshake_is_the_one_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn messages_are_unmasked_and_put_together() {
        // "Hello", masked, in two parts, as in the RFC; then a long one without a mask.
        let parts = [0x01, 0x83, 0, 0, 0, 0, b'H', b'e', b'l', 0x80, 0x82, 1, 1, 1, 1, b'l' ^ 1, b'o' ^ 1];
        let bytes = [&parts[..], &binary(&[9; 70_000]), &frame(PING, b"x"), &close()].concat();
        let mut source = bytes.as_slice();
        assert_eq!(read(&mut source).await.expect("read"), Some(Message::Data(b"Hello".to_vec())));
        assert_eq!(read(&mut source).await.expect("read"), Some(Message::Data(vec![9; 70_000])));
        assert_eq!(read(&mut source).await.expect("read"), Some(Message::Ping(b"x".to_vec())));
        assert_eq!(read(&mut source).await.expect("read"), Some(Message::Close));
        assert_eq!(read(&mut source).await.expect("read"), None);
        let endless = [0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert!(read(&mut &endless[..]).await.is_err());
    }
}
