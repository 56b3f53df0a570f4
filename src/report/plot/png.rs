//! Writes pixels as a PNG: each row as its difference to the one above, runs of equal bytes packed. Plots are mostly runs, so
//! that is small without a compressor.
//!
//! Formats: PNG (RFC 2083), zlib (RFC 1950), deflate with fixed codes (RFC 1951).

/// The file of a picture of 8-bit RGB pixels.
pub(super) fn encode(pixels: &[u8], width: u32, height: u32) -> Vec<u8> {
    let stride = width as usize * 3;
    let mut rows = Vec::with_capacity(pixels.len() + height as usize);
    let mut above = vec![0u8; stride];
    for row in pixels.chunks_exact(stride) {
        rows.push(2); // Filter "Up".
        rows.extend(row.iter().zip(&above).map(|(byte, above)| byte.wrapping_sub(*above)));
        above.copy_from_slice(row);
    }
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = Vec::new();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]); // 8 bits, RGB.
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"IDAT", &zlib(&rows));
    chunk(&mut file, b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    let from = file.len();
    file.extend(kind);
    file.extend(data);
    let crc = crc32(&file[from..]);
    file.extend(crc.to_be_bytes());
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut table = [0u32; 256];
    for (at, entry) in table.iter_mut().enumerate() {
        let mut value = at as u32;
        for _ in 0..8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
        }
        *entry = value;
    }
    !bytes.iter().fold(u32::MAX, |crc, byte| table[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    b << 16 | a
}

/// Bits, the first in the lowest place.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    current: u32,
    filled: u32,
}

impl Bits {
    fn put(&mut self, value: u32, bits: u32) {
        self.current |= value << self.filled;
        self.filled += bits;
        while self.filled >= 8 {
            self.bytes.push(self.current as u8);
            self.current >>= 8;
            self.filled -= 8;
        }
    }

    /// A Huffman code, whose first bit is its highest.
    fn code(&mut self, code: u32, bits: u32) {
        self.put(code.reverse_bits() >> (32 - bits), bits);
    }

    /// A literal, the end (256) or a length (257 and more), in the fixed code.
    fn symbol(&mut self, symbol: u32) {
        match symbol {
            0..144 => self.code(0x30 + symbol, 8),
            144..256 => self.code(0x190 + symbol - 144, 9),
            256..280 => self.code(symbol - 256, 7),
            _ => self.code(0xc0 + symbol - 280, 8),
        }
    }
}

/// Where the codes of lengths begin, and how many further bits each has.
const LENGTHS: [(u32, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut bits = Bits { bytes: vec![0x78, 0x01], ..Bits::default() };
    bits.put(0b011, 3); // The last block, fixed codes.
    let mut at = 0;
    while at < bytes.len() {
        // A pixel has three bytes, so runs repeat at a distance of three; of nothing at all, at one as well.
        let run = if at >= 3 {
            bytes[at..].iter().zip(&bytes[at - 3..]).take(258).take_while(|(a, b)| a == b).count()
        } else {
            0
        };
        if run < 3 {
            bits.symbol(u32::from(bytes[at]));
            at += 1;
            continue;
        }
        let run_code = LENGTHS.iter().rposition(|(from, _)| *from as usize <= run).expect("a run is 3 at least");
        let (from, more) = LENGTHS[run_code];
        bits.symbol(257 + run_code as u32);
        bits.put(run as u32 - from, more);
        bits.code(2, 5); // Distance 3.
        at += run;
    }
    bits.symbol(256);
    bits.put(0, 7); // Fills the last byte.
    let mut out = bits.bytes;
    out.extend(adler32(bytes).to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_standard_ones() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn a_white_picture_is_small() {
        assert!(encode(&vec![255; 1000 * 500 * 3], 1000, 500).len() < 20_000);
    }
}
